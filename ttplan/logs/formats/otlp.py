"""Spans of OpenTelemetry's GenAI conventions as OTLP JSON, in the current spelling and in older ones.

`gen_ai.usage.input_tokens` includes what a cache read and wrote, `gen_ai.usage.output_tokens` includes reasoning: so say the
conventions. Some instrumentations pass on counts that stand beside one another. Where that shows, since a part is more than the
whole, the parts are added.
"""

from __future__ import annotations

from ttplan.logs.fields import COUNT
from ttplan.logs.format import Format, Signs
from ttplan.logs.mapping import Mapping, Skip, Value
from ttplan.logs.format import Find


def _at(*keys: str) -> tuple[str, ...]:
    """Paths to attributes of a span."""
    return tuple(f'attributes."{key}"' for key in keys)


_OPERATION = _at("gen_ai.operation.name")
_MODEL = _at("gen_ai.response.model", "gen_ai.request.model", "llm.response.model", "llm.request.model")
_INPUT = _at("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens")
_OUTPUT = _at("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens")
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
    "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_output_tokens", "gen_ai.usage.reasoning_tokens"
)
_COST = _at("gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.cost.total", "llm.usage.cost")
_FIRST = _at("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token")
_NO_CALLS = (
    *("invoke_agent", "create_agent", "execute_tool", "invoke_workflow", "plan", "retrieval"),
    *("search_memory", "create_memory", "update_memory", "delete_memory", "upsert_memory"),
)
"""Operations that call no model themselves; what the calls under them used, an agent's span may sum up again."""


def _expand(documents: str) -> str:
    """Each span with its attributes as one object, the value of each as it is, and its resource's."""
    spans = "list_concat(json_extract(r, '$.scopeSpans[*].spans[*]'), json_extract(r, '$.instrumentationLibrarySpans[*].spans[*]'))"
    parts = ("traceId", "spanId", "startTimeUnixNano", "endTimeUnixNano", "status")
    flat = _object("attributes")
    whole = [f"'\"{part}\":' || coalesce(s[{n}], 'null')" for n, part in enumerate(parts, 1)]
    whole += [f"'\"attributes\":' || {flat}", f"'\"usage\":' || {_object(_named('attributes', '.usage.'))}"]
    whole += [f"'\"resource\":' || {_object('resource')}"]
    pointers = ", ".join(f"'/{part}'" for part in parts)
    return f"""(SELECT '{{' || {" || ',' || ".join(whole)} || '}}' AS json FROM (
        SELECT json_extract(span, [{pointers}]) AS s, json_extract(span, '$.attributes[*]') AS attributes, resource FROM (
        SELECT unnest({spans}) AS span, json_extract(r, '$.resource.attributes[*]') AS resource FROM (
        SELECT unnest(json_extract(json, '$.resourceSpans[*]')) AS r FROM {documents}))))"""  # noqa: S608


def _named(attributes: str, part: str) -> str:
    return f"list_filter({attributes}, lambda a: contains(coalesce(a->>'key', ''), '{part}'))"


def _object(attributes: str) -> str:
    """SQL of a JSON object of key and value pairs; a value is wrapped once, in the name of its type."""
    pair = "to_json(a->>'key') || ':' || coalesce(json_extract(a, '$.value.*')[1], 'null')"
    keyed = f"list_filter({attributes}, lambda a: a->>'key' IS NOT NULL)"
    return f"'{{' || coalesce(array_to_string(list_transform({keyed}, lambda a: {pair}), ','), '') || '}}'"


