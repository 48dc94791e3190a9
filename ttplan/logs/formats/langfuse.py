"""Langfuse observations, of the UI's exports (CSV, JSON), the public API and blob storage (legacy and enriched).

The types of usage exclude one another: what a cache read or wrote stands beside `input`, reasoning beside `output`. All of a side
are added up, whatever a project calls them. Exports of version 2 and before have three counts instead, with everything inside.
"""

from __future__ import annotations

from ttplan.logs.fields import COUNT
from ttplan.logs.format import Format, Signs
from ttplan.logs.mapping import Mapping, Skip, Value
from ttplan.logs.format import Find
from ttplan.logs.query import quoted

_USAGE = ("usageDetails", "usage_details")
_COSTS = ("costDetails", "cost_details")
_TOTAL_COST = ("totalCost", "total_cost", "calculatedTotalCost", "usage.totalCost")
_INPUT = ("promptTokens", "usage.input", "usage.promptTokens")
_OUTPUT = ("completionTokens", "usage.output", "usage.completionTokens")
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
    """A JSON object's entries that have a value; NULL where the text is no object, an empty list where it has none."""
    entries = f"map_entries(TRY_CAST(TRY_CAST({text} AS JSON) AS MAP(VARCHAR, VARCHAR)))"
    return f"list_filter({entries}, lambda e: e.value IS NOT NULL)"


def _of_types(usage: str, types: str) -> str:
    """The sum of some types of usage. A count that is none stands for the sum, and is found bad there."""
    values = f"list_transform(list_filter({_entries(usage)}, lambda e: {types.replace('(k,', '(lower(e.key),')}), lambda e: e.value)"
    wrong = f"list_filter({values}, lambda v: NOT regexp_full_match(v, {quoted(COUNT.pattern or '')}))[1]"
    added = f"list_sum(list_transform({values}, lambda v: {COUNT.value.format(c='v')}))"
    return f"coalesce({wrong}, CAST({added} AS VARCHAR))"


def _rules(find: Find) -> dict[str, str]:
    usage, costs = find(*_USAGE), find(*_COSTS)
    counts = {name: _of_types(usage, types) for name, types in _TYPES.items()}
    before = {"input_tokens": find(*_INPUT), "output_tokens": find(*_OUTPUT)}
    # Nothing stands where the SDK did not see any usage, as in streams that were not asked for it.
    tokens = {name: f"coalesce({counts[name]}, {text}, '0')" for name, text in before.items()}
    cost = f"coalesce(TRY_CAST({costs} AS JSON)->>'total', {find(*_TOTAL_COST)})"
    unknown = f"{costs} IS NOT NULL AND len({_entries(costs)}) = 0 AND TRY_CAST({cost} AS DOUBLE) = 0"
    unused = f"{tokens['input_tokens']} = '0' AND {tokens['output_tokens']} = '0'"
    failed = f"{find('level')} = 'ERROR'"
    code = f"nullif(regexp_extract({find('statusMessage', 'status_message')}, '\\b([45]\\d\\d)\\b', 1), '')"
    return (
        counts
        | tokens
        | {
            # Where no price is known, some exports say 0 and some nothing. A call that failed and used nothing cost nothing.
            "cost_usd": f"coalesce(CASE WHEN {unknown} THEN NULL ELSE {cost} END, CASE WHEN {failed} AND {unused} THEN '0' END)",
            "status": f"CASE WHEN {failed} THEN coalesce({code}, '500') ELSE '200' END",
            "streamed": f"CASE WHEN {find('completionStartTime', 'completion_start_time')} IS NOT NULL THEN 'true' END",
            "provider_usage": f"nullif({find(*_USAGE, 'usage')}, '{{}}')",
        }
    )


MAPPING = Mapping(
    name="langfuse",
    rows=("", "data[*]"),
    blank_is_missing=True,
    fields={
        "id": Value(path=("id",)),
        "ts": Value(path=("startTime", "start_time"), unit="iso_utc"),
        # Only some integrations say it; where none does, the model's name tells.
        "provider": Value(
            path=(
                *("metadata.ls_provider", 'metadata."gen_ai.provider.name"', 'metadata."gen_ai.system"'),
                *('metadata.attributes."gen_ai.provider.name"', 'metadata.attributes."gen_ai.system"'),
            ),
            default="unknown",
        ),
        "model": Value(path=("model", "provided_model_name")),
        "latency_ms": Value(start=("startTime", "start_time"), end=("endTime", "end_time"), unit="iso_utc"),
        "service_tier": Value(path=("modelParameters.service_tier",)),
        "tag": Value(path=("name",)),
        "session_id": Value(path=("sessionId", "session_id", "traceId", "trace_id")),
        "user_id": Value(path=("userId", "user_id")),
        "body": Value(path=("input",)),
        "response_body": Value(path=("output",)),
    },
    skip=(Skip(path=("type",), is_not=("GENERATION",), reason="an observation of a type other than GENERATION"),),
)
FORMAT = Format(
    title="Langfuse observations",
    mapping=MAPPING,
    signs=Signs(
        needs=("id", "type", "level"),
        any_of=(
            ("startTime", "start_time"),
            ("traceId", "trace_id"),
            ("usageDetails", "usage_details", "promptTokens", "usage"),
        ),
        also=("completionStartTime", "completion_start_time", "statusMessage", "status_message"),
    ),
    rules=_rules,
)
