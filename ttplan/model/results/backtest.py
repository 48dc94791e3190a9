"""A plan tried on one period of a log and held against the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ttplan.model.plan import Interval
from ttplan.model.request import UtcDatetime

Metric = Literal["savings_pct", "cache_hit_rate", "p50_latency_ms", "p95_latency_ms"]
METRICS: tuple[Metric, ...] = ("savings_pct", "cache_hit_rate", "p50_latency_ms", "p95_latency_ms")


class BacktestComparison(BaseModel):
    """One figure that a period projects, with its 95 % interval, and what the next period gives for it.

    `savings_pct` is baseline minus projected in percent of the baseline, signed; the rate is 0..1, latencies are ms. `inside`:
    the next period's figure lies in the interval. `consistent`: it does once that figure's own interval is counted, too. Both are
    None where there is no interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    period_start: UtcDatetime
    next_start: UtcDatetime
    metric: Metric
    projected: float
    projected_95: Interval | None
    found: float
    found_95: Interval | None
    inside: bool | None
    consistent: bool | None


class Backtest(BaseModel):
    """A plan's projections, period by period, each against the period after it. `skipped` periods had no requests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    org_id: UUID
    start: UtcDatetime
    end: UtcDatetime
    period_seconds: int
    interval_unit: str
    skipped: int
    comparisons: tuple[BacktestComparison, ...]

    def of(self, metric: Metric) -> tuple[BacktestComparison, ...]:
        """The comparisons of one figure, in order of time."""
        return tuple(one for one in self.comparisons if one.metric == metric)

    def counts(self) -> Iterator[tuple[Metric, int, int, int]]:
        """For each figure: how often it was inside, how often consistent, of how many that have an interval."""
        for metric in METRICS:
            judged = [one for one in self.of(metric) if one.inside is not None]
            yield (
                metric,
                sum(bool(one.inside) for one in judged),
                sum(bool(one.consistent) for one in judged),
                len(judged),
            )
