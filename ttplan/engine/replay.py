"""A table of requests and a question → a result. No clock, no randomness that the seed does not fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import ibis.expr.types as ir

from ttplan.engine.caveats import caveats
from ttplan.engine.cost import REFUSED, REROUTED, UNCHANGED, UNPRICED
from ttplan.engine.infer import infer_intervals
from ttplan.engine.latency import latency_counts, percentile, project_latencies
from ttplan.engine.mapped import count_left_out, map_requests
from ttplan.engine.portable import fetch
from ttplan.engine.question import Question
from ttplan.engine.rows import to_table
from ttplan.engine.summary import POWERS, Cell, Grid, Summary, cell_sums, extent, grid_step, pico, usd
from ttplan.model.errors import InputError
from ttplan.model.plan import (
    Aggregates,
    IntervalMethod,
    PerRouteBreakdown,
    PlanConfig,
    PlanInput,
    PlanResult,
    check_window,
)
from ttplan.model.pricing import ModelPricing
from ttplan.model.route import ProposedRoute, first_repeat

_ZERO = Decimal(0)
NIL = UUID(int=0)
LONG_AGO, FAR_AHEAD = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


def replay(plan: PlanInput, *, interval_method: IntervalMethod = "limit") -> PlanResult:
    """What `plan` would have done to its requests. A pure function: the same input gives the same JSON, to the byte.

    `interval_method` is `limit` (the default; below 200 requests it resamples), `resample` or `tt-plan-core`.
    Raises InputError for an unknown method.
    """
    return answer(to_table(plan.requests), Question.of(plan, interval_method))


def replay_table(
    table: ir.Table,
    routes: Sequence[ProposedRoute],
    prices: Mapping[str, ModelPricing],
    config: PlanConfig | None = None,
    *,
    org_id: UUID,
    plan_id: UUID = NIL,
    window_start: datetime = LONG_AGO,
    window_end: datetime = FAR_AHEAD,
    seed: int = 0,
    bootstrap_iterations: int = 10_000,
    interval_method: IntervalMethod = "limit",
) -> PlanResult:
    """`replay` of any Ibis table that has the columns of `ttplan.engine.rows.SCHEMA`; its rows never leave their engine.

    Ids must be unique: the table is taken at its word. Raises InputError for a missing column, a repeated route, a
    window turned round or no resamples.
    """
    repeat = first_repeat(routes)
    if repeat is not None:
        raise InputError(repeat)
    if bootstrap_iterations < 1:
        raise InputError(f"bootstrap_iterations is {bootstrap_iterations}; expected at least 1")
    try:
        check_window(window_start, window_end)
    except ValueError as error:
        raise InputError(str(error)) from None
    question = Question(
        plan_id=plan_id,
        org_id=org_id,
        window_start=window_start,
        window_end=window_end,
        routes=tuple(routes),
        pricing=prices,
        config=config or PlanConfig(),
        seed=seed,
        bootstrap_iterations=bootstrap_iterations,
        interval_method=interval_method,
    )
    return answer(table, question)


def answer(table: ir.Table, question: Question) -> PlanResult:
    """Map, summarise, infer."""
    if question.config.cluster is not None:
        raise InputError(f"config.cluster is {question.config.cluster!r}; intervals over clusters are not computed: leave it out")
    kept, left_out = count_left_out(table, question)
    with map_requests(table, question) as mapped:
        summary = summarise(mapped, question) if kept else Summary(Grid(1, 1))
        inferred = infer_intervals(summary, mapped, question)
    aggregates = estimate(summary, question)
    return PlanResult(
        plan_id=question.plan_id,
        org_id=question.org_id,
        window_start=question.window_start,
        window_end=question.window_end,
        sample_size=kept,
        aggregates=aggregates,
        confidence_intervals=inferred.intervals,
        interval_method=inferred.method,
        interval_unit="request",
        per_route_breakdown=break_down(summary, question),
        caveats=caveats(
            summary,
            left_out,
            question.tried,
            aggregates,
            inferred.intervals,
            inferred.fallback,
            l2_ignored=question.config.l2_ttl_seconds is not None,
        ),
        proposed_routes=tuple(question.routes),
    )


def summarise(mapped: ir.Table, question: Question, grid: Grid | None = None) -> Summary:
    """The summary of mapped rows. Parts of one log must share the grid of the whole, which a first pass finds."""
    if grid is None:
        largest = fetch(extent(mapped)).to_pylist()[0]
        grid = Grid(grid_step(largest["amount"] or _ZERO), grid_step(largest["actual"] or _ZERO))
    latencies = project_latencies(fetch(latency_counts(mapped)), question.tried)
    rows = fetch(cell_sums(mapped, grid)).to_pylist()
    return Summary(
        grid=grid,
        cells={
            (row["route"], row["outcome"]): _cell(row) for row in sorted(rows, key=lambda row: (row["route"], row["outcome"]))
        },
        powers={(j, k): sum(int(row[f"p{j}{k}"]) for row in rows) for j, k in POWERS},
        actual_powers={j: sum(int(row[f"a{j}"]) for row in rows) for j in range(1, 5)},
        latency=latencies.counts,
        medians=latencies.medians,
        no_latency=latencies.missing,
        latency_unprojected=latencies.unprojected,
        untagged=sum(row["untagged"] for row in rows),
        bodiless=sum(row["bodiless"] for row in rows),
        largest=max((pico(row["largest"]) for row in rows), default=0),
    )


def _cell(row: Mapping[str, Any]) -> Cell:
    counts = {name: int(row[name]) for name in ("requests", "recorded_hits", "projected_hits", "repriced_hits")}
    return Cell(**counts, **{name: pico(row[name]) for name in ("actual", "baseline", "projected")})


def estimate(summary: Summary, question: Question) -> Aggregates:
    """The point estimates."""
    total = summary.total
    change = total.baseline - total.projected
    by_outcome = {
        outcome: sum(cell.requests for (_, o), cell in summary.cells.items() if o == outcome)
        for outcome in (UNCHANGED, UNPRICED, REROUTED, REFUSED)
    }
    hits = total.recorded_hits if question.config.l1_ttl_seconds is None else total.projected_hits
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
        requests_unchanged=by_outcome[UNCHANGED],
        requests_unprice_able=by_outcome[UNPRICED],
    )


def break_down(summary: Summary, question: Question) -> tuple[PerRouteBreakdown, ...]:
    """What each route that matched something does, by route id. Unpriced rows are in no route's row."""
    rows = []
    for index, route in enumerate(question.tried):
        own = sum((summary.cells.get((index, outcome), Cell()) for outcome in (REROUTED, REFUSED)), Cell())
        if own.requests:
            rows.append(
                PerRouteBreakdown(
                    route_id=route.id,
                    route_name=route.name,
                    matched=own.requests,
                    baseline_cost_usd=usd(own.baseline),
                    projected_cost_usd=usd(own.projected),
                    savings_usd=usd(max(0, own.baseline - own.projected)),
                )
            )
    return tuple(sorted(rows, key=lambda row: row.route_id))
