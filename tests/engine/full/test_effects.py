"""Effects of assumptions against projections with another value: the row loop, run again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from random import Random
from typing import Any
from uuid import UUID

import pytest

from tests.engine.test_replay_oracle import instance
from tests.oracle_full import FullOracle
from tests.support.strategies import ORG, START
from ttplan.engine.replay import run_replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import load_table
from ttplan.model.plan import PlanConfig, PlanInput
from ttplan.model.pricing import ModelPricing, TokenRates
from ttplan.model.projection.assumption import (
    MEANINGS,
    Assumption,
    AssumptionEffect,
    AssumptionName,
)
from ttplan.model.projection.capabilities import CacheRule, ModelFacts
from ttplan.model.projection.full import PricePiece, ProjectionInputs
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute, RouteAction

GIVEN: dict[AssumptionName, str] = {
    "ratio_in": "1.2",
    "ratio_out": "0.9",
    "ratio_reasoning": "1.5",
    "reasoning_tokens": "120",
    "redo": "0.1",
    "cache_fit": "0.5",
}
RATES = {
    "big": TokenRates(
        input_per_million=Decimal("2.5"),
        output_per_million=Decimal(10),
        cached_input_per_million=Decimal("1.25"),
    ),
    "mid": TokenRates(
        input_per_million=Decimal(1),
        output_per_million=Decimal(3),
        cached_input_per_million=Decimal("0.1"),
        request_usd=Decimal("0.0001"),
    ),
}


def make_plan(thinks: bool, *also: Assumption) -> tuple[PlanInput, ProjectionInputs]:
    """A plan in which savings are linear: no limits, one price, round numbers of tokens."""
    rng = Random(thinks)
    rule = ModelFacts(cache=CacheRule(mode="automatic", ttl_seconds=60))
    requests = tuple(
        RequestLog(
            id=UUID(int=i),
            org_id=ORG,
            ts=START + timedelta(seconds=i),
            provider="openai",
            model="big",
            input_tokens=1000 * rng.randint(1, 9),
            output_tokens=2000,
            reasoning_tokens=1000 if thinks and i % 2 else 0,
            cached_tokens=0,
            cost_usd=Decimal(rng.randint(60_000, 90_000)).scaleb(-6),
            baseline_cost_usd=Decimal("0.09"),
            cached=False,
            latency_ms=1,
            status=200,
            session_id=rng.choice(["a", "b", "c"]),
        )
        for i in range(40)
    )
    route = ProposedRoute(
        id=UUID(int=1), name="all", priority=1, then=RouteAction(target_model="mid")
    )
    flat = ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(1))
    plan = PlanInput(
        plan_id=UUID(int=99),
        org_id=ORG,
        window_start=START,
        window_end=START + timedelta(seconds=60),
        requests=requests,
        proposed_routes=(route,),
        pricing={"openai:mid": flat},
        config=PlanConfig(projection="full"),
        seed=0,
        bootstrap_iterations=1,
    )
    named = {assumption.name for assumption in also}
    given = [
        Assumption(name=name, value=Decimal(value))
        for name, value in GIVEN.items()
        if name not in named
    ]
    inputs = ProjectionInputs(
        prices=tuple(
            PricePiece(provider="openai", model=model, rates=rates)
            for model, rates in RATES.items()
        ),
        facts={"openai:big": rule, "openai:mid": rule},
        assumptions=(*given, *also),
    )
    return plan, inputs


def project(
    plan: PlanInput, inputs: ProjectionInputs
) -> tuple[Fraction, dict[str, AssumptionEffect]]:
    """The savings, and the effect of each assumption."""
    spec = replace(ReplaySpec.from_plan(plan), inputs=inputs)
    result = run_replay(load_table(instance().cursor(), plan.requests), spec).result
    savings = Fraction(result.aggregates.change_vs_actual_usd)
    return savings, {e.name: e for e in result.assumptions}


@cache
def projected(thinks: bool) -> tuple[Fraction, dict[str, AssumptionEffect]]:
    """The same of a plan with given values."""
    return project(*make_plan(thinks))


def savings_at(plan: tuple[PlanInput, ProjectionInputs], **forced: Fraction) -> Fraction:
    """The savings of the row loop with other values."""
    return FullOracle(*plan, forced=forced).savings  # type: ignore[arg-type]


@pytest.mark.parametrize("name", GIVEN)
def test_slopes_and_break_evens_are_those_of_new_runs(name: AssumptionName) -> None:
    thinks = name != "reasoning_tokens"
    savings, effects = projected(thinks)
    plan, effect = make_plan(thinks), effects[name]
    value = Fraction(GIVEN[name])
    assert savings_at(plan) == savings
    other = value + Fraction(1, 2) if name != "reasoning_tokens" else value + 40
    other = min(other, Fraction(MEANINGS[name].high or 10**6))
    slope = (savings_at(plan, **{name: other}) - savings) / (other - value)
    assert slope != 0
    assert effect.slope_usd == pytest.approx(float(slope), rel=1e-9)
    neutral = savings_at(plan, **{name: Fraction(MEANINGS[name].neutral)})
    assert float(effect.effect_usd) == pytest.approx(float(savings - neutral), abs=1e-10)
    even = value - savings / slope
    possible = 0 <= even <= (MEANINGS[name].high or 10**6)
    assert (effect.break_even is not None) == possible
    if effect.break_even is not None:
        at = Fraction(round(Decimal(effect.break_even), 6))
        left = savings_at(plan, **{name: at})
        assert abs(left) <= abs(slope) * Fraction(1, 10**6) + Fraction(1, 10**3)


@pytest.mark.parametrize("scope", ["gateway", "model"])
@pytest.mark.parametrize("rest", ["gateway", "model"])
def test_the_effect_of_a_factor_is_that_of_a_new_run(scope: str, rest: str) -> None:
    factor = Assumption.model_validate({"name": "price_factor", "value": 1.25, "scope": scope})
    stays = Assumption.model_validate({"name": "rest", "scope": rest})
    plan = make_plan(True, factor, stays)
    savings, effects = project(*plan)
    assert savings_at(plan) == savings
    without = savings_at(plan, price_factor=Fraction(1))
    effect = effects["price_factor"]
    assert float(effect.effect_usd) == pytest.approx(float(savings - without), abs=1e-9)
    assert effect.low_usd is None


def test_the_ends_of_an_unknown_rest_are_both_savings() -> None:
    plan = make_plan(True)
    savings, effects = projected(True)
    ends = {savings_at(plan, rest=Fraction(n)) for n in (0, 1)}
    effect = effects["rest"]
    assert effect.low_usd is not None
    assert effect.high_usd is not None
    assert [Fraction(effect.low_usd), Fraction(effect.high_usd)] == sorted(ends)
    assert savings == Fraction(effect.low_usd)


def with_breakpoints(share: str | None) -> tuple[PlanInput, ProjectionInputs]:
    """A plan whose target caches at breakpoints and charges for writes. Every fifth request has no
    session, and one session begins with a request whose client sets breakpoints."""
    given = [] if share is None else [Assumption(name="cache_breakpoints", value=Decimal(share))]
    plan, inputs = make_plan(True, *given)
    rule = CacheRule(mode="explicit", ttl_seconds=60, minimum_tokens=4000)
    changes: list[dict[str, Any]]
    changes = [{"session_id": None, "cached_tokens": 1000} if i % 5 == 0 else {} for i in range(40)]
    changes[1] = {"model": "own", "session_id": "c", "cached_tokens": 1000}
    requests = tuple(
        request.model_copy(update=change)
        for request, change in zip(plan.requests, changes, strict=True)
    )
    rates = {
        "own": RATES["big"],
        "mid": RATES["mid"].model_copy(update={"cache_write_per_million": Decimal("1.25")}),
    }
    own = tuple(
        PricePiece(provider="openai", model=model, rates=rates[model]) for model in sorted(rates)
    )
    others = tuple(piece for piece in inputs.prices if piece.model not in rates)
    explicit = ModelFacts(cache=rule)
    facts = {**inputs.facts, "openai:mid": explicit, "openai:own": explicit}
    return plan.model_copy(update={"requests": requests}), inputs.model_copy(
        update={"facts": facts, "prices": (*others, *own)}
    )


@pytest.mark.parametrize("recorded", [True, False])
def test_a_cache_rule_that_does_not_fit_is_a_caveat(recorded: bool) -> None:
    plan, inputs = make_plan(True)
    if recorded:
        warm = {row.request.id: row.logged_warm for row in FullOracle(plan, inputs).rows}
        requests = [r.model_copy(update={"cached_tokens": warm[r.id]}) for r in plan.requests]
        plan = plan.model_copy(update={"requests": tuple(requests)})
    spec = replace(ReplaySpec.from_plan(plan), inputs=inputs)
    caveats = run_replay(load_table(instance().cursor(), plan.requests), spec).result.caveats
    assert any("from the rule of provider caches by 100.0%" in c for c in caveats) != recorded


@pytest.mark.parametrize("share", [None, "0.2", "0.7"])
def test_the_ends_of_breakpoints_are_those_of_new_runs(share: str | None) -> None:
    plan = with_breakpoints(share)
    savings, effects = project(*plan)
    effect = effects["cache_breakpoints"]
    nobody, everybody = (savings_at(plan, cache_breakpoints=Fraction(n)) for n in (0, 1))
    assert nobody != everybody
    assert effect.value == (share == "0.7")
    assert savings == (everybody if share == "0.7" else nobody)
    assert Fraction(effect.effect_usd) == savings - nobody
    assert effect.slope_usd == pytest.approx(float(everybody - nobody), rel=1e-9)
    ends = None if share else sorted((nobody, everybody))
    assert (effect.low_usd is None) == (ends is None)
    if ends is not None:
        assert [Fraction(effect.low_usd or 0), Fraction(effect.high_usd or 0)] == ends
