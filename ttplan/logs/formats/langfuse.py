"""Langfuse observations, of the UI's exports (CSV, JSON), the public API and blob storage (legacy and enriched).

The types of usage exclude one another: what a cache read or wrote stands beside `input`, reasoning beside `output`. All of a side
are added up, whatever a project calls them. Exports of version 2 and before have three counts instead, with everything inside.
"""

from __future__ import annotations

from collections.abc import Callable

from ttplan.logs.fields import COUNT
from ttplan.logs.format import FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping, SkipRule, FieldSource
from ttplan.logs.mapping.sql import quoted

_USAGE = ("usageDetails", "usage_details")
_COSTS = ("costDetails", "cost_details")
_TOTAL_COST = ("totalCost", "total_cost", "calculatedTotalCost", "usage.totalCost")
# The counts of older exports.
_BEFORE = {
    "input_tokens": ("promptTokens", "usage.input", "usage.promptTokens"),
    "output_tokens": ("completionTokens", "usage.output", "usage.completionTokens"),
}
# Which types of usage are in a count, as SQL of a type's name `k`.
_TYPES = {
    "input_tokens": "contains(k, 'input') OR contains(k, 'cache')",
    "output_tokens": "contains(k, 'output') OR contains(k, 'reasoning')",
    "cached_tokens": "contains(k, 'cached') OR contains(k, 'cache_read')",
    "cache_write_tokens": "contains(k, 'cache_creation') OR contains(k, 'cache_write')",
    "reasoning_tokens": "contains(k, 'reasoning')",
    "input_audio_tokens": "contains(k, 'input') AND contains(k, 'audio')",
    "output_audio_tokens": "contains(k, 'output') AND contains(k, 'audio')",
    "input_image_tokens": "contains(k, 'input') AND contains(k, 'image')",
    "output_image_tokens": "contains(k, 'output') AND contains(k, 'image')",
}


def _entries(text: str) -> str:
    """A JSON object's entries that have a value, names in lower case; NULL where the text is no object."""
    entries = f"map_entries(TRY_CAST(TRY_CAST({text} AS JSON) AS MAP(VARCHAR, VARCHAR)))"
    there = f"list_filter({entries}, lambda e: e.value IS NOT NULL)"
    return f"list_transform({there}, lambda e: {{'k': lower(e.key), 'v': e.value}})"


def _count(name: str) -> Callable[[FindText], str]:
    """The sum of some types of usage. A count that is none stands for the sum, and is found bad there."""

    def rule(find: FindText) -> str:
        values = f"list_transform(list_filter(entries, lambda e: {_TYPES[name].replace('(k,', '(e.k,')}), lambda e: e.v)"
        wrong = f"list_filter({values}, lambda v: NOT regexp_full_match(v, {quoted(COUNT.pattern or '')}))[1]"
        added = f"CAST(list_sum(list_transform({values}, lambda v: {COUNT.value.format(c='v')})) AS VARCHAR)"
        before = _BEFORE.get(name)
        # Nothing stands where the SDK did not see any usage, as in streams that were not asked for it.
        rest = "" if before is None else f", {find(*before)}, '0'"
        return f"coalesce({wrong}, {added}{rest})"

    return rule


def _cost(find: FindText) -> str:
    """Where no price is known, some exports say 0 and some nothing. A call that failed and used nothing cost nothing."""
    costs = find(*_COSTS)
    cost = f"coalesce(TRY_CAST({costs} AS JSON)->>'total', {find(*_TOTAL_COST)})"
    unknown = f"{costs} = '{{}}' AND TRY_CAST({cost} AS DOUBLE) = 0"
    before = [f"coalesce({find(*paths)}, '0') = '0'" for paths in _BEFORE.values()]
    unused = (
        f"{find('level')} = 'ERROR' AND coalesce(len(entries), 0) = 0 AND {' AND '.join(before)}"
    )
    return (
        f"coalesce(CASE WHEN {unknown} THEN NULL ELSE {cost} END, CASE WHEN {unused} THEN '0' END)"
    )


def _status(find: FindText) -> str:
    code = f"nullif(regexp_extract({find('statusMessage', 'status_message')}, '\\b([45]\\d\\d)\\b', 1), '')"
    return f"CASE WHEN {find('level')} = 'ERROR' THEN coalesce({code}, '500') ELSE '200' END"


def _streamed(find: FindText) -> str:
    return f"CASE WHEN {find('completionStartTime', 'completion_start_time')} IS NOT NULL THEN 'true' END"


MAPPING = FormatMapping(
    name="langfuse",
    rows=("", "data[*]"),
    blank_is_missing=True,
    fields={
        "id": FieldSource(path=("id",)),
        "ts": FieldSource(path=("startTime", "start_time"), unit="iso_utc"),
        # Only some integrations say it; where none does, the model's name tells.
        "provider": FieldSource(
            path=(
                *(
                    "metadata.ls_provider",
                    'metadata."gen_ai.provider.name"',
                    'metadata."gen_ai.system"',
                ),
                *(
                    'metadata.attributes."gen_ai.provider.name"',
                    'metadata.attributes."gen_ai.system"',
                ),
            ),
            default="unknown",
        ),
        "model": FieldSource(path=("model", "provided_model_name")),
        "latency_ms": FieldSource(
            start=("startTime", "start_time"), end=("endTime", "end_time"), unit="iso_utc"
        ),
        "service_tier": FieldSource(path=("modelParameters.service_tier",)),
        "tag": FieldSource(path=("name",)),
        "session_id": FieldSource(path=("sessionId", "session_id", "traceId", "trace_id")),
        "user_id": FieldSource(path=("userId", "user_id")),
        "body": FieldSource(path=("input",)),
        "response_body": FieldSource(path=("output",)),
    },
    skip=(
        SkipRule(
            path=("type",),
            is_not=("GENERATION",),
            reason="an observation of a type other than GENERATION",
        ),
    ),
)
FORMAT = Format(
    title="Langfuse observations",
    mapping=MAPPING,
    signature=Signature(
        required=("id", "type", "level"),
        any_of=(
            ("startTime", "start_time"),
            ("traceId", "trace_id"),
            ("usageDetails", "usage_details", "promptTokens", "usage"),
        ),
        typical=("completionStartTime", "completion_start_time", "statusMessage", "status_message"),
    ),
    shared={"entries": lambda find: _entries(find(*_USAGE))},
    rules={name: _count(name) for name in _TYPES}
    | {
        "cost_usd": _cost,
        "status": _status,
        "streamed": _streamed,
        "provider_usage": lambda find: f"nullif({find(*_USAGE, 'usage')}, '{{}}')",
    },
)
