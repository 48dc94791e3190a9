"""Looking at what is stored: plans in figures and in parts, pages of requests and of the chain. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import ibis

from ttplan.engine.breakdown import DIMENSIONS, BreakdownRow, break_down_plan, latency_histograms
from ttplan.engine.dialects import fetch
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import InputError, PlanNotFound
from ttplan.model.stored_plan import StoredPlan
from ttplan.store.plan_summary import summary_schema
from ttplan.store.protocol import EntryFilter, PlanFilter, Snapshot, Store

if TYPE_CHECKING:
    import pyarrow as pa

PAGE = 1_000
"""How many requests or entries a page has where nobody says."""
_NO_INTERVALS = ("none", "tt-plan-core")
_TEXT = ("id", "matched_route_id")
REQUEST_COLUMNS = (
    "id",
    "ts",
    "provider",
    "model",
    "tag",
    "status",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cost_usd",
    "baseline_cost_usd",
    "cached",
    "cache_layer",
    "latency_ms",
    "matched_route_id",
    "finish_reason",
    "session_id",
    "source_id",
)
"""What a page of requests has; prompts and answers are not among it."""


class WhichRequests(NamedTuple):
    """Which requests: those of which all holds that is set. `since` is inclusive, `until` exclusive; `after` is the id of the one
    before the first, in the order of (ts, id); `limit` keeps the first."""

    provider: str | None = None
    model: str | None = None
    tag: str | None = None
    status: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: str | None = None
    limit: int = PAGE


class RequestPage(NamedTuple):
    """Requests in the order of (ts, id), and whether more follow."""

    rows: pa.Table | None
    more: bool


class EntryPage(NamedTuple):
    """Entries by seq, and whether more follow."""

    records: list[StoredEntry]
    more: bool


class PlanParts(NamedTuple):
    """A plan and its parts."""

    run: StoredPlan
    parts: list[BreakdownRow]


class Savings(NamedTuple):
    """Plans in parts, oldest first, and those that have none, since their requests are not in the store."""

    plans: list[PlanParts]
    without: list[StoredPlan]


def plan_summaries(store: Store, which: PlanFilter) -> pa.Table:
    """What plans come to, of the schema `ttplan.store.plan_summary.summary_schema()`."""
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        return (
            summary_schema().empty_table()
            if org_id is None
            else snapshot.plan_summaries(org_id, which)
        )


def entry_page(store: Store, which: EntryFilter) -> EntryPage:
    """A page of the chain, of at most `which.limit` entries, or `PAGE`."""
    limit = which.limit or PAGE
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        found = (
            [] if org_id is None else snapshot.find_entries(org_id, which._replace(limit=limit + 1))
        )
    return EntryPage(found[:limit], len(found) > limit)


def request_page(store: Store, which: WhichRequests) -> RequestPage:
    """A page of the logged requests. Raises InputError where `after` is no request's id."""
    with store.read() as snapshot:
        if not snapshot.request_count():
            return RequestPage(None, False)
        table = snapshot.requests()
        equal = {
            "provider": which.provider,
            "model": which.model,
            "tag": which.tag,
            "status": which.status,
        }
        chosen = [table[name] == value for name, value in equal.items() if value is not None]
        if which.since is not None:
            chosen.append(table.ts >= ibis.literal(which.since, "timestamp('UTC', 6)"))
        if which.until is not None:
            chosen.append(table.ts < ibis.literal(which.until, "timestamp('UTC', 6)"))
        if which.after is not None:
            chosen.append(_later(table, which.after))
        page = table.filter(*chosen) if chosen else table
        page = page.order_by("ts", "id").limit(which.limit + 1)
        page = page.select(
            **{
                name: page[name].cast("string") if name in _TEXT else page[name]
                for name in REQUEST_COLUMNS
            }
        )
        rows = fetch(page)
    return RequestPage(rows.slice(0, which.limit), rows.num_rows > which.limit)


