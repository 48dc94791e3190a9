"""Back-test: replay a plan on one period of a log, and hold its intervals against the period after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from math import hypot
from uuid import UUID

import ibis.expr.types as ir

from ttplan.engine.replay import replay_table
from ttplan.model.errors import InputError
from ttplan.model.plan import Interval, IntervalMethod, PlanConfig, PlanResult
from ttplan.model.pricing import ModelPricing
from ttplan.model.results.backtest import METRICS, Backtest, BacktestComparison, Metric
from ttplan.model.route import ProposedRoute

MOST_PERIODS = 1_000
Figure = tuple[float, Interval | None]


def backtest(
    table: ir.Table,
    routes: Sequence[ProposedRoute],
    prices: Mapping[str, ModelPricing],
    config: PlanConfig | None = None,
    *,
    org_id: UUID,
    start: datetime,
    end: datetime,
    period: timedelta,
    seed: int = 0,
    bootstrap_iterations: int = 10_000,
    interval_method: IntervalMethod = "limit",
) -> Backtest:
    """Replay the plan on each whole `period` from `start` to `end` (exclusive), and compare each with the next.

    Each period is replayed by itself: its caches start empty, its medians are its own. Raises InputError where there are not two
    whole periods, or too many.
    """
    periods = _periods(start, end, period)
    results = [
        replay_table(
            table,
            routes,
            prices,
            config,
            org_id=org_id,
            window_start=first,
            window_end=first + period,
            seed=seed,
            bootstrap_iterations=bootstrap_iterations,
            interval_method=interval_method,
        )
        for first in periods
    ]
    known = [result for result in results if result.sample_size]
    return Backtest(
        org_id=org_id,
        start=start,
        end=periods[-1] + period,
        period_seconds=int(period.total_seconds()),
        interval_unit=results[0].interval_unit,
        skipped=len(results) - len(known),
        comparisons=tuple(
            _compare(one, other, metric) for one, other in pairwise(known) for metric in METRICS
        ),
    )


def _periods(start: datetime, end: datetime, period: timedelta) -> list[datetime]:
    if period < timedelta(seconds=1):
        raise InputError(f"the period is {period}; expected a second or more")
    count = (end - start) // period
    length = str(period).removesuffix(", 0:00:00")
    if not 2 <= count <= MOST_PERIODS:
        raise InputError(
            f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} has {count:,} whole periods of {length}; expected 2 to "
            f"{MOST_PERIODS:,}: choose {'a shorter' if count < 2 else 'a longer'} period"
        )
    return [start + period * n for n in range(count)]


def _compare(one: PlanResult, other: PlanResult, metric: Metric) -> BacktestComparison:
    projected, ends = figure(one, metric)
    found, found_ends = figure(other, metric)
    return BacktestComparison(
        period_start=one.window_start,
        next_start=other.window_start,
        metric=metric,
        projected=projected,
        projected_95=ends,
        found=found,
        found_95=found_ends,
        inside=None if ends is None else ends[0] <= found <= ends[1],
        consistent=None
        if ends is None or found_ends is None
        else consistent(projected, ends, found, found_ends),
    )


def figure(result: PlanResult, metric: Metric) -> Figure:
    """One figure of a result and its interval. Savings are signed; method `tt-plan-core` gives no interval of that kind."""
    found, ends = result.aggregates, result.confidence_intervals
    baseline = found.total_baseline_cost_usd
    return {
        "savings_pct": (
            float(found.projected_change_usd / baseline * 100) if baseline else 0.0,
            ends.projected_change_pct_95,
        ),
        "cache_hit_rate": (found.cache_hit_rate_projected, ends.cache_hit_rate_95),
        "p50_latency_ms": (found.p50_latency_ms_projected, ends.p50_latency_ms_95),
        "p95_latency_ms": (found.p95_latency_ms_projected, ends.p95_latency_ms_95),
    }[metric]


def consistent(a: float, a_ends: Interval, b: float, b_ends: Interval) -> bool:
    """Whether the 95 % interval of the difference of two independent figures holds 0.

    It is made from theirs: G. Y. Zou and A. Donner, Construction of confidence limits about effect measures (2008).
    """
    low = a - b - hypot(a - a_ends[0], b_ends[1] - b)
    high = a - b + hypot(a_ends[1] - a, b - b_ends[0])
    return low <= 0 <= high
