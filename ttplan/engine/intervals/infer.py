"""Infer: which interval method holds for a summary, and its intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ttplan.engine.arrays import as_amounts, as_integers
from ttplan.engine.caveats import LEAST_EFFECTIVE, Fallback
from ttplan.engine.cost import REROUTED, price_rules
from ttplan.engine.dialects import fetch
from ttplan.engine.intervals import bootstrap, edgeworth
from ttplan.engine.intervals import clusters as of_clusters
from ttplan.engine.intervals.bootstrap import SEEDS, FloatRows, Rows
from ttplan.engine.intervals.clusters import ClusterSums, describe, fetch_clusters
from ttplan.engine.replay_spec import Question
from ttplan.engine.summary import Summary
from ttplan.model.errors import InputError
from ttplan.model.plan import Clusters, ConfidenceIntervals, UsedIntervalMethod

Ends = tuple[float, float]
FEW = 200
"""Below this many requests an expansion in their number is at its weakest: they are resampled."""
DRAWS, LEAST_RESAMPLES = 10**9, 1_000
_NONE = (0.0, 0.0)


class Inferred(NamedTuple):
    """The intervals, the method that gave them, why the savings were resampled where they were, and the clusters if any."""

    intervals: ConfidenceIntervals
    method: UsedIntervalMethod
    fallback: Fallback | None = None
    clusters: Clusters | None = None


def infer_intervals(summary: Summary, mapped: ir.Table, question: Question) -> Inferred:
    """95 % intervals by the question's method. Raises InputError for a method that there is not."""
    methods = {"limit": _limit, "resample": _resample, "tt-plan-core": _reference}
    if question.interval_method not in methods:
        raise InputError(
            f"interval_method is {question.interval_method!r}; expected one of {', '.join(methods)}"
        )
    if summary.total.requests == 0:
        zeros = ConfidenceIntervals(
            savings_usd_95=_NONE,
            savings_pct_95=_NONE,
            cache_hit_rate_95=_NONE,
            p50_latency_ms_95=_NONE,
            p95_latency_ms_95=_NONE,
        )
        return Inferred(zeros, question.interval_method)
    if question.config.cluster is not None:
        return _clustered(summary, mapped, question)
    return methods[question.interval_method](summary, mapped, question)


