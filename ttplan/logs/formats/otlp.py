"""Spans of OpenTelemetry's GenAI conventions as OTLP JSON, in the current spelling and in older ones.

`gen_ai.usage.input_tokens` includes what a cache read and wrote, `gen_ai.usage.output_tokens` includes reasoning: so say the
conventions. Some instrumentations pass on counts that stand beside one another. Where that shows, since a part is more than the
whole, the parts are added.
"""

from __future__ import annotations

import json

from ttplan.logs.fields import COUNT
from ttplan.logs.format import FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping, SkipRule, FieldSource
from ttplan.logs.mapping.sql import quoted


def _at(*keys: str) -> tuple[str, ...]:
    """Paths to attributes of a span."""
    return tuple(f'attributes."{key}"' for key in keys)


_OPERATION = _at("gen_ai.operation.name")
_MODEL = _at(
    "gen_ai.response.model", "gen_ai.request.model", "llm.response.model", "llm.request.model"
)
_INPUT = _at("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens")
_OUTPUT = _at(
    "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"
)
_CACHED = _at(
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cache_read_tokens",
    "gen_ai.usage.input_cached_tokens",
    "gen_ai.usage.cached_tokens",
)
_WRITTEN = _at(
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_write_tokens",
)
_REASONING = _at(
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_output_tokens",
    "gen_ai.usage.reasoning_tokens",
)
_COST = _at("gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.cost.total", "llm.usage.cost")
_FIRST = _at("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token")
_NO_CALLS = (
    *("invoke_agent", "create_agent", "execute_tool", "invoke_workflow", "plan", "retrieval"),
    *("search_memory", "create_memory", "update_memory", "delete_memory", "upsert_memory"),
)
"""Operations that call no model themselves; what the calls under them used, an agent's span may sum up again."""


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
            # What the first version of the protocol calls them.
            "instrumentationLibrarySpans": [{"spans": [_SPAN]}],
        }
    ]
}
"""What is read of a document, in one go. What is of another type is nothing."""


def _expand(documents: str) -> str:
    """Each span as an object: its attributes by name, those of usage apart, and its resource's."""
    parts = [
        f"'\"{name}\":' || coalesce(to_json(s.{name}), 'null')"
        for name in _SPAN
        if name not in ("status", "attributes")
    ]
    parts += ["'\"status\":{\"code\":' || coalesce(to_json(s.status.code), 'null') || '}'"]
    parts += [
        f"'\"attributes\":' || {_object('s.attributes')}",
        f"'\"usage\":' || {_object('s.attributes', '.usage.')}",
    ]
    parts += ["'\"resource\":' || resource"]
    scopes = "list_concat(r.scopeSpans, r.instrumentationLibrarySpans)"
    return f"""(SELECT '{{' || {" || ',' || ".join(parts)} || '}}' AS json FROM (
        SELECT unnest(flatten(list_transform({scopes}, lambda x: x.spans))) AS s, {_object("r.resource.attributes")} AS resource
        FROM (SELECT unnest(from_json(json, {quoted(json.dumps(_DOCUMENT))}).resourceSpans) AS r FROM {documents})))"""  # noqa: S608


def _object(pairs: str, part: str = "") -> str:
    """SQL of a JSON object of pairs whose key has a `part` in it; a value is wrapped once, in the name of its type."""
    kept = f"list_filter({pairs}, lambda x: contains(x.key, '{part}') AND starts_with(x.value, '{{\"'))"
    value = "substr(x.value, strpos(x.value, ':') + 1, length(x.value) - strpos(x.value, ':') - 1)"
    listed = f"list_transform({kept}, lambda x: to_json(x.key) || ':' || {value})"
    return f"'{{' || coalesce(array_to_string({listed}, ','), '') || '}}'"


def _of(text: str) -> str:
    """A count's number, 0 where there is none."""
    return f"coalesce({COUNT.value.format(c=text)}, 0)"


def _whole(text: str, *parts: str) -> str:
    """A count, or, where its parts are more, the sum of all. A count that is none stays, and is found bad."""
    added = " + ".join(map(_of, parts))
    return f"CASE WHEN {added} > {_of(text)} THEN CAST({_of(text)} + {added} AS VARCHAR) ELSE coalesce({text}, '0') END"


