"""Routes compared field by field."""

from __future__ import annotations

from typing import Any

from ttplan.model.changes import FieldChange, RouteChange
from ttplan.model.plan_run import LiveRoute
from ttplan.model.route import ProposedRoute


def differing(before: ProposedRoute, after: ProposedRoute) -> tuple[FieldChange, ...]:
    """The fields in which two routes differ, nested ones as `when.tag_equals`."""
    one, other = _flat(before.model_dump()), _flat(after.model_dump())
    shown, shown_after = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    return tuple(FieldChange(field=name, before=shown[name], after=shown_after[name]) for name in one if one[name] != other[name])


def route_change(name: str, before: LiveRoute | None, after: LiveRoute | None) -> RouteChange:
    """What becomes of the route of that name."""
    if before is None or after is None:
        return RouteChange(name=name, kind="new" if before is None else "removed", before=before, after=after)
    fields = differing(before.route, after.route)
    return RouteChange(name=name, kind="replaced" if fields else "same", before=before, after=after, fields=fields)


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
