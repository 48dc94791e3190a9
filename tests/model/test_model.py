"""The model: its JSON names, what it refuses, and exact money."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support import plans, universe
from ttplan.model.money import money_ceiling, money_floor, round_money, to_decimal
from ttplan.model.plan import PlanInput
from ttplan.model.pricing import ModelPricing, find_price, split_price_key
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute

REQUEST: dict[str, Any] = {
    "id": "00000000-0000-0000-0000-000000000001",
    "org_id": "00000000-0000-0000-0000-000000000002",
    "ts": "2026-05-01T12:00:00+02:00",
    "provider": "openai",
    "model": "gpt-4o",
    "input_tokens": 10,
    "output_tokens": 2,
    "cached_tokens": 0,
    "cost_usd": 0.1,
    "baseline_cost_usd": 0.1,
    "cached": False,
    "cache_layer": None,
    "matched_route_id": None,
    "latency_ms": 900,
    "upstream_latency_ms": None,
    "status": 200,
    "tag": None,
}


def plan_json(**changes: Any) -> bytes:
    fields = {
        "plan_id": str(UUID(int=1)),
        "org_id": str(UUID(int=2)),
        "window_start": "2026-05-01T00:00:00Z",
        "window_end": "2026-05-02T00:00:00Z",
        "requests": [REQUEST],
        "proposed_routes": [],
        "pricing": {},
        "seed": 42,
        "bootstrap_iterations": 1000,
    }
    return json.dumps(fields | changes).encode()


ROUTE = {
    "id": str(UUID(int=5)),
    "name": "r",
    "priority": 1,
    "enabled": True,
    "when": {"model_in": ["gpt-4o"]},
    "then": {"target_model": "gpt-4o-mini"},
}


def test_a_plan_input_of_the_ecosystem_is_read() -> None:
    plan = PlanInput.model_validate_json(
        plan_json(proposed_routes=[ROUTE], from_the_future=1, config={"l9": 1})
    )
    assert plan.requests[0].ts == datetime(2026, 5, 1, 10, tzinfo=UTC)
    assert plan.config.l2_threshold_sweep == (0.85, 0.90, 0.92, 0.95)
    assert plan.proposed_routes[0].then.fallbacks == ()


def test_inputs_are_written_as_before_without_newer_fields() -> None:
    plan = PlanInput.model_validate_json(plan_json(proposed_routes=[ROUTE]))
    written = orjson.loads(plan.model_dump_json())
    newer = {"assumptions", "facts", "projection", "prices_at", "session", "sticky"}
    newer |= {"cache_write_tokens", "reasoning_tokens", "service_tier", "provider_usage"}
    assert not newer & {*written, *written["config"], *written["requests"][0]}
    assert not newer & set(written["proposed_routes"][0])
    row = RequestLog.model_validate(REQUEST | {"cache_write_tokens": 0, "service_tier": "batch"})
    fields = row.model_dump()
    assert (fields["cache_write_tokens"], fields["service_tier"]) == (0, "batch")
    assert RequestLog.model_validate_json(row.model_dump_json()) == row


def test_unknown_names_are_ignored_on_rows_and_refused_on_routes() -> None:
    assert RequestLog.model_validate(REQUEST | {"from_the_future": 1}).model == "gpt-4o"
    for route in (
        ROUTE | {"x": 1},
        ROUTE | {"when": {"x": 1}},
        ROUTE | {"then": {"target_model": "m", "x": 1}},
    ):
        with pytest.raises(ValidationError, match="Extra inputs"):
            ProposedRoute.model_validate(route)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_tokens", -1),
        ("input_tokens", 1.5),
        ("input_tokens", "10"),
        ("input_tokens", True),
        ("output_tokens", 10**12),
        ("cost_usd", float("nan")),
        ("cost_usd", float("inf")),
        ("cost_usd", -0.1),
        ("cost_usd", 1e12),
        ("cost_usd", "0.1"),
        ("cost_usd", True),
        ("ts", "2026-05-01T12:00:00"),
        ("id", "not a uuid"),
        ("cache_layer", "l3"),
        ("status", -1),
        ("provider", ""),
        ("latency_ms", -1),
    ],
)
def test_a_row_that_cannot_be_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        RequestLog.model_validate(REQUEST | {field: value})
    assert caught.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_end": "2026-05-01T00:00:00Z"}, "is not after its start"),
        ({"bootstrap_iterations": 0}, "greater than or equal to 1"),
        ({"seed": 2**64}, "seed"),
        ({"seed": -1}, "seed"),
        ({"requests": [REQUEST, REQUEST]}, "appears twice"),
        ({"proposed_routes": [ROUTE, ROUTE | {"name": "other"}]}, "two routes have the id"),
        (
            {"proposed_routes": [ROUTE, ROUTE | {"id": str(UUID(int=6))}]},
            "two routes have the name 'r'",
        ),
        ({"proposed_routes": [ROUTE | {"priority": 2**32}]}, "priority"),
        ({"proposed_routes": [ROUTE | {"priority": -1}]}, "priority"),
        (
            {"pricing": {"gpt-4o": {"input_per_million": 1, "output_per_million": 1}}},
            "has no colon",
        ),
        (
            {"pricing": {"a:b": {"input_per_million": -1, "output_per_million": 1}}},
            "greater than or equal to 0",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PlanInput.model_validate_json(plan_json(**changes))


def test_results_have_the_contracts_json_names() -> None:
    fields = orjson.loads(plans.result(UUID(int=1), (plans.route(1),)).model_dump_json())
    assert set(fields) == {
        *(
            "plan_id",
            "org_id",
            "window_start",
            "window_end",
            "sample_size",
            "aggregates",
            "confidence_intervals",
        ),
        *(
            "per_route_breakdown",
            "caveats",
            "quality",
            "proposed_routes",
            "interval_method",
            "interval_unit",
            "clusters",
        ),
        *("cache_hits", "savings_by_cause", "poisoning_candidates"),
    }
    assert set(fields["aggregates"]) == {
        *(
            "total_baseline_cost_usd",
            "total_projected_cost_usd",
            "projected_savings_usd",
            "projected_savings_pct",
        ),
        *(
            "cache_hit_rate_projected",
            "p50_latency_ms_projected",
            "p95_latency_ms_projected",
            "requests_rerouted",
        ),
        *(
            "requests_unchanged",
            "requests_unprice_able",
            "l2_projections",
            "l2_poisoning_candidates",
        ),
        *("total_actual_cost_usd", "projected_change_usd", "change_vs_actual_usd"),
        *("p50_latency_ms_actual", "p95_latency_ms_actual"),
    }
    assert fields["aggregates"]["projected_savings_usd"] == 12.345678901234
    assert fields["window_start"] == "2026-05-01T00:00:00Z"
    assert fields["proposed_routes"][0]["when"]["estimated_cost_gt"] == 0.0123456789012345


def test_types_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        universe.log(1, 1)[0].model = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, "0.100000000000"),
        (0.1 + 0.2, "0.300000000000"),
        (1.5e-12, "0.000000000002"),
        (0.5e-12, "0.000000000001"),
        (4.9e-13, "0.000000000000"),
        (Decimal("-0.0000000000005"), "-0.000000000001"),
        (7, "7.000000000000"),
    ],
)
def test_money_rounds_half_away_from_zero_from_its_shortest_form(value: Any, expected: str) -> None:
    assert f"{round_money(to_decimal(value)):f}" == expected


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-1000, max_value=1000),
    st.integers(-(10**15), 10**15),
)
def test_a_bound_compares_like_its_floor_or_ceiling(bound: Decimal, pico: int) -> None:
    amount = Decimal(pico).scaleb(-12)
    assert (amount > bound) == (amount > money_floor(bound))
    assert (amount < bound) == (amount < money_ceiling(bound))


def test_prices_are_looked_up_by_provider_and_then_in_key_order() -> None:
    prices = {
        key: ModelPricing(input_per_million=Decimal(n), output_per_million=Decimal(1))
        for n, key in enumerate(["openai:m", "azure:m", "b:ft:m"])
    }
    assert find_price(prices, "openai", "m") == prices["openai:m"]
    assert find_price(prices, "google", "m") == prices["azure:m"]
    assert find_price(prices, "google", "ft:m") == prices["b:ft:m"]
    assert find_price(prices, "google", "other") is None
    assert split_price_key("a:b:c") == ("a", "b:c")


def test_a_cached_rate_of_0_is_free_and_null_is_the_full_rate() -> None:
    free = ModelPricing(
        input_per_million=Decimal(3),
        output_per_million=Decimal(1),
        cached_input_per_million=Decimal(0),
    )
    full = ModelPricing(input_per_million=Decimal(3), output_per_million=Decimal(1))
    assert (free.cached_rate, full.cached_rate) == (Decimal(0), Decimal(3))
