"""Compare the means of two groups that consist of the same strata in other shares.

Strata h count as often as they do in the first group, with w_h = n_h / n:

    R = sum w_h y_h / sum w_h x_h,   var R = (V_y + R^2 V_x) / (sum w_h x_h)^2,
    V_y = sum w_h^2 var(y_h) / n_h

where x_h and y_h are the means of the two groups: stratification after selection and the delta
method (W. G. Cochran, Sampling Techniques, 3rd ed. 1977, chapters 5A and 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, NamedTuple

MIN_STRATUM = 10
"""The fewest members of a stratum that is compared, in each group."""
MIN_SHARED = 0.8
"""The share of the first group whose strata have to occur in the second."""
Stratum = tuple[Any, ...]
Estimate = tuple[float, float]


class Moments(NamedTuple):
    """A number of requests, the sum of an amount, and that of its squares."""

    n: int
    total: int
    squares: int

    def __add__(self, other: Any) -> Moments:
        return Moments(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def mean(self) -> float:
        """The mean amount."""
        return self.total / self.n

    @property
    def variance(self) -> float:
        """The variance of the mean."""
        return (self.n * self.squares - self.total**2) / (self.n**2 * (self.n - 1))


Strata = Mapping[Stratum, Moments]


class Comparison(NamedTuple):
    """Means of two groups, as if both had the strata of the first, and the variances of these."""

    before: int
    after: int
    old: Estimate
    new: Estimate

    @property
    def ratio(self) -> Estimate:
        """New to old, and its standard error."""
        (old, old_variance), (new, new_variance) = self.old, self.new
        ratio = new / old
        return ratio, sqrt(new_variance + ratio**2 * old_variance) / old


def compare(before: Strata, after: Strata, least: int) -> Comparison | None:
    """Compare means over shared strata.

    None if these have fewer than `least` members in one of the groups, or less than `MIN_SHARED` of
    the first.
    """
    shared = [
        h for h in before if before[h].n >= MIN_STRATUM and h in after and after[h].n >= MIN_STRATUM
    ]
    old, new = (sum(side[h].n for h in shared) for side in (before, after))
    everything = sum(moments.n for moments in before.values())
    if min(old, new) < least or old < MIN_SHARED * everything:
        return None
    weights = {h: before[h].n / old for h in shared}
    return Comparison(old, new, _standardised(before, weights), _standardised(after, weights))


def _standardised(side: Strata, weights: Mapping[Stratum, float]) -> Estimate:
    """The mean by given weights of strata, and its variance."""
    mean = sum(weight * side[h].mean for h, weight in weights.items())
    return mean, sum(weight**2 * side[h].variance for h, weight in weights.items())
