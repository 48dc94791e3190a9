"""Compare a plan with what happened once its routes were live.

A change in traffic is not an error of the plan: the projected rate of each kind of request is
applied to the requests that came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from ttplan.history.timeline import APPLIED, load_history
from ttplan.model.errors import InputError, InvalidState
from ttplan.model.plan import Interval
from ttplan.model.results.reconciliation import (
    CostChange,
    FigureName,
    ReconciledFigure,
    Reconciliation,
    TrackRecord,
)
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.context import Context, PlanRef, require_plan
from ttplan.operations.filters import TimeLike, parse_time_or_none
from ttplan.store.protocol import Snapshot
from ttplan.store.transactions import run_in_transaction

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from ttplan.engine.observed import Actual, Figures, Projection

MIN_REQUESTS = 200
"""With fewer requests than this, an actual figure says little."""
_DAY = timedelta(days=1)
Estimate = tuple[float, Interval | None]


class LivePeriod(NamedTuple):
    """When a plan's routes were live unchanged: from (inclusive), to (exclusive), what ended it."""

    since: datetime
    until: datetime
    ended: str | None


def reconcile(context: Context, plan: PlanRef, *, until: TimeLike | None = None) -> Reconciliation:
    """Compare an applied plan with the requests that were logged while its routes were live.

    The result is kept in the store.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.
    until : time, optional
        Only compare requests before this time: a timezone-aware datetime, an ISO 8601 string or a
        date (00:00 UTC).

    Returns
    -------
    ReconciliationCard
        Each figure as projected, as expected of the traffic that came, and as logged; money in
        USD.

    Raises
    ------
    PlanNotFound, InvalidState
        If there is no such plan, or it was never applied.
    InputError
        If there is nothing to compare.
    StoreError
        If the result cannot be stored. Nothing is written then.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.reconcile("cheaper")
    Traceback (most recent call last):
    ...
    ttplan.model.errors.InputError: no request was logged since plan ...
    """
    plan_id, end = context.plan_id(plan), parse_time_or_none(until, "until")
    with context.store.read() as snapshot:
        run = require_plan(snapshot, plan_id)
        reconciliation = compare_with_log(snapshot, run, context.clock(), end)
    run_in_transaction(context.store, lambda tx: tx.add_reconciliation(run.org_id, reconciliation))
    return reconciliation


def track_record(context: Context) -> TrackRecord:
    """Summarise how the reconciled plans did, each by its last reconciliation.

    Returns
    -------
    TrackRecordCard
        How many actual costs were inside the interval of their plan, and by how much (percent)
        they differed from what was expected.

    Examples
    --------
    >>> ws.track_record().result.plans
    0
    """
    with context.store.read() as snapshot:
        org_id = snapshot.org_id()
        return summarise([] if org_id is None else snapshot.reconciliations(org_id))


def compare_with_log(
    snapshot: Snapshot, run: StoredPlan, at: datetime, until: datetime | None = None
) -> Reconciliation:
    """Compare a plan with the log, without keeping the result."""
    from ttplan.engine.observed import observe_figures, project_figures
    from ttplan.engine.replay_spec import ReplaySpec

    if run.status not in ("applied", "reverted") or run.applied_at is None:
        raise InvalidState(run.plan_id, run.status, expected="applied")
    if not snapshot.request_count():
        raise InputError(
            "the store holds no requests to compare the plan with; import the log since it was "
            "applied"
        )
    table = snapshot.requests()
    period = _period(snapshot, run, table, until)
    spec = ReplaySpec.from_run(run)
    projection = project_figures(table, spec)
    if projection is None:
        raise InputError(
            f"none of the requests that plan {run.plan_id} was computed from is in the store; "
            f"import the log of {run.result.window_start:%Y-%m-%d} to "
            f"{run.result.window_end:%Y-%m-%d}"
        )
    live_spec = replace(spec, window_start=period.since, window_end=period.until)
    actual = observe_figures(table, live_spec, projection.rule, projection.kinds)
    if actual.figures is None:
        raise InputError(
            f"no request of a kind that plan {run.plan_id} projected was logged from "
            f"{period.since:%Y-%m-%d %H:%M} to {period.until:%Y-%m-%d %H:%M}, "
            "while its routes were "
            "live; import the log of that time"
        )
    return _reconciled(run, at, period, projection, actual, actual.figures)


