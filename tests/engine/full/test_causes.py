"""Actual minus projected cost by cause, and what today's routing and caches save already."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.support.strategies import ORG
from ttplan.engine.replay import replay
from ttplan.model.plan import PlanConfig, PlanInput, PlanResult
from ttplan.model.projection.assumption import Assumption
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

START = datetime(2026, 5, 1, tzinfo=UTC)
PRICING = {
    "openai:big": {
        "input_per_million": 10,
        "output_per_million": 40,
        "cached_input_per_million": 1,
    },
    "openai:small": {"input_per_million": 2, "output_per_million": 8},
}


def request(number: int, **changes: Any) -> RequestLog:
    """1,000 tokens in and 100 out on the big model, at its list price of 0.014 USD."""
    fields: dict[str, Any] = {
        "id": UUID(int=number),
        "org_id": ORG,
        "ts": START + timedelta(seconds=number),
        "provider": "openai",
        "model": "big",
        "input_tokens": 1_000,
        "output_tokens": 100,
        "cached_tokens": 0,
        "cost_usd": Decimal("0.014"),
        "baseline_cost_usd": Decimal("0.014"),
        "cached": False,
        "cache_layer": None,
        "latency_ms": 500,
        "status": 200,
        "tag": "chat",
    }
    return RequestLog.model_validate(fields | changes)


def projected(
    *changes: dict[str, Any],
    tag: str = "chat",
    bypass: bool = False,
    assume: tuple[Assumption, ...] = (),
    **config: Any,
) -> PlanResult:
    """The requests with these changes, if those with the tag go to the small model."""
    route = ProposedRoute(
        id=UUID(int=1),
        name="chat",
        priority=1,
        enabled=True,
        when=RouteConditions(tag_equals=tag),
        then=RouteAction(target_model="small", disable_cache=bypass),
    )
    plan = PlanInput(
        plan_id=UUID(int=9),
        org_id=ORG,
        window_start=START,
        window_end=START + timedelta(days=1),
        requests=[request(n, **change) for n, change in enumerate(changes)],
        proposed_routes=[route],
        pricing=PRICING,
        config=PlanConfig(projection="full", **config),
        seed=0,
        bootstrap_iterations=10,
        assumptions=assume,
    )
    return replay(plan)


def split(result: PlanResult) -> dict[str, Decimal]:
    """The parts that are not 0, which add up to the change against what was paid."""
    assert result.change_by_cause is not None
    parts = dict(result.change_by_cause)
    assert sum(parts.values()) == result.aggregates.change_vs_actual_usd
    return {name: amount for name, amount in parts.items() if amount}


def test_a_lower_list_price_is_a_change_by_prices() -> None:
    assert split(projected({}, {})) == {"prices": Decimal("0.0224")}


def test_longer_answers_of_the_target_are_a_change_by_tokens() -> None:
    longer = Assumption(name="ratio_out", value=Decimal(2))
    assert split(projected({}, assume=(longer,))) == {
        "prices": Decimal("0.0112"),
        "tokens": Decimal("-0.0008"),
    }


def test_answers_asked_again_are_a_change_by_tokens() -> None:
    again = Assumption(name="redo", value=Decimal("0.5"))
    assert split(projected({}, assume=(again,))) == {
        "prices": Decimal("0.0112"),
        "tokens": Decimal("-0.007"),
    }


def test_a_lost_discount_for_cached_tokens_is_a_change_by_caches() -> None:
    cached = {"cached_tokens": 800, "cost_usd": Decimal("0.0068")}
    assert split(projected(cached)) == {
        "prices": Decimal("0.0112"),
        "caches": Decimal("-0.0072"),
    }


def test_hits_of_a_projected_cache_are_a_change_by_caches() -> None:
    same = {"prompt_hash": "p"}
    assert split(projected(same, same, l1_ttl_seconds=60)) == {
        "prices": Decimal("0.0224"),
        "caches": Decimal("0.0028"),
    }


def test_what_no_price_explains_is_recorded_against_list() -> None:
    result = projected({"cost_usd": Decimal("0.034"), "baseline_cost_usd": Decimal("0.034")})
    parts = split(result)
    assert parts["prices"] == Decimal("0.0112")
    assert set(parts) == {"prices", "recorded"}
    assert any("list prices do not explain" in caveat for caveat in result.caveats)


def test_a_source_without_a_price_has_only_a_recorded_change() -> None:
    result = projected({"model": "own"})
    assert split(result) == {"recorded": Decimal("0.0112")}
    assert result.caveats[0].startswith("Small sample")
    assert "0.01 USD are saved in recorded costs" in " ".join(result.caveats)


def test_costs_at_list_price_give_no_caveat_of_recorded_costs() -> None:
    assert "list prices" not in " ".join(projected({}, {}).caveats)


def test_a_plan_that_matches_nothing_projects_no_change() -> None:
    """The log's gateway cache answers 40 % of the requests: that is saved already."""
    hit = {"cost_usd": Decimal(0), "cached": True, "cache_layer": "l1"}
    log = [hit if n % 5 < 2 else {} for n in range(50)]
    result = projected(*log, tag="nothing has this tag")
    aggregates = result.aggregates
    assert aggregates.change_vs_actual_usd == 0
    assert aggregates.saved_already_usd == Decimal("0.28")
    assert split(result) == {}
    assert result.change_by_cause is not None


def test_a_gateway_cache_that_a_route_bypasses_is_lost() -> None:
    hit = {"cost_usd": Decimal(0), "cached": True, "cache_layer": "l1"}
    assert split(projected(hit, bypass=True)) == {
        "prices": Decimal("0.0112"),
        "caches": Decimal("-0.014"),
    }


def test_each_cause_has_an_interval_and_assumed_errors_widen_it() -> None:
    log = [{"ts": START + timedelta(minutes=n), "output_tokens": 50 + n} for n in range(60)]
    sure = Assumption(name="ratio_out", value=Decimal(2))
    unsure = Assumption(name="ratio_out", value=Decimal(2), standard_error=0.1)
    one, other = (
        projected(*log, assume=(assumed,)).confidence_intervals.change_by_cause_95
        for assumed in (sure, unsure)
    )
    assert one["prices"] == other["prices"] is not None
    assert one["tokens"] is not None
    assert other["tokens"] is not None
    assert other["tokens"][0] < one["tokens"][0] < one["tokens"][1] < other["tokens"][1]
    assert one["caches"] is None
