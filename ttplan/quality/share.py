"""A share of yes-or-no observations, and its interval."""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution; a literal, so that no platform's libm has a say in it."""


def percent(part: int, whole: int) -> float:
    """`part` of `whole` in percent, correctly rounded: 1 of 20 is 5.0 exactly. `whole` is above 0."""
    return 100 * part / whole


def wilson_pct(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, in percent, from `hits` of `n` > 0.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927).
    """
    centre = hits + Z_95**2 / 2
    reach = Z_95 * sqrt(hits * (n - hits) / n + Z_95**2 / 4)
    # The ends are exact where all or none are hits; rounding would leave them a hair inside or outside.
    low = 0.0 if hits == 0 else 100 * (centre - reach) / (n + Z_95**2)
    high = 100.0 if hits == n else 100 * (centre + reach) / (n + Z_95**2)
    return max(0.0, low), min(100.0, high)