def _later(table: ibis.Table, after: str) -> ibis.Value:
    """Whether a request comes after one, by (ts, id)."""
    try:
        last = ibis.literal(str(UUID(after))).cast(table.id.type())
    except ValueError:
        last = None
    found = [] if last is None else fetch(table.filter(table.id == last).select("ts")).to_pylist()
    if not found:
        raise InputError(
            f"after is {after!r:.60}, and no request has that id; expected the id of the last row of a page"
        )
    at = ibis.literal(found[0]["ts"], "timestamp('UTC', 6)")
    return (table.ts > at) | ((table.ts == at) & (table.id > last))


def savings_by(store: Store, by: Sequence[str], which: PlanFilter) -> Savings:
    """What plans save in parts: their requests are asked again, with the routes and prices that are kept with them.

    Parts are only given where they add up to what was found when the plan was made. Raises InputError where `by` is unknown, or
    the one plan that is asked for has no parts, and PlanNotFound.
    """
    unknown = [name for name in by if name not in DIMENSIONS]
    if unknown or not by:
        said = f"{unknown[0]!r:.60}" if unknown else "nothing"
        raise InputError(
            f"savings by {said}; expected plan, or one or more of {', '.join(DIMENSIONS)}"
        )
    if len(set(by)) < len(by):
        raise InputError(f"savings by {', '.join(by)}; expected each of them once")
    plans, without = [], []
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        figures = (
            summary_schema().empty_table()
            if org_id is None
            else snapshot.plan_summaries(org_id, which)
        )
        if which.plan_id is not None and not figures.num_rows:
            raise PlanNotFound(which.plan_id)
        for row in figures.select(["plan_id", "status"]).to_pylist():
            run = None if row["status"] == "failed" else snapshot.plan(UUID(row["plan_id"]))
            if run is None:
                continue
            parts = _parts(snapshot, run, by)
            if parts is None:
                without.append(run)
            else:
                plans.append(PlanParts(run, parts))
    if which.plan_id is not None and without:
        raise _not_stored(without[0])
    return Savings(plans, without)


def _not_stored(run: StoredPlan) -> InputError:
    return InputError(
        f"the store does not have the {run.result.sample_size:,} requests that plan {run.plan_id} was computed from, as they "
        f"were then, so it cannot ask them again; import the log of {run.result.window_start:%Y-%m-%d %H:%M} to "
        f"{run.result.window_end:%Y-%m-%d %H:%M}, or make the plan anew"
    )


class Latencies(NamedTuple):
    """A plan's requests by their latency (ms), as they were and as projected."""

    run: StoredPlan
    then: Mapping[int, int]
    now: Mapping[int, int]


def latencies(store: Store, plan_id: UUID) -> Latencies:
    """How long a plan's requests took, and would take. Raises PlanNotFound, InputError where they are not in the store."""
    with store.read() as snapshot:
        run = snapshot.plan(plan_id)
        if run is None:
            raise PlanNotFound(plan_id)
        if not run.result.sample_size:
            return Latencies(run, {}, {})
        if not snapshot.request_count() or _parts(snapshot, run, ["model"]) is None:
            raise _not_stored(run)
        return Latencies(run, *latency_histograms(snapshot.requests(), ReplaySpec.from_run(run)))


def _parts(snapshot: Snapshot, run: StoredPlan, by: Sequence[str]) -> list[BreakdownRow] | None:
    """The parts of a plan; None where they do not add up to it."""
    found, result = [], run.result
    if result.sample_size:
        if not snapshot.request_count():
            return None
        intervals = result.interval_method not in _NO_INTERVALS
        found = break_down_plan(
            snapshot.requests(), ReplaySpec.from_run(run), by, intervals=intervals
        )
    totals = result.aggregates
    kept = (
        totals.total_baseline_cost_usd,
        totals.total_actual_cost_usd,
        totals.total_projected_cost_usd,
    )
    sums = tuple(
        sum(getattr(part, name) for part in found) for name in ("baseline", "actual", "projected")
    )
    return (
        found
        if (sum(part.requests for part in found), *sums) == (result.sample_size, *kept)
        else None
    )
