"""Spans of OpenTelemetry's GenAI conventions as OTLP JSON, with current and older attribute names.

By the conventions, `gen_ai.usage.input_tokens` includes cache reads and writes, and
`gen_ai.usage.output_tokens` includes reasoning. Some instrumentations pass on disjoint counts. If a
part is greater than the whole, the counts are disjoint and are added.
"""

from __future__ import annotations

import json

from ttplan.logs.fields import COUNT
from ttplan.logs.format import FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.mapping.sql import quoted


def _at(*keys: str) -> list[str]:
    """Paths to attributes of a span."""
    return [f'attributes."{key}"' for key in keys]


def _usage(*keys: str) -> list[str]:
    return _at(*(f"gen_ai.usage.{key}" for key in keys))


_MODEL = _at(
    "gen_ai.response.model", "gen_ai.request.model", "llm.response.model", "llm.request.model"
)
_INPUT = [*_usage("input_tokens", "prompt_tokens"), *_at("llm.usage.prompt_tokens")]
_OUTPUT = [*_usage("output_tokens", "completion_tokens"), *_at("llm.usage.completion_tokens")]
_CACHED = _usage(
    "cache_read.input_tokens",
    "cache_read_input_tokens",
    "cache_read_tokens",
    "input_cached_tokens",
    "cached_tokens",
)
_WRITTEN = _usage(
    "cache_creation.input_tokens",
    "cache_write.input_tokens",
    "cache_creation_input_tokens",
    "cache_write_tokens",
)
_REASONING = _usage("reasoning.output_tokens", "reasoning_output_tokens", "reasoning_tokens")
_COST = _at("gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.cost.total", "llm.usage.cost")
_FIRST_TOKEN = _at("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token")
_NOT_MODEL_CALLS = (
    "invoke_agent create_agent execute_tool invoke_workflow plan retrieval"
    " search_memory create_memory update_memory delete_memory upsert_memory"
)
"""Operations that do not call a model themselves; an agent's span may repeat the usage of the calls
under it."""
_PAIRS = [{"key": "VARCHAR", "value": "VARCHAR"}]
_SPAN = {
    **dict.fromkeys(("traceId", "spanId", "startTimeUnixNano", "endTimeUnixNano"), "VARCHAR"),
    "status": {"code": "VARCHAR"},
    "attributes": _PAIRS,
}
_DOCUMENT = {
    "resourceSpans": [
        {
            "resource": {"attributes": _PAIRS},
            "scopeSpans": [{"spans": [_SPAN]}],
            # Their name in the first version of the protocol.
            "instrumentationLibrarySpans": [{"spans": [_SPAN]}],
        }
    ]
}
"""The parts of a document that are read, in one pass. A value of another type is null."""


def _expand(documents: str) -> str:
    """Each span as an object: its attributes by name, those of usage again, and its resource's."""
    members = {
        **{
            name: f"coalesce(to_json(s.{name}), 'null')"
            for name in _SPAN
            if name not in ("status", "attributes")
        },
        "status": "'{\"code\":' || coalesce(to_json(s.status.code), 'null') || '}'",
        "attributes": _object("s.attributes"),
        "usage": _object("s.attributes", ".usage."),
        "resource": "resource",
    }
    parts = " || ',' || ".join(f"'\"{name}\":' || {text}" for name, text in members.items())
    scopes = "list_concat(r.scopeSpans, r.instrumentationLibrarySpans)"
    parsed = f"from_json(json, {quoted(json.dumps(_DOCUMENT))})"
    return f"""(SELECT '{{' || {parts} || '}}' AS json FROM (
        SELECT unnest(flatten(list_transform({scopes}, lambda x: x.spans))) AS s,
            {_object("r.resource.attributes")} AS resource
        FROM (SELECT unnest({parsed}.resourceSpans) AS r FROM {documents})))"""  # noqa: S608


def _object(pairs: str, part: str = "") -> str:
    """SQL of a JSON object of the pairs whose key contains `part`. OTLP wraps each value in an
    object whose key is the type; the value is unwrapped."""
    is_kept = f"contains(x.key, '{part}') AND starts_with(x.value, '{{\"')"
    kept = f"list_filter({pairs}, lambda x: {is_kept})"
    value = "substr(x.value, strpos(x.value, ':') + 1, length(x.value) - strpos(x.value, ':') - 1)"
    listed = f"list_transform({kept}, lambda x: to_json(x.key) || ':' || {value})"
    return f"'{{' || coalesce(array_to_string({listed}, ','), '') || '}}'"


