"""What a plan projected, held against what happened once its routes were live."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ttplan.model.plan import Interval
from ttplan.model.request import UtcDatetime

_FROZEN = ConfigDict(frozen=True, extra="forbid")
FigureName = Literal[
    "cost_per_request_usd", "cost_per_day_usd", "cache_hit_rate", "p50_latency_ms", "p95_latency_ms"
]


class ReconciledFigure(BaseModel):
    """One figure with its 95 % intervals: projected for the window, expected of the traffic that came, and as it was.

    Cost is USD, the rate 0..1, latency ms. `inside`: the actual figure lies in the interval of the expected one. `consistent`: it
    does once its own interval is counted, too. Both are None where there is no interval.
    """

    model_config = _FROZEN

    name: FigureName
    projected: float
    projected_95: Interval | None
    expected: float
    expected_95: Interval | None
    actual: float
    actual_95: Interval | None
    inside: bool | None
    consistent: bool | None


class CostChange(BaseModel):
    """Actual minus projected cost, in USD per day, by cause; the parts add up to it.

    `volume`: there were more requests, or fewer. `mix`: they were of other kinds. `rate`: requests of a kind cost something else
    than was projected for that kind, which is the error of the plan. `new`: requests of kinds that its window had none of.
    """

    model_config = _FROZEN

    volume: float
    mix: float
    rate: float
    new: float

    @property
    def total(self) -> float:
        """Actual minus projected, USD per day."""
        return self.volume + self.mix + self.rate + self.new


class Reconciliation(BaseModel):
    """A plan held against the requests from `since` (inclusive) to `until` (exclusive), while its routes were live.

    `requests` are those that its window has kinds for, of which the figures are; `new_requests` are the others.
    """

    model_config = _FROZEN

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
        """One figure by its name."""
        return next(figure for figure in self.figures if figure.name == name)


class TrackRecord(BaseModel):
    """How the plans that were reconciled did, each by its last reconciliation, on cost per request.

    `errors_pct` are actual minus expected in percent of expected, in the order in which the plans were reconciled;
    `bias_pct` is their mean, `median_error_pct` the median of their sizes; None where there are none. `inside` of `judged` actual
    figures lay in the 95 % interval that was projected, `inside_pct_95` is the interval of that share (Wilson), in percent.
    """

    model_config = _FROZEN

    plans: int
    judged: int
    inside: int
    consistent: int
    inside_pct_95: Interval | None
    errors_pct: tuple[float, ...]
    median_error_pct: float | None
    bias_pct: float | None
