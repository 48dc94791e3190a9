"""Helicone requests: its export tool's JSON lines, JSON and CSV, and what its API answers.

What a provider's cache read or wrote and audio stand beside `prompt_tokens`; reasoning is inside `completion_tokens`. The tool's
CSV has few columns: not the provider, the latency or the cache. A negative status is Helicone's own.
"""

from __future__ import annotations

from ttplan.logs.format import Find, Format, Signature
from ttplan.logs.mapping.mapping import Mapping, Skip, Value

_NOBODY = "00000000-0000-0000-0000-000000000000"
_TAGS = ("tag", "feature", "task", "app")


def _properties(find: Find) -> str:
    """What the caller attached. The tool's CSV doubles the quotes of an object twice."""
    text = find("request_properties", "properties")
    return f"TRY_CAST(CASE WHEN json_valid({text}) THEN {text} ELSE replace({text}, '\"\"', '\"') END AS JSON)"


def _tag(find: Find) -> str:
    tags = ", ".join(
        f"properties->>'{name}'" for spelt in _TAGS for name in (spelt, spelt.capitalize())
    )
    return f"coalesce({tags})"


def _hit(find: Find) -> str:
    """Whether Helicone's own cache answered: then the row refers to the request that filled it."""
    return f"coalesce({find('cache_reference_id')} <> '{_NOBODY}', FALSE)"


def _cost(find: Find) -> str:
    """Of a call whose answer had no usage, as errors have none, nothing is known to have been spent."""
    cost = find("costUSD", "cost_usd", "cost")
    return f"coalesce({cost}, CASE WHEN {find('prompt_tokens')} IS NULL AND {find('completion_tokens')} IS NULL THEN '0' END)"


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
                *(
                    ("prompt_tokens",),
                    ("prompt_cache_read_tokens",),
                    ("prompt_cache_write_tokens",),
                ),
                ("prompt_audio_tokens",),
            ),
            default=0,
        ),
        "output_tokens": Value(
            sum=(("completion_tokens",), ("completion_audio_tokens",)), default=0
        ),
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
        Skip(
            path=("model",),
            is_=("vector_db", "assistant-polling"),
            reason="a call of something other than a model",
        ),
    ),
)
FORMAT = Format(
    title="Helicone requests",
    mapping=MAPPING,
    signs=Signature(
        needs=("response_status", "request_created_at", "prompt_tokens", "completion_tokens"),
        any_of=(("request_id", "response_id"),),
        also=("delay_ms", "request_properties", "cache_reference_id"),
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
