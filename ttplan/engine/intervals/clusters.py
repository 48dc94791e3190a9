"""Clusters: requests that are resampled together. Sums of each cluster, and their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from ttplan.engine.dialects import Amounts, Ints, as_amounts, as_integers, fetch
from ttplan.engine.intervals import bootstrap, edgeworth
from ttplan.engine.intervals.chacha import draws
from ttplan.engine.latency import percentile_rank
from ttplan.engine.summary import GRID
from ttplan.model.plan import Clusters, Interval

_CELLS = 2**22
_LIMB_BITS = 30
_MINUTE = 60
_DAY = 86_400


@dataclass(frozen=True)
class ClusterSums:
    """Sums of each of `n` clusters, in the order of their keys. Amounts are whole 10^-12 USD.

    The `latency_*` columns count the requests of a cluster with a projected latency (`value`, ms).
    """

    requests: Ints
    hits: Ints
    difference: Amounts
    baseline: Amounts
    actual_difference: Amounts
    latency_cluster: Ints
    latency_value: Ints
    latency_count: Ints

    def __len__(self) -> int:
        return len(self.requests)

    @cached_property
    def timed(self) -> Ints:
        """The requests of each cluster that have a latency."""
        return np.bincount(
            self.latency_cluster, weights=self.latency_count, minlength=len(self)
        ).astype(np.int64)

    @cached_property
    def latencies(self) -> Ints:
        """The distinct projected latencies (ms), in order."""
        return np.unique(self.latency_value)

    def at_most(self, value: int) -> Ints:
        """The requests of each cluster with a latency of at most `value` ms."""
        counts = np.where(self.latency_value <= value, self.latency_count, 0)
        return np.bincount(self.latency_cluster, weights=counts, minlength=len(self)).astype(
            np.int64
        )


def period_start(ts: ir.TimestampColumn, seconds: int) -> ir.IntegerColumn:
    """The start, in seconds since 1970, of the period in UTC that contains each instant."""
    epoch = _epoch(ts)
    return epoch - (epoch % seconds + seconds) % seconds


def with_minute(rows: ir.Table) -> ir.Table:
    """`rows` with the `minute` of each, in seconds since 1970."""
    if "minute" in rows.columns:
        return rows
    return rows.mutate(minute=period_start(rows.ts, _MINUTE))


def second_of_day(ts: ir.TimestampColumn) -> ir.IntegerColumn:
    """The whole seconds since midnight in UTC, whatever the session's time zone."""
    return (_epoch(ts) % _DAY + _DAY) % _DAY


def _epoch(ts: ir.TimestampColumn) -> ir.IntegerColumn:
    # DuckDB's epoch seconds are floats, contrary to Ibis's type, and a cast would round them up.
    return ts.epoch_seconds().cast("float64").floor().cast("int64")


def fetch_clusters(
    mapped: ir.Table, hit: ir.BooleanColumn, latency: ir.IntegerColumn
) -> ClusterSums:
    """The sums of each cluster of `mapped`; null is one cluster. `hit` and `latency` are columns of
    `mapped`."""
    rows = mapped.select(
        "cluster",
        "baseline_cost_usd",
        saved=mapped.baseline_cost_usd - mapped.projected_usd,
        saved_of_actual=mapped.cost_usd - mapped.projected_usd,
        counted_hit=hit,
        latency=latency,
    )
    sums = fetch(
        rows.group_by("cluster").aggregate(
            requests=rows.count(),
            hits=rows.counted_hit.sum(),
            saved=rows.saved.sum(),
            baseline=rows.baseline_cost_usd.sum(),
            saved_of_actual=rows.saved_of_actual.sum(),
        )
    ).sort_by([("cluster", "ascending")])
    timed = rows.filter(rows.latency.notnull())
    counts = fetch(timed.group_by("cluster", "latency").aggregate(requests=timed.count()))
    return ClusterSums(
        requests=as_integers(sums["requests"]),
        hits=as_integers(sums["hits"]),
        difference=as_amounts(sums["saved"]),
        baseline=as_amounts(sums["baseline"]),
        actual_difference=as_amounts(sums["saved_of_actual"]),
        latency_cluster=_positions(counts["cluster"], sums["cluster"]),
        latency_value=as_integers(counts["latency"]),
        latency_count=as_integers(counts["requests"]),
    )


def _positions(keys: pa.ChunkedArray, ordered: pa.ChunkedArray) -> Ints:
    return as_integers(pc.index_in(keys, value_set=ordered.combine_chunks(), skip_nulls=False))


def describe(count: int, *series: Amounts, design_effect: float | None = None) -> Clusters:
    """The number of clusters, the effective one, and the largest share, by the one of several
    series that is worst: L. Kish, Survey Sampling (1965)."""
    weights = [[abs(value) for value in values.tolist()] for values in series if values.any()]
    return Clusters(
        count=count,
        effective=min((sum(w) ** 2 / sum(v * v for v in w) for w in weights), default=0.0),
        largest_share=max((max(w) / sum(w) for w in weights), default=0.0),
        design_effect=design_effect,
    )


def grid_powers(s: Amounts, b: Amounts, step: int) -> dict[tuple[int, int], int]:
    """The exact sums of `s^j b^k`, j + k <= 4, of pairs rounded half away from zero to the grid."""
    products = {(1, 0): on_grid(s, step), (0, 1): on_grid(b, step)}
    for order, (first, second) in _FACTORS.items():
        products[order] = products[first] * products[second]  # up to 2^60
    powers = {order: _exact_sum(product) for order, product in products.items()}
    for order, (first, second) in _FOURTH_FACTORS.items():
        # Up to 2^80: multiply one factor with the upper and lower half of the other.
        upper, lower = np.divmod(products[first], GRID)
        powers[order] = _exact_sum(upper * products[second]) * GRID + _exact_sum(
            lower * products[second]
        )
    return powers


