"""OpenRouter's activity: the CSV of generations, and the API's days by endpoint.

`tokens_prompt` includes cached tokens, `tokens_completion` includes reasoning. With the user's own
key, `cost_total` is OpenRouter's charge and `byok_usage_inference` the provider's.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

from tests.logs.generators.calls import Call, calls

SLUGS = {
    "gpt-4o-2024-08-06": "openai/gpt-4o-2024-08-06",
    "gpt-4o-mini": "openai/gpt-4o-mini",
    "o4-mini": "openai/o4-mini-2025-04-16",
    "claude-sonnet-4-5-20250929": "anthropic/claude-4.5-sonnet-20250929",
    "claude-haiku-4-5": "anthropic/claude-4.5-haiku-20251001",
    "gemini-2.5-flash": "google/gemini-2.5-flash",
}
HOSTS = {"openai": "OpenAI", "anthropic": "Anthropic", "google": "Google AI Studio"}


def generations() -> list[Call]:
    """The successful calls: the activity has no failed ones."""
    return [call for call in calls(250, 20260518) if call.status == 200 and not call.hit]


def is_own_key(call: Call) -> bool:
    return call.number % 25 == 3


def cancelled(call: Call) -> bool:
    return call.streamed and call.number % 20 == 4


def files() -> dict[str, bytes]:
    rows = [_row(call) for call in generations()]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return {
        "openrouter-activity.csv": out.getvalue().encode(),
        "openrouter-days.json": _days().encode(),
    }


def _row(call: Call) -> dict[str, Any]:
    mine = is_own_key(call)
    return {
        "generation_id": f"gen-{int(call.ts.timestamp())}-{call.id.hex[:20]}",
        "created_at": call.ts.replace(tzinfo=None).isoformat(" ", timespec="milliseconds"),
        "cost_total": _money(call.cost * Decimal("0.05") if mine else call.cost),
        "cost_web_search": 0,
        # A discount is negative here.
        "cost_cache": _money(-call.cost / 4) if call.cached else 0,
        "cost_file_processing": 0,
        "byok_usage_inference": _money(call.cost) if mine else 0,
        "tokens_prompt": call.input,
        "tokens_completion": call.output,
        "tokens_reasoning": call.reasoning,
        "tokens_cached": call.cached,
        "model_permaslug": SLUGS[call.model],
        "provider_name": HOSTS[call.provider],
        "variant": "standard",
        "cancelled": "true" if cancelled(call) else "false",
        "streamed": "true" if call.streamed else "false",
        "user": call.user if call.number % 3 else "",
        "finish_reason_raw": {"stop": "end_turn", "length": "max_tokens"}[call.finish],
        "finish_reason_normalized": "" if cancelled(call) else call.finish,
        "generation_time_ms": call.latency_ms,
        "time_to_first_token_ms": call.first_ms,
        "api_key_disabled": "false",
        "api_key_name": "production, eu",
        "app_name": "Unknown" if call.number % 7 == 0 else call.task,
    }


def _money(amount: Decimal) -> str:
    """A number as JavaScript writes it: small ones have an exponent."""
    return repr(float(amount)).removesuffix(".0")


def _days() -> str:
    """The response of `/api/v1/activity`: days by model and endpoint."""
    sums: defaultdict[tuple[str, str, str], list[Any]] = defaultdict(
        lambda: [Decimal(0), 0, 0, 0, 0]
    )
    for call in generations():
        total = sums[(call.ts.date().isoformat(), SLUGS[call.model], HOSTS[call.provider])]
        for i, value in enumerate((call.cost, 1, call.input, call.output, call.reasoning)):
            total[i] += value
    data = [
        {
            "date": day,
            "model": slug,
            "model_permaslug": slug,
            "endpoint_id": "550e8400-e29b-41d4-a716-446655440000",
            "provider_name": host,
            "usage": float(cost),
            "byok_usage_inference": 0,
            "requests": requests,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "reasoning_tokens": reasoning,
        }
        for (day, slug, host), (cost, requests, prompt, completion, reasoning) in sorted(
            sums.items()
        )
    ]
    return json.dumps({"data": data})
