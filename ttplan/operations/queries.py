"""Read what is stored: plans in figures and by part. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from ttplan.model.errors import InputError, PlanNotFound
from ttplan.model.stored_plan import Status, StoredPlan
from ttplan.operations.context import Context, PlanRef, require_plan
from ttplan.operations.filters import TimeLike, plan_filter
from ttplan.store.protocol import PlanFilter, Snapshot, Store

if TYPE_CHECKING:
    import pyarrow as pa

    from ttplan.engine.breakdown import BreakdownRow

_NO_INTERVALS = ("none", "tt-plan-core")


class PlanFigures(NamedTuple):
    """Figures of plans by `ttplan.store.plan_summary.summary_schema()`, oldest first."""

    table: pa.Table
    exact: bool


class PlanBreakdown(NamedTuple):
    """A plan and its parts."""

    run: StoredPlan
    parts: list[BreakdownRow]


class Savings(NamedTuple):
    """Plans by part, oldest first, and those whose requests are not in the store."""

    by: Sequence[str]
    plans: list[PlanBreakdown]
    without: list[StoredPlan]
    exact: bool


class SavingsByCause(NamedTuple):
    """Plans with what causes their change, oldest first, and those for which it is not known."""

    plans: list[StoredPlan]
    without: list[StoredPlan]
    exact: bool


class Latencies(NamedTuple):
    """A plan's requests by their latency (ms), as logged and as projected."""

    run: StoredPlan
    then: Mapping[int, int]
    now: Mapping[int, int]


def plans(
    context: Context,
    *,
    status: Status | None = None,
    name: str | None = None,
    since: TimeLike | None = None,
    until: TimeLike | None = None,
    limit: int | None = None,
    exact: bool = False,
) -> PlanFigures:
    """List the plans, oldest first.

    Parameters
    ----------
    status : str, optional
        "projected", "applied", "reverted" or "failed".
    name : str, optional
        A part of the plan's name, case-sensitive.
    since, until : time, optional
        When the plan was made: from (inclusive) and to (exclusive). A timezone-aware datetime, an
        ISO 8601 string or a date (00:00 UTC).
    limit : int, optional
        Keep the newest plans only.
    exact : bool, default False
        Money as decimals to the last digit, instead of floats.

    Returns
    -------
    View
        A DataFrame with the columns `ttplan.views.PLANS`. Money is USD per window.

    Raises
    ------
    InputError
        If a filter cannot be used.
    StoreError
        If a plan's row is corrupt.

    Examples
    --------
    >>> list(ws.plans(status="projected")["name"])
    ['cheaper']
    """
    filters = plan_filter(status=status, name=name, since=since, until=until, limit=limit)
    return PlanFigures(_plan_figures(context.store, filters), exact)


def savings(
    context: Context,
    by: str | Sequence[str] = "plan",
    *,
    plan: PlanRef | None = None,
    status: Status | None = None,
    name: str | None = None,
    since: TimeLike | None = None,
    until: TimeLike | None = None,
    limit: int | None = None,
    exact: bool = False,
) -> PlanFigures | Savings | SavingsByCause:
    """Show what plans save, projected, against the baseline and against what was paid.

    Parameters
    ----------
    by : str or sequence of str, default "plan"
        "plan"; or "cause": what full projections change by prices, tokens, caches, fees and
        recorded costs beside list prices, in this order; or one or more of "route", "tag",
        "model", "target_model" and "day": the plans' requests are then replayed in the store with
        the plans' own routes and prices. The parts add up to the plan.
    plan : Plan, UUID or str, optional
        Only this plan.
    status, name, since, until, limit, exact
        As in `plans`.

    Returns
    -------
    View
        A DataFrame with the columns `ttplan.views.SAVINGS` and those of `by`; by cause,
        `ttplan.views.SAVINGS_BY_CAUSE`.

    Raises
    ------
    InputError
        If `by` is unknown, or the store no longer has the requests of `plan`.
    PlanNotFound
        If there is no such plan.

    Examples
    --------
    >>> ws.savings()["savings_usd"].item() > 0
    True
    >>> list(ws.savings(by="target_model")["target_model"])
    ['claude-haiku-4-5', 'gpt-4o-mini', 'claude-sonnet-4-5', 'gpt-4o']
    """
    filters = plan_filter(
        plan_id=None if plan is None else context.plan_id(plan),
        status=status,
        name=name,
        since=since,
        until=until,
        limit=limit,
    )
    if by == "plan":
        return PlanFigures(_plan_figures(context.store, filters), exact)
    if by == "cause" or list(by) == ["cause"]:
        return _savings_by_cause(context.store, filters, exact)
    return _savings_by(context.store, [by] if isinstance(by, str) else list(by), filters, exact)


