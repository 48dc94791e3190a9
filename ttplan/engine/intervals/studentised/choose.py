"""Which unit is resampled: the coarsest whose savings vary more than finer units explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ttplan.engine.intervals.studentised.hall import Spread
from ttplan.engine.intervals.studentised.units import Grouped, Span, UnitSums, sum_units
from ttplan.engine.rows import PERIODS

ENOUGH = 20
"""A candidate has at least as many effective units."""
WINS_BY = 3.0
"""A coarser unit wins if a variance exceeds the finer one's by as many standard errors."""
_LEAST = 3
"""With fewer units, nothing tells how they vary."""


class Variances(NamedTuple):
    """The variances of the three figures that choose a unit: the share of the baseline that is
    saved, the change per request, and the share of hits. 0 if a figure does not vary."""

    share: float
    change: float
    hits: float


@dataclass(frozen=True)
class Choice:
    """The unit that is resampled, None for requests.

    `design_effect` is its variance of the money as a multiple of that by requests. `scarce` is a
    coarser block of time that varies more, of which the log has too few, and how much more.
    """

    unit: UnitSums | None
    design_effect: float
    scarce: tuple[UnitSums, float] | None

    @property
    def name(self) -> str:
        """The unit's name."""
        return "request" if self.unit is None else self.unit.name


def candidates(clusters: UnitSums | None, by_minute: Grouped, span: Span) -> list[UnitSums]:
    """The units besides the request, the finest first."""
    return [
        *([] if clusters is None else [clusters]),
        *(sum_units(by_minute, name, seconds, span) for name, seconds in PERIODS.items()),
    ]


def choose_unit(
    requests: Variances, units: Sequence[UnitSums], fixed: UnitSums | None = None
) -> Choice:
    """Choose among requests, with these variances, and `units`, the finest first; or describe the
    choice of `fixed`."""
    if fixed is not None:
        return Choice(fixed, _design_effect(variances(*fixed.spreads), requests), None)
    chosen, current = None, requests
    for unit in units:
        if unit.effective < ENOUGH or unit.total == len(unit):
            continue
        own = variances(*unit.spreads)
        if _wins(own, current, unit.noise):
            chosen, current = unit, own
    scarce = None
    for unit in units:
        if unit.effective >= ENOUGH or len(unit) < _LEAST or not unit.seconds:
            continue
        own = variances(*unit.spreads)
        if _wins(own, current, unit.noise):
            scarce = unit, _design_effect(own, current)
    return Choice(chosen, _design_effect(current, requests), scarce)


def variances(share: Spread, change: Spread, hits: Spread) -> Variances:
    """The variances of three ratios of sums."""
    return Variances(*(spread.variance(spread.ratio) for spread in (share, change, hits)))


def _wins(own: Variances, current: Variances, noise: float) -> bool:
    pairs = zip(own, current, strict=True)
    return any(a > b * (1 + WINS_BY * noise) for a, b in pairs if b > 0)


def _design_effect(own: Variances, current: Variances) -> float:
    pairs = ((own.share, current.share), (own.change, current.change))
    return max((a / b for a, b in pairs if b > 0), default=1.0)
