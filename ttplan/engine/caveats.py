"""What a reader of a result must know before believing it: data that was missing, and estimates that are weak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ttplan.engine.cost import REFUSED
from ttplan.engine.semantic_cache.sweep import Sweep
from ttplan.engine.summary import Summary
from ttplan.model.plan import Aggregates, Clusters, ConfidenceIntervals
from ttplan.model.route import ProposedRoute

SMALL_SAMPLE = 1_000
LEAST_EFFECTIVE, FEW_EFFECTIVE = 10, 40
"""Effective clusters below which there are no intervals, and below which they are too narrow."""
WIDE = 0.30
"""An interval wider than this share of its estimate is called wide."""


class LeftOut(NamedTuple):
    """Rows that were left out before anything was computed."""

    outside_window: int
    other_org: int


class Fallback(NamedTuple):
    """Why the savings intervals come from resampling, and from how many resamples."""

    largest_share: float
    resamples: int


class Semantic(NamedTuple):
    """A semantic cache that was asked for: at which threshold its hits count for cost, and what it found."""

    threshold: float | None
    found: Sweep | None


def caveats(
    summary: Summary,
    left_out: LeftOut,
    routes: Sequence[ProposedRoute],
    aggregates: Aggregates,
    intervals: ConfidenceIntervals,
    fallback: Fallback | None,
    clusters: Clusters | None,
    unit: str,
    semantic: Semantic | None,
) -> tuple[str, ...]:
    """All caveats that hold, the heaviest first. `routes` are the enabled ones."""
    return (
        *_left_out(left_out),
        *_small(summary),
        *_unpriced(aggregates),
        *_refused(summary),
        *_clustered(clusters, unit),
        *_fallback(fallback, unit),
        *_wide(aggregates, intervals),
        *_unanswered(summary, routes),
        *_latencies(summary),
        *_repriced(summary),
        *_semantic(semantic),
    )


def _requests(count: int) -> str:
    return f"{count:,} request" if count == 1 else f"{count:,} requests"


def _left_out(left_out: LeftOut) -> Iterator[str]:
    if left_out.outside_window:
        yield f"{_requests(left_out.outside_window)} outside the window left out."
    if left_out.other_org:
        yield f"{_requests(left_out.other_org)} of another organisation left out."


def _small(summary: Summary) -> Iterator[str]:
    n = summary.total.requests
    if n < SMALL_SAMPLE:
        yield f"Small sample: {_requests(n)}, fewer than {SMALL_SAMPLE:,}. The intervals are rough."


def _unpriced(aggregates: Aggregates) -> Iterator[str]:
    if aggregates.requests_unprice_able:
        yield (
            f"{_requests(aggregates.requests_unprice_able)} matched a route whose target model has no price: "
            "counted at their actual cost, with no savings."
        )


def _refused(summary: Summary) -> Iterator[str]:
    refused = sum(
        cell.requests for (_, outcome), cell in summary.cells.items() if outcome == REFUSED
    )
    if refused:
        yield f"{_requests(refused)} would be refused by a max_cost_usd ceiling: counted at their actual cost, with no savings."


def _clustered(clusters: Clusters | None, unit: str) -> Iterator[str]:
    if clusters is None or clusters.effective >= FEW_EFFECTIVE:
        return
    counted = f"{clusters.count:,} clusters by {unit} are worth {clusters.effective:.1f} equal ones"
    if clusters.effective < LEAST_EFFECTIVE:
        yield f"No intervals: {counted}, fewer than {LEAST_EFFECTIVE}. How far the figures can be off is not known."
    else:
        yield (
            f"Few clusters: {counted}, fewer than {FEW_EFFECTIVE}; the largest has {clusters.largest_share:.1%}. "
            "The intervals are too narrow."
        )


def _semantic(semantic: Semantic | None) -> Iterator[str]:
    if semantic is None:
        return
    if semantic.found is None:
        yield "No request that may use a cache has an embedding: semantic (L2) cache hits are not projected."
        return
    if semantic.found.without_embedding:
        yield f"{_requests(semantic.found.without_embedding)} have no embedding and are not looked up in the semantic (L2) cache."
    if semantic.threshold is None:
        yield "Semantic (L2) cache hits only inform: none counts for cost until l2_threshold names the threshold."
    else:
        at = semantic.found.thresholds.index(semantic.threshold)
        if semantic.found.poisoned[at]:
            yield (
                f"{semantic.found.poisoned[at]:,} of {semantic.found.hits[at]:,} semantic hits at threshold {semantic.threshold} "
                "would be served an answer that ended differently from their own: see poisoning_candidates."
            )
    if len(semantic.found.listed) < len(semantic.found.candidates):
        yield f"Of {len(semantic.found.candidates):,} poisoning candidates the first {len(semantic.found.listed):,} are listed."


def _fallback(fallback: Fallback | None, unit: str) -> Iterator[str]:
    if fallback is not None:
        carriers = "requests" if unit == "request" else f"clusters by {unit}"
        yield (
            f"Few {carriers} carry the cost: the largest alone has {fallback.largest_share:.1%} of the baseline. "
            f"The savings intervals come from {fallback.resamples:,} seeded resamples and are rough."
        )


def _wide(aggregates: Aggregates, intervals: ConfidenceIntervals) -> Iterator[str]:
    estimates = {
        "savings in USD": (float(aggregates.projected_savings_usd), intervals.savings_usd_95),
        "savings in percent": (aggregates.projected_savings_pct, intervals.savings_pct_95),
        "cache hit rate": (aggregates.cache_hit_rate_projected, intervals.cache_hit_rate_95),
        "p50 latency": (aggregates.p50_latency_ms_projected, intervals.p50_latency_ms_95),
        "p95 latency": (aggregates.p95_latency_ms_projected, intervals.p95_latency_ms_95),
    }
    for name, (estimate, ends) in estimates.items():
        if ends is not None and estimate != 0 and (ends[1] - ends[0]) / abs(estimate) > WIDE:
            yield f"The interval of the {name} is wide: {(ends[1] - ends[0]) / abs(estimate):.0%} of the estimate."


def _unanswered(summary: Summary, routes: Sequence[ProposedRoute]) -> Iterator[str]:
    def named(asking: Sequence[ProposedRoute]) -> str:
        names = ", ".join(repr(route.name) for route in asking[:3])
        return names + (f" and {len(asking) - 3} more" if len(asking) > 3 else "")

    modal = [r for r in routes if r.when.has_images is not None or r.when.has_audio is not None]
    if modal:
        yield f"No log says whether a request has images or audio, so nothing matches {named(modal)}."
    prompting = [r for r in routes if r.when.prompt_contains_any_of]
    if prompting and summary.bodiless:
        yield f"{_requests(summary.bodiless)} have no recorded prompt and cannot match {named(prompting)}."
    tagged = [r for r in routes if r.when.tag_equals is not None]
    if tagged and summary.untagged:
        yield f"{_requests(summary.untagged)} have no tag and cannot match {named(tagged)}."


def _latencies(summary: Summary) -> Iterator[str]:
    if summary.no_latency:
        yield f"{_requests(summary.no_latency)} have no recorded latency and are not in the latency figures."
    if summary.latency_unprojected:
        yield (
            f"{_requests(summary.latency_unprojected)} rerouted to a model with no latency in the window: "
            "their own latency is shown, not a projected one."
        )


def _repriced(summary: Summary) -> Iterator[str]:
    repriced = summary.total.repriced_hits
    if repriced:
        yield f"{_requests(repriced)} recorded as served from a cache are priced as misses on the route's target."
