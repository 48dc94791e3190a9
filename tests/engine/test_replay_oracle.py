"""The engine against a plain row loop over the contract, money exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from typing import Any
from unittest.mock import patch
from uuid import UUID

import duckdb
import ibis.expr.types as ir
import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests import oracle
from tests.support.scale import SCALE
from tests.support.strategies import plans
from ttplan.engine.dialects import compiled
from ttplan.engine.intervals.estimate import estimate
from ttplan.engine.project import map_requests
from ttplan.engine.replay import run_replay, summarise
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import load_table, to_table
from ttplan.engine.summary import GRID, Summary
from ttplan.model.plan import PlanInput, PlanResult
from ttplan.model.results.parts import CacheHits


@cache
def instance() -> duckdb.DuckDBPyConnection:
    """One DuckDB for all plans: starting it takes a tenth of the time of a plan."""
    return duckdb.connect()


def check(plan: PlanInput, table: ir.Table | None = None) -> PlanResult:
    """Compare a whole result, and the summary behind it, with the oracle's; from DuckDB, or from
    where `table` is."""
    expected = oracle.answer(plan)
    spec = ReplaySpec.from_plan(plan)
    table = load_table(instance().cursor(), plan.requests) if table is None else table
    with summaries() as summed:
        result = run_replay(table, spec).result
    aggregates = result.aggregates

    assert result.sample_size == expected.sample_size
    assert aggregates.total_baseline_cost_usd == expected.total(
        lambda row: row.request.baseline_cost_usd
    )
    assert aggregates.total_actual_cost_usd == expected.total(lambda row: row.request.cost_usd)
    assert aggregates.total_projected_cost_usd == expected.total(lambda row: row.projected)
    assert (
        aggregates.projected_change_usd
        == aggregates.total_baseline_cost_usd - aggregates.total_projected_cost_usd
    )
    assert aggregates.projected_savings_usd == max(Decimal(0), aggregates.projected_change_usd)
    assert (
        aggregates.change_vs_actual_usd
        == aggregates.total_actual_cost_usd - aggregates.total_projected_cost_usd
    )
    outcomes = Counter(row.outcome for row in expected.rows)
    assert aggregates.requests_rerouted == outcomes["rerouted"] + outcomes["refused"]
    assert aggregates.requests_unchanged == outcomes["unchanged"]
    assert aggregates.requests_unprice_able == outcomes["unpriced"]
    projecting = plan.config.l1_ttl_seconds is not None or (
        plan.config.l2_threshold is not None and bool(expected.sweeps)
    )
    hits = sum(row.hit if projecting else row.request.cached for row in expected.rows)
    assert aggregates.cache_hit_rate_projected == (
        hits / expected.sample_size if expected.sample_size else 0
    )
    latencies = [row.latency for row in expected.rows if row.latency is not None]
    assert aggregates.p50_latency_ms_projected == oracle.percentile(latencies, 0.50)
    assert aggregates.p95_latency_ms_projected == oracle.percentile(latencies, 0.95)
    assert [
        (r.route_id, r.route_name, r.matched, r.baseline_cost_usd, r.projected_cost_usd)
        for r in result.per_route_breakdown
    ] == oracle.per_route(expected.rows)
    assert result.savings_by_cause is not None
    assert result.savings_by_cause.model_dump() == oracle.causes(expected.rows)
    assert sum(result.savings_by_cause.model_dump().values()) == aggregates.projected_change_usd
    check_semantic(plan, result, expected)
    caveat_text = "\n".join(result.caveats)
    assert ("outside the window" in caveat_text) == (expected.outside > 0)
    assert ("another organisation" in caveat_text) == (expected.foreign > 0)
    assert ("no price" in caveat_text) == (outcomes["unpriced"] > 0)
    assert ("ceiling" in caveat_text) == (outcomes["refused"] > 0)
    assert ("no latency in the window" in caveat_text) == (expected.latency_unprojected > 0)
    assert ("no recorded latency" in caveat_text) == (len(latencies) < expected.sample_size)
    assert len(summed) == bool(expected.rows)
    for summary in summed:
        check_summary(summary, expected)
    return result


@contextmanager
def summaries() -> Iterator[list[Summary]]:
    """The summaries that are made in the block."""
    made: list[Summary] = []

    def recorded_summarise(*arguments: Any, **options: Any) -> Summary:
        made.append(summarise(*arguments, **options))
        return made[-1]

    with patch("ttplan.engine.replay.summarise", recorded_summarise):
        yield made


def check_semantic(plan: PlanInput, result: PlanResult, expected: oracle.Answer) -> None:
    """Every threshold's row, both levels and their overlap, and the candidates with their
    sources."""
    rows = [
        (
            threshold,
            projection.total,
            len(projection.hits),
            len(projection.hits) / projection.total,
            len(projection.poisoned),
            sum(row.l1_hit for row in expected.rows if row.request.id in projection.hits),
            sum(
                (
                    row.uncached
                    for row in expected.rows
                    if row.request.id in projection.hits and not row.l1_hit
                ),
                Decimal(0),
            ),
        )
        for threshold, projection in (
            (t, expected.sweeps[t]) for t in plan.config.l2_threshold_sweep if t in expected.sweeps
        )
    ]
    assert [tuple(row.model_dump().values()) for row in result.aggregates.l2_projections] == rows
    poisoned: set[UUID] = set().union(
        *(projection.poisoned for projection in expected.sweeps.values())
    )
    assert result.aggregates.l2_poisoning_candidates == len(poisoned)
    named = {
        (t, c.request_id, c.source_id) for c in result.poisoning_candidates for t in c.thresholds
    }
    assert named == {
        (t, i, projection.hits[i])
        for t, projection in expected.sweeps.items()
        for i in projection.poisoned
    }
    requests = {r.id: r for r in plan.requests}
    for c in result.poisoning_candidates:
        request, source = requests[c.request_id], requests[c.source_id]
        assert (c.finish_reason, c.output_tokens) == (request.finish_reason, request.output_tokens)
        assert (c.source_finish_reason, c.source_output_tokens) == (
            source.finish_reason,
            source.output_tokens,
        )
    both = [row.l1_hit and row.l2_hit for row in expected.rows]
    l1_on, l2_on = (
        plan.config.l1_ttl_seconds is not None,
        plan.config.l2_threshold is not None and bool(expected.sweeps),
    )
    if not (l1_on or l2_on):
        assert result.cache_hits is None
        return
    assert result.cache_hits == CacheHits(
        l1=sum(row.l1_hit for row in expected.rows) if l1_on else None,
        l2=sum(row.l2_hit for row in expected.rows) if l2_on else None,
        both=sum(both),
        either=sum(row.hit for row in expected.rows),
    )


def check_summary(summary: Summary, expected: oracle.Answer) -> None:
    """The grid, and every power sum on it."""
    pairs = [
        (
            int((row.request.baseline_cost_usd - row.projected).scaleb(12)),
            int(row.request.baseline_cost_usd.scaleb(12)),
        )
        for row in expected.rows
    ]
    step = max(1, -(-max(max(abs(s), b) for s, b in pairs) // GRID))
    assert summary.grid.step == step

    def rounded(value: int) -> int:
        return (1 if value >= 0 else -1) * ((2 * abs(value) + step) // (2 * step))

    on_grid = [(rounded(s), rounded(b)) for s, b in pairs]
    for (j, k), total in summary.powers.items():
        assert total == sum(s**j * b**k for s, b in on_grid)
    actual = [int((row.request.cost_usd - row.projected).scaleb(12)) for row in expected.rows]
    step = max(1, -(-max(map(abs, actual)) // GRID))
    for j, total in summary.actual_powers.items():
        assert total == sum(rounded(a) ** j for a in actual)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans(max_size=16))
def test_the_engine_equals_the_row_loop_on_20_plans(plan: PlanInput) -> None:
    check(plan)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_the_engine_equals_the_row_loop_on_more_plans(part: int) -> None:
    @seed(part)
    @settings(
        max_examples=40 * SCALE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(plans(max_size=12))
    def run(plan: PlanInput) -> None:
        check(plan)

    run()


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans(max_size=12))
def test_summaries_of_parts_add_up(plan: PlanInput) -> None:
    spec = ReplaySpec.from_plan(
        plan.model_copy(
            update={
                "config": plan.config.model_copy(
                    update={"l1_ttl_seconds": None, "l2_threshold": None}
                )
            }
        )
    )
    with map_requests(to_table(plan.requests), spec) as mapped:
        if mapped.count().to_pyarrow().as_py() == 0:
            return
        whole = summarise(mapped, spec)
        parts = []
        for rest in (0, 1):
            with compiled(mapped.filter(mapped.input_tokens % 2 == rest)) as part:
                if part.count().to_pyarrow().as_py():
                    parts.append(summarise(part, spec, whole.grid))
        total = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        # Medians are of the whole window, so latencies are compared only where no request is
        # rerouted.
        assert total.cells == whole.cells
        assert total.powers == whole.powers
        assert total.actual_powers == whole.actual_powers
        assert (
            estimate(total, spec).total_projected_cost_usd
            == estimate(whole, spec).total_projected_cost_usd
        )
