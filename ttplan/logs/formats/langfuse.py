"""Langfuse observations: UI exports (CSV, JSON), the public API, blob storage (legacy, enriched).

Types of usage are disjoint: `input` excludes cache reads and writes, `output` excludes reasoning.
All types of a side are added, whatever a project calls them, unless the row's own sums say
otherwise. Exports of version 2 and before have
three counts that include everything.
"""

from __future__ import annotations

from collections.abc import Callable

from ttplan.logs.fields import COUNT, OTHER_UNITS
from ttplan.logs.format import FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.mapping.sql import error_code, quoted

_USAGE = ("usageDetails", "usage_details")
_COSTS = ("costDetails", "cost_details")
_TOTAL_COST = ("totalCost", "total_cost", "calculatedTotalCost", "usage.totalCost")
_LEGACY_COUNTS = {
    "input_tokens": ("promptTokens", "usage.input", "usage.promptTokens"),
    "output_tokens": ("completionTokens", "usage.output", "usage.completionTokens"),
}
# Which types of usage make a count: an SQL condition on the type's name `k`.
_CACHE, _LONG, _REASONING = "contains(k, 'cache')", "contains(k, '1h')", "contains(k, 'reasoning')"
_WRITE = "(contains(k, 'cache_creation') OR contains(k, 'cache_write') OR contains(k, 'ephemeral'))"
_TYPES = {
    "input_tokens": f"contains(k, 'input') AND NOT {_CACHE} AND NOT {_WRITE}",
    "output_tokens": f"contains(k, 'output') AND NOT {_REASONING}",
    "cached_tokens": "contains(k, 'cached') OR contains(k, 'cache_read')",
    "cache_write_tokens": f"{_WRITE} AND NOT contains(k, '5m') AND NOT {_LONG}",
    "cache_write_1h_tokens": f"{_WRITE} AND {_LONG}",
    "reasoning_tokens": _REASONING,
    "input_audio_tokens": "contains(k, 'input') AND contains(k, 'audio')",
    "output_audio_tokens": "contains(k, 'output') AND contains(k, 'audio')",
    "input_image_tokens": "contains(k, 'input') AND contains(k, 'image')",
    "output_image_tokens": "contains(k, 'output') AND contains(k, 'image')",
}


def _entries(text: str) -> str:
    """The non-null entries of a JSON object, keys in lower case; NULL if it is not an object."""
    entries = f"map_entries(TRY_CAST(TRY_CAST({text} AS JSON) AS MAP(VARCHAR, VARCHAR)))"
    non_null = f"list_filter({entries}, lambda e: e.value IS NOT NULL)"
    return f"list_transform({non_null}, lambda e: {{'k': lower(e.key), 'v': e.value}})"


def _count(name: str) -> Callable[[FindText], str]:
    """The sum of some types of usage. An invalid count replaces the sum, so that it is reported."""

    def rule(find: FindText) -> str:
        is_part = _TYPES[name].replace("(k,", "(e.k,")
        values = f"list_transform(list_filter(entries, lambda e: {is_part}), lambda e: e.v)"
        is_invalid = f"NOT regexp_full_match(v, {quoted(COUNT.pattern or '')})"
        invalid = f"list_filter({values}, lambda v: {is_invalid})[1]"
        counts = f"list_transform({values}, lambda v: {COUNT.value.format(c='v')})"
        texts = [invalid, f"CAST(list_sum({counts}) AS VARCHAR)"]
        if name in _LEGACY_COUNTS:
            # Without usage, as in streams that did not request it, there is no entry at all.
            texts += [find(*_LEGACY_COUNTS[name]), "'0'"]
        return f"coalesce({', '.join(texts)})"

    return rule


def _cost(find: FindText) -> str:
    """The cost. If no price is known, some exports have 0 and some nothing: both mean that it is
    not known. A failed call without usage cost nothing."""
    costs = find(*_COSTS)
    cost = f"coalesce(TRY_CAST({costs} AS JSON)->>'total', {find(*_TOTAL_COST)})"
    unknown = f"{costs} = '{{}}' AND TRY_CAST({cost} AS DOUBLE) = 0"
    unused = " AND ".join(
        [
            f"{find('level')} = 'ERROR' AND coalesce(len(entries), 0) = 0",
            *(f"coalesce({find(*paths)}, '0') = '0'" for paths in _LEGACY_COUNTS.values()),
        ]
    )
    known = f"CASE WHEN {unknown} THEN NULL ELSE {cost} END"
    return f"coalesce({known}, CASE WHEN {unused} THEN '0' END)"


def _status(find: FindText) -> str:
    message = find("statusMessage", "status_message")
    code = error_code(message)
    return f"CASE WHEN {find('level')} = 'ERROR' THEN coalesce({code}, '500') END"


def _streamed(find: FindText) -> str:
    start = find("completionStartTime", "completion_start_time")
    return f"CASE WHEN {start} IS NOT NULL THEN 'true' END"


MAPPING = FormatMapping.model_validate(
    {
        "name": "langfuse",
        "rows": ["", "data[*]"],
        "blank_is_missing": True,
        "fields": {
            "id": "id",
            "ts": {"path": ["startTime", "start_time"], "unit": "iso_utc"},
            # Only some integrations record it; otherwise it follows from the model's name.
            "provider": {
                "path": [
                    "metadata.ls_provider",
                    'metadata."gen_ai.provider.name"',
                    'metadata."gen_ai.system"',
                    'metadata.attributes."gen_ai.provider.name"',
                    'metadata.attributes."gen_ai.system"',
                ],
                "default": "unknown",
            },
            "model": ["model", "provided_model_name"],
            "latency_ms": {
                "start": ["startTime", "start_time"],
                "end": ["endTime", "end_time"],
                "unit": "iso_utc",
            },
            "total_tokens": [
                *("usageDetails.total", "usage_details.total"),
                *("totalTokens", "usage.total", "usage.totalTokens"),
            ],
            # What was served comes before what was asked for.
            "service_tier": [
                'metadata.attributes."openai.response.service_tier"',
                'metadata.attributes."gen_ai.openai.response.service_tier"',
                "metadata.service_tier",
                "metadata.response_metadata.service_tier",
                "modelParameters.service_tier",
            ],
            "tag": "name",
            "session_id": ["sessionId", "session_id", "traceId", "trace_id"],
            "user_id": ["userId", "user_id"],
            "body": "input",
            "prompt_parameters": ["modelParameters", "model_parameters"],
            "response_body": "output",
        },
        "skip": [
            {
                "path": "type",
                "is_not": ["GENERATION"],
                "reason": "an observation of a type other than GENERATION",
            },
            {
                "path": ["unit", "usage.unit"],
                "is": [*OTHER_UNITS],
                "reason": "it does not count tokens",
            },
        ],
    }
)
FORMAT = Format(
    title="Langfuse observations",
    mapping=MAPPING,
    signature=Signature.of(
        required="id type level",
        any_of=(
            "startTime start_time",
            "traceId trace_id",
            "usageDetails usage_details promptTokens usage",
        ),
        typical="completionStartTime completion_start_time statusMessage status_message",
    ),
    counting="beside",
    shared={"entries": lambda find: _entries(find(*_USAGE))},
    rules={name: _count(name) for name in _TYPES}
    | {
        "cost_usd": _cost,
        "status": _status,
        "streamed": _streamed,
        "provider_usage": lambda find: f"nullif({find(*_USAGE, 'usage')}, '{{}}')",
    },
)
