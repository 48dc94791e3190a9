"""The full projection against a plain row loop over the contract, money exactly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import ibis.expr.types as ir
import pytest

from tests import oracle_causes
from tests.engine.test_replay_oracle import instance
from tests.oracle import price_of
from tests.oracle_full import FullOracle
from tests.oracle_rates import money, rounded, searches
from tests.support.full_plans import FullPlan, full_plan
from tests.support.scale import SCALE
from ttplan.engine.dialects import fetch
from ttplan.engine.full.assumptions.describe import describe_full
from ttplan.engine.project import map_window
from ttplan.engine.replay import run_replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import load_table
from ttplan.model.plan import IntervalMethod, PlanResult

RICH = [788, 1052, 522, 1381, 1402, 848, 554, 1131, 496, 217, 383, 1371]
RICH += [736, 404, 886, 105, 291, 1468, 1039, 240, 168, 908, 191, 25]
"""Seeds of plans that have every rule at work between them."""
OUTCOMES = {
    0: "unchanged",
    1: "unpriced",
    2: "rerouted",
    3: "refused",
    -1: "ineligible",
    -2: "failed",
    -3: "answered",
}


@contextmanager
def mapped_rows() -> Iterator[list[dict[str, Any]]]:
    """The rows that are mapped in the block."""
    rows: list[dict[str, Any]] = []

    def recorded(mapped: ir.Table, *arguments: Any) -> Any:
        names = ("cost_usd", "uncached_usd", "projected_usd", "outcome", "moved", "read")
        rows.extend(fetch(mapped.select(*names, id=mapped.id.cast("string"))).to_pylist())
        return describe_full(mapped, *arguments)

    def whole(*arguments: Any, **_: Any) -> Any:
        return map_window(*arguments, whole=True)

    with (
        patch("ttplan.engine.replay.describe_full", recorded),
        patch("ttplan.engine.replay.map_window", whole),
    ):
        yield rows


def check(full: FullPlan, table: ir.Table | None = None) -> PlanResult:
    """Compare a whole result with the oracle's; from DuckDB, or from where `table` is."""
    plan = full.plan
    expected = FullOracle(plan, full.inputs)
    spec = replace(ReplaySpec.from_plan(plan), inputs=full.inputs)
    table = load_table(instance().cursor(), plan.requests) if table is None else table
    with mapped_rows() as rows:
        result = run_replay(table, spec).result
    by_id = {row["id"]: row for row in rows}
    for row in expected.rows:
        mapped = by_id[str(row.request.id)]
        assert (OUTCOMES[mapped["outcome"]], mapped["moved"], mapped["read"]) == (
            row.outcome,
            row.moved,
            row.read,
        )
        assert mapped["cost_usd"] == money(row.actual)
        assert mapped["uncached_usd"] == money(row.cost)
        assert mapped["projected_usd"] == money(row.routed)
    check_aggregates(result, expected)
    check_causes(result, expected)
    check_change(result, expected)
    check_caches(result, expected)
    check_details(result, expected)
    check_other_prices(result, expected)
    return result


def check_aggregates(result: PlanResult, expected: FullOracle) -> None:
    """Sums and counts."""
    aggregates, rows = result.aggregates, expected.rows
    assert result.sample_size == len(rows)
    assert aggregates.total_baseline_cost_usd == money(total(r.baseline for r in rows))
    assert aggregates.total_actual_cost_usd == money(total(r.actual for r in rows))
    assert aggregates.total_projected_cost_usd == money(total(r.routed for r in rows))
    assert aggregates.change_vs_actual_usd == money(expected.savings)
    outcomes = Counter(row.outcome for row in rows)
    assert aggregates.requests_rerouted == outcomes["rerouted"] + outcomes["refused"]
    assert aggregates.requests_unchanged == outcomes["unchanged"] + outcomes["answered"]
    assert aggregates.requests_unprice_able == outcomes["unpriced"]
    assert aggregates.requests_ineligible == outcomes["ineligible"]
    assert aggregates.requests_failed == outcomes["failed"]
    hits = sum(row.hit or (row.answered and row.request.cached) for row in rows)
    assert aggregates.cache_hit_rate_projected == (hits / len(rows) if rows else 0)
    assert [
        (r.route_id, r.route_name, r.matched, r.baseline_cost_usd, r.projected_cost_usd)
        for r in result.per_route_breakdown
    ] == per_route(expected)