def _rules(find: Find) -> dict[str, str]:
    read, said = find(*_INPUT), find(*_OUTPUT)
    cached, written, reasoning = find(*_CACHED), find(*_WRITTEN), find(*_REASONING)
    count = {text: f"coalesce({COUNT.value.format(c=text)}, 0)" for text in (read, said, cached, written, reasoning)}
    cache = f"({count[cached]} + {count[written]})"
    error, code = find(*_at("error.type")), find(*_at("http.response.status_code"))
    failed = f"{find('status.code')} IN ('2', 'STATUS_CODE_ERROR') OR {error} IS NOT NULL"
    status = f"coalesce(CASE WHEN regexp_full_match({error}, '[45]\\d\\d') THEN {error} END, {code}, '500')"
    unused = f"{read} IS NULL AND {said} IS NULL"
    streams = find(*_at("gen_ai.request.stream", "llm.is_streaming"))
    return {
        "id": f"{find('traceId')} || '/' || {find('spanId')}",
        "input_tokens": f"CASE WHEN {cache} > {count[read]} THEN CAST({count[read]} + {cache} AS VARCHAR) ELSE coalesce({read}, '0') END",
        "output_tokens": f"CASE WHEN {count[reasoning]} > {count[said]} THEN CAST({count[said]} + {count[reasoning]} AS VARCHAR) "
        f"ELSE coalesce({said}, '0') END",
        "cost_usd": f"CASE WHEN {find(*_COST)} IS NULL AND {unused} AND ({failed}) THEN '0' ELSE {find(*_COST)} END",
        "status": f"CASE WHEN {failed} THEN {status} ELSE '200' END",
        "streamed": f"CASE WHEN {find(*_FIRST)} IS NOT NULL THEN 'true' ELSE {streams} END",
        "provider_usage": f"nullif({find('usage')}, '{{}}')",
    }


MAPPING = Mapping(
    name="otlp",
    fields={
        "id": Value(path=("spanId",)),
        "ts": Value(path=("startTimeUnixNano",), unit="epoch_ns"),
        "provider": Value(path=_at("gen_ai.provider.name", "gen_ai.system"), default="unknown"),
        "model": Value(path=_MODEL),
        "input_tokens": Value(path=_INPUT),
        "output_tokens": Value(path=_OUTPUT),
        "cached_tokens": Value(path=_CACHED),
        "cache_write_tokens": Value(path=_WRITTEN),
        "reasoning_tokens": Value(path=_REASONING),
        "input_audio_tokens": Value(path=_at("gen_ai.usage.audio.input_tokens")),
        "output_audio_tokens": Value(path=_at("gen_ai.usage.audio.output_tokens")),
        "input_image_tokens": Value(path=_at("gen_ai.usage.image.input_tokens")),
        "output_image_tokens": Value(path=_at("gen_ai.usage.image.output_tokens")),
        "latency_ms": Value(start=("startTimeUnixNano",), end=("endTimeUnixNano",), unit="epoch_ns"),
        "service_tier": Value(path=_at("openai.response.service_tier", "gen_ai.openai.response.service_tier")),
        "finish_reason": Value(
            path=(
                'attributes."gen_ai.response.finish_reasons".values[0].stringValue',
                *_at("gen_ai.completion.0.finish_reason", "llm.response.finish_reason"),
            )
        ),
        "tag": Value(path=('resource."service.name"',)),
        "session_id": Value(
            path=(
                *_at("gen_ai.conversation.id", "session.id", "traceloop.association.properties.session_id"),
                "traceId",
            )
        ),
        "user_id": Value(path=_at("user.id", "enduser.id", "traceloop.association.properties.user_id")),
        "body": Value(path=_at("gen_ai.input.messages", "gen_ai.prompt")),
        "response_body": Value(path=_at("gen_ai.output.messages", "gen_ai.completion")),
    },
    skip=(
        Skip(path=_OPERATION, is_=_NO_CALLS, reason="a span of an agent, a tool or the like, not of a call of a model"),
        Skip(path=_MODEL, is_=(None,), reason="a span that names no model"),
    ),
)
FORMAT = Format(
    title="OpenTelemetry GenAI spans (OTLP JSON)",
    mapping=MAPPING,
    signs=Signs(needs=("traceId", "spanId", "attributes", "resource")),
    rules=_rules,
    expand=_expand,
)