def _period(
    snapshot: Snapshot, run: StoredPlan, table: ir.Table, until: datetime | None
) -> LivePeriod:
    """From the apply to its end, by the chain or the row; at most to the last request."""
    import ibis

    from ttplan.engine.dialects import fetch

    since = run.applied_at
    assert since is not None  # noqa: S101 - `compare_with_log` has checked it
    own_rows = table.filter(table.org_id == ibis.literal(str(run.org_id)).cast(table.org_id.type()))
    last = fetch(own_rows.aggregate(last=own_rows.ts.max())).to_pylist()[0]["last"]
    ends: list[tuple[datetime, str | None]] = [(until, None)] if until is not None else []
    if last is not None:
        ends.append((last + timedelta(microseconds=1), None))
    steps = load_history(snapshot, run.org_id).steps
    own = next(
        (
            n
            for n, step in enumerate(steps)
            if step.event == APPLIED and step.plan_id == run.plan_id
        ),
        None,
    )
    if own is not None and own + 1 < len(steps):
        after = steps[own + 1]
        done = "reverted" if after.event != APPLIED else "applied"
        reason = (
            f"plan {after.plan_name!r:.60} was {done} on {after.at:%Y-%m-%d %H:%M}, which ends the "
            "comparison"
        )
        ends.append((after.at, reason))
    elif run.reverted_at is not None:
        reason = (
            f"the plan was reverted on {run.reverted_at:%Y-%m-%d %H:%M}, which ends the comparison"
        )
        ends.append((run.reverted_at, reason))
    end, ended = min(ends, key=lambda end: end[0]) if ends else (since, None)
    if end <= since:
        raise InputError(
            f"no request was logged since plan {run.plan_id} was applied "
            f"on {since:%Y-%m-%d %H:%M}, "
            "while its routes were live; import the log of that time"
        )
    return LivePeriod(since, end, ended)


def _reconciled(
    run: StoredPlan,
    at: datetime,
    period: LivePeriod,
    projection: Projection,
    actual: Actual,
    observed: Figures,
) -> Reconciliation:
    known = {kind: group for kind, group in actual.kinds.items() if kind in projection.kinds}
    new = [group for kind, group in actual.kinds.items() if kind not in projection.kinds]
    window_days = (run.result.window_end - run.result.window_start) / _DAY
    days = (period.until - period.since) / _DAY
    projected = projection.figures
    rate = float(projected.cost) / projected.requests
    expected = sum(
        float(projection.kinds[kind].cost) / projection.kinds[kind].requests * group.requests
        for kind, group in known.items()
    )
    hits = sum(
        projection.kinds[kind].hits / projection.kinds[kind].requests * group.requests
        for kind, group in known.items()
    )
    n = observed.requests
    change = CostChange(
        volume=(n / days - projected.requests / window_days) * rate,
        mix=(expected - n * rate) / days,
        rate=(float(observed.cost) - expected) / days,
        new=float(sum(group.cost for group in new)) / days,
    )
    per_request = _scaled(projected.cost_95, 1 / projected.requests)
    as_mixed = expected / (n * rate) if rate else 1.0
    p50, p95 = (projected.p50, projected.p50_95), (projected.p95, projected.p95_95)
    figures = (
        _figure(
            "cost_per_request_usd",
            (rate, per_request),
            (expected / n, _scaled(per_request, as_mixed)),
            (float(observed.cost) / n, _scaled(observed.cost_95, 1 / n)),
        ),
        _figure(
            "cost_per_day_usd",
            (float(projected.cost) / window_days, _scaled(projected.cost_95, 1 / window_days)),
            (expected / days, _scaled(per_request, as_mixed * n / days)),
            (float(observed.cost) / days, _scaled(observed.cost_95, 1 / days)),
        ),
        _figure(
            "cache_hit_rate",
            (projected.hit_rate, projected.hit_rate_95),
            (
                hits / n,
                _scaled(
                    projected.hit_rate_95,
                    hits / n / projected.hit_rate if projected.hit_rate else 1.0,
                ),
            ),
            (observed.hit_rate, observed.hit_rate_95),
        ),
        _figure("p50_latency_ms", p50, p50, (observed.p50, observed.p50_95)),
        _figure("p95_latency_ms", p95, p95, (observed.p95, observed.p95_95)),
    )
    new_requests = sum(group.requests for group in new)
    return Reconciliation(
        plan_id=run.plan_id,
        plan_name=run.name,
        reconciled_at=at,
        since=period.since,
        until=period.until,
        requests=n,
        new_requests=new_requests,
        projected_requests=projected.requests,
        interval_unit=run.result.interval_unit,
        figures=figures,
        change=change,
        caveats=tuple(_caveats(run, period, projection, n, new_requests)),
    )


