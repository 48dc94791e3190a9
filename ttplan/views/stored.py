"""Views of what is stored: plans, live routes and what became of them, pages of requests and of the chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

from ttplan.model.audit import StoredEntry
from ttplan.model.stored_plan import LiveRoute
from ttplan.operations.queries import EntryPage, RequestPage
from ttplan.operations.routes.history import Turn
from ttplan.views.columns import CHAIN, HISTORY, PLANS, REQUESTS, ROUTES, SAVINGS
from ttplan.views.frame import View, make_view

PER_WINDOW = "USD per window, 95 % intervals"


def plans_view(figures: pa.Table, *, exact: bool = False) -> View:
    """One row for each plan, oldest first; columns `PLANS`."""
    return make_view(
        figures.to_pylist(), PLANS, title=f"plans ({PER_WINDOW}, times in UTC)", exact=exact
    )


def savings_view(figures: pa.Table, *, exact: bool = False) -> View:
    """What each plan saves; columns `SAVINGS`. Failed plans, which have no figures, are left out."""
    rows = [
        row | {"savings_pct": percent(row)}
        for row in figures.to_pylist()
        if row["status"] != "failed"
    ]
    return make_view(rows, SAVINGS, title=f"savings ({PER_WINDOW})", exact=exact)


def percent(row: dict[str, Any]) -> float:
    """Savings in percent of the baseline; 0 where that is 0."""
    return float(row["savings_usd"] / row["baseline_usd"] * 100) if row["baseline_usd"] else 0.0


def routes_view(live: Sequence[LiveRoute], *, title: str = "live routes") -> View:
    """One row for each live route, by precedence; columns `ROUTES`."""
    rows = [
        {
            "name": one.route.name,
            **_route(one),
            "plan_id": str(one.plan_id),
            "applied_at": one.applied_at,
            "route_id": str(one.route.id),
        }
        for one in live
    ]
    return make_view(rows, ROUTES, title=title)


def conditions(one: LiveRoute) -> str:
    """A route's conditions as one line, such as `tag_equals=chat, input_tokens_lt=1000`."""
    asked = one.route.when.model_dump(mode="json", exclude_defaults=True)
    return (
        ", ".join(
            f"{name}={'|'.join(value) if isinstance(value, list) else value}"
            for name, value in asked.items()
        )
        or "any"
    )


def history_view(turns: Sequence[Turn], name: str) -> View:
    """What became of one route, oldest first; columns `HISTORY`."""
    rows = [
        {
            "since": turn.since,
            "event": turn.event,
            "plan_id": str(turn.plan_id),
            "plan": turn.plan_name,
            "name": turn.name,
            "live": turn.live is not None,
            "renamed_to": turn.renamed_to,
            **({} if turn.live is None else _route(turn.live)),
            "seq": turn.seq,
        }
        for turn in turns
    ]
    return make_view(rows, HISTORY, title=f"route {name} (times in UTC)")


def _route(one: LiveRoute) -> dict[str, Any]:
    return {
        "priority": one.route.priority,
        "enabled": one.route.enabled,
        "target_model": one.route.then.target_model,
        "conditions": conditions(one),
    }


def requests_view(page: RequestPage, *, exact: bool = False) -> View:
    """A page of requests, in the order of time and id; columns `REQUESTS`."""
    rows = [] if page.rows is None else page.rows.to_pylist()
    notes = (
        [f"More follow: the next page is requests(after={rows[-1]['id']!r}, …)."]
        if page.more
        else []
    )
    return make_view(rows, REQUESTS, title="requests (USD, times in UTC)", notes=notes, exact=exact)


def chain_view(page: EntryPage) -> View:
    """A page of the chain, by seq; columns `CHAIN`."""
    notes = (
        [f"More follow: the next page is chain(after={page.records[-1].seq}, …)."]
        if page.more
        else []
    )
    return make_view(
        map(_entry, page.records), CHAIN, title="audit chain (times in UTC)", notes=notes
    )


def _entry(record: StoredEntry) -> dict[str, Any]:
    body = orjson.loads(record.body)
    payload = body["payload"]
    plan_id = payload.get("plan_id")
    return {
        "seq": record.seq,
        "time": body["timestamp"],
        "event": body["event"],
        "actor": _actor(body["actor"]),
        "plan_id": plan_id if isinstance(plan_id, str) else None,
        "payload": orjson.dumps(payload, option=orjson.OPT_SORT_KEYS).decode(),
        "hash": record.hash,
    }


def _actor(actor: dict[str, str]) -> str:
    """The kind of actor, and its id where it has one."""
    return " ".join([actor["type"], *(value for name, value in actor.items() if name != "type")])
