"""Make a reconciliation of what a plan projected and what happened."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from ttplan.model.plan import Interval
from ttplan.model.results.reconciliation import (
    CostChange,
    FigureName,
    PartIntervals,
    PlanError,
    RealisedSavings,
    ReconciledFigure,
    Reconciliation,
)
from ttplan.model.stored_plan import StoredPlan

if TYPE_CHECKING:
    from ttplan.engine.reconcile.observed import Actual, Figures, Projection
    from ttplan.engine.reconcile.parts import Comparison
    from ttplan.engine.reconcile.readings import Reading
    from ttplan.engine.reconcile.sums import ReconcileSums
    from ttplan.engine.reconcile.unit import Unit

MIN_REQUESTS = 200
"""With fewer requests than this, an actual figure says little."""
_DAY = timedelta(days=1)
Estimate = tuple[float, Interval | None]


class LivePeriod(NamedTuple):
    """When a plan's routes were live unchanged: from (inclusive), to (exclusive), what ended it."""

    since: datetime
    until: datetime
    ended: str | None


def make_reconciliation(
    run: StoredPlan,
    at: datetime,
    period: LivePeriod,
    projection: Projection,
    actual: Actual,
    observed: Figures,
) -> Reconciliation:
    """The reconciliation of a plan; `observed` are the figures of known kinds of requests."""
    from ttplan.engine.reconcile.parts import PARTS
    from ttplan.engine.reconcile.readings import Reconciler
    from ttplan.engine.reconcile.sums import reconcile_sums

    unit = projection.unit
    days = (
        (run.result.window_end - run.result.window_start) / _DAY,
        (period.until - period.since) / _DAY,
    )
    sums = reconcile_sums(projection.sums, actual.sums)
    reconciler = Reconciler(sums.window, sums.rates, days[0], fixed_clusters=unit.is_period)
    comparison, readings = reconciler.compare(sums.live, days[1])
    new_requests = sum(
        group.requests for kind, group in actual.kinds.items() if kind not in projection.kinds
    )
    return Reconciliation(
        plan_id=run.plan_id,
        plan_name=run.name,
        reconciled_at=at,
        since=period.since,
        until=period.until,
        requests=observed.requests,
        new_requests=new_requests,
        projected_requests=projection.figures.requests,
        interval_unit=unit.name,
        figures=_figures(projection, actual, observed, days),
        change=CostChange(**comparison.parts()),
        caveats=(
            *_caveats(run, period, projection, observed.requests, new_requests),
            *_part_caveats(sums, comparison, unit),
        ),
        savings=_savings(comparison, readings),
        error=_plan_error(comparison, readings),
        intervals=tuple(
            PartIntervals(
                name=name, once_95=readings[name].once, sequence_95=readings[name].sequence
            )
            for name in PARTS
        ),
    )


def _savings(comparison: Comparison, readings: dict[str, Reading]) -> RealisedSavings:
    from ttplan.engine.reconcile.parts import SAVINGS

    saved = readings[SAVINGS]
    return RealisedSavings(
        requests=comparison.rerouted,
        source_usd=comparison.source,
        paid_usd=comparison.source - saved.value,
        usd=saved.value,
        once_95=saved.once,
        sequence_95=saved.sequence,
        projected_usd=comparison.projected_savings,
    )


def _plan_error(comparison: Comparison, readings: dict[str, Reading]) -> PlanError:
    from ttplan.engine.intervals.sequence import once_radius
    from ttplan.engine.reconcile.parts import PLAN

    error, ends = comparison.estimates[PLAN], readings[PLAN].sequence
    return PlanError(
        usd=error.value,
        expected_usd=comparison.expected,
        once_95=readings[PLAN].once,
        sequence_95=ends,
        inside=None if ends is None else abs(error.value) <= once_radius(error.window),
        alarm=None if ends is None else not ends[0] <= 0 <= ends[1],
    )


def _figures(
    projection: Projection, actual: Actual, observed: Figures, days: tuple[float, float]
) -> tuple[ReconciledFigure, ...]:
    known = {kind: group for kind, group in actual.kinds.items() if kind in projection.kinds}
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
    per_request = projected.mean_95
    as_mixed = expected / (n * rate) if rate else 1.0
    p50, p95 = (projected.p50, projected.p50_95), (projected.p95, projected.p95_95)
    return (
        _figure(
            "cost_per_request_usd",
            (rate, per_request),
            (expected / n, _scaled(per_request, as_mixed)),
            (float(observed.cost) / n, observed.mean_95),
        ),
        _figure(
            "cost_per_day_usd",
            (float(projected.cost) / days[0], _scaled(projected.cost_95, 1 / days[0])),
            (expected / days[1], _scaled(per_request, as_mixed * n / days[1])),
            (float(observed.cost) / days[1], _scaled(observed.mean_95, n / days[1])),
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
            "their cost stands under “new kinds”."
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


def _part_caveats(sums: ReconcileSums, comparison: Comparison, unit: Unit) -> Iterable[str]:
    from ttplan.engine.caveats import FEW_EFFECTIVE, scarce_units

    if not comparison.rerouted:
        yield (
            "No request since was answered by a target of the plan's routes: check that the "
            "gateway follows them."
        )
    if sums.there_already:
        yield (
            f"The log does not say which requests the routes took: {sums.there_already:,} of the "
            "plan's window that a target answered already count as rerouted, as do such requests "
            "since."
        )
    if comparison.effective < FEW_EFFECTIVE:
        yield (
            f"The requests are as good as {comparison.effective:,.0f} equal units "
            f"({unit.name}): intervals are too narrow below {FEW_EFFECTIVE}, and left out below "
            "10."
        )
    yield from scarce_units(unit.scarce, unit.name, "judge by")
    for model in sums.unpriced:
        yield (
            f"The plan's window does not tell what the tokens of {model!r:.60} cost: changes of "
            "its price stand under other causes."
        )
