"""Helicone requests: JSON Lines, JSON and CSV of its export tool, and responses of its API.

`prompt_tokens` excludes cache reads, cache writes and audio; `completion_tokens` includes
reasoning. The tool's CSV has few columns: no provider, latency or cache. A negative status is
Helicone's own.
"""

from __future__ import annotations

from ttplan.logs.format import FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping

_NO_REFERENCE = "00000000-0000-0000-0000-000000000000"
_TAGS = ("tag", "feature", "task", "app")


def _properties(find: FindText) -> str:
    """The caller's custom properties. The tool's CSV doubles the quotes of an object twice."""
    text = find("request_properties", "properties")
    unescaped = f"replace({text}, '\"\"', '\"')"
    return f"TRY_CAST(CASE WHEN json_valid({text}) THEN {text} ELSE {unescaped} END AS JSON)"


def _tag(find: FindText) -> str:
    names = (name for tag in _TAGS for name in (tag, tag.capitalize()))
    tags = [f"properties->>'{name}'" for name in names]
    return f"coalesce({', '.join(tags)})"


def _hit(find: FindText) -> str:
    """Whether Helicone's own cache responded: the row then refers to the request that filled it."""
    return f"coalesce({find('cache_reference_id')} <> '{_NO_REFERENCE}', FALSE)"


def _cost(find: FindText) -> str:
    """The cost, or 0 if the response has no usage, as errors have none."""
    unused = f"{find('prompt_tokens')} IS NULL AND {find('completion_tokens')} IS NULL"
    cost = find("costUSD", "cost_usd", "cost")
    return f"coalesce({cost}, CASE WHEN {unused} THEN '0' END)"


MAPPING = FormatMapping.model_validate(
    {
        "name": "helicone",
        "rows": ["", "data[*]"],
        "blank_is_missing": True,
        "fields": {
            "id": ["request_id", "response_id"],
            "ts": {"path": "request_created_at", "unit": "iso_utc"},
            "provider": {
                "path": "provider",
                "values": {"CUSTOM": "unknown"},
                "default": "unknown",
            },
            "model": ["model", "response_model", "request_model"],
            "input_tokens": {
                "sum": [
                    "prompt_tokens",
                    "prompt_cache_read_tokens",
                    "prompt_cache_write_tokens",
                    "prompt_audio_tokens",
                ],
                "default": 0,
            },
            "output_tokens": {
                "sum": ["completion_tokens", "completion_audio_tokens"],
                "default": 0,
            },
            "cached_tokens": "prompt_cache_read_tokens",
            "cache_write_tokens": "prompt_cache_write_tokens",
            "reasoning_tokens": "reasoning_tokens",
            "input_audio_tokens": "prompt_audio_tokens",
            "output_audio_tokens": "completion_audio_tokens",
            "latency_ms": {
                "first": [
                    {"path": ["delay_ms", "latency"], "unit": "ms"},
                    {
                        "start": "request_created_at",
                        "end": "response_created_at",
                        "unit": "iso_utc",
                    },
                ]
            },
            # Cancelled by the client, and refused as a threat, as HTTP statuses.
            "status": {"path": "response_status", "values": {"-3": 499, "-4": 403}},
            "user_id": "request_user_id",
            "provider_usage": "response_body.usage",
            "body": "request_body",
            "response_body": "response_body",
        },
        "skip": [
            {
                "path": "response_status",
                "is": ["-2"],
                "reason": "a request that was still pending",
            },
            {
                "path": "model",
                "is": ["vector_db", "assistant-polling"],
                "reason": "a call of something other than a model",
            },
        ],
    }
)
FORMAT = Format(
    title="Helicone requests",
    mapping=MAPPING,
    signature=Signature.of(
        required="response_status request_created_at prompt_tokens completion_tokens",
        any_of=("request_id response_id",),
        typical="delay_ms request_properties cache_reference_id",
    ),
    shared={"properties": _properties},
    rules={
        "cached": lambda find: f"CAST({_hit(find)} AS VARCHAR)",
        "cache_layer": lambda find: f"CASE WHEN {_hit(find)} THEN 'l1' END",
        "cost_usd": _cost,
        "streamed": lambda find: (
            f"CASE WHEN TRY_CAST({find('time_to_first_token')} AS DOUBLE) > 0 THEN 'true' END"
        ),
        "tag": _tag,
        "session_id": lambda find: "properties->>'Helicone-Session-Id'",
    },
)