def per_route(expected: FullOracle) -> list[tuple[Any, ...]]:
    """The rows by route that took something, by id."""
    by_id: dict[Any, list[Any]] = defaultdict(list)
    for row in expected.rows:
        if row.outcome in ("rerouted", "refused"):
            assert row.route is not None
            by_id[row.route.id, row.route.name].append(row)
    return [
        (*key, len(own), money(total(r.baseline for r in own)), money(total(r.routed for r in own)))
        for key, own in sorted(by_id.items())
    ]


def check_causes(result: PlanResult, expected: FullOracle) -> None:
    """Baseline minus projected by cause."""
    moved = [row for row in expected.rows if row.moved]
    stay = [row for row in expected.rows if not row.moved]
    discount = total(row.discount for row in moved)
    causes = {
        "already": total(row.baseline - row.cost for row in stay),
        "routes": total(row.baseline - row.cost for row in moved) - discount,
        "provider_cache": discount,
        "l1_cache": total(row.cost for row in expected.rows if row.l1_hit),
        "l2_cache": total(row.cost for row in expected.rows if row.l2_hit and not row.l1_hit),
    }
    assert result.savings_by_cause is not None
    assert result.savings_by_cause.model_dump() == {
        name: money(amount) for name, amount in causes.items()
    }


def check_change(result: PlanResult, expected: FullOracle) -> None:
    """Actual minus projected by cause, whose parts add up to the last digit."""
    split = result.change_by_cause
    if not expected.rows:
        assert split is None
        return
    assert split is not None
    assert split.model_dump() == {
        name: money(amount) for name, amount in oracle_causes.causes(expected).items()
    }
    assert sum(amount for _, amount in split) == result.aggregates.change_vs_actual_usd
    aggregates = result.aggregates
    already = aggregates.total_baseline_cost_usd - aggregates.total_actual_cost_usd
    assert aggregates.saved_already_usd == already


def check_caches(result: PlanResult, expected: FullOracle) -> None:
    """Hits by level, what an exact cache can answer at most, and suspects at each threshold."""
    rows = expected.rows
    if result.cache_hits is not None and result.cache_hits.l1 is not None:
        assert result.cache_hits.l1 == sum(row.l1_hit for row in rows)
    unhashed = [row for row in rows if row.possible is not None]
    answered = [row.hit or row.answered for row in unhashed]
    possible = [
        row for row, known in zip(unhashed, answered, strict=True) if row.possible and not known
    ]
    bound = result.l1_upper_bound
    assert (bound is None) == (not unhashed)
    if bound is not None:
        assert (bound.requests, bound.hits) == (len(unhashed), len(possible))
        assert bound.cost_usd == money(total(row.cost for row in possible))
    assert [
        (p.projected_l2_hits, p.poisoning_candidates) for p in result.aggregates.l2_projections
    ] == [(len(sweep.hits), len(sweep.poisoned)) for sweep in expected.sweeps.values()]