_FACTORS = {
    (2, 0): ((1, 0), (1, 0)),
    (1, 1): ((1, 0), (0, 1)),
    (0, 2): ((0, 1), (0, 1)),
    (3, 0): ((2, 0), (1, 0)),
    (2, 1): ((2, 0), (0, 1)),
    (1, 2): ((0, 2), (1, 0)),
    (0, 3): ((0, 2), (0, 1)),
}
_FOURTH_FACTORS = {
    (4, 0): ((2, 0), (2, 0)),
    (3, 1): ((2, 0), (1, 1)),
    (2, 2): ((2, 0), (0, 2)),
    (1, 3): ((1, 1), (0, 2)),
    (0, 4): ((0, 2), (0, 2)),
}
"""The two products that make each higher one."""


def step_for(*series: Amounts) -> int:
    """The grid's step for these amounts: the largest / 2^20, rounded up, at least 1."""
    return max(1, -(-max(int(np.abs(values).max()) for values in series) // GRID))


def on_grid(values: Amounts, step: int) -> Ints:
    size = np.abs(values.astype(np.object_) if step > 2**40 else values)
    return ((2 * size + step) // (2 * step)).astype(np.int64) * np.where(values < 0, -1, 1)


def exact_sums(values: Ints, starts: Ints) -> list[int]:
    """The sums, of any size, of the 64-bit numbers from each start to the next one."""
    if len(values) == 0:
        return []
    upper = np.add.reduceat(values >> _LIMB_BITS, starts).tolist()
    lower = np.add.reduceat(values & (2**_LIMB_BITS - 1), starts).tolist()
    return [(high << _LIMB_BITS) + low for high, low in zip(upper, lower, strict=True)]


def _exact_sum(values: Ints) -> int:
    return sum(exact_sums(values, np.zeros(1, dtype=np.int64)))


def ratio_interval(numerator: Amounts, denominator: Amounts) -> Interval | None:
    """The interval of a ratio of cluster sums; None if the expansion has none."""
    total = int(denominator.sum())
    if total == 0:
        return 0.0, 0.0
    step = step_for(numerator, denominator)
    return edgeworth.ratio_interval(
        grid_powers(numerator, denominator, step), step, int(numerator.sum()), total, len(numerator)
    )


def total_interval(values: Amounts) -> Interval:
    """The interval, in USD, of a sum of cluster sums."""
    step = step_for(values)
    powers = grid_powers(values, np.zeros(len(values), dtype=np.int64), step)
    return edgeworth.total_interval(
        {j: powers[(j, 0)] for j in range(1, 5)}, step, int(values.sum()), len(values)
    )


def relative_error(baseline: Amounts) -> float:
    """Standard error of the clusters' mean baseline as a share of it."""
    step = step_for(baseline)
    return edgeworth.relative_error(grid_powers(baseline, baseline, step), len(baseline))


def percentile_interval(sums: ClusterSums, q: float) -> Interval | None:
    """The interval of a latency percentile: its bounds are the latencies at which the interval of
    the share of requests up to them meets `q`.

    R. S. Woodruff, Confidence Intervals for Medians and Other Position Measures (1952). None if a
    share has no interval.
    """
    values = sums.latencies
    if len(values) == 0:
        return 0.0, 0.0
    ends = []
    for upper in (1, 0):
        low, high = 0, len(values) - 1
        while low < high:
            middle = (low + high) // 2
            share = ratio_interval(sums.at_most(int(values[middle])), sums.timed)
            if share is None:
                return None
            if share[upper] >= q:
                high = middle
            else:
                low = middle + 1
        ends.append(float(values[low]))
    return ends[0], ends[1]


def resampled_percentile(sums: ClusterSums, q: float, seed: int, resamples: int) -> Interval:
    """The interval of percentile `q` of all latencies (ms) in resampled clusters."""
    values = sums.latencies
    if len(values) == 0:
        return 0.0, 0.0
    columns = np.searchsorted(values, sums.latency_value)
    counts = csr_array(
        (sums.latency_count, (sums.latency_cluster, columns)), shape=(len(sums), len(values))
    )
    percentiles: list[float] = []
    for drawn in _drawn_counts(
        seed, len(sums), resamples, max(1, _CELLS // max(len(values), len(sums)))
    ):
        cumulated = np.cumsum(drawn @ counts, axis=1)
        ranks = [percentile_rank(q, n) if n else 0 for n in cumulated[:, -1].tolist()]
        first = (cumulated <= np.array(ranks)[:, None]).sum(axis=1)
        percentiles += [float(values[at]) if at < len(values) else 0.0 for at in first.tolist()]
    low, high = bootstrap.percentile_bounds(percentiles)
    return low, high


def _drawn_counts(seed: int, n: int, resamples: int, rows: int) -> Iterator[npt.NDArray[np.int64]]:
    """How often each of `n` clusters is drawn, in blocks of shape (at most `rows` resamples, n)."""
    for block in draws(seed, n, resamples):
        for start in range(0, len(block), rows):
            part = block[start : start + rows]
            offset = np.arange(len(part))[:, None] * n
            yield np.bincount((part + offset).ravel(), minlength=len(part) * n).reshape(
                len(part), n
            )
