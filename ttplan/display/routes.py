"""Cards about live routes: what a plan would change, drift, and exports to a gateway."""

from __future__ import annotations

from typing import Any

from ttplan.display.amounts import plural
from ttplan.display.card import Card, ResultCard, Row, Table, Tone
from ttplan.display.text import plain
from ttplan.model.gateway import GATEWAYS, RouteExport
from ttplan.model.results.changes import Preview, RouteChange
from ttplan.model.results.drift import Drift, RouteDrift
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import LiveRoute

_SIGNS: dict[str, tuple[str, Tone]] = {
    "new": ("+", "good"),
    "replaced": ("~", "warning"),
    "renamed": (">", "warning"),
    "same": ("=", "neutral"),
    "removed": ("-", "bad"),
}
_VERBS = {
    "apply": {
        "new": "new",
        "replaced": "replaced",
        "renamed": "renamed",
        "removed": "removed",
        "same": "the same",
    },
    "revert": {
        "removed": "removed",
        "replaced": "put back",
        "renamed": "renamed back",
        "new": "back",
        "same": "the same",
    },
}
_DRIFT = {
    "edited": "differs from what was signed",
    "missing": "was signed for, but is not live",
    "foreign": "is live, but no plan put it there",
}


class PreviewCard(ResultCard[Preview]):
    """What applying or reverting a plan would change."""

    def card(self) -> Card:
        return preview_card(self.result)


class DriftCard(ResultCard[Drift]):
    """The live routes compared with what was signed."""

    @property
    def ok(self) -> bool:
        """Whether the live routes are what was signed."""
        return self.result.ok

    def card(self) -> Card:
        return drift_card(self.result)


class ExportCard(ResultCard[RouteExport]):
    """An export of the live routes to a gateway."""

    def card(self) -> Card:
        return export_card(self.result)


def preview_card(preview: Preview) -> Card:
    """The card of a preview."""
    verbs = _VERBS[preview.action]
    rows = tuple(
        Row(
            (
                _SIGNS[change.kind][0],
                verbs[change.kind],
                change.name,
                _target(change, preview.action),
            ),
            tuple(
                f"{field.field}: {_value(field.before, empty)} → {_value(field.after, empty)}"
                for field in change.fields
                for empty in ["no" if field.field == "sticky" else "any"]
            ),
            _SIGNS[change.kind][1],
        )
        for change in preview.changes
    )
    return Card(
        "preview",
        f"{preview.action} {preview.plan_name}  [{preview.status}]",
        code=str(preview.plan_id),
        tables=(Table(rows, header=2),),
        notes=tuple(preview_warnings(preview)),
        footer=(_change_counts(preview),),
    )


def preview_warnings(preview: Preview) -> list[str]:
    """Why the plan cannot be applied, or that it was computed against other routes."""
    if preview.action == "revert":
        return []
    if preview.status != "projected":
        return [f"The plan is {preview.status}; only a projected plan can be applied."]
    if not preview.stale:
        return []
    return ["The plan was computed against other live routes:", *map(str, preview.stale)]


def target_text(route: ProposedRoute) -> str:
    """The model that a route sends requests to, and whether whole sessions go there."""
    return route.then.target_model + (", whole sessions" if route.sticky else "")


def _target(change: RouteChange, action: str) -> str:
    """Where the route sends requests, and which plan it belongs to."""
    live = change.after or change.before
    target = (
        ""
        if live is None
        else f"to {plain(target_text(live.route))}, priority {live.route.priority}"
    )
    if change.before is None or change.kind == "removed":
        return target
    if action == "revert" and change.after is not None:
        return f"{target}; from plan {change.after.plan_id}"
    return f"{target}; live from plan {change.before.plan_id}"


def _value(value: Any, empty: str) -> str:
    if value is None or value == []:
        return empty
    return plain(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _change_counts(preview: Preview) -> str:
    verbs = _VERBS[preview.action]
    counts = {kind: sum(change.kind == kind for change in preview.changes) for kind in verbs}
    parts = [f"{count:,} {verbs[kind]}" for kind, count in counts.items() if count]
    others = plural(
        preview.untouched, "other live route stays as it is", "other live routes stay as they are"
    )
    return f"{', '.join(parts) or 'no routes'}; {others}"


def drift_card(drift: Drift) -> Card:
    """The card of a drift check."""
    rows = tuple(
        Row((route.kind, route.name, _DRIFT[route.kind]), tuple(drift_details(route)))
        for route in drift.routes
    )
    entries = plural(drift.entries, "entry", "entries")
    return Card(
        "drift",
        _drift_title(drift),
        tables=(Table(rows, header=1),),
        notes=tuple(problem.message for problem in drift.problems),
        footer=(f"{entries} followed; the chain: {drift.chain}",),
    )


def drift_details(route: RouteDrift) -> list[str]:
    """Which fields of a route differ, and how."""
    if route.unreadable is not None:
        return [f"the row is not a valid route: {plain(route.unreadable)}"]
    if route.expected is None or route.found is None:
        return []
    signed, live = _fields(route.expected), _fields(route.found)
    return [
        f"{name}: signed {_field(signed, name)}, found {_field(live, name)}"
        for name in route.fields
    ]


def _fields(live: LiveRoute) -> dict[str, Any]:
    return live.route.model_dump(mode="json") | {
        "plan_id": str(live.plan_id),
        "applied_at": live.applied_at.isoformat(),
    }


def _field(fields: dict[str, Any], name: str) -> str:
    value: Any = fields
    for part in name.split("."):
        value = value.get(part)
    return _value(value, "nothing")


def _drift_title(drift: Drift) -> str:
    if drift.ok:
        count = plural(drift.live, "live route matches", "live routes match")
        return f"NO DRIFT: {count} what was signed"
    if drift.routes:
        count = plural(len(drift.routes), "route differs", "routes differ")
        return f"DRIFT: {count} from what was signed"
    return "DRIFT: plans and chain do not agree"


def export_card(export: RouteExport) -> Card:
    """The card of an export."""
    routes, gateway = plural(export.routes, "live route"), GATEWAYS[export.gateway]
    title = (
        f"{routes} written to {export.path} for {gateway}"
        if export.changed
        else f"{export.path} already has the {routes} for {gateway}"
    )
    return Card("export", title, notes=tuple(map(str, export.losses)), footer=export.notes)