def check_details(result: PlanResult, expected: FullOracle) -> None:
    """Why requests cannot move, sums by pair, cache fits."""
    if result.full is None:
        assert not expected.rows
        return
    reasons: dict[str, list[Fraction]] = defaultdict(list)
    for row in expected.rows:
        if row.reason is not None:
            reasons[row.reason].append(row.actual)
    assert [(i.reason, i.requests, i.cost_usd) for i in result.full.ineligible] == [
        (reason, len(costs), money(total(costs))) for reason, costs in sorted(reasons.items())
    ]
    pairs: dict[Any, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for row in expected.rows:
        if row.moved and not row.hit:
            assert row.route is not None
            assert row.target is not None
            own = pairs[row.route.name, row.key.model, row.target.model]
            for name, amount in pieces(row, expected).items():
                own[name] += amount
    computed = {
        (pair.route, pair.source_model, pair.target_model): {
            name: value
            for name, value in pair.model_dump().items()
            if name not in ("route", "source_model", "target_model")
        }
        for pair in result.full.pairs
    }
    assert computed == {
        key: {name: int(v) if name == "requests" else money(rounded(v)) for name, v in own.items()}
        for key, own in pairs.items()
    }
    kept = total(
        row.actual - row.routed
        for row in expected.rows
        if not row.moved and not row.hit and row.reason != "output limit"
    )
    assert result.full.kept_cache_usd == money(kept)
    fits: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for key, carried in expected.carried.items():
        fits[key.model][0] += carried.reads
        fits[key.model][1] += carried.predicted
    assert [(f.model, f.recorded_tokens, f.predicted_tokens) for f in result.full.cache_fit] == [
        (model, *fit) for model, fit in sorted(fits.items()) if fit[1]
    ]


def pieces(row: Any, expected: FullOracle) -> dict[str, Fraction]:
    """What a moved request adds to the sums of its pair."""
    of, parts = row.target_rates.of, row.parts
    cost = {name: of[name] * n for name, n in parts.items()}
    full = row.spread + of["cached"]
    explicit = expected.inputs.facts.get(row.target.name)
    written = explicit and explicit.cache and explicit.cache.mode == "explicit"
    return {
        "requests": Fraction(1),
        "actual_usd": row.actual,
        "projected_usd": row.routed,
        "input_usd": cost["input"]
        + cost["in_audio"]
        + cost["in_image"]
        - (0 if written else row.read * full),
        "cached_usd": cost["cached"] + row.read * of["cached"],
        "written_usd": cost["write"] + cost["write_1h"] - (row.read * full if written else 0),
        "visible_usd": cost["output"] + cost["out_audio"] + cost["out_image"],
        "reasoning_usd": cost["reasoning"],
        "fees_usd": row.target_rates.cost({}, searches(row.request)),
        "rest_usd": row.rest,
        "hidden_token_usd": of["reasoning"],
    }


def total(amounts: Any) -> Fraction:
    """Their sum."""
    return sum(amounts, Fraction(0))


def check_other_prices(result: PlanResult, expected: FullOracle) -> None:
    """The savings at the other of the two prices: those of moved requests and of what explains
    their recorded cost change, all else stays."""
    config = expected.plan.config
    if not expected.rows:
        return
    other = "plan" if config.prices_at == "request" else "request"
    again = FullOracle(expected.plan, expected.inputs, moment_of=("request", other))

    def savings(rows: list[Any]) -> int:
        """In 10^-12 USD, rounded half to even."""
        amount = Fraction(0)
        for row, headline in zip(rows, expected.rows, strict=True):
            if row.moved and not row.hit:
                source_factor, target_factor = expected.factors(headline)
                kept = 1 - expected.redo(headline)
                silent = row.failed or row.request.cached or row.current is None
                listed = row.explained if silent else row.current
                amount += (listed or 0) * source_factor * kept
                amount -= row.listed_target * target_factor
        return round(amount * 10**12)

    more = 0
    if expected.inputs.prices_at is not None:
        more = savings(again.rows) - savings(expected.rows)
    computed = result.aggregates.savings_at_plan_prices_usd
    assert computed == result.aggregates.change_vs_actual_usd + Decimal(more).scaleb(-12)


@pytest.mark.parametrize("seed", RICH[:3])
def test_full_projections_equal_the_row_loop(seed: int) -> None:
    check(full_plan(seed))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_more_full_projections_equal_the_row_loop(part: int) -> None:
    for seed in [*RICH[3:], *range(4 * SCALE)][part::4]:
        check(full_plan(seed))


@pytest.mark.parametrize("seed", [2, 9])
def test_a_reference_projection_follows_sessions(seed: int) -> None:
    full = full_plan(seed)
    assert any(route.sticky for route in full.plan.proposed_routes)
    config = full.plan.config.model_copy(update={"projection": "reference"})
    plan = full.plan.model_copy(update={"config": config})
    spec = ReplaySpec.from_plan(plan)
    result = run_replay(load_table(instance().cursor(), plan.requests), spec).result
    matched = Counter(
        row.route.id
        for row in FullOracle(full.plan, full.inputs).rows
        if row.route is not None
        and price_of(plan.pricing, row.request.provider, row.route.then.target_model)
    )
    assert {r.route_id: r.matched for r in result.per_route_breakdown} == matched


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "limit"])
def test_rows_without_ids_give_the_same_result(method: IntervalMethod) -> None:
    full = full_plan(RICH[0], size=300)
    spec = replace(ReplaySpec.from_plan(full.plan, method), inputs=full.inputs)
    table = load_table(instance().cursor(), full.plan.requests)
    with map_window(table, spec, whole=False) as window:
        assert "id" not in window.rows.columns
    result = run_replay(table, spec).result

    def map_whole(*arguments: Any, **options: Any) -> Any:
        return map_window(*arguments, **{**options, "whole": True})

    with patch("ttplan.engine.replay.map_window", map_whole):
        assert result == run_replay(table, spec).result
