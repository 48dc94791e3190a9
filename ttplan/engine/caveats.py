"""Caveats: what a reader must know before relying on a result, such as missing data and weak
estimates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ttplan.engine.cost import REFUSED
from ttplan.engine.intervals.infer import LEAST_EFFECTIVE, Findings, HeavyTail, Inferred
from ttplan.engine.intervals.studentised.hall import FEW_CARRIERS
from ttplan.engine.intervals.studentised.units import UnitSums
from ttplan.engine.intervals.studentised.weeks import WeekFinding
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import LeftOut
from ttplan.engine.semantic_cache.hits import SHORT, Sweep
from ttplan.engine.summary import Summary, usd
from ttplan.model.plan import Aggregates, ConfidenceIntervals
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import CostBasis

SMALL_SAMPLE = 1_000
FEW_EFFECTIVE = 40
"""Below this many effective clusters, intervals are too narrow."""
WIDE = 0.30
"""An interval wider than this share of its estimate is called wide."""


class SemanticFindings(NamedTuple):
    """A configured semantic cache: the threshold whose hits count for cost, and its hits."""

    threshold: float | None
    sweep: Sweep | None


def collect_caveats(
    summary: Summary,
    left_out: LeftOut,
    spec: ReplaySpec,
    aggregates: Aggregates,
    inferred: Inferred,
    semantic: SemanticFindings | None,
) -> tuple[str, ...]:
    """All caveats that apply, the most important first."""
    return (
        *_left_out(left_out),
        *_small(summary),
        *_unpriced(aggregates),
        *_refused(summary),
        *_clustered(inferred, spec),
        *_heavy_tail(inferred.heavy_tail, spec.interval_unit),
        *_wide(aggregates, inferred.intervals, spec.is_full),
        *_unanswered(summary, spec),
        *_latencies(summary, spec.is_full),
        *_repriced(summary),
        *_unhashed(summary, spec),
        *_semantic(semantic, spec.is_full),
    )


def basis_caveats(basis: CostBasis | None) -> Iterator[str]:
    """The caveat for costs that are not the log's own."""
    if basis is None or not basis.recomputed:
        return
    total = basis.recorded + basis.recomputed
    source = "by the doctor from" if basis.by_doctor == basis.recomputed else "from"
    yield (
        f"{basis.recomputed:,} of {total:,} requests ({basis.recomputed / total:.1%}) have costs "
        f"recomputed {source} "
        f"tokens and prices: {basis.recomputed_usd:,.2f} USD, where the log recorded "
        f"{basis.was_recorded_usd:,.2f} USD."
    )


def requests(count: int) -> str:
    """A number of requests in words."""
    return f"{count:,} request" if count == 1 else f"{count:,} requests"


def _left_out(left_out: LeftOut) -> Iterator[str]:
    if left_out.outside_window:
        yield f"{requests(left_out.outside_window)} outside the window left out."
    if left_out.other_org:
        yield f"{requests(left_out.other_org)} of another organisation left out."


def _small(summary: Summary) -> Iterator[str]:
    n = summary.total.requests
    if n < SMALL_SAMPLE:
        yield f"Small sample: {requests(n)}, fewer than {SMALL_SAMPLE:,}. The intervals are rough."


def _unpriced(aggregates: Aggregates) -> Iterator[str]:
    if aggregates.requests_unprice_able:
        yield (
            f"{requests(aggregates.requests_unprice_able)} matched a route whose target model has "
            f"no price: "
            "counted at their actual cost, with no savings."
        )


def _refused(summary: Summary) -> Iterator[str]:
    refused = sum(
        cell.requests for (_, outcome), cell in summary.cells.items() if outcome == REFUSED
    )
    if refused:
        yield (
            f"{requests(refused)} would be refused by a max_cost_usd ceiling: counted at their "
            f"actual cost, with no savings."
        )


def _clustered(inferred: Inferred, spec: ReplaySpec) -> Iterator[str]:
    clusters, unit = inferred.clusters, inferred.unit or spec.interval_unit
    if inferred.findings is not None:
        yield from _units(inferred.findings, unit)
        ends = inferred.intervals
        if ends.projected_change_usd_95 is not None and ends.projected_change_pct_95 is None:
            yield (
                f"So few {unit_text(unit)} carry the cost that the share that is saved has no "
                f"interval."
            )
        return
    if clusters is None or clusters.effective >= FEW_EFFECTIVE:
        return
    counted = f"{clusters.count:,} clusters by {unit} are worth {clusters.effective:.1f} equal ones"
    if clusters.effective < LEAST_EFFECTIVE:
        yield (
            f"No intervals: {counted}, fewer than {LEAST_EFFECTIVE}. How far the figures can be "
            f"off is not known."
        )
    else:
        yield (
            f"Few clusters: {counted}, fewer than {FEW_EFFECTIVE}; the largest has "
            f"{clusters.largest_share:.1%}. "
            "The intervals are too narrow."
        )


