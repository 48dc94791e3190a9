"""Helicone requests: its export tool's JSON lines, JSON and CSV, and what its API answers.

What a provider's cache read or wrote and audio stand beside `prompt_tokens`; reasoning is inside `completion_tokens`. The tool's
CSV has few columns: not the provider, the latency or the cache. A negative status is Helicone's own.
"""

from __future__ import annotations

from ttplan.logs.format import Format, Signs
from ttplan.logs.mapping import Mapping, Skip, Value
from ttplan.logs.format import Find

_NOBODY = "00000000-0000-0000-0000-000000000000"
_PROPERTIES = ("request_properties", "properties")
_TAGS = ("tag", "feature", "task", "app")


def _rules(find: Find) -> dict[str, str]:
    # The tool's CSV doubles the quotes of an object twice.
    text = find(*_PROPERTIES)
    properties = f"TRY_CAST(CASE WHEN json_valid({text}) THEN {text} ELSE replace({text}, '\"\"', '\"') END AS JSON)"
    tags = ", ".join(f"{properties}->>'{name}'" for spelt in _TAGS for name in (spelt, spelt.capitalize()))
    cost, read, said = find("costUSD", "cost_usd", "cost"), find("prompt_tokens"), find("completion_tokens")
    filled_by = find("cache_reference_id")
    hit = f"{filled_by} <> '{_NOBODY}'"
    return {
        "cached": f"CASE WHEN {hit} THEN 'true' ELSE 'false' END",
        "cache_layer": f"CASE WHEN {hit} THEN 'l1' END",
        # Of a call whose answer had no usage, as errors have none, nothing is known to have been spent.
        "cost_usd": f"CASE WHEN {cost} IS NULL AND {read} IS NULL AND {said} IS NULL THEN '0' ELSE {cost} END",
        "streamed": f"CASE WHEN TRY_CAST({find('time_to_first_token')} AS DOUBLE) > 0 THEN 'true' END",
        "tag": f"coalesce({tags})",
        "session_id": f"{properties}->>'Helicone-Session-Id'",
    }


MAPPING = Mapping(
    name="helicone",
    rows=("", "data[*]"),
    blank_is_missing=True,
    fields={
        "id": Value(path=("request_id", "response_id")),
        "ts": Value(path=("request_created_at",), unit="iso_utc"),
        "provider": Value(path=("provider",), values={"CUSTOM": "unknown"}, default="unknown"),
        "model": Value(path=("model", "response_model", "request_model")),
        "input_tokens": Value(
            sum=(
                *(("prompt_tokens",), ("prompt_cache_read_tokens",), ("prompt_cache_write_tokens",)),
                ("prompt_audio_tokens",),
            ),
            default=0,
        ),
        "output_tokens": Value(sum=(("completion_tokens",), ("completion_audio_tokens",)), default=0),
        "cached_tokens": Value(path=("prompt_cache_read_tokens",)),
        "cache_write_tokens": Value(path=("prompt_cache_write_tokens",)),
        "reasoning_tokens": Value(path=("reasoning_tokens",)),
        "input_audio_tokens": Value(path=("prompt_audio_tokens",)),
        "output_audio_tokens": Value(path=("completion_audio_tokens",)),
        "latency_ms": Value(path=("delay_ms", "latency"), unit="ms"),
        # Cancelled by the client, and refused as a threat, as web servers say it.
        "status": Value(path=("response_status",), values={"-3": 499, "-4": 403}),
        "user_id": Value(path=("request_user_id",)),
        "provider_usage": Value(path=("response_body.usage",)),
        "body": Value(path=("request_body",)),
        "response_body": Value(path=("response_body",)),
    },
    skip=(
        Skip(path=("response_status",), is_=("-2",), reason="a request that was still pending"),
        Skip(path=("model",), is_=("vector_db", "assistant-polling"), reason="a call of something other than a model"),
    ),
)
FORMAT = Format(
    title="Helicone requests",
    mapping=MAPPING,
    signs=Signs(
        needs=("response_status", "request_created_at", "prompt_tokens", "completion_tokens"),
        any_of=(("request_id", "response_id"),),
        also=("delay_ms", "request_properties", "cache_reference_id"),
    ),
    rules=_rules,
)
