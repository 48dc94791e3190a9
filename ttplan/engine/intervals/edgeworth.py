"""Method `limit`: quantiles of the bootstrap distribution for infinitely many resamples, without
draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from math import isfinite, sqrt

import numpy as np
from scipy.special import bdtr, bdtrc

from ttplan.engine.intervals.moments import (
    LOWER,
    UPPER,
    Cumulants,
    central_moments,
    combined,
    cumulants,
)
from ttplan.engine.latency import cumulate, percentile_rank
from ttplan.engine.summary import PICO
from ttplan.model.plan import Interval

UNTRUSTED_ERROR = 0.3
"""The relative standard error of the mean baseline above which the expansion is not reliable."""


def total_interval(powers: Mapping[int, int], step: int, total: int, n: int) -> Interval:
    """The interval, in USD, of a sum; the arguments are those of `draw_of_total`."""
    draw = draw_of_total(powers, step, total, n)
    return draw.quantile_of_sum(n, LOWER), draw.quantile_of_sum(n, UPPER)


def draw_of_total(powers: Mapping[int, int], step: int, total: int, n: int) -> Cumulants:
    """The cumulants, in USD, of one of the `n` draws of a resampled sum.

    `powers[j]` is the sum of the j-th powers (1 to 4) on the grid of `step` 10^-12 USD, `total` the
    exact sum in 10^-12 USD.
    """
    unit = step / PICO
    sums = {(j, 0): powers[j] for j in range(1, 5)}
    exact = central_moments(sums, n, [(2, 0), (3, 0), (4, 0)])
    return cumulants(total / n / PICO, {j: float(exact[(j, 0)]) * unit**j for j in (2, 3, 4)})


def ratio_interval(
    powers: Mapping[tuple[int, int], int], step: int, difference: int, baseline: int, n: int
) -> Interval | None:
    """The interval of the sum of differences over the sum of baselines; None if the expansion has
    none.

    Its bounds are the r at which the quantile of the sum of `difference - r * baseline` is 0: P.
    Hall, The Bootstrap and Edgeworth Expansion (1992). `difference` and `baseline` are exact sums
    in 10^-12 USD.
    """
    exact = central_moments(powers, n)
    moments = {order: float(value) for order, value in exact.items()}
    mean_s, mean_b = float(Fraction(difference, n * step)), float(Fraction(baseline, n * step))

    def quantile(p: float, r: float) -> float:
        return cumulants(mean_s - r * mean_b, combined(moments, r)).quantile_of_sum(n, p)

    centre = difference / baseline
    spread = sqrt(max(combined(moments, centre)[2], 0.0) / n) / mean_b
    ends = [
        find_root(partial(quantile, p), centre, spread, -1 if p < 0.5 else 1)
        for p in (LOWER, UPPER)
    ]
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


def find_root(f: Callable[[float], float], start: float, width: float, side: int) -> float | None:
    """The zero of the decreasing function `f`, searched outwards from `start`; None if there is
    none."""
    if width == 0:
        return start
    near, far = start, start
    for doubling in range(8):
        far = start + side * width * 2**doubling
        value = f(far)
        if not isfinite(value):
            return None
        if value * side <= 0:
            break
        near = far
    else:
        return None
    for _ in range(200):
        middle = (near + far) / 2
        if middle in (near, far):
            break
        if f(middle) * side <= 0:
            far = middle
        else:
            near = middle
    return float((near + far) / 2)


def relative_error(powers: Mapping[tuple[int, int], int], n: int) -> float:
    """Standard error of the mean baseline as a share of it. Reads the orders (0, 1) and (0, 2)."""
    mean = Fraction(powers[(0, 1)], n)
    if mean == 0:
        return 0.0
    return sqrt(float(central_moments(powers, n, [(0, 2)])[(0, 2)] / n / mean**2))


def share_interval(hits: int, n: int) -> Interval:
    """The interval of a share of `hits` in `n`: quantiles of Binomial(n, hits/n) over n."""
    lower, upper = (
        _first(partial(_at_least, lambda k: bdtr(k, n, hits / n), p), 0, n) / n
        for p in (LOWER, UPPER)
    )
    return lower, upper


def percentile_interval(counts: Mapping[int, int], q: float) -> Interval:
    """The interval of percentile `q`, from requests by value (ms); (0, 0) if there are none.

    With k the percentile's 0-based rank, a resample's percentile is at most the j-th smallest value
    if at least k + 1 of n draws are among the j smallest: the exact distribution of an order
    statistic.
    """
    values, cumulated = cumulate(counts)
    if len(values) == 0:
        return 0.0, 0.0
    n = int(cumulated[-1])
    rank = percentile_rank(q, n)
    ends = []
    for p in (LOWER, UPPER):
        j = _first(partial(_at_least, lambda j: bdtrc(rank, n, j / n), p), 1, n)
        ends.append(float(values[np.searchsorted(cumulated, j, side="left")]))
    return ends[0], ends[1]


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest whole number in low..high for which the monotonic predicate `holds` is true."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _at_least(probability: Callable[[int], float], p: float, value: int) -> bool:
    return bool(probability(value) >= p)