def _units(findings: Findings, unit: str) -> Iterator[str]:
    carriers, of = findings.carriers, findings.units
    if not carriers and findings.may_carry:
        most = 1 - 0.025 ** (1 / of)
        yield (
            f"None of {unit_text(unit, of)} carries a change, so there is no interval of it: with "
            f"95 % confidence at most {most:.2%} of such {unit_text(unit)} do (Clopper-Pearson)."
        )
    elif carriers and findings.effective_carriers < FEW_CARRIERS:
        yield (
            f"The savings rest on {carriers:,} of {unit_text(unit, of)}, worth "
            f"{findings.effective_carriers:.1f} equal ones, fewer than {FEW_CARRIERS}. The "
            f"intervals are wider for that."
        )
    yield from scarce_units(findings.scarce, unit, "resample")
    yield from _weeks(findings.weeks)


def scarce_units(scarce: tuple[UnitSums, float] | None, unit: str, use: str) -> Iterator[str]:
    """A caveat on a coarser block of time by which savings vary more, if there is one."""
    if scarce is not None:
        block, factor = scarce
        yield (
            f"Savings vary {factor:.1f} times as much by {unit_text(block.name, 1)[2:]} as by "
            f"{unit_text(unit, 1)[2:]} (variance), but {unit_text(block.name, len(block))} are too "
            f"few to {use}. The intervals are too narrow."
        )


def unit_text(unit: str, count: int | None = None) -> str:
    """A number of units in words, or only their plural."""
    singular, plural = UNIT_WORDS.get(unit, (f"cluster by {unit}", f"clusters by {unit}"))
    if count is None:
        return plural
    return f"{count:,} {singular if count == 1 else plural}"


UNIT_WORDS = {
    "request": ("request", "requests"),
    "session_id": ("session", "sessions"),
    "user_id": ("user", "users"),
    "api_key_id": ("API key", "API keys"),
    "minute": ("minute", "minutes"),
    "quarter_hour": ("quarter of an hour", "quarters of an hour"),
    "hour": ("hour", "hours"),
    "day": ("day", "days"),
}


def _weeks(weeks: WeekFinding | None) -> Iterator[str]:
    if weeks is None:
        return
    differ = f"between its days of the week they are {weeks.low:.1f} to {weeks.high:.1f} %"
    if weeks.missing:
        missing = ", ".join(weeks.missing)
        yield f"The window has no {missing}, which may save more or less: {differ}."
    else:
        yield (
            f"The window is {weeks.days:.1f} days long, no whole number of weeks, and its days "
            f"differ: with all days of the week weighted equally savings are "
            f"{weeks.weighted:.1f} % of the baseline, not {weeks.savings:.1f} % ({differ})."
        )


def _unhashed(summary: Summary, spec: ReplaySpec) -> Iterator[str]:
    total, ignored = summary.total, spec.config.l1_upper_bound_ignores
    if not total.unhashed:
        return
    names = {"tag": "tag", "input_tokens": "number of input tokens"}
    same = ["model", *(text for name, text in names.items() if name not in ignored)]
    yield (
        f"{requests(total.unhashed)} have no hash of the prompt: no exact (L1) cache hit of theirs "
        f"counts. As an upper bound, {total.bound_hits:,} of them, which cost "
        f"{usd(total.bound_cost):,.2f} USD, can be hits: those that came within the TTL of one "
        f"with the same {' and '.join(same)}."
    )