def _limit(summary: Summary, mapped: ir.Table, question: Question) -> Inferred:
    total = summary.total
    n = total.requests
    if n < FEW:
        return _resample(summary, mapped, question)
    change = total.baseline - total.projected
    step = summary.grid.step
    ratio = (
        edgeworth.ratio_interval(summary.powers, step, change, total.baseline, n)
        if total.baseline
        else _NONE
    )
    hits = total.projected_hits if question.projects_hits else total.recorded_hits
    exact = {
        "cache_hit_rate_95": edgeworth.share_interval(hits, n),
        "p50_latency_ms_95": edgeworth.percentile_interval(summary.latency, 0.50),
        "p95_latency_ms_95": edgeworth.percentile_interval(summary.latency, 0.95),
    }
    if ratio is None or edgeworth.relative_error(summary.powers, n) > edgeworth.UNTRUSTED_ERROR:
        rows = fetch_rows(mapped, summary.medians, question)
        resamples = max(LEAST_RESAMPLES, DRAWS // n)
        intervals = ConfidenceIntervals(**_savings(rows, question, resamples), **exact)
        return Inferred(
            intervals, "limit+resample", Fallback(summary.largest / total.baseline, resamples)
        )
    savings = edgeworth.total_interval(
        {j: summary.powers[(j, 0)] for j in range(1, 5)}, step, change, n
    )
    actual = edgeworth.total_interval(
        summary.actual_powers, summary.grid.actual_step, total.actual - total.projected, n
    )
    return Inferred(ConfidenceIntervals(**_money(savings, ratio, actual), **exact), "limit")


def _resample(summary: Summary, mapped: ir.Table, question: Question) -> Inferred:
    rows = fetch_rows(mapped, summary.medians, question)
    count = question.bootstrap_iterations
    hits, p50, p95 = (_seed(question, name) for name in ("hit_rate", "p50", "p95"))
    shares = _at_once(
        cache_hit_rate_95=lambda: bootstrap.share_interval(rows.hit, hits, count),
        p50_latency_ms_95=lambda: bootstrap.percentile_interval(rows.latency, 0.50, p50, count),
        p95_latency_ms_95=lambda: bootstrap.percentile_interval(rows.latency, 0.95, p95, count),
    )
    intervals = ConfidenceIntervals(**_savings(rows, question, count), **shares)
    return Inferred(intervals, "resample")


def _savings(rows: Rows | ClusterSums, question: Question, resamples: int) -> dict[str, Ends]:
    """The intervals of money, by name, from resampling."""
    usd, pct = _seed(question, "savings_usd"), _seed(question, "savings_pct")
    found = _at_once(
        totals=lambda: bootstrap.total_intervals(
            (rows.difference, rows.actual_difference), usd, resamples
        ),
        ratio=lambda: bootstrap.ratio_interval(rows.difference, rows.baseline, pct, resamples),
    )
    (change, actual), ratio = found["totals"], found["ratio"]
    return _money(change, ratio, actual)


def _money(change: Ends, ratio: Ends, actual: Ends) -> dict[str, Ends]:
    """The intervals of money by name, from those of the signed changes (USD) and of their share of the baseline (1 is all)."""
    percent = (ratio[0] * 100, ratio[1] * 100)
    return {
        "savings_usd_95": _clip(change),
        "savings_pct_95": _clip(percent, 100.0),
        "projected_change_usd_95": change,
        "projected_change_pct_95": percent,
        "change_vs_actual_usd_95": actual,
    }


def _at_once(**intervals: Callable[[], Any]) -> dict[str, Any]:
    """Resampled intervals by name, two at a time: up to 10^9 draws each, in numpy, which lets go of the interpreter."""
    with ThreadPoolExecutor(2) as pool:
        waited = {name: pool.submit(find) for name, find in intervals.items()}
    return {name: found.result() for name, found in waited.items()}


def _clustered(summary: Summary, mapped: ir.Table, question: Question) -> Inferred:
    """The same methods on sums of clusters."""
    if question.interval_method == "tt-plan-core":
        raise InputError(
            "interval_method 'tt-plan-core' knows no clusters; leave out config.cluster, or take 'limit' or 'resample'"
        )
    hit = mapped.hit if question.projects_hits else mapped.cached
    sums = fetch_clusters(mapped, hit, projected_latency(mapped, summary.medians, question))
    found = describe(sums)
    if found.effective < LEAST_EFFECTIVE:
        return Inferred(ConfidenceIntervals(), "none", clusters=found)
    if question.interval_method == "resample" or len(sums) < FEW:
        return Inferred(_resampled_clusters(sums, question), "resample", clusters=found)
    return _limit_of_clusters(sums, question)._replace(clusters=found)


def _limit_of_clusters(sums: ClusterSums, question: Question) -> Inferred:
    ratio = of_clusters.ratio_ends(sums.difference, sums.baseline)
    exact = {
        "cache_hit_rate_95": of_clusters.ratio_ends(sums.hits, sums.requests),
        "p50_latency_ms_95": of_clusters.percentile_ends(sums, 0.50),
        "p95_latency_ms_95": of_clusters.percentile_ends(sums, 0.95),
    }
    if None in exact.values():
        exact = _resampled_shares(sums, question)
    if ratio is None or of_clusters.relative_error(sums.baseline) > edgeworth.UNTRUSTED_ERROR:
        resamples = max(LEAST_RESAMPLES, DRAWS // len(sums))
        share = max(sums.baseline.tolist()) / sum(sums.baseline.tolist())
        intervals = ConfidenceIntervals(**_savings(sums, question, resamples), **exact)
        return Inferred(intervals, "limit+resample", Fallback(share, resamples))
    change, actual = (
        of_clusters.total_ends(sums.difference),
        of_clusters.total_ends(sums.actual_difference),
    )
    return Inferred(ConfidenceIntervals(**_money(change, ratio, actual), **exact), "limit")


def _resampled_clusters(sums: ClusterSums, question: Question) -> ConfidenceIntervals:
    return ConfidenceIntervals(
        **_savings(sums, question, question.bootstrap_iterations),
        **_resampled_shares(sums, question),
    )


def _resampled_shares(sums: ClusterSums, question: Question) -> dict[str, Ends | None]:
    count = question.bootstrap_iterations
    return {
        "cache_hit_rate_95": bootstrap.ratio_interval(
            sums.hits, sums.requests, _seed(question, "hit_rate"), count
        ),
        "p50_latency_ms_95": of_clusters.resampled_percentile(
            sums, 0.50, _seed(question, "p50"), count
        ),
        "p95_latency_ms_95": of_clusters.resampled_percentile(
            sums, 0.95, _seed(question, "p95"), count
        ),
    }


def _reference(summary: Summary, mapped: ir.Table, question: Question) -> Inferred:
    rows = fetch_float_rows(mapped, summary.medians, question)
    count = question.bootstrap_iterations
    usd, pct, hits, p50, p95 = (_seed(question, name) for name in SEEDS)
    intervals = _at_once(
        savings_usd_95=lambda: bootstrap.reference_total_interval(rows, usd, count),
        savings_pct_95=lambda: bootstrap.reference_pct_interval(rows, pct, count),
        cache_hit_rate_95=lambda: bootstrap.reference_share_interval(rows, hits, count),
        p50_latency_ms_95=lambda: bootstrap.percentile_interval(rows.latency, 0.50, p50, count),
        p95_latency_ms_95=lambda: bootstrap.percentile_interval(rows.latency, 0.95, p95, count),
    )
    return Inferred(ConfidenceIntervals(**intervals), "tt-plan-core")


def fetch_rows(mapped: ir.Table, medians: Mapping[str, int], question: Question) -> Rows:
    """What is resampled of each mapped row, in id order."""
    columns = mapped.select(
        "id",
        difference=mapped.baseline_cost_usd - mapped.projected_usd,
        baseline=mapped.baseline_cost_usd,
        actual_difference=mapped.cost_usd - mapped.projected_usd,
        counted_hit=mapped.hit if question.projects_hits else mapped.cached,
        latency=projected_latency(mapped, medians, question),
    )
    table = fetch(columns.order_by("id"))
    return Rows(
        difference=as_amounts(table["difference"]),
        baseline=as_amounts(table["baseline"]),
        actual_difference=as_amounts(table["actual_difference"]),
        hit=np.asarray(table["counted_hit"].to_numpy(), dtype=np.bool_),
        latency=as_integers(table["latency"].drop_null()),
    )


def fetch_float_rows(mapped: ir.Table, medians: Mapping[str, int], question: Question) -> FloatRows:
    """What `tt-plan-core` resamples of each mapped row, in id order; costs by its own formula, in float64."""
    columns = mapped.select(
        "id",
        "rule",
        "outcome",
        "hit",
        "charged",
        "input_tokens",
        "output_tokens",
        "cached",
        baseline=mapped.baseline_cost_usd.cast("string"),
        actual=mapped.cost_usd.cast("string"),
        latency=projected_latency(mapped, medians, question),
    )
    table = fetch(columns.order_by("id"))
    rules = price_rules(question.tried, question.pricing)
    rates = np.array(
        [
            (
                float(r.price.input_per_million),
                float(r.price.cached_rate),
                float(r.price.output_per_million),
            )
            for r in rules
        ]
        or [(0.0, 0.0, 0.0)]
    )[as_integers(table["rule"])]
    charged, output = as_integers(table["charged"]), as_integers(table["output_tokens"])
    fresh = as_integers(table["input_tokens"]) - charged
    routed = fresh * rates[:, 0] / 1e6 + charged * rates[:, 1] / 1e6 + output * rates[:, 2] / 1e6
    hit = np.asarray(table["hit"].to_numpy(), dtype=np.bool_)
    rerouted = as_integers(table["outcome"]) == REROUTED
    return FloatRows(
        baseline=_floats(table["baseline"]),
        projected=np.where(hit, 0.0, np.where(rerouted, routed, _floats(table["actual"]))),
        hit=np.asarray(table["cached"].to_numpy(), dtype=np.bool_),
        latency=as_integers(table["latency"].drop_null()),
    )


def projected_latency(
    mapped: ir.Table, medians: Mapping[str, int], question: Question
) -> ir.IntegerColumn:
    """The latency (ms) of each mapped row where the question's routes send it; null where the log has none."""
    branches = [
        (
            mapped.latency_ms.notnull() & (mapped.outcome >= REROUTED) & (mapped.route == i),
            ibis.literal(medians[model], "int64"),
        )
        for i, route in enumerate(question.tried)
        if (model := route.then.target_model) in medians
    ]
    return ibis.cases(*branches, else_=mapped.latency_ms) if branches else mapped.latency_ms


def _seed(question: Question, interval: str) -> int:
    return (question.seed + SEEDS[interval]) % 2**64


def _clip(ends: Ends, upper: float = float("inf")) -> Ends:
    return min(max(ends[0], 0.0), upper), min(max(ends[1], 0.0), upper)


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """The nearest double of each decimal, by way of its digits: engines' own casts need not be correctly rounded."""
    return np.array([float(text) for text in column.to_pylist()], dtype=np.float64)
