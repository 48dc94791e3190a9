"""What a plan projected, compared with what happened while its routes were live."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from ttplan.model.base import FrozenModel, UtcDatetime
from ttplan.model.plan import Interval

FigureName = Literal[
    "cost_per_request_usd", "cost_per_day_usd", "cache_hit_rate", "p50_latency_ms", "p95_latency_ms"
]


class ReconciledFigure(FrozenModel):
    """A figure as projected for the window, as expected for the actual traffic, and as measured.

    Each has its 95 % interval. Cost is USD, the rate 0 to 1, latency ms. `inside`: the actual
    figure is in the interval of the expected one. `consistent`: it is once its own interval is
    included. Both are None without an interval.
    """

    name: FigureName
    projected: float
    projected_95: Interval | None
    expected: float
    expected_95: Interval | None
    actual: float
    actual_95: Interval | None
    inside: bool | None
    consistent: bool | None


class CostChange(FrozenModel):
    """Actual minus projected cost by cause, in USD per day; the parts add up.

    `volume`: more or fewer requests. `mix`: other kinds of requests. `rate`: requests of a kind
    cost more or less than projected, which is the plan's error. `new`: kinds of requests that the
    plan's window did not have.
    """

    volume: float
    mix: float
    rate: float
    new: float

    @property
    def total(self) -> float:
        """Actual minus projected cost, USD per day."""
        return self.volume + self.mix + self.rate + self.new


class Reconciliation(FrozenModel):
    """A plan compared with the requests from `since` (inclusive) to `until` (exclusive).

    `requests` are of kinds that the plan's window has; the figures are about them. `new_requests`
    are the others.
    """

    plan_id: UUID
    plan_name: str
    reconciled_at: UtcDatetime
    since: UtcDatetime
    until: UtcDatetime
    requests: int
    new_requests: int
    projected_requests: int
    interval_unit: str
    figures: tuple[ReconciledFigure, ...]
    change: CostChange
    caveats: tuple[str, ...] = ()

    def of(self, name: FigureName) -> ReconciledFigure:
        """Return a figure by its name."""
        return next(figure for figure in self.figures if figure.name == name)


class TrackRecord(FrozenModel):
    """How reconciled plans did on cost per request, each by its last reconciliation.

    `errors_pct` are actual minus expected in percent of expected, in the order of reconciliation;
    `bias_pct` is their mean, `median_error_pct` the median of their sizes. `inside` of `judged`
    actual figures were in the projected 95 % interval; `inside_pct_95` is the Wilson interval of
    that share, in percent.
    """

    plans: int
    judged: int
    inside: int
    consistent: int
    inside_pct_95: Interval | None
    errors_pct: tuple[float, ...]
    median_error_pct: float | None
    bias_pct: float | None
