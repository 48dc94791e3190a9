"""Moments of resampled values, exact until the last step, and the quantiles that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb, sqrt
from statistics import NormalDist

LOWER, UPPER = 0.025, 0.975

Order = tuple[int, int]


@dataclass(frozen=True)
class Cumulants:
    """The first four cumulants of one draw. `k1` in USD, `k2` in USD squared, and so on."""

    k1: float
    k2: float
    k3: float
    k4: float

    def quantile_of_sum(self, n: int, p: float) -> float:
        """Quantile `p` of the sum of `n` independent draws, by the Cornish-Fisher expansion to the
        order of 1/n.

        E. A. Cornish and R. A. Fisher, Moments and Cumulants in the Specification of Distributions
        (1938).
        """
        if self.k2 <= 0:
            return n * self.k1
        z = NormalDist().inv_cdf(p)
        skew, excess = self.shape_of_sum(n)
        w = (
            z
            + (z * z - 1) * skew / 6
            + (z**3 - 3 * z) * excess / 24
            - (2 * z**3 - 5 * z) * skew * skew / 36
        )
        return n * self.k1 + sqrt(n * self.k2) * w

    def shape_of_sum(self, n: int) -> tuple[float, float]:
        """Skewness and excess kurtosis of the sum of `n` independent draws; zeros if all draws are
        equal."""
        if self.k2 <= 0:
            return 0.0, 0.0
        return self.k3 / (self.k2 * sqrt(self.k2) * sqrt(n)), self.k4 / (self.k2 * self.k2 * n)


ORDERS = tuple((j, total - j) for total in range(2, 5) for j in range(total + 1))


def central_moments(
    powers: Mapping[Order, int], n: int, orders: Sequence[Order] = ORDERS
) -> dict[Order, Fraction]:
    """Central moments `E[(s - E s)^j (b - E b)^k]` of `n` pairs, for `orders` of (j, k), from the
    power sums of the same and lower orders."""
    raw = {order: Fraction(total, n) for order, total in powers.items()} | {(0, 0): Fraction(1)}
    s, b = raw.get((1, 0), Fraction(0)), raw.get((0, 1), Fraction(0))
    return {
        (j, k): sum(
            (
                comb(j, u) * comb(k, v) * (-s) ** (j - u) * (-b) ** (k - v) * raw[(u, v)]
                for u in range(j + 1)
                for v in range(k + 1)
            ),
            Fraction(0),
        )
        for j, k in orders
    }


def cumulants(mean: float, moments: Mapping[int, float]) -> Cumulants:
    """Cumulants of a draw with that mean and those central moments (orders 2 to 4)."""
    return Cumulants(mean, moments[2], moments[3], moments[4] - 3 * moments[2] ** 2)


def combined(moments: Mapping[tuple[int, int], float], r: float) -> dict[int, float]:
    """Central moments, orders 2 to 4, of `s - r b`, from those of the pair."""
    return {
        order: sum(comb(order, k) * (-r) ** k * moments[(order - k, k)] for k in range(order + 1))
        for order in (2, 3, 4)
    }