def _figure(
    name: FigureName, projected: Estimate, expected: Estimate, actual: Estimate
) -> ReconciledFigure:
    from ttplan.engine.backtest import consistent

    ends, actual_ends = expected[1], actual[1]
    return ReconciledFigure(
        name=name,
        projected=projected[0],
        projected_95=projected[1],
        expected=expected[0],
        expected_95=ends,
        actual=actual[0],
        actual_95=actual_ends,
        inside=None if ends is None else ends[0] <= actual[0] <= ends[1],
        consistent=None
        if ends is None or actual_ends is None
        else consistent(expected[0], ends, actual[0], actual_ends),
    )


def _scaled(ends: Interval | None, factor: float) -> Interval | None:
    return None if ends is None else (ends[0] * factor, ends[1] * factor)


def _caveats(
    run: StoredPlan, period: LivePeriod, projection: Projection, n: int, new: int
) -> Iterable[str]:
    if n < MIN_REQUESTS:
        yield f"Only {n:,} requests since: the actual figures say little yet."
    if new:
        yield (
            f"{new:,} of {n + new:,} requests are of kinds that the plan's window had none of: "
            "their cost stands under new."
        )
    if projection.figures.requests != run.result.sample_size:
        yield (
            f"The store has {projection.figures.requests:,} requests of the plan's window, and the "
            f"plan was computed from {run.result.sample_size:,}: "
            "what is projected is of those in the store."
        )
    if not projection.rule.by_tag:
        yield "The log has so many tags that kinds of requests are told apart without them."
    if period.ended is not None:
        yield f"{period.ended[0].upper()}{period.ended[1:]}."


def summarise(reconciliations: Sequence[Reconciliation]) -> TrackRecord:
    """How plans did, each by the last of its reconciliations, which come oldest first."""
    from ttplan.quality.judge.accuracy import wilson_interval_pct

    last: Mapping[UUID, Reconciliation] = {latest.plan_id: latest for latest in reconciliations}
    figures = [latest.of("cost_per_request_usd") for latest in last.values()]
    judged = [figure for figure in figures if figure.inside is not None]
    errors = tuple(
        (figure.actual - figure.expected) / figure.expected * 100
        for figure in figures
        if figure.expected
    )
    inside = sum(bool(figure.inside) for figure in judged)
    return TrackRecord(
        plans=len(last),
        judged=len(judged),
        inside=inside,
        consistent=sum(bool(figure.consistent) for figure in judged),
        inside_pct_95=wilson_interval_pct(inside, len(judged)) if judged else None,
        errors_pct=errors,
        median_error_pct=median(map(abs, errors)) if errors else None,
        bias_pct=fmean(errors) if errors else None,
    )