def _failed(find: FindText) -> str:
    return f"({find('status.code')} IN ('2', 'STATUS_CODE_ERROR') OR {find(*_at('error.type'))} IS NOT NULL)"


def _status(find: FindText) -> str:
    error, code = find(*_at("error.type")), find(*_at("http.response.status_code"))
    said = f"coalesce(CASE WHEN regexp_full_match({error}, '[45]\\d\\d') THEN {error} END, {code}, '500')"
    return f"CASE WHEN {_failed(find)} THEN {said} ELSE '200' END"


def _cost(find: FindText) -> str:
    """What an instrumentation reckons; the conventions have none. A call that failed and used nothing cost nothing."""
    unused = f"{find(*_INPUT)} IS NULL AND {find(*_OUTPUT)} IS NULL AND {_failed(find)}"
    return f"coalesce({find(*_COST)}, CASE WHEN {unused} THEN '0' END)"


def _streamed(find: FindText) -> str:
    return f"CASE WHEN {find(*_FIRST)} IS NOT NULL THEN 'true' ELSE {find(*_at('gen_ai.request.stream', 'llm.is_streaming'))} END"


MAPPING = FormatMapping(
    name="otlp",
    fields={
        "id": FieldSource(path=("spanId",)),
        "ts": FieldSource(path=("startTimeUnixNano",), unit="epoch_ns"),
        "provider": FieldSource(path=_at("gen_ai.provider.name", "gen_ai.system"), default="unknown"),
        "model": FieldSource(path=_MODEL),
        "input_tokens": FieldSource(path=_INPUT),
        "output_tokens": FieldSource(path=_OUTPUT),
        "cached_tokens": FieldSource(path=_CACHED),
        "cache_write_tokens": FieldSource(path=_WRITTEN),
        "reasoning_tokens": FieldSource(path=_REASONING),
        "input_audio_tokens": FieldSource(path=_at("gen_ai.usage.audio.input_tokens")),
        "output_audio_tokens": FieldSource(path=_at("gen_ai.usage.audio.output_tokens")),
        "input_image_tokens": FieldSource(path=_at("gen_ai.usage.image.input_tokens")),
        "output_image_tokens": FieldSource(path=_at("gen_ai.usage.image.output_tokens")),
        "latency_ms": FieldSource(
            start=("startTimeUnixNano",), end=("endTimeUnixNano",), unit="epoch_ns"
        ),
        "service_tier": FieldSource(
            path=_at("openai.response.service_tier", "gen_ai.openai.response.service_tier")
        ),
        "finish_reason": FieldSource(
            path=(
                'attributes."gen_ai.response.finish_reasons".values[0].stringValue',
                *_at("gen_ai.completion.0.finish_reason", "llm.response.finish_reason"),
            )
        ),
        "tag": FieldSource(path=('resource."service.name"',)),
        "session_id": FieldSource(
            path=(
                *_at(
                    "gen_ai.conversation.id",
                    "session.id",
                    "traceloop.association.properties.session_id",
                ),
                "traceId",
            )
        ),
        "user_id": FieldSource(
            path=_at("user.id", "enduser.id", "traceloop.association.properties.user_id")
        ),
        "body": FieldSource(path=_at("gen_ai.input.messages", "gen_ai.prompt")),
        "response_body": FieldSource(path=_at("gen_ai.output.messages", "gen_ai.completion")),
    },
    skip=(
        SkipRule(
            path=_OPERATION,
            is_=_NO_CALLS,
            reason="a span of an agent, a tool or the like, not of a call of a model",
        ),
        SkipRule(path=_MODEL, is_=(None,), reason="a span that names no model"),
    ),
)
FORMAT = Format(
    title="OpenTelemetry GenAI spans (OTLP JSON)",
    mapping=MAPPING,
    signature=Signature(required=("traceId", "spanId", "attributes", "resource")),
    rules={
        "id": lambda find: f"{find('traceId')} || '/' || {find('spanId')}",
        "input_tokens": lambda find: _whole(find(*_INPUT), find(*_CACHED), find(*_WRITTEN)),
        "output_tokens": lambda find: _whole(find(*_OUTPUT), find(*_REASONING)),
        "cost_usd": _cost,
        "status": _status,
        "streamed": _streamed,
        "provider_usage": lambda find: f"nullif({find('usage')}, '{{}}')",
    },
    expand=_expand,
)
