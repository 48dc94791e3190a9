"""What a plan projected, compared with what happened while its routes were live."""

from __future__ import annotations

from typing import ClassVar, Literal
from uuid import UUID

from ttplan.model.base import FrozenModel, OmitsDefaults, UtcDatetime
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


PartName = Literal["volume", "mix", "routing", "prompts", "rate", "others", "prices", "new"]
"""A cause of the difference between actual and projected cost, in the order of the parts."""


class CostChange(OmitsDefaults, FrozenModel):
    """Actual minus projected cost by cause, in USD per day; the parts add up exactly.

    Each part replaces one more thing of the plan's window by what happened, in this order.
    `volume`: more or fewer requests. `mix`: other kinds of requests. `routing`: another share of a
    kind was rerouted. `prompts`: longer or shorter prompts. `rate`: rerouted requests cost more or
    less than projected at the plan's prices. `others`: so did requests that the plan does not
    reroute. `prices`: the same tokens cost more or less. `new`: kinds of requests that the plan's
    window did not have.

    Version 0.1 had `routing`, `prompts`, `others` and `prices` in `rate`.
    """

    volume: float
    mix: float
    routing: float = 0.0
    prompts: float = 0.0
    rate: float
    others: float = 0.0
    prices: float = 0.0
    new: float

    OMITTED: ClassVar[frozenset[str]] = frozenset({"routing", "prompts", "others", "prices"})

    @property
    def total(self) -> float:
        """Actual minus projected cost, USD per day."""
        return (
            self.volume
            + self.mix
            + self.routing
            + self.prompts
            + self.rate
            + self.others
            + self.prices
            + self.new
        )


class PartIntervals(FrozenModel):
    """The 95 % interval of a part for one look, and its 95 % confidence sequence, which holds at
    all looks. USD per day; None if there are too few units."""

    name: PartName
    once_95: Interval | None
    sequence_95: Interval | None


class RealisedSavings(FrozenModel):
    """What the rerouted requests saved, in USD per day.

    `source_usd` is what they would have cost at their source model: the cost of such requests in
    the plan's window, with the prompts that came, at the source's prices then. `paid_usd` is what
    was paid, and `usd` the difference, with its 95 % interval for one look and its 95 % confidence
    sequence: of the requests that came, whose cost at the source is not known. `projected_usd` is
    what the plan projected that these requests save.
    """

    requests: int
    source_usd: float
    paid_usd: float
    usd: float
    once_95: Interval | None
    sequence_95: Interval | None
    projected_usd: float


class PlanError(FrozenModel):
    """What the plan answers for, in USD per day: the parts `routing` and `rate`, and of `prices`
    that of rerouted requests.

    `expected_usd` is the projected cost of the requests that came. `inside`: the error is within
    the 95 % interval of the projection alone. `once_95` is the interval for one look;
    `sequence_95` holds at all looks, and `alarm` is whether it excludes 0. All are None with too
    few units.
    """

    usd: float
    expected_usd: float
    once_95: Interval | None
    sequence_95: Interval | None
    inside: bool | None
    alarm: bool | None

    @property
    def consistent(self) -> bool | None:
        """Whether the interval for one look contains 0."""
        return None if self.once_95 is None else self.once_95[0] <= 0 <= self.once_95[1]


class Reconciliation(OmitsDefaults, FrozenModel):
    """A plan compared with the requests from `since` (inclusive) to `until` (exclusive).

    `requests` are of kinds that the plan's window has; the figures are about them. `new_requests`
    are the others. `interval_unit` is what intervals are made by. `savings`, `error` and
    `intervals` are None or empty in reconciliations of version 0.1.
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
    savings: RealisedSavings | None = None
    error: PlanError | None = None
    intervals: tuple[PartIntervals, ...] = ()

    OMITTED: ClassVar[frozenset[str]] = frozenset({"savings", "error", "intervals"})

    @property
    def alarm(self) -> bool | None:
        """Whether the plan's error is beyond chance, however often it was looked at; None if that
        cannot be told."""
        if self.error is not None:
            return self.error.alarm
        consistent = self.of("cost_per_request_usd").consistent
        return None if consistent is None else not consistent

    def of(self, name: FigureName) -> ReconciledFigure:
        """Return a figure by its name."""
        return next(figure for figure in self.figures if figure.name == name)


class TrackRecord(FrozenModel):
    """How reconciled plans did, each by its last reconciliation.

    `errors_pct` are the errors that the plan answers for, in percent of the expected cost, in the
    order of reconciliation (actual minus expected cost of a request in version 0.1);
    `bias_pct` is their mean, `median_error_pct` the median of their sizes. `inside` of `judged`
    errors were within the projected 95 % interval; `inside_pct_95` is the Wilson interval of
    that share, in percent. `consistent` also counts the uncertainty of what happened.
    """

    plans: int
    judged: int
    inside: int
    consistent: int
    inside_pct_95: Interval | None
    errors_pct: tuple[float, ...]
    median_error_pct: float | None
    bias_pct: float | None
