"""Routes compared field by field, and live routes before and after a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ttplan.model.results.changes import FieldChange, RouteChange
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import LiveRoute, find_previous_names


def changed_fields(before: ProposedRoute, after: ProposedRoute) -> tuple[FieldChange, ...]:
    """The fields in which two routes differ, nested ones as `when.tag_equals`."""
    one, other = _flat(before.model_dump()), _flat(after.model_dump())
    shown, shown_after = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    return tuple(
        FieldChange(field=name, before=shown[name], after=shown_after[name])
        for name in one
        if one[name] != other[name]
    )


def route_change(name: str, before: LiveRoute | None, after: LiveRoute | None) -> RouteChange:
    """What becomes of the route of that name."""
    if before is None or after is None:
        return RouteChange(
            name=name, kind="new" if before is None else "removed", before=before, after=after
        )
    fields = changed_fields(before.route, after.route)
    kept = "replaced" if before.route.name == after.route.name else "renamed"
    return RouteChange(
        name=name, kind=kept if fields else "same", before=before, after=after, fields=fields
    )


def route_changes(
    live: Mapping[str, LiveRoute], after: Mapping[str, LiveRoute | None]
) -> Iterator[RouteChange]:
    """What becomes of each route where `after` says, by name, what is live then. A renamed one is told under its new name."""
    new = [one.route for one in after.values() if one is not None]
    until_now = {
        name: old for name, old in find_previous_names(live.values(), new).items() if old in after
    }
    for name, one in after.items():
        here = (
            live.get(name) if name not in until_now.values() else None
        )  # else it is told elsewhere
        if name in until_now:
            yield route_change(name, live[until_now[name]], one)
        elif one is not None:
            yield route_change(name, here, one)
            continue
        if here is not None:
            yield route_change(name, here, None)


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {f"{prefix}{name}": value}
        )
    return flat
