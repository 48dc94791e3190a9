"""OpenRouter's generations: the activity's CSV, and what its API says of a generation.

What a provider's cache read is inside the prompt's count, reasoning is inside the completion's. With a key of one's own, what the
provider takes is beside what OpenRouter does, and both are the cost.
"""

from __future__ import annotations

from ttplan.logs.fields import MONEY
from ttplan.logs.format import FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping, FieldSource
from ttplan.logs.mapping.sql import quoted


def _cost(find: FindText) -> str:
    """Both costs. One that is no amount stands for the sum, and is found bad there."""
    charged = find("cost_total", "total_cost", "usage")
    upstream = f"CASE WHEN {find('is_byok')} = 'true' THEN {find('upstream_inference_cost')} END"
    beside = f"coalesce({find('byok_usage_inference')}, {upstream}, '0')"
    wrong = " ".join(
        f"WHEN NOT regexp_full_match({one}, {quoted(MONEY.pattern or '')}) THEN {one}"
        for one in (charged, beside)
    )
    both = f"TRY_CAST({charged} AS DECIMAL(38, 12)) + TRY_CAST({beside} AS DECIMAL(38, 12))"
    return f"CASE WHEN {charged} IS NULL THEN NULL {wrong} ELSE CAST({both} AS VARCHAR) END"


def _status(find: FindText) -> str:
    """Cancelled by the client, as web servers say it."""
    return f"CASE WHEN {find('cancelled')} = 'true' THEN '499' ELSE '200' END"


MAPPING = FormatMapping(
    name="openrouter",
    rows=("", "data[*]"),
    blank_is_missing=True,
    fields={
        "id": FieldSource(path=("generation_id", "id")),
        "ts": FieldSource(path=("created_at",), unit="iso_utc"),
        "provider": FieldSource(constant="openrouter"),
        "model": FieldSource(path=("model_permaslug", "model")),
        # The provider's own count is what is billed.
        "input_tokens": FieldSource(path=("native_tokens_prompt", "tokens_prompt")),
        "output_tokens": FieldSource(path=("native_tokens_completion", "tokens_completion")),
        "cached_tokens": FieldSource(path=("native_tokens_cached", "tokens_cached")),
        "reasoning_tokens": FieldSource(path=("native_tokens_reasoning", "tokens_reasoning")),
        "latency_ms": FieldSource(path=("generation_time_ms", "generation_time"), unit="ms"),
        "streamed": FieldSource(path=("streamed",)),
        "service_tier": FieldSource(path=("service_tier",)),
        "endpoint": FieldSource(path=("provider_name",)),
        "finish_reason": FieldSource(
            path=("finish_reason_normalized", "finish_reason", "finish_reason_raw")
        ),
        "tag": FieldSource(path=("app_name",), values={"Unknown": None}),
        "user_id": FieldSource(path=("user", "external_user")),
        "api_key_id": FieldSource(path=("api_key_name",)),
    },
)
FORMAT = Format(
    title="OpenRouter generations",
    mapping=MAPPING,
    signature=Signature(
        required=("created_at", "tokens_prompt", "tokens_completion", "provider_name"),
        any_of=(("generation_id", "upstream_id"), ("cost_total", "total_cost")),
        typical=("model_permaslug", "byok_usage_inference", "native_tokens_prompt"),
    ),
    rules={"cost_usd": _cost, "status": _status},
)
