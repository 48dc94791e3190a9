"""OpenRouter's activity: every generation is accounted for; with an own key both costs count."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.logs.generators.calls import Call
from tests.logs.generators.openrouter import HOSTS, SLUGS, cancelled, generations, is_own_key
from tests.logs.reading import check, plain, read_fixture, read_row
from ttplan.logs.model_names import normalise_model
from ttplan.model.errors import InputError


def expected(call: Call) -> dict[str, Any]:
    cost = call.cost * Decimal("1.05") if is_own_key(call) else call.cost
    named = normalise_model("openrouter", SLUGS[call.model])
    return plain(call) | {
        "id": f"gen-{int(call.ts.timestamp())}-{call.id.hex[:20]}",
        "provider": "openrouter",
        "model": named.model,
        "endpoint": HOSTS[call.provider],
        "cost_usd": cost,
        "recorded_cost_usd": cost,
        "reasoning_tokens": call.reasoning,
        "status": 499 if cancelled(call) else 200,
        "streamed": call.streamed,
        "finish_reason": {"stop": "end_turn", "length": "max_tokens"}[call.finish]
        if cancelled(call)
        else call.finish,
        "tag": None if call.number % 7 == 0 else call.task,
        "session_id": None,
        "user_id": call.user if call.number % 3 else None,
        "api_key_id": "production, eu",
    }


def test_every_generation_is_accounted_for() -> None:
    rows, report = read_fixture("openrouter-activity.csv")
    assert report.format == "openrouter"
    assert report.rows == report.used == len(generations()) >= 200
    check(rows, generations(), expected)


def test_counts_include_cache_and_reasoning() -> None:
    calls = {f"gen-{int(c.ts.timestamp())}-{c.id.hex[:20]}": c for c in generations()}
    rows, _ = read_fixture("openrouter-activity.csv")
    for row in rows:
        call = calls[row["source_id"]]
        assert row["input_tokens"] == call.input >= row["cached_tokens"]
        assert row["output_tokens"] == call.output >= row["reasoning_tokens"]
    assert any(row["cached_tokens"] for row in rows)


GENERATION = {
    "id": "gen-1",
    "upstream_id": "chatcmpl-1",
    "total_cost": 0.0015,
    "created_at": "2024-07-15T23:33:19.433273+00:00",
    "model": "anthropic/claude-sonnet-4.5",
    "streamed": True,
    "cancelled": False,
    "provider_name": "Anthropic",
    "generation_time": 1200,
    "finish_reason": "stop",
    "tokens_prompt": 10,
    "tokens_completion": 25,
    "native_tokens_prompt": 12,
    "native_tokens_completion": 30,
    "native_tokens_reasoning": 5,
    "native_tokens_cached": 3,
    "is_byok": False,
    "upstream_inference_cost": 0.0012,
    "external_user": "user-123",
    "usage": 0.0015,
}


def test_api_generations_use_the_providers_token_counts(tmp_path: Path) -> None:
    row = read_row(tmp_path, GENERATION)
    assert (
        row["input_tokens"],
        row["output_tokens"],
        row["cached_tokens"],
        row["reasoning_tokens"],
    ) == (12, 30, 3, 5)
    assert (row["cost_usd"], row["latency_ms"], row["user_id"]) == (
        Decimal("0.0015"),
        1200,
        "user-123",
    )
    assert read_row(tmp_path, GENERATION | {"is_byok": True})["cost_usd"] == Decimal("0.0027")


@pytest.mark.parametrize(
    "wrong", [{"total_cost": "free"}, {"is_byok": True, "upstream_inference_cost": "free"}]
)
def test_an_invalid_cost_is_shown(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(InputError, match=r"(?s)cost_usd: expected.*'free'"):
        read_row(tmp_path, GENERATION | wrong, needs_cost=True)


def test_a_small_cost_may_have_an_exponent(tmp_path: Path) -> None:
    assert read_row(tmp_path, GENERATION | {"total_cost": 3e-7})["cost_usd"] == Decimal("0.0000003")
