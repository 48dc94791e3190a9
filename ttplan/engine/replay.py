"""A table of requests and a question → a result. No clock, no randomness that the seed does not fix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import ibis.expr.types as ir

from ttplan.engine.basis import basis_caveats, cost_basis
from ttplan.engine.caveats import Semantic, caveats
from ttplan.engine.cost import PriceRule, price_rules
from ttplan.engine.dialects import fetch
from ttplan.engine.exactness import require_exact
from ttplan.engine.intervals.estimate import (
    break_down,
    cache_hits,
    estimate,
    poisoning_candidates,
    savings_by_cause,
)
from ttplan.engine.intervals.infer import infer_intervals
from ttplan.engine.latency import latency_counts, project_latencies
from ttplan.engine.passes import COUNTING, INFERRING, LATENCIES, SUMMING, Report, unheard
from ttplan.engine.project import count_left_out, find_semantic_hits, map_requests
from ttplan.engine.replay_spec import Question, require_window
from ttplan.engine.rows import to_table
from ttplan.engine.semantic_cache.sweep import Sweep
from ttplan.engine.summary import (
    POWERS,
    Cell,
    Grid,
    Summary,
    cell_sums,
    femto_per_token,
    pico,
    spanning,
)
from ttplan.model.errors import InputError
from ttplan.model.plan import IntervalMethod, PlanConfig, PlanInput, PlanResult
from ttplan.model.pricing import ModelPricing
from ttplan.model.route import ProposedRoute, find_duplicate

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
    progress: Report | None = None,
) -> PlanResult:
    """`replay` of any Ibis table that has the columns of `ttplan.engine.rows.SCHEMA`; its rows never leave their engine.

    Ids must be unique: the table is taken at its word. `progress` is told the name of each pass when it begins, and of some the
    share that is done (0..1); what it raises ends the replay, with nothing left in the table's engine. Raises InputError for a
    missing column or one of another type, a row that is no request, a repeated route, a window turned round, no resamples, or a
    backend whose arithmetic is not exact.
    """
    repeat = find_duplicate(routes)
    if repeat is not None:
        raise InputError(repeat)
    if bootstrap_iterations < 1:
        raise InputError(f"bootstrap_iterations is {bootstrap_iterations}; expected at least 1")
    require_window(window_start, window_end)
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
    require_exact(table.get_backend())
    return answer(table, question, progress or unheard)


def answer(table: ir.Table, question: Question, report: Report = unheard) -> PlanResult:
    """Map, summarise, infer."""
    report(COUNTING, 0.0)
    kept, left_out = count_left_out(table, question)
    sweep = find_semantic_hits(table, question, report) if kept else None
    semantic = (
        None
        if question.config.l2_ttl_seconds is None
        else Semantic(question.config.l2_threshold, sweep)
    )
    if sweep is None:  # hits that nothing can project count as recorded
        question = replace(
            question, config=question.config.model_copy(update={"l2_threshold": None})
        )
    with map_requests(table, question, sweep, report) as mapped:
        summary = (
            summarise(mapped, question, sweep=sweep, report=report) if kept else Summary(Grid(1, 1))
        )
        report(INFERRING, 0.0)
        inferred = infer_intervals(summary, mapped, question)
    aggregates = estimate(summary, question, sweep)
    return PlanResult(
        plan_id=question.plan_id,
        org_id=question.org_id,
        window_start=question.window_start,
        window_end=question.window_end,
        sample_size=kept,
        aggregates=aggregates,
        confidence_intervals=inferred.intervals,
        interval_method=inferred.method,
        interval_unit=question.unit,
        clusters=inferred.clusters,
        per_route_breakdown=break_down(summary, question),
        caveats=(
            *caveats(
                summary,
                left_out,
                question.tried,
                aggregates,
                inferred.intervals,
                inferred.fallback,
                inferred.clusters,
                question.unit,
                semantic,
            ),
            *basis_caveats(cost_basis(table, question)),
        ),
        cache_hits=cache_hits(summary, question),
        savings_by_cause=savings_by_cause(summary),
        poisoning_candidates=poisoning_candidates(sweep),
        proposed_routes=tuple(question.routes),
    )


def summarise(
    mapped: ir.Table,
    question: Question,
    grid: Grid | None = None,
    sweep: Sweep | None = None,
    report: Report = unheard,
) -> Summary:
    """The summary of mapped rows. Parts of one log must share the grid of the whole."""
    report(LATENCIES, 0.0)
    counts = fetch(latency_counts(mapped))
    grid = grid or spanning(counts)
    latencies = project_latencies(counts, question.tried)
    tried = 0 if sweep is None else len(sweep.thresholds)
    report(SUMMING, 0.0)
    rows = fetch(cell_sums(mapped, grid, tried)).to_pylist()
    rules = price_rules(question.tried, question.pricing)
    cells: dict[tuple[int, int], Cell] = defaultdict(Cell)
    for row in sorted(rows, key=lambda row: (row["route"], row["outcome"])):
        cells[(row["route"], row["outcome"])] += _cell(row, rules)
    return Summary(
        grid=grid,
        cells=dict(cells),
        powers={(j, k): sum(int(row[f"p{j}{k}"]) for row in rows) for j, k in POWERS},
        actual_powers={j: sum(int(row[f"a{j}"]) for row in rows) for j in range(1, 5)},
        latency=latencies.counts,
        recorded_latency=latencies.recorded,
        medians=latencies.medians,
        no_latency=latencies.missing,
        latency_unprojected=latencies.unprojected,
        untagged=sum(row["untagged"] for row in rows),
        bodiless=sum(row["bodiless"] for row in rows),
        largest=max((pico(row["largest"]) for row in rows), default=0),
        sweep={
            t: (
                sum(row[f"also_l1_{t}"] or 0 for row in rows),
                sum(pico(row[f"saved_{t}"]) for row in rows),
            )
            for t in range(tried)
        },
    )


def _cell(row: Mapping[str, Any], rules: Sequence[PriceRule]) -> Cell:
    counts = {name: int(row.get(name) or 0) for name in _COUNTED}
    amounts = {
        name: pico(row.get(name))
        for name in ("actual", "baseline", "projected", "l1_saved", "l2_saved")
    }
    if not row["moved"]:
        return Cell(**counts, **amounts)
    price = rules[row["rule"]].price
    per_token = femto_per_token(price.input_per_million - price.cached_rate)
    return Cell(
        **counts,
        **amounts,
        moved_baseline=amounts["baseline"],
        moved_uncached=pico(row["uncached"]),
        discount=int(row["charged"]) * per_token,
    )


_COUNTED = (
    "requests",
    "recorded_hits",
    "projected_hits",
    "repriced_hits",
    "l1_hits",
    "l2_hits",
    "both_hits",
)