def _semantic(semantic: SemanticFindings | None, full: bool) -> Iterator[str]:
    if semantic is None:
        return
    if semantic.sweep is None:
        yield (
            "No request that may use a cache has an embedding: semantic (L2) cache hits are not "
            "projected."
        )
        return
    if semantic.sweep.without_embedding:
        yield (
            f"{requests(semantic.sweep.without_embedding)} have no embedding and are not looked "
            f"up in the semantic (L2) cache."
        )
    if semantic.threshold is None:
        yield (
            "Semantic (L2) cache hits only inform: none counts for cost until l2_threshold names "
            "the threshold."
        )
    else:
        at = semantic.sweep.thresholds.index(semantic.threshold)
        if semantic.sweep.poisoned[at]:
            yield (
                f"{semantic.sweep.poisoned[at]:,} of {semantic.sweep.hits[at]:,} semantic hits at "
                f"threshold {semantic.threshold} "
                "would be served an answer that ended differently from their own"
                + (
                    f", or one of under {SHORT} tokens that is not known to be equal"
                    if full
                    else ""
                )
                + ": see poisoning_candidates."
            )
    if len(semantic.sweep.candidates) < semantic.sweep.suspects:
        yield (
            f"Of {semantic.sweep.suspects:,} poisoning candidates the first "
            f"{len(semantic.sweep.candidates):,} are listed."
        )


def _heavy_tail(heavy_tail: HeavyTail | None, unit: str) -> Iterator[str]:
    if heavy_tail is None:
        return
    carriers = "requests" if unit == "request" else f"clusters by {unit}"
    intervals = (
        "By method limit, which was required by name, the savings intervals are not reliable."
        if heavy_tail.resamples is None
        else f"The savings intervals come from {heavy_tail.resamples:,} seeded resamples "
        "and are rough."
    )
    yield (
        f"Few {carriers} carry the cost: the largest alone has {heavy_tail.largest_share:.1%} of "
        f"the baseline. "
        f"{intervals}"
    )


def _wide(aggregates: Aggregates, intervals: ConfidenceIntervals, is_full: bool) -> Iterator[str]:
    savings = {
        "savings in USD": (float(aggregates.projected_savings_usd), intervals.savings_usd_95),
        "savings in percent": (aggregates.projected_savings_pct, intervals.savings_pct_95),
    }
    if is_full:
        change = float(aggregates.change_vs_actual_usd)
        savings = {"savings in USD": (change, intervals.change_vs_actual_usd_95)}
    estimates = {
        **savings,
        "cache hit rate": (aggregates.cache_hit_rate_projected, intervals.cache_hit_rate_95),
        "p50 latency": (aggregates.p50_latency_ms_projected, intervals.p50_latency_ms_95),
        "p95 latency": (aggregates.p95_latency_ms_projected, intervals.p95_latency_ms_95),
    }
    for name, (estimate, ends) in estimates.items():
        if ends is not None and estimate != 0 and (ends[1] - ends[0]) / abs(estimate) > WIDE:
            yield (
                f"The interval of the {name} is wide: {(ends[1] - ends[0]) / abs(estimate):.0%} of "
                f"the estimate."
            )


def _unanswered(summary: Summary, spec: ReplaySpec) -> Iterator[str]:
    routes = spec.active_routes

    def named(asking: Sequence[ProposedRoute]) -> str:
        names = ", ".join(repr(route.name) for route in asking[:3])
        return names + (f" and {len(asking) - 3} more" if len(asking) > 3 else "")

    modal = [r for r in routes if r.when.has_images is not None or r.when.has_audio is not None]
    if modal and spec.is_full:
        yield (
            f"Requests with neither a body nor counts of images and audio cannot match "
            f"{named(modal)}."
        )
    elif modal:
        yield (
            f"No log says whether a request has images or audio, so nothing matches {named(modal)}."
        )
    prompting = [r for r in routes if r.when.prompt_contains_any_of]
    if prompting and summary.bodiless:
        yield (
            f"{requests(summary.bodiless)} have no recorded prompt and cannot match "
            f"{named(prompting)}."
        )
    tagged = [r for r in routes if r.when.tag_equals is not None]
    if tagged and summary.untagged:
        yield f"{requests(summary.untagged)} have no tag and cannot match {named(tagged)}."


def _latencies(summary: Summary, full: bool) -> Iterator[str]:
    if summary.no_latency:
        yield (
            f"{requests(summary.no_latency)} have no recorded latency and are not in the latency "
            f"figures."
        )
    if summary.latency_unprojected and full:
        yield (
            f"{requests(summary.latency_unprojected)} go to a model with no latency in the "
            "window: their latency there is not known, and they are not in the latency figures."
        )
    elif summary.latency_unprojected:
        yield (
            f"{requests(summary.latency_unprojected)} rerouted to a model with no latency in the "
            f"window: "
            "their own latency is shown, not a projected one."
        )


def _repriced(summary: Summary) -> Iterator[str]:
    repriced = summary.total.repriced_hits
    if repriced:
        yield (
            f"{requests(repriced)} recorded as served from a cache are priced as misses on the "
            f"route's target."
        )
