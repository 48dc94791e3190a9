"""Infer: which interval method applies to a summary, and its intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import hypot
from statistics import NormalDist
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import ibis.expr.types as ir

from ttplan.engine.intervals import bootstrap, clusters, edgeworth
from ttplan.engine.intervals.bootstrap import SEEDS, Rows
from ttplan.engine.intervals.clusters import ClusterSums, describe, fetch_clusters
from ttplan.engine.intervals.moments import UPPER
from ttplan.engine.intervals.studentised.units import UnitSums
from ttplan.engine.intervals.studentised.weeks import WeekFinding
from ttplan.engine.intervals.values import (
    fetch_float_rows,
    fetch_rows,
    projected_latency,
    routed_medians,
)
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.summary import Cell, Summary, usd
from ttplan.model.errors import InputError
from ttplan.model.plan import (
    Clusters,
    ConfidenceIntervals,
    Interval,
    IntervalMethod,
    UsedIntervalMethod,
)
from ttplan.model.results.parts import PerMonth

FEW = 200
"""Below this many requests or clusters, method `auto` resamples: an expansion in their number is
weak."""
LEAST_EFFECTIVE = 10
"""Below this many effective clusters there are no intervals."""
DRAWS, LEAST_RESAMPLES = 10**9, 1_000
PRECISE_RESAMPLES = 20_000
_ZEROS = (0.0, 0.0)


class HeavyTail(NamedTuple):
    """The largest share of the baseline, if method `limit` cannot be trusted with it.

    `resamples` made the savings intervals instead; None if method `limit` was required by name.
    """

    largest_share: float
    resamples: int | None


class Findings(NamedTuple):
    """What a reader must know of the units that method `hall` resamples.

    `carriers` of them change (if the plan `may_carry` any), worth `effective_carriers` equal
    ones. `scarce` is a coarser block of time of which the log has too few, and how much more the
    savings vary by it.
    """

    carriers: int
    effective_carriers: float
    units: int
    may_carry: bool
    scarce: tuple[UnitSums, float] | None
    weeks: WeekFinding | None


class Inferred(NamedTuple):
    """The intervals, the method that made them, the heavy tail if any, and the clusters if any.

    Of method `hall`: the unit's name, the coming month, and intervals by the position of routes.
    """

    intervals: ConfidenceIntervals
    method: UsedIntervalMethod
    heavy_tail: HeavyTail | None = None
    clusters: Clusters | None = None
    unit: str | None = None
    per_month: PerMonth | None = None
    route_95: Mapping[int, Interval] = MappingProxyType({})
    findings: Findings | None = None


def infer_intervals(
    summary: Summary, mapped: ir.Table, spec: ReplaySpec, standard_error: float = 0.0
) -> Inferred:
    """95 % intervals by the spec's method. Raises InputError for an unknown method.

    `standard_error` (USD) is that of assumptions, independent of the sampling; it widens the
    intervals of money.
    """
    inferred = _infer(summary, mapped, spec)
    if not standard_error or summary.total.requests == 0:
        return inferred
    widened = widen(inferred.intervals, summary.total, standard_error)
    return inferred._replace(intervals=widened)


def widen(
    intervals: ConfidenceIntervals, total: Cell, standard_error: float
) -> ConfidenceIntervals:
    """Intervals of money with an independent standard error (USD) added in quadrature."""
    change, actual = (usd(total.baseline - total.projected), usd(total.actual - total.projected))
    baseline = float(usd(total.baseline))

    usd_95 = widen_interval(intervals.projected_change_usd_95, float(change), standard_error)
    pct_95 = (
        widen_interval(
            intervals.projected_change_pct_95,
            float(change) / baseline * 100,
            standard_error / baseline * 100,
        )
        if baseline
        else intervals.projected_change_pct_95
    )
    return intervals.model_copy(
        update={
            "projected_change_usd_95": usd_95,
            "projected_change_pct_95": pct_95,
            "savings_usd_95": None if usd_95 is None else _clip(usd_95),
            "savings_pct_95": None if pct_95 is None else _clip(pct_95, 100.0),
            "change_vs_actual_usd_95": widen_interval(
                intervals.change_vs_actual_usd_95, float(actual), standard_error
            ),
        }
    )


def widen_interval(interval: Interval | None, centre: float, error: float) -> Interval | None:
    """An interval about `centre` with an independent standard error added in quadrature."""
    if interval is None:
        return None
    half = NormalDist().inv_cdf(UPPER) * error
    return centre - hypot(centre - interval[0], half), centre + hypot(interval[1] - centre, half)


def _infer(summary: Summary, mapped: ir.Table, spec: ReplaySpec) -> Inferred:
    method = spec.interval_method
    if method not in get_args(IntervalMethod):
        raise InputError(
            f"interval_method is {method!r}; expected one of {', '.join(get_args(IntervalMethod))}"
        )
    if method == "tt-plan-core" and spec.is_full:
        raise InputError(
            "interval_method 'tt-plan-core' draws the costs of a reference projection; set "
            "config.projection to 'reference', or use 'auto', 'limit' or 'resample'"
        )
    n = summary.total.requests
    if n == 0:
        zeros = ConfidenceIntervals(
            savings_usd_95=_ZEROS,
            savings_pct_95=_ZEROS,
            cache_hit_rate_95=_ZEROS,
            p50_latency_ms_95=_ZEROS,
            p95_latency_ms_95=_ZEROS,
        )
        return Inferred(zeros, "limit" if method == "auto" else method)
    if spec.cluster is not None:
        return _of_clusters(summary, mapped, spec)
    if method == "tt-plan-core":
        return _reference(summary, mapped, spec)
    if resamples(spec, n):
        return _resample(summary, mapped, spec)
    return _limit(summary, mapped, spec)


def resamples(spec: ReplaySpec, units: int) -> bool:
    """Whether a plan of that many requests or clusters is resampled."""
    if spec.studentises:
        return False
    return spec.interval_method == "resample" or (spec.interval_method == "auto" and units < FEW)


def draws_rows(summary: Summary, spec: ReplaySpec) -> bool:
    """Whether intervals are drawn from single requests, which takes their ids."""
    n = summary.total.requests
    if n == 0 or spec.cluster is not None:
        return False
    return resamples(spec, n) or _draws_tail(summary, spec)


def _draws_tail(summary: Summary, spec: ReplaySpec) -> bool:
    """Whether the intervals of money are resampled since a few requests carry them."""
    trusted = spec.interval_method == "limit" or _is_trusted(summary)
    return not trusted or _ratio_interval(summary) is None


def _is_trusted(summary: Summary) -> bool:
    error = edgeworth.relative_error(summary.powers, summary.total.requests)
    return error <= edgeworth.UNTRUSTED_ERROR


def _ratio_interval(summary: Summary) -> Interval | None:
    total = summary.total
    if not total.baseline:
        return _ZEROS
    change = total.baseline - total.projected
    return edgeworth.ratio_interval(
        summary.powers, summary.grid.step, change, total.baseline, total.requests
    )


def _limit(summary: Summary, mapped: ir.Table, spec: ReplaySpec) -> Inferred:
    total = summary.total
    n = total.requests
    change = total.baseline - total.projected
    step = summary.grid.step
    ratio = _ratio_interval(summary)
    hits = total.projected_hits if spec.counts_hits else total.recorded_hits
    exact = {
        "cache_hit_rate_95": edgeworth.share_interval(hits, n),
        "p50_latency_ms_95": edgeworth.percentile_interval(summary.latency, 0.50),
        "p95_latency_ms_95": edgeworth.percentile_interval(summary.latency, 0.95),
    }
    trusted = _is_trusted(summary)
    share = summary.largest / total.baseline if total.baseline else 0.0
    if ratio is None or _draws_tail(summary, spec):
        rows = fetch_rows(mapped, summary.medians, spec)
        resamples = _enough_resamples(n, spec)
        intervals = ConfidenceIntervals(**_savings(rows, spec, resamples), **exact)
        return Inferred(intervals, "limit+resample", HeavyTail(share, resamples))
    savings = edgeworth.total_interval(
        {j: summary.powers[(j, 0)] for j in range(1, 5)}, step, change, n
    )
    actual = edgeworth.total_interval(
        summary.actual_powers, summary.grid.actual_step, total.actual - total.projected, n
    )
    intervals = ConfidenceIntervals(**money_intervals(savings, ratio, actual), **exact)
    return Inferred(intervals, "limit", None if trusted else HeavyTail(share, None))


def _enough_resamples(units: int, spec: ReplaySpec) -> int:
    """How many resamples a heavy tail gets: few units do not need, and memory does not hold, more
    than `FEW` of them get.

    Those of a full projection suffice for a Monte Carlo error of a hundredth of the interval's
    width; a reference projection keeps the number that its stored results were made with.
    """
    if spec.is_full:
        return PRECISE_RESAMPLES
    return max(LEAST_RESAMPLES, DRAWS // max(units, FEW))


def _resample(summary: Summary, mapped: ir.Table, spec: ReplaySpec) -> Inferred:
    rows = fetch_rows(mapped, summary.medians, spec)
    count = spec.bootstrap_iterations
    hits, p50, p95 = (_seed(spec, name) for name in ("hit_rate", "p50", "p95"))
    shares = _concurrently(
        cache_hit_rate_95=lambda: bootstrap.share_interval(rows.hit, hits, count),
        p50_latency_ms_95=lambda: bootstrap.percentile_interval(rows.latency, 0.50, p50, count),
        p95_latency_ms_95=lambda: bootstrap.percentile_interval(rows.latency, 0.95, p95, count),
    )
    intervals = ConfidenceIntervals(**_savings(rows, spec, count), **shares)
    return Inferred(intervals, "resample")


def _savings(
    rows: Rows | ClusterSums, spec: ReplaySpec, resamples: int
) -> dict[str, Interval | None]:
    """The resampled intervals of money, by name."""
    usd, pct = _seed(spec, "savings_usd"), _seed(spec, "savings_pct")
    intervals = _concurrently(
        totals=lambda: bootstrap.total_intervals(
            (rows.difference, rows.actual_difference), usd, resamples
        ),
        ratio=lambda: bootstrap.ratio_interval(rows.difference, rows.baseline, pct, resamples),
    )
    (change, actual), ratio = intervals["totals"], intervals["ratio"]
    return money_intervals(change, ratio, actual)


def money_intervals(
    change: Interval | None, ratio: Interval | None, actual: Interval | None
) -> dict[str, Interval | None]:
    """The intervals of money by name, from the signed changes (USD) and their share of the baseline
    (0..1)."""
    percent = None if ratio is None else (ratio[0] * 100, ratio[1] * 100)
    return {
        "savings_usd_95": None if change is None else _clip(change),
        "savings_pct_95": None if percent is None else _clip(percent, 100.0),
        "projected_change_usd_95": change,
        "projected_change_pct_95": percent,
        "change_vs_actual_usd_95": actual,
    }


def _concurrently(**intervals: Callable[[], Any]) -> dict[str, Any]:
    """Resampled intervals by name, two at a time: numpy releases the interpreter for most of 10^9
    draws."""
    with ThreadPoolExecutor(2) as pool:
        futures = {name: pool.submit(compute) for name, compute in intervals.items()}
    return {name: future.result() for name, future in futures.items()}


def _of_clusters(summary: Summary, mapped: ir.Table, spec: ReplaySpec) -> Inferred:
    """The same methods on sums of clusters."""
    if spec.interval_method == "tt-plan-core":
        raise InputError(
            "interval_method 'tt-plan-core' does not support clusters; leave out config.cluster, "
            "or use "
            "'auto', 'limit' or 'resample'"
        )
    hit = mapped.hit if spec.counts_hits else mapped.cached
    latency = projected_latency(mapped, routed_medians(summary.medians, spec))
    sums = fetch_clusters(mapped, hit, latency)
    description = describe(len(sums), sums.baseline, sums.requests)
    if description.effective < LEAST_EFFECTIVE:
        return Inferred(ConfidenceIntervals(), "none", clusters=description)
    inferred = (
        Inferred(_resampled_clusters(sums, spec), "resample")
        if resamples(spec, len(sums))
        else _limit_of_clusters(sums, spec)
    )
    return inferred._replace(clusters=description)


def _limit_of_clusters(sums: ClusterSums, spec: ReplaySpec) -> Inferred:
    ratio = clusters.ratio_interval(sums.difference, sums.baseline)
    exact = {
        "cache_hit_rate_95": clusters.ratio_interval(sums.hits, sums.requests),
        "p50_latency_ms_95": clusters.percentile_interval(sums, 0.50),
        "p95_latency_ms_95": clusters.percentile_interval(sums, 0.95),
    }
    if None in exact.values():
        exact = _resampled_shares(sums, spec)
    trusted = clusters.relative_error(sums.baseline) <= edgeworth.UNTRUSTED_ERROR
    baseline = sum(sums.baseline.tolist())
    share = max(sums.baseline.tolist()) / baseline if baseline else 0.0
    if ratio is None or not (trusted or spec.interval_method == "limit"):
        resamples = _enough_resamples(len(sums), spec)
        intervals = ConfidenceIntervals(**_savings(sums, spec, resamples), **exact)
        return Inferred(intervals, "limit+resample", HeavyTail(share, resamples))
    change, actual = (
        clusters.total_interval(sums.difference),
        clusters.total_interval(sums.actual_difference),
    )
    intervals = ConfidenceIntervals(**money_intervals(change, ratio, actual), **exact)
    return Inferred(intervals, "limit", None if trusted else HeavyTail(share, None))


def _resampled_clusters(sums: ClusterSums, spec: ReplaySpec) -> ConfidenceIntervals:
    return ConfidenceIntervals(
        **_savings(sums, spec, spec.bootstrap_iterations),
        **_resampled_shares(sums, spec),
    )


def _resampled_shares(sums: ClusterSums, spec: ReplaySpec) -> dict[str, Interval | None]:
    count = spec.bootstrap_iterations
    return {
        "cache_hit_rate_95": bootstrap.ratio_interval(
            sums.hits, sums.requests, _seed(spec, "hit_rate"), count
        ),
        "p50_latency_ms_95": clusters.resampled_percentile(sums, 0.50, _seed(spec, "p50"), count),
        "p95_latency_ms_95": clusters.resampled_percentile(sums, 0.95, _seed(spec, "p95"), count),
    }


def _reference(summary: Summary, mapped: ir.Table, spec: ReplaySpec) -> Inferred:
    rows = fetch_float_rows(mapped, summary.medians, spec)
    count = spec.bootstrap_iterations
    usd, pct, hits, p50, p95 = (_seed(spec, name) for name in SEEDS)
    intervals = _concurrently(
        savings_usd_95=lambda: bootstrap.reference_total_interval(rows, usd, count),
        savings_pct_95=lambda: bootstrap.reference_pct_interval(rows, pct, count),
        cache_hit_rate_95=lambda: bootstrap.reference_share_interval(rows, hits, count),
        p50_latency_ms_95=lambda: bootstrap.percentile_interval(rows.latency, 0.50, p50, count),
        p95_latency_ms_95=lambda: bootstrap.percentile_interval(rows.latency, 0.95, p95, count),
    )
    return Inferred(ConfidenceIntervals(**intervals), "tt-plan-core")


def _seed(spec: ReplaySpec, interval: str) -> int:
    return (spec.seed + SEEDS[interval]) % 2**64


def _clip(interval: Interval, upper: float = float("inf")) -> Interval:
    return min(max(interval[0], 0.0), upper), min(max(interval[1], 0.0), upper)
