"""Back-test: replay a plan on one period of a log, and compare its intervals with the period after
it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from math import hypot

import ibis.expr.types as ir

from ttplan.engine.replay import checked_replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.model.errors import InputError
from ttplan.model.plan import AUTO, Interval, PlanResult
from ttplan.model.results.backtest import METRICS, Backtest, BacktestComparison, Metric

MOST_PERIODS = 1_000
Figure = tuple[float, Interval | None]


def backtest(table: ir.Table, spec: ReplaySpec, period: timedelta) -> Backtest:
    """Replay the plan on each whole `period` of the spec's window, and compare each with the next.

    Each period is replayed alone: its caches start empty, and its medians are its own. Raises
    InputError if there are fewer than two whole periods, or too many.
    """
    starts = _period_starts(spec.window_start, spec.window_end, period)
    results = [
        checked_replay(table, replace(spec, window_start=start, window_end=start + period)).result
        for start in starts
    ]
    units = {result.interval_unit for result in results}
    with_requests = [result for result in results if result.sample_size]
    return Backtest(
        org_id=spec.org_id,
        start=spec.window_start,
        end=starts[-1] + period,
        period_seconds=int(period.total_seconds()),
        interval_unit=results[0].interval_unit if len(units) == 1 else AUTO,
        skipped=len(results) - len(with_requests),
        comparisons=tuple(
            _compare(result, following, metric)
            for result, following in pairwise(with_requests)
            for metric in METRICS
        ),
    )


def _period_starts(start: datetime, end: datetime, period: timedelta) -> list[datetime]:
    if period < timedelta(seconds=1):
        raise InputError(f"the period is {period}; expected a second or more")
    count = (end - start) // period
    length = str(period).removesuffix(", 0:00:00")
    if not 2 <= count <= MOST_PERIODS:
        raise InputError(
            f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} has {count:,} whole periods of "
            f"{length}; "
            f"expected 2 to {MOST_PERIODS:,}: choose {'a shorter' if count < 2 else 'a longer'} "
            f"period"
        )
    return [start + period * n for n in range(count)]


def _compare(result: PlanResult, following: PlanResult, metric: Metric) -> BacktestComparison:
    projected, interval = figure(result, metric)
    actual, actual_interval = figure(following, metric)
    return BacktestComparison(
        period_start=result.window_start,
        next_start=following.window_start,
        metric=metric,
        projected=projected,
        projected_95=interval,
        found=actual,
        found_95=actual_interval,
        inside=None if interval is None else interval[0] <= actual <= interval[1],
        consistent=None
        if interval is None or actual_interval is None
        else consistent(projected, interval, actual, actual_interval),
    )


def figure(result: PlanResult, metric: Metric) -> Figure:
    """One figure of a result and its interval. Savings are signed, which `tt-plan-core` has no
    interval for."""
    aggregates, intervals = result.aggregates, result.confidence_intervals
    baseline = aggregates.total_baseline_cost_usd
    return {
        "savings_pct": (
            float(aggregates.projected_change_usd / baseline * 100) if baseline else 0.0,
            intervals.projected_change_pct_95,
        ),
        "cache_hit_rate": (aggregates.cache_hit_rate_projected, intervals.cache_hit_rate_95),
        "p50_latency_ms": (aggregates.p50_latency_ms_projected, intervals.p50_latency_ms_95),
        "p95_latency_ms": (aggregates.p95_latency_ms_projected, intervals.p95_latency_ms_95),
    }[metric]


def consistent(a: float, a_interval: Interval, b: float, b_interval: Interval) -> bool:
    """Whether the 95 % interval of the difference of two independent figures contains 0.

    It is made from their own intervals: G. Y. Zou and A. Donner, Construction of confidence limits
    about effect measures (2008).
    """
    low = a - b - hypot(a - a_interval[0], b_interval[1] - b)
    high = a - b + hypot(a_interval[1] - a, b - b_interval[0])
    return low <= 0 <= high
