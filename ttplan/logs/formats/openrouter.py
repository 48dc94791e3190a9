"""OpenRouter generations: the CSV of its activity page, and its API's generation objects.

The prompt count includes cache reads, the completion count includes reasoning. With the user's own
provider key (BYOK), OpenRouter and the provider charge separately, and the cost is the sum.
"""

from __future__ import annotations

from ttplan.logs.fields import MONEY
from ttplan.logs.format import FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.mapping.sql import quoted


def _cost(find: FindText) -> str:
    """The sum of both costs. An invalid one replaces the sum, so that it is reported."""
    charged = find("cost_total", "total_cost", "usage")
    upstream = f"CASE WHEN {find('is_byok')} = 'true' THEN {find('upstream_inference_cost')} END"
    byok = f"coalesce({find('byok_usage_inference')}, {upstream}, '0')"
    invalid = " ".join(
        f"WHEN NOT regexp_full_match({cost}, {quoted(MONEY.pattern or '')}) THEN {cost}"
        for cost in (charged, byok)
    )
    total = f"TRY_CAST({charged} AS DECIMAL(38, 12)) + TRY_CAST({byok} AS DECIMAL(38, 12))"
    return f"CASE WHEN {charged} IS NULL THEN NULL {invalid} ELSE CAST({total} AS VARCHAR) END"


def _status(find: FindText) -> str:
    """499 if the client cancelled, as web servers log it."""
    return f"CASE WHEN {find('cancelled')} = 'true' THEN '499' END"


MAPPING = FormatMapping.model_validate(
    {
        "name": "openrouter",
        "rows": ["", "data[*]"],
        "blank_is_missing": True,
        "fields": {
            "id": ["generation_id", "id"],
            "ts": {"path": "created_at", "unit": "iso_utc"},
            "provider": {"constant": "openrouter"},
            "model": ["model_permaslug", "model"],
            # The provider bills by its own count.
            "input_tokens": ["native_tokens_prompt", "tokens_prompt"],
            "output_tokens": ["native_tokens_completion", "tokens_completion"],
            "cached_tokens": ["native_tokens_cached", "tokens_cached"],
            "reasoning_tokens": ["native_tokens_reasoning", "tokens_reasoning"],
            "latency_ms": {"path": ["generation_time_ms", "generation_time"], "unit": "ms"},
            "streamed": "streamed",
            "service_tier": "service_tier",
            "endpoint": "provider_name",
            "finish_reason": ["finish_reason_normalized", "finish_reason", "finish_reason_raw"],
            "tag": {"path": "app_name", "values": {"Unknown": None}},
            "user_id": ["user", "external_user"],
            "api_key_id": "api_key_name",
        },
    }
)
FORMAT = Format(
    title="OpenRouter generations",
    mapping=MAPPING,
    signature=Signature.of(
        required="created_at tokens_prompt tokens_completion provider_name",
        any_of=("generation_id upstream_id", "cost_total total_cost"),
        typical="model_permaslug byok_usage_inference native_tokens_prompt",
    ),
    rules={"cost_usd": _cost, "status": _status},
)
