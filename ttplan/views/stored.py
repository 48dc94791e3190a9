"""Views of what is stored: plans, assumptions, live routes and their history, pages of requests and
entries."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

import orjson
import pyarrow as pa

from ttplan.display.plan.assumptions import WORDINGS
from ttplan.gateways.plan_file import plan_yaml, write_plan_file
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import InputError
from ttplan.model.projection.assumption import MEANINGS, AssumptionEffect
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import LiveRoute, StoredPlan
from ttplan.operations.chain.store_chain import EntryPage
from ttplan.operations.requests import RequestPage
from ttplan.operations.routes.history import RouteEvent
from ttplan.util.paths import PathLike
from ttplan.views.columns import (
    ASSUMPTIONS,
    ENTRIES,
    PLANS,
    REQUESTS,
    ROUTE_HISTORY,
    ROUTES,
    SAVINGS,
)
from ttplan.views.frame import View, make_view

PER_WINDOW = "USD per window, 95 % intervals"
UNREADABLE = "not readable: verify the chain"
"""The event of an entry whose stored body is not valid."""
_EFFECT_FIELDS = [name for name in ASSUMPTIONS if name in AssumptionEffect.model_fields]
"""The columns of `ASSUMPTIONS` that are fields of an effect."""
_YAML_HEADING = (
    "A route is known by its id: keep that, and change the name, to rename it. "
    "A new route needs no id."
)


class RoutesView(View):
    """A view of live routes, which can be written as a plan file."""

    _metadata: ClassVar[list[str]] = ["_routes"]
    _routes: tuple[ProposedRoute, ...] = ()

    @property
    def _constructor(self) -> type[RoutesView]:
        return RoutesView

    def to_yaml(self, path: PathLike | None = None, *, overwrite: bool = False) -> str:
        """The routes of the view as the text of a plan file, with their ids.

        Edit the text and plan with it: a route keeps its identity by its id, so a route whose name
        changes is renamed.

        Parameters
        ----------
        path : str or path-like, optional
            A file to write the text to as well.
        overwrite : bool
            Replace the file if it exists.

        Returns
        -------
        str
            YAML with the routes whose rows are in the view, by precedence.

        Raises
        ------
        InputError
            If the view has no column `route_id`, if the file exists or cannot be written, or if a
            bound in USD has more digits than a number in YAML keeps.
        """
        if "route_id" not in self:
            raise InputError("the view has no column route_id; expected a selection of ws.routes()")
        ids = set(self["route_id"])
        routes = [route for route in self._routes if str(route.id) in ids]
        if path is not None:
            write_plan_file(path, routes, heading=_YAML_HEADING, overwrite=overwrite)
        return plan_yaml(routes, heading=_YAML_HEADING)


def plans_view(figures: pa.Table, *, exact: bool = False) -> View:
    """One row per plan, oldest first; columns `PLANS`."""
    title = f"plans ({PER_WINDOW}, times in UTC)"
    return make_view(figures.to_pylist(), PLANS, title=title, exact=exact)


def savings_view(figures: pa.Table, *, exact: bool = False) -> View:
    """What each plan saves; columns `SAVINGS`. Failed plans have no figures and are left out."""
    rows = [
        row | {"savings_pct": savings_pct(row), "saved_already_usd": saved_already(row)}
        for row in figures.to_pylist()
        if row["status"] != "failed"
    ]
    return make_view(rows, SAVINGS, title=f"savings ({PER_WINDOW})", exact=exact)


def saved_already(row: dict[str, Any]) -> Decimal:
    """What was saved without the plan."""
    already: Decimal = row["baseline_usd"] - row["actual_usd"]
    return already


def savings_pct(row: dict[str, Any]) -> float:
    """Savings in percent of the baseline; 0 if the baseline is 0."""
    return float(row["savings_usd"] / row["baseline_usd"] * 100) if row["baseline_usd"] else 0.0


def routes_view(live_routes: Sequence[LiveRoute], *, title: str = "live routes") -> RoutesView:
    """One row per live route, by precedence; columns `ROUTES`."""
    rows = [
        {
            "name": live.route.name,
            **_route_columns(live),
            "plan_id": str(live.plan_id),
            "applied_at": live.applied_at,
            "route_id": str(live.route.id),
        }
        for live in live_routes
    ]
    frame = make_view(rows, ROUTES, title=title)
    view = RoutesView(frame)
    view.attrs |= frame.attrs
    view._routes = tuple(live.route for live in live_routes)
    return view


def conditions(live: LiveRoute) -> str:
    """A route's conditions on one line, such as `tag_equals=chat, input_tokens_lt=1000`.

    A route that follows whole sessions ends with `sticky=session`.
    """
    fields = live.route.when.model_dump(mode="json", exclude_defaults=True)
    parts = [
        f"{name}={'|'.join(value) if isinstance(value, list) else value}"
        for name, value in fields.items()
    ]
    sticky = [f"sticky={live.route.sticky}"] if live.route.sticky else []
    return ", ".join([*(parts or ["any"]), *sticky])


def route_history_view(events: Sequence[RouteEvent], name: str) -> View:
    """The changes of one route, oldest first; columns `ROUTE_HISTORY`."""
    rows = [
        {
            "since": event.since,
            "event": event.event,
            "plan_id": str(event.plan_id),
            "plan": event.plan_name,
            "name": event.name,
            "live": event.live is not None,
            "renamed_to": event.renamed_to,
            **({} if event.live is None else _route_columns(event.live)),
            "seq": event.seq,
        }
        for event in events
    ]
    return make_view(rows, ROUTE_HISTORY, title=f"route {name} (times in UTC)")


def _route_columns(live: LiveRoute) -> dict[str, Any]:
    return {
        "priority": live.route.priority,
        "enabled": live.route.enabled,
        "target_model": live.route.then.target_model,
        "conditions": conditions(live),
    }


def assumptions_view(run: StoredPlan) -> View:
    """One row per assumption, those first that can change most; columns `ASSUMPTIONS`."""
    rows = [
        {"plan_id": str(run.plan_id), **_assumption(effect)} for effect in run.result.assumptions
    ]
    notes = [] if run.result.full else ["This plan is not a full projection: it has none."]
    title = f"assumptions of {run.name} (USD per window)"
    return make_view(rows, ASSUMPTIONS, title=title, notes=notes)


def _assumption(effect: AssumptionEffect) -> dict[str, Any]:
    unit = WORDINGS[effect.name].unit
    return {
        "assumption": effect.name,
        "meaning": MEANINGS[effect.name].text,
        "unit": "share" if unit == "%" else unit,
        "model": effect.source_model,
        **{name: getattr(effect, name) for name in _EFFECT_FIELDS},
        "note": effect.note or None,
    }


def requests_view(page: RequestPage, *, exact: bool = False) -> View:
    """A page of requests, by time and id; columns `REQUESTS`."""
    rows = [] if page.rows is None else page.rows.to_pylist()
    notes = [_next_page(f"requests(after={rows[-1]['id']!r}, …)")] if page.more else []
    return make_view(rows, REQUESTS, title="requests (USD, times in UTC)", notes=notes, exact=exact)


def entries_view(page: EntryPage) -> View:
    """A page of the chain, by seq; columns `ENTRIES`. Invalid entries have the event
    `UNREADABLE`."""
    notes = [_next_page(f"entries(after={page.records[-1].seq}, …)")] if page.more else []
    title = "audit chain (times in UTC)"
    return make_view(map(_entry, page.records), ENTRIES, title=title, notes=notes)


def _next_page(call: str) -> str:
    return f"More rows follow: the next page is {call}."


def _entry(record: StoredEntry) -> dict[str, Any]:
    try:
        body = orjson.loads(record.body)
        payload = body["payload"]
        plan_id = payload.get("plan_id")
        columns = {
            "time": body["timestamp"],
            "event": body["event"],
            "actor": _actor(body["actor"]),
            "plan_id": plan_id if isinstance(plan_id, str) else None,
            "payload": orjson.dumps(payload, option=orjson.OPT_SORT_KEYS).decode(),
        }
    except (ValueError, LookupError, TypeError, AttributeError):  # somebody changed the row
        columns = {"event": UNREADABLE}
    return {"seq": record.seq, **columns, "hash": record.hash}


def _actor(actor: dict[str, str]) -> str:
    """The type of the actor, and its id if it has one."""
    return " ".join([actor["type"], *(value for name, value in actor.items() if name != "type")])