def _total_count(text: str, *parts: str) -> str:
    """A count, or the sum of it and its parts if these are more. An invalid count is kept, so that
    it is reported."""
    count, *part_counts = (f"coalesce({COUNT.value.format(c=t)}, 0)" for t in (text, *parts))
    sum_of_parts = " + ".join(part_counts)
    total = f"CAST({count} + {sum_of_parts} AS VARCHAR)"
    return f"CASE WHEN {sum_of_parts} > {count} THEN {total} ELSE coalesce({text}, '0') END"


def _failed(find: FindText) -> str:
    is_error = f"{find('status.code')} IN ('2', 'STATUS_CODE_ERROR')"
    return f"({is_error} OR {find(*_at('error.type'))} IS NOT NULL)"


def _status(find: FindText) -> str:
    error, code = find(*_at("error.type")), find(*_at("http.response.status_code"))
    error_status = f"CASE WHEN regexp_full_match({error}, '[45]\\d\\d') THEN {error} END"
    status = f"coalesce({error_status}, {code}, '500')"
    return f"CASE WHEN {_failed(find)} THEN {status} ELSE '200' END"


def _cost(find: FindText) -> str:
    """The instrumentation's cost; the conventions have none. A failed call without usage is 0."""
    unused = f"{find(*_INPUT)} IS NULL AND {find(*_OUTPUT)} IS NULL AND {_failed(find)}"
    return f"coalesce({find(*_COST)}, CASE WHEN {unused} THEN '0' END)"


def _streamed(find: FindText) -> str:
    flag = find(*_at("gen_ai.request.stream", "llm.is_streaming"))
    return f"CASE WHEN {find(*_FIRST_TOKEN)} IS NOT NULL THEN 'true' ELSE {flag} END"


MAPPING = FormatMapping.model_validate(
    {
        "name": "otlp",
        "fields": {
            "id": "spanId",
            "ts": {"path": "startTimeUnixNano", "unit": "epoch_ns"},
            "provider": {
                "path": _at("gen_ai.provider.name", "gen_ai.system"),
                "default": "unknown",
            },
            "model": _MODEL,
            "input_tokens": _INPUT,
            "output_tokens": _OUTPUT,
            "cached_tokens": _CACHED,
            "cache_write_tokens": _WRITTEN,
            "reasoning_tokens": _REASONING,
            "input_audio_tokens": _usage("audio.input_tokens"),
            "output_audio_tokens": _usage("audio.output_tokens"),
            "input_image_tokens": _usage("image.input_tokens"),
            "output_image_tokens": _usage("image.output_tokens"),
            "latency_ms": {
                "start": "startTimeUnixNano",
                "end": "endTimeUnixNano",
                "unit": "epoch_ns",
            },
            "service_tier": _at(
                "openai.response.service_tier", "gen_ai.openai.response.service_tier"
            ),
            "finish_reason": [
                'attributes."gen_ai.response.finish_reasons".values[0].stringValue',
                *_at("gen_ai.completion.0.finish_reason", "llm.response.finish_reason"),
            ],
            "tag": 'resource."service.name"',
            "session_id": [
                *_at("gen_ai.conversation.id", "session.id"),
                *_at("traceloop.association.properties.session_id"),
                "traceId",
            ],
            "user_id": _at("user.id", "enduser.id", "traceloop.association.properties.user_id"),
            "body": _at("gen_ai.input.messages", "gen_ai.prompt"),
            "response_body": _at("gen_ai.output.messages", "gen_ai.completion"),
        },
        "skip": [
            {
                "path": _at("gen_ai.operation.name"),
                "is": _NOT_MODEL_CALLS.split(),
                "reason": "a span of an agent, a tool or the like, not of a call of a model",
            },
            {"path": _MODEL, "is": [None], "reason": "a span that names no model"},
        ],
    }
)
FORMAT = Format(
    title="OpenTelemetry GenAI spans (OTLP JSON)",
    mapping=MAPPING,
    signature=Signature.of(required="traceId spanId attributes resource"),
    rules={
        "id": lambda find: f"{find('traceId')} || '/' || {find('spanId')}",
        "input_tokens": lambda find: _total_count(find(*_INPUT), find(*_CACHED), find(*_WRITTEN)),
        "output_tokens": lambda find: _total_count(find(*_OUTPUT), find(*_REASONING)),
        "cost_usd": _cost,
        "status": _status,
        "streamed": _streamed,
        "provider_usage": lambda find: f"nullif({find('usage')}, '{{}}')",
    },
    expand=_expand,
)
