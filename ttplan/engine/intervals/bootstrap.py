"""Intervals from seeded resamples: methods `resample` (exact sums) and `tt-plan-core` (floats)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ttplan.engine.dialects import Amounts, Ints
from ttplan.engine.intervals.chacha import draws
from ttplan.engine.latency import percentile_rank
from ttplan.model.money import MONEY_DIGITS
from ttplan.model.plan import Interval

Floats = npt.NDArray[np.float64]
SEEDS = {"savings_usd": 0, "savings_pct": 1, "hit_rate": 2, "p50": 3, "p95": 4}
"""The offset of each interval's seed from the plan's seed, modulo 2^64."""
_LIMB = 2**31


@dataclass(frozen=True)
class Rows:
    """The resampled values of each request, in id order. Amounts are whole 10^-12 USD; `latency`
    has only recorded ones."""

    difference: Amounts
    baseline: Amounts
    actual_difference: Amounts
    hit: npt.NDArray[np.bool_]
    latency: Ints


@dataclass(frozen=True)
class FloatRows:
    """The values that `tt-plan-core` resamples, in float64 USD and in id order; `hit` is as
    recorded."""

    baseline: Floats
    projected: Floats
    hit: npt.NDArray[np.bool_]
    latency: Ints


def percentile_bounds(values: list[Any]) -> tuple[Any, Any]:
    """The 2.5 % and 97.5 % bounds of resampled values, by the reference engine's rule."""
    ordered = sorted(values)
    count = len(ordered)
    return ordered[int(0.025 * count)], ordered[min(int(0.975 * count), count - 1)]


def total_intervals(series: Sequence[Amounts], seed: int, resamples: int) -> list[Interval]:
    """The interval, in USD, of each resampled sum of values in 10^-12 USD; the series share their
    draws."""
    intervals = []
    for sums in _sums(series, seed, resamples):
        low, high = percentile_bounds(sums)
        intervals.append((low / 10**MONEY_DIGITS, high / 10**MONEY_DIGITS))
    return intervals


def ratio_interval(numerator: Amounts, denominator: Amounts, seed: int, resamples: int) -> Interval:
    """The interval of the resampled ratio of two sums; a ratio is 0 if the denominator is 0."""
    above, below = _sums((numerator, denominator), seed, resamples)
    low, high = percentile_bounds([a / b if b else 0.0 for a, b in zip(above, below, strict=True)])
    return float(low), float(high)


def share_interval(hit: npt.NDArray[np.bool_], seed: int, resamples: int) -> Interval:
    """The interval of the resampled share of hits."""
    (sums,) = _sums((hit.astype(np.int64),), seed, resamples)
    low, high = percentile_bounds(sums)
    return low / len(hit), high / len(hit)


def percentile_interval(latency: Ints, q: float, seed: int, resamples: int) -> Interval:
    """The interval of resampled percentile `q`; (0, 0) if there are no values."""
    n = len(latency)
    if n == 0:
        return 0.0, 0.0
    rank = percentile_rank(q, n)
    percentiles: list[int] = []
    for rows in draws(seed, n, resamples):
        percentiles += np.partition(latency[rows], rank, axis=1)[:, rank].tolist()
    low, high = percentile_bounds(percentiles)
    return float(low), float(high)


def reference_total_interval(rows: FloatRows, seed: int, resamples: int) -> Interval:
    """Savings, USD, each request's clipped at 0: `mean * n` of sums in draw order."""
    saved = np.maximum(rows.baseline - rows.projected, 0.0)
    n = float(len(saved))
    (totals,) = _float_sums((saved,), seed, resamples)
    low, high = percentile_bounds([total / n for total in totals])
    return low * n, high * n


def reference_pct_interval(rows: FloatRows, seed: int, resamples: int) -> Interval:
    """Savings in percent of the baseline, each resample's clipped at 0."""
    baseline, projected = _float_sums((rows.baseline, rows.projected), seed, resamples)
    pairs = zip(baseline, projected, strict=True)
    low, high = percentile_bounds(
        [max((b - p) / b * 100.0, 0.0) if b > 0 else 0.0 for b, p in pairs]
    )
    return low, high


def reference_share_interval(rows: FloatRows, seed: int, resamples: int) -> Interval:
    """The share of rows recorded as cached."""
    n = float(len(rows.hit))
    (totals,) = _float_sums((rows.hit.astype(np.float64),), seed, resamples)
    low, high = percentile_bounds([total / n for total in totals])
    return low, high


def _sums(series: Sequence[Amounts], seed: int, resamples: int) -> list[list[int]]:
    """Exact sums of resamples of each series, over the same draws."""
    n = len(series[0])
    limbs = [_limbs(values, n) for values in series]
    all_sums: list[list[int]] = [[] for _ in series]
    for rows in draws(seed, n, resamples):
        for sums, parts in zip(all_sums, limbs, strict=True):
            totals = [part[rows].sum(axis=1).tolist() for part in parts]
            sums += (
                totals[0]
                if len(totals) == 1
                else [high * _LIMB + low for high, low in zip(*totals, strict=True)]
            )
    return all_sums


def _limbs(values: Amounts, n: int) -> list[Amounts]:
    """The values, if a sum of n of them fits 64 bits; otherwise their high and low parts."""
    if values.dtype == np.object_ or int(np.abs(values).max()) * n < 2**63:
        return [values]
    return list(np.divmod(values, _LIMB))


def _float_sums(series: Sequence[Floats], seed: int, resamples: int) -> list[list[float]]:
    """Float sums of resamples, in draw order, of each series, over the same draws."""
    all_sums: list[list[float]] = [[] for _ in series]
    for rows in draws(seed, len(series[0]), resamples):
        for sums, values in zip(all_sums, series, strict=True):
            # accumulate adds strictly in draw order, which sum() does not promise.
            sums += np.add.accumulate(values[rows], axis=1)[:, -1].tolist()
    return all_sums