def latencies(context: Context, plan: PlanRef) -> Latencies:
    """Count a plan's requests by latency, as logged and as projected.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.

    Returns
    -------
    View
        A DataFrame with the columns `ttplan.views.LATENCIES`; latencies in milliseconds.

    Raises
    ------
    PlanNotFound
        If there is no such plan.
    InputError
        If the store no longer has the plan's requests.

    Examples
    --------
    >>> frame = ws.latencies("cheaper")
    >>> int(frame["then"].sum()) == ws.show("cheaper").result.sample_size
    True
    """
    plan_id = context.plan_id(plan)
    with context.store.read() as snapshot:
        run = require_plan(snapshot, plan_id)
        if not run.result.sample_size:
            return Latencies(run, {}, {})
        if not snapshot.request_count() or _parts(snapshot, run, ["model"]) is None:
            raise _not_stored(run)

        from ttplan.engine.breakdown import latency_histograms
        from ttplan.engine.replay_spec import ReplaySpec

        return Latencies(run, *latency_histograms(snapshot.requests(), ReplaySpec.from_run(run)))


def assumptions(context: Context, plan: PlanRef) -> StoredPlan:
    """List what a full projection assumes: values, sources, effects and break-evens.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.

    Returns
    -------
    View
        A DataFrame with the columns `ttplan.views.ASSUMPTIONS`, those first that can change most.
        Without rows if the plan is not a full projection.

    Raises
    ------
    PlanNotFound
        If there is no such plan.

    Examples
    --------
    >>> frame = ws.assumptions("cheaper")
    >>> "ratio_out" in set(frame["assumption"])
    True
    """
    plan_id = context.plan_id(plan)
    with context.store.read() as snapshot:
        return require_plan(snapshot, plan_id)


def _plan_figures(store: Store, filters: PlanFilter) -> pa.Table:
    from ttplan.store.plan_summary import summary_schema

    with store.read() as snapshot:
        org_id = snapshot.org_id()
        return (
            summary_schema().empty_table()
            if org_id is None
            else snapshot.plan_summaries(org_id, filters)
        )


def _savings_by(store: Store, by: Sequence[str], filters: PlanFilter, exact: bool) -> Savings:
    """Savings by part. A plan has parts only if they add up to what its replay found."""
    from ttplan.engine.breakdown import DIMENSIONS

    unknown = [name for name in by if name not in DIMENSIONS]
    if unknown or not by:
        what = f"{unknown[0]!r:.60}" if unknown else "nothing"
        raise InputError(
            f"savings by {what}; expected plan, cause, or one or more of {', '.join(DIMENSIONS)}"
        )
    if len(set(by)) < len(by):
        raise InputError(f"savings by {', '.join(by)}; expected each of them once")
    breakdowns, without = [], []
    found = _find_plans(store, filters)
    with store.read() as snapshot:
        for run in _replayed(snapshot, found):
            parts = _parts(snapshot, run, by)
            if parts is None:
                without.append(run)
            else:
                breakdowns.append(PlanBreakdown(run, parts))
    if filters.plan_id is not None and without:
        raise _not_stored(without[0])
    return Savings(by, breakdowns, without, exact)


def _savings_by_cause(store: Store, filters: PlanFilter, exact: bool) -> SavingsByCause:
    """The plans with their causes, which their results have."""
    plans: list[StoredPlan] = []
    without: list[StoredPlan] = []
    found = _find_plans(store, filters)
    with store.read() as snapshot:
        for run in _replayed(snapshot, found):
            (without if run.result.change_by_cause is None else plans).append(run)
    return SavingsByCause(plans, without, exact)


def _find_plans(store: Store, filters: PlanFilter) -> list[UUID]:
    """The ids of plans that match and did not fail. Raises PlanNotFound if the one that the filter
    names does not exist."""
    figures = _plan_figures(store, filters)
    if filters.plan_id is not None and not figures.num_rows:
        raise PlanNotFound(filters.plan_id)
    rows = figures.select(["plan_id", "status"]).to_pylist()
    return [UUID(row["plan_id"]) for row in rows if row["status"] != "failed"]


def _replayed(snapshot: Snapshot, found: Iterable[UUID]) -> Iterator[StoredPlan]:
    """The plans with these ids, as far as they are still stored."""
    for plan_id in found:
        run = snapshot.plan(plan_id)
        if run is not None:
            yield run


def _not_stored(run: StoredPlan) -> InputError:
    result = run.result
    return InputError(
        f"the store no longer has the {result.sample_size:,} requests that plan {run.plan_id} was "
        f"computed from, so it cannot replay them; import the log of "
        f"{result.window_start:%Y-%m-%d %H:%M} to {result.window_end:%Y-%m-%d %H:%M}, or make a "
        "new plan"
    )


def _parts(snapshot: Snapshot, run: StoredPlan, by: Sequence[str]) -> list[BreakdownRow] | None:
    """The parts of a plan; None if they do not add up to it."""
    from ttplan.engine.breakdown import break_down_plan
    from ttplan.engine.replay_spec import ReplaySpec

    parts, result = [], run.result
    if result.sample_size:
        if not snapshot.request_count():
            return None
        intervals = result.interval_method not in _NO_INTERVALS
        parts = break_down_plan(
            snapshot.requests(), ReplaySpec.from_run(run), by, intervals=intervals
        )
    totals = result.aggregates
    expected = (
        result.sample_size,
        totals.total_baseline_cost_usd,
        totals.total_actual_cost_usd,
        totals.total_projected_cost_usd,
    )
    sums = tuple(
        sum(getattr(part, name) for part in parts)
        for name in ("requests", "baseline", "actual", "projected")
    )
    return parts if sums == expected else None
