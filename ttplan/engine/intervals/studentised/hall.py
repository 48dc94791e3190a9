"""Method `hall`: studentised intervals, corrected for skewness, from power sums.

P. Hall, On the removal of skewness by transformation (1992). Student's t replaces the normal
quantile, so that few units, or few that carry the savings, give wider intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import cbrt, fsum, sqrt

from scipy.special import stdtrit

from ttplan.engine.intervals.edgeworth import find_root
from ttplan.engine.intervals.moments import LOWER, UPPER, Order
from ttplan.model.plan import Interval

FEW_CARRIERS = 30
"""Savings that rest on fewer effective units have a caveat."""
ENOUGH_CARRIERS = 60
"""Below this many effective carrying units, Student's t has as many degrees of freedom, less 1."""
_UNSEEN_SKEWNESS = 6
"""What few carriers add to the skewness, divided by their number: found by simulation."""
_NO_SKEWNESS = 1e-9
_ZERO_SPREAD = 1e-12
"""A variance below this share of its terms is rounding."""

Correction = Callable[[float, float], float]


@dataclass(frozen=True)
class Spread:
    """The sums of `s` and `b` over `units`, and how far they vary from sample to sample.

    `moments[(j, k)]` estimates the central moment of the sums of order j and k, up to j + k = 3;
    `carriers` is the effective number of units with a non-zero `s`: (sum |s|)^2 / sum s^2.
    """

    units: int
    degrees: float
    s: float
    b: float
    moments: Mapping[Order, float]
    carriers: float

    @property
    def t_degrees(self) -> float:
        """The degrees of freedom of Student's t."""
        if self.carriers >= ENOUGH_CARRIERS:
            return max(self.degrees, 1.0)
        return max(min(self.degrees, self.carriers - 1), 1.0)

    @property
    def ratio(self) -> float:
        """The sum of `s` over that of `b`; 0 if the latter is 0."""
        return self.s / self.b if self.b else 0.0

    def variance(self, r: float = 0.0) -> float:
        """The variance of the sum of `s - r b`; 0 if it is rounding."""
        m = self.moments
        terms = (m[(2, 0)], -2 * r * m[(1, 1)], r * r * m[(0, 2)])
        total = sum(terms)
        return total if total > _ZERO_SPREAD * (terms[0] + terms[2]) else 0.0

    def third(self, r: float = 0.0) -> float:
        """The third central moment of the sum of `s - r b`."""
        m = self.moments
        return m[(3, 0)] - 3 * r * m[(2, 1)] + 3 * r * r * m[(1, 2)] - r**3 * m[(0, 3)]

    def skewness(self, r: float = 0.0) -> float:
        """The skewness of the sum of `s - r b`."""
        variance = self.variance(r)
        return self.third(r) / variance**1.5 if variance else 0.0

    @property
    def unseen(self) -> float:
        """What the skewness is multiplied by where that widens an interval: few carriers show too
        little of it."""
        if self.carriers >= ENOUGH_CARRIERS:
            return 1.0
        return 1 + _UNSEEN_SKEWNESS / max(self.carriers, FEW_CARRIERS)


def effective_number(total: float, squares: float) -> float:
    """The number of equal amounts with that sum and sum of squares."""
    return total * total / squares if squares else 0.0


def total_interval(spread: Spread, r: float = 0.0) -> Interval:
    """The interval of the sum of `s`, with the spread of `s - r b`."""
    low, high = (spread.s + _end(spread, r, p, corrected) for p in (LOWER, UPPER))
    return low, high


def ratio_interval(spread: Spread) -> Interval | None:
    """The interval of the ratio of the sums: the r at which the interval of `s - r b` ends at 0.

    Of the corrected interval and the plain one, it is the wider: in heavy tails the skewness of
    differences is mostly noise. None if `b` may be 0, so that there is no end.
    """
    if not spread.b:
        return 0.0, 0.0
    width = sqrt(spread.variance(spread.ratio)) / spread.b
    intervals = [_ratio_ends(spread, width, how) for how in (corrected, _plain)]
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(intervals):
        return None
    return max(known, key=lambda ends: ends[1] - ends[0])


def _ratio_ends(spread: Spread, width: float, how: Correction) -> Interval | None:
    low, high = (
        find_root(partial(_distance, spread, p, how), spread.ratio, width, side)
        for p, side in ((LOWER, -1), (UPPER, 1))
    )
    return None if low is None or high is None else (low, high)


def student(p: float, degrees: float) -> float:
    """Quantile `p` of Student's t."""
    return float(stdtrit(degrees, p))


def corrected(t: float, skewness: float) -> float:
    """The studentised value that Hall's transformation maps to `t`; `skewness` is that of the
    sum."""
    if abs(skewness) < _NO_SKEWNESS:
        return t
    return 3 / skewness * (cbrt(1 + skewness * t - skewness * skewness / 6) - 1)


def transformed(t: float, skewness: float) -> float:
    """Hall's transformation of a studentised value, whose inverse is `corrected`."""
    if abs(skewness) < _NO_SKEWNESS:
        return t
    return ((1 + skewness * t / 3) ** 3 - 1 + skewness**2 / 6) / skewness


def central_sums(
    powers: Sequence[Mapping[Order, int]], sizes: Sequence[int], scale: tuple[float, float]
) -> dict[Order, float]:
    """The central moments of sums over strata of `sizes` units, from the exact power sums of each.

    `scale` are the units of the two series. Each stratum varies about its own mean.
    """
    parts: dict[Order, list[float]] = {order: [] for order in ORDERS}
    for p, n in zip(powers, sizes, strict=True):
        if n < 2:
            continue
        s, b = p[(1, 0)], p[(0, 1)]
        second = {
            (2, 0): n * p[(2, 0)] - s * s,
            (1, 1): n * p[(1, 1)] - s * b,
            (0, 2): n * p[(0, 2)] - b * b,
        }
        third = {
            (3, 0): n * n * p[(3, 0)] - 3 * n * s * p[(2, 0)] + 2 * s**3,
            (2, 1): n * n * p[(2, 1)] - n * (2 * s * p[(1, 1)] + b * p[(2, 0)]) + 2 * s * s * b,
            (1, 2): n * n * p[(1, 2)] - n * (2 * b * p[(1, 1)] + s * p[(0, 2)]) + 2 * s * b * b,
            (0, 3): n * n * p[(0, 3)] - 3 * n * b * p[(0, 2)] + 2 * b**3,
        }
        for order, numerator in second.items():
            parts[order].append(numerator / (n - 1))
        for order, numerator in third.items():
            parts[order].append(numerator / (n * (n - 1)))
    return {(j, k): fsum(terms) * scale[0] ** j * scale[1] ** k for (j, k), terms in parts.items()}


ORDERS: tuple[Order, ...] = ((2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))


def _end(spread: Spread, r: float, p: float, how: Correction) -> float:
    """How far end `p` of the interval of the sum of `s - r b` is from the sum."""
    error = sqrt(spread.variance(r))
    t, skewness = student(1 - p, spread.t_degrees), spread.skewness(r)
    return -error * max((how(t, skewness), how(t, spread.unseen * skewness)), key=abs)


def _distance(spread: Spread, p: float, how: Correction, r: float) -> float:
    return spread.s - r * spread.b + _end(spread, r, p, how)


def _plain(t: float, _skewness: float) -> float:
    return t
