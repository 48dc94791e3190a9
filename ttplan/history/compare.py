"""Compares routes field by field, and live routes before and after a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ttplan.model.results.changes import FieldChange, RouteChange
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import LiveRoute, find_previous_names


def changed_fields(before: ProposedRoute, after: ProposedRoute) -> tuple[FieldChange, ...]:
    """The fields in which two routes differ; nested fields as `when.tag_equals`."""
    old, new = _flatten(before.model_dump()), _flatten(after.model_dump())
    old_json = _flatten(before.model_dump(mode="json"))
    new_json = _flatten(after.model_dump(mode="json"))
    return tuple(
        FieldChange(field=name, before=old_json.get(name), after=new_json.get(name))
        for name in old | new  # fields that have their default may be left out
        if old.get(name) != new.get(name)
    )


def route_change(name: str, before: LiveRoute | None, after: LiveRoute | None) -> RouteChange:
    """The change of the route of that name."""
    if before is None or after is None:
        kind = "new" if before is None else "removed"
        return RouteChange(name=name, kind=kind, before=before, after=after)
    fields = changed_fields(before.route, after.route)
    changed = "replaced" if before.route.name == after.route.name else "renamed"
    kind = changed if fields else "same"
    return RouteChange(name=name, kind=kind, before=before, after=after, fields=fields)


def route_changes(
    live: Mapping[str, LiveRoute], after: Mapping[str, LiveRoute | None]
) -> Iterator[RouteChange]:
    """The change of each route in `after`, which has the routes after the change by name, None if
    removed.

    A renamed route is listed under its new name.
    """
    routes = [new.route for new in after.values() if new is not None]
    old_names = {
        name: old
        for name, old in find_previous_names(live.values(), routes).items()
        if old in after
    }
    for name, new in after.items():
        # A route that is renamed is listed under its new name, not here.
        current = None if name in old_names.values() else live.get(name)
        if name in old_names:
            yield route_change(name, live[old_names[name]], new)
        elif new is not None:
            yield route_change(name, current, new)
            continue
        if current is not None:
            yield route_change(name, current, None)


def _flatten(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        path = f"{prefix}{name}"
        flat |= _flatten(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat
