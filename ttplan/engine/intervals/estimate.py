"""Point estimates from a summary."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from ttplan.engine.cost import REFUSED, REROUTED, UNCHANGED, UNPRICED
from ttplan.engine.full.requests import ANSWERED, FAILED, INELIGIBLE
from ttplan.engine.latency import percentile
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.semantic_cache.hits import Sweep
from ttplan.engine.summary import Cell, Summary, usd
from ttplan.model.errors import InputError
from ttplan.model.plan import Aggregates, Interval, PerRouteBreakdown
from ttplan.model.results.parts import (
    CacheHits,
    L1UpperBound,
    L2Projection,
    PoisoningCandidate,
    SavingsByCause,
)


def estimate(summary: Summary, spec: ReplaySpec, sweep: Sweep | None = None) -> Aggregates:
    """The aggregates of a result."""
    total = summary.total
    change = total.baseline - total.projected
    by_outcome = {
        outcome: sum(cell.requests for (_, o), cell in summary.cells.items() if o == outcome)
        for outcome in (UNCHANGED, UNPRICED, REROUTED, REFUSED, INELIGIBLE, FAILED, ANSWERED)
    }
    hits = total.projected_hits if spec.counts_hits else total.recorded_hits
    return Aggregates(
        total_baseline_cost_usd=usd(total.baseline),
        total_actual_cost_usd=usd(total.actual),
        total_projected_cost_usd=usd(total.projected),
        projected_savings_usd=usd(max(0, change)),
        projected_savings_pct=max(0, change) / total.baseline * 100 if total.baseline else 0.0,
        projected_change_usd=usd(change),
        change_vs_actual_usd=usd(total.actual - total.projected),
        cache_hit_rate_projected=hits / total.requests if total.requests else 0.0,
        p50_latency_ms_projected=percentile(summary.latency, 0.50),
        p95_latency_ms_projected=percentile(summary.latency, 0.95),
        requests_rerouted=by_outcome[REROUTED] + by_outcome[REFUSED],
        requests_unchanged=by_outcome[UNCHANGED] + by_outcome[ANSWERED],
        requests_unprice_able=by_outcome[UNPRICED],
        l2_projections=_l2_projections(summary, sweep),
        l2_poisoning_candidates=0 if sweep is None else sweep.poisoned_requests,
        p50_latency_ms_actual=percentile(summary.recorded_latency, 0.50)
        if summary.recorded_latency
        else None,
        p95_latency_ms_actual=percentile(summary.recorded_latency, 0.95)
        if summary.recorded_latency
        else None,
        requests_ineligible=by_outcome[INELIGIBLE] if spec.is_full else None,
        requests_failed=by_outcome[FAILED] if spec.is_full else None,
    )


def route_breakdown(
    summary: Summary, spec: ReplaySpec, intervals: Mapping[int, Interval]
) -> tuple[PerRouteBreakdown, ...]:
    """The figures of each route that matched something, by route id, with `intervals` of what it
    saves against what was paid, by position. Unpriced requests are in none."""
    rows = []
    for index, route in enumerate(spec.active_routes):
        own = sum(
            (summary.cells.get((index, outcome), Cell()) for outcome in (REROUTED, REFUSED)), Cell()
        )
        if own.requests:
            rows.append(
                PerRouteBreakdown(
                    route_id=route.id,
                    route_name=route.name,
                    matched=own.requests,
                    baseline_cost_usd=usd(own.baseline),
                    projected_cost_usd=usd(own.projected),
                    savings_usd=usd(max(0, own.baseline - own.projected)),
                    change_vs_actual_usd_95=intervals.get(index),
                )
            )
    return tuple(sorted(rows, key=lambda row: row.route_id))


def cache_hits(summary: Summary, spec: ReplaySpec) -> CacheHits | None:
    """Projected hits of each active cache level, and of both; None if no cache is projected."""
    if not spec.projects_hits:
        return None
    total, config = summary.total, spec.config
    return CacheHits(
        l1=None if config.l1_ttl_seconds is None else total.l1_hits,
        l2=None if config.l2_threshold is None else total.l2_hits,
        both=total.both_hits,
        either=total.projected_hits,
    )


def l1_upper_bound(summary: Summary) -> L1UpperBound | None:
    """What an exact cache could answer at most of the requests without a hash of the prompt."""
    total = summary.total
    if not total.unhashed:
        return None
    return L1UpperBound(
        requests=total.unhashed, hits=total.bound_hits, cost_usd=usd(total.bound_cost)
    )


def savings_by_cause(summary: Summary) -> SavingsByCause:
    """Baseline minus projected, split by cause in the order in which a request meets them."""
    total = summary.total
    # The discount has 15 digits and is rounded once; the remainder belongs to the routes.
    sign = -1 if total.discount < 0 else 1
    discount = sign * ((2 * abs(total.discount) + 1000) // 2000)
    uncached = total.projected + total.l1_saved + total.l2_saved
    return SavingsByCause(
        already=usd((total.baseline - total.moved_baseline) - (uncached - total.moved_uncached)),
        routes=usd(total.moved_baseline - total.moved_uncached - discount),
        provider_cache=usd(discount),
        l1_cache=usd(total.l1_saved),
        l2_cache=usd(total.l2_saved),
    )


def poisoning_candidates(sweep: Sweep | None) -> tuple[PoisoningCandidate, ...]:
    """The first semantic hits that may get a wrong response, in the order of the sweep."""
    if sweep is None:
        return ()
    return tuple(
        PoisoningCandidate(
            request_id=_uuid(hit.request.id),
            source_id=_uuid(hit.source.id),
            thresholds=tuple(sweep.thresholds[t] for t in hit.at),
            cosine=hit.cosine,
            finish_reason=hit.request.finish_reason,
            source_finish_reason=hit.source.finish_reason,
            output_tokens=hit.request.output_tokens,
            source_output_tokens=hit.source.output_tokens,
        )
        for hit in sweep.candidates
    )


def _uuid(id: str) -> UUID:
    try:
        return UUID(id)
    except ValueError:
        raise InputError(
            f"the request id {id!r} is not a UUID, by which semantic hits are listed; import the "
            f"log, "
            "which makes one"
        ) from None


def _l2_projections(summary: Summary, sweep: Sweep | None) -> tuple[L2Projection, ...]:
    if sweep is None:
        return ()
    return tuple(
        L2Projection(
            threshold=threshold,
            total=sweep.total,
            projected_l2_hits=sweep.hits[t],
            projected_l2_hit_rate=sweep.hits[t] / sweep.total,
            poisoning_candidates=sweep.poisoned[t],
            also_l1_hits=summary.sweep[t][0],
            saves_usd=usd(summary.sweep[t][1]),
        )
        for t, threshold in enumerate(sweep.thresholds)
    )
