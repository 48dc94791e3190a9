"""A plan computed on each period of a log and compared with the next period."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from uuid import UUID

from ttplan.model.base import FrozenModel, UtcDatetime
from ttplan.model.plan import Interval

Metric = Literal["savings_pct", "cache_hit_rate", "p50_latency_ms", "p95_latency_ms"]
METRICS: tuple[Metric, ...] = ("savings_pct", "cache_hit_rate", "p50_latency_ms", "p95_latency_ms")


class BacktestComparison(FrozenModel):
    """One figure projected from a period, with its 95 % interval, and the next period's figure.

    `savings_pct` is baseline minus projected in percent of the baseline, signed; the rate is 0 to
    1, latencies are ms. `inside`: the next period's figure is in the interval. `consistent`: it is
    once that figure's own interval is included. Both are None without an interval.
    """

    period_start: UtcDatetime
    next_start: UtcDatetime
    metric: Metric
    projected: float
    projected_95: Interval | None
    found: float
    found_95: Interval | None
    inside: bool | None
    consistent: bool | None


class Backtest(FrozenModel):
    """A plan's projections, each compared with the period after it.

    Attributes
    ----------
    start, end : datetime
        UTC.
    period_seconds : int
    interval_unit : str
        What was resampled.
    skipped : int
        Number of periods without requests.
    comparisons : tuple of BacktestComparison
        In order of time.
    """

    org_id: UUID
    start: UtcDatetime
    end: UtcDatetime
    period_seconds: int
    interval_unit: str
    skipped: int
    comparisons: tuple[BacktestComparison, ...]

    def of(self, metric: Metric) -> tuple[BacktestComparison, ...]:
        """Return the comparisons of one figure, in order of time."""
        return tuple(entry for entry in self.comparisons if entry.metric == metric)

    def counts(self) -> Iterator[tuple[Metric, int, int, int]]:
        """Yield (metric, inside, consistent, total) over comparisons with an interval."""
        for metric in METRICS:
            judged = [entry for entry in self.of(metric) if entry.inside is not None]
            yield (
                metric,
                sum(bool(entry.inside) for entry in judged),
                sum(bool(entry.consistent) for entry in judged),
                len(judged),
            )
