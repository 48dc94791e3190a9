"""Spans of OpenTelemetry's GenAI conventions as OTLP JSON, with current and older attribute names.

Attributes of OpenInference, Vercel's AI SDK, Traceloop (OpenLLMetry), Strands, Langfuse, Logfire
and MLflow are read, too. By the conventions, `gen_ai.usage.input_tokens` includes cache reads and
writes, and `gen_ai.usage.output_tokens` includes reasoning. Some instrumentations pass on disjoint
counts: a row's own sums tell (`ttplan/prices/usage`).
"""

from __future__ import annotations

import json

from ttplan.logs.format import REPEATED, FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.mapping.sql import quoted


def _at(*keys: str) -> list[str]:
    """Paths to attributes of a span."""
    return [f'attributes."{key}"' for key in keys]


_MODEL_KEYS = (
    *("gen_ai.response.model", "gen_ai.request.model", "ai.response.model", "ai.model.id"),
    *("llm.response.model", "llm.request.model", "llm.model_name"),
    *("langfuse.observation.model.name", "mlflow.llm.model"),
)
_MODEL = _at(*_MODEL_KEYS)
_PROVIDER = _at(
    *("gen_ai.provider.name", "gen_ai.system", "ai.model.provider"),
    *("llm.provider", "llm.system", "mlflow.llm.provider"),
)
_COST = _at(
    *("gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.cost.total", "llm.usage.cost"),
    *("llm.cost.total", "operation.cost"),
)
_FIRST_TOKEN = _at(
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.server.time_to_first_token",
    "ai.response.msToFirstChunk",
    "langfuse.observation.completion_start_time",
)
_PARAMETERS = (
    r"^(gen_ai|llm)\.request\.|^ai\.settings\.|^ai\.prompt\.tool|^llm\.tools\."
    r"|\.system_instructions$|\.tool\.definitions$|^llm\.invocation_parameters$"
)
"""Attributes that may change an answer."""
_PROMPTS = r"^gen_ai\.prompt\.|^llm\.prompts\.|^llm\.input_messages\."
"""Those of a prompt that has an attribute for each message."""
_BODY = _at(
    *("gen_ai.input.messages", "gen_ai.prompt", "ai.prompt.messages", "ai.prompt"),
    *("langfuse.observation.input", "input.value"),
)
_USAGE_KEYS = r"\.usage\.|\.token_count\.|\.usage_details$|\.tokenUsage$"
"""Attributes that count tokens, or hold a usage object as JSON."""
_OPERATIONS = (
    "invoke_agent create_agent execute_tool invoke_workflow plan retrieval"
    " search_memory create_memory update_memory delete_memory upsert_memory"
)
_KINDS = {
    "gen_ai.operation.name": _OPERATIONS,
    "openinference.span.kind": "AGENT CHAIN TOOL RETRIEVER RERANKER GUARDRAIL EVALUATOR PROMPT"
    " EMBEDDING DECISION",
    "traceloop.span.kind": "workflow task agent tool",
    "langfuse.observation.type": "span agent tool chain retriever evaluator guardrail event"
    " embedding",
    "ai.operationId": "ai.embed ai.embedMany ai.embed.doEmbed ai.embedMany.doEmbed ai.toolCall",
}
"""Kinds of spans that are not a call of a chat model, by the attribute that says so. A span around
calls may repeat their usage."""
_IDS = ("traceId", "spanId", "parentSpanId", "startTimeUnixNano", "endTimeUnixNano")
_PAIRS = [{"key": "VARCHAR", "value": "VARCHAR"}]
_SPAN = {
    **dict.fromkeys(_IDS, "VARCHAR"),
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
    """Each span as an object: its attributes by name, those of usage again, and its resource's.

    `repeats` says whether a call of a model, with usage of its own, is under the span.
    """
    members = {
        **{name: f"coalesce(to_json(s.{name}), 'null')" for name in _IDS},
        "status": "'{\"code\":' || coalesce(to_json(s.status.code), 'null') || '}'",
        "attributes": attributes_object("s.attributes"),
        "usage": attributes_object("s.attributes", _USAGE_KEYS),
        "parameters": attributes_object("s.attributes", _PARAMETERS),
        "prompts": attributes_object("s.attributes", _PROMPTS),
        "resource": "resource",
    }
    parts = " || ',' || ".join(f"'\"{name}\":' || {text}" for name, text in members.items())
    scopes = "list_concat(r.scopeSpans, r.instrumentationLibrarySpans)"
    parsed = f"from_json(json, {quoted(json.dumps(_DOCUMENT))})"
    has = "len(list_filter(s.attributes, lambda x: {})) > 0"
    keys = ", ".join(map(quoted, _MODEL_KEYS))
    kinds = " OR ".join(
        f"(x.key = {quoted(key)} AND regexp_extract(x.value, ':\"(.*)\"', 1) IN"
        f" ({', '.join(map(quoted, names.split()))}))"
        for key, names in _KINDS.items()
    )
    is_call = " AND ".join(
        (
            has.format(f"x.key IN ({keys})"),
            has.format(f"regexp_matches(x.key, {quoted(_USAGE_KEYS)})"),
            f"NOT {has.format(kinds)}",
        )
    )
    return f"""(
        WITH RECURSIVE spans AS (
            SELECT {parts} AS members, s.traceId AS trace, s.spanId AS span,
                nullif(s.parentSpanId, '') AS parent, coalesce({is_call}, FALSE) AS is_call
            FROM (SELECT unnest(flatten(list_transform({scopes}, lambda x: x.spans))) AS s,
                {attributes_object("r.resource.attributes")} AS resource
                FROM (SELECT unnest({parsed}.resourceSpans) AS r FROM {documents}))),
        above AS (
            SELECT trace, parent AS span FROM spans WHERE is_call AND parent IS NOT NULL
            UNION
            SELECT s.trace, s.parent FROM above a JOIN spans s USING (trace, span)
            WHERE s.parent IS NOT NULL)
        SELECT '{{' || members || ',"repeats":'
            || CASE WHEN (trace, span) IN (FROM above) THEN 'true' ELSE 'null' END || '}}' AS json
        FROM spans)"""  # noqa: S608


def attributes_object(pairs: str, keys: str = "") -> str:
    """SQL of a JSON object of the pairs whose key matches `keys`. OTLP wraps each value in an
    object whose key is the type; the value is unwrapped. A pair without such a value is left out.
    """
    matches = f"regexp_matches(x.key, {quoted(keys)}) AND " if keys else ""
    value = "substr(x.value, strpos(x.value, ':') + 1, length(x.value) - strpos(x.value, ':') - 1)"

    def listed(condition: str) -> str:
        kept = f"list_filter({pairs}, lambda x: {matches}{condition})"
        texts = f"list_transform({kept}, lambda x: to_json(x.key) || ':' || {value})"
        return f"'{{' || coalesce(array_to_string({texts}, ','), '') || '}}'"

    fast, strict = (
        listed("starts_with(x.value, '{\"')"),
        listed("regexp_matches(x.value, '^\\{\"\\w+\":') AND json_valid(x.value)"),
    )
    # Each value is looked at only if one of the span's is malformed.
    return f"CASE WHEN json_valid({fast}) THEN {fast} ELSE {strict} END"


def _finish_reason(find: FindText) -> str:
    """The first reason: a list, a list as JSON text, or a text."""
    reasons = find(*_at("gen_ai.response.finish_reasons"))
    text = find(
        'attributes."gen_ai.response.finish_reasons".values[0].stringValue',
        *_at(
            *("gen_ai.response.finish_reason", "gen_ai.completion.0.finish_reason"),
            *("ai.response.finishReason", "llm.response.finish_reason", "llm.finish_reason"),
        ),
    )
    listed = f"CASE WHEN {reasons} LIKE '[%' THEN TRY(json_extract_string({reasons}, '$[0]')) END"
    plain = f"CASE WHEN NOT starts_with({reasons}, '{{') THEN {reasons} END"
    return f"trim(coalesce({listed}, {text}, {plain}), '\"')"


def _failed(find: FindText) -> str:
    is_error = f"{find('status.code')} IN ('2', 'STATUS_CODE_ERROR')"
    return f"({is_error} OR {find(*_at('error.type'))} IS NOT NULL)"


def _status(find: FindText) -> str:
    error, code = find(*_at("error.type")), find(*_at("http.response.status_code"))
    error_status = f"CASE WHEN regexp_full_match({error}, '[45]\\d\\d') THEN {error} END"
    status = f"coalesce({error_status}, {code}, '500')"
    return f"CASE WHEN {_failed(find)} THEN {status} END"


def _cost(find: FindText) -> str:
    """The instrumentation's cost; the conventions have none. A failed call without usage is 0."""
    details = find(*_at("langfuse.observation.cost_details"))
    listed = f"TRY(json_extract_string({details}, '$.total'))"
    unused = f"nullif({find('usage')}, '{{}}') IS NULL AND {_failed(find)}"
    return f"coalesce({find(*_COST)}, {listed}, CASE WHEN {unused} THEN '0' END)"


def _streamed(find: FindText) -> str:
    flag = find(*_at("gen_ai.request.stream", "llm.is_streaming"))
    return f"CASE WHEN {find(*_FIRST_TOKEN)} IS NOT NULL THEN 'true' ELSE {flag} END"


MAPPING = FormatMapping.model_validate(
    {
        "name": "otlp",
        "fields": {
            "id": "spanId",
            "ts": {"path": "startTimeUnixNano", "unit": "epoch_ns"},
            "provider": {"path": _PROVIDER, "default": "unknown"},
            "model": _MODEL,
            "resolved_model": _at("gen_ai.request.model", "ai.model.id", "llm.request.model"),
            # The other spellings, and the parts, are those of the attributes of usage.
            "input_tokens": {
                "path": _at("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
                "default": 0,
            },
            "output_tokens": {
                "path": _at("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
                "default": 0,
            },
            "cached_tokens": {"constant": 0},
            "other_usage": _at("ai.response.providerMetadata"),
            "latency_ms": {
                "start": "startTimeUnixNano",
                "end": "endTimeUnixNano",
                "unit": "epoch_ns",
            },
            "service_tier": _at(
                *("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
                *("gen_ai.response.service_tier", "openai.request.service_tier"),
                *("gen_ai.openai.request.service_tier", "gen_ai.request.service_tier"),
            ),
            "tag": 'resource."service.name"',
            "session_id": [
                *_at("gen_ai.conversation.id", "session.id", "langfuse.session.id"),
                *_at("traceloop.association.properties.session_id"),
                "traceId",
            ],
            "user_id": _at(
                *("user.id", "enduser.id", "langfuse.user.id"),
                *("traceloop.association.properties.user_id", "ai.telemetry.metadata.userId"),
            ),
            "body": _BODY,
            "prompt_parameters": "parameters",
            "response_body": _at(
                *("gen_ai.output.messages", "gen_ai.completion", "ai.response.text"),
                *("langfuse.observation.output", "output.value"),
            ),
        },
        "skip": [
            *(
                {
                    "path": _at(key),
                    "is": names.split(),
                    "reason": "a span of an agent, a tool or the like, not of a call of a model",
                }
                for key, names in _KINDS.items()
            ),
            {"path": _MODEL, "is": [None], "reason": "a span that names no model"},
            REPEATED,
        ],
    }
)
FORMAT = Format(
    title="OpenTelemetry GenAI spans (OTLP JSON)",
    mapping=MAPPING,
    signature=Signature.of(required="traceId spanId attributes resource"),
    rules={
        "prompt": lambda find: f"coalesce({find(*_BODY)}, nullif({find('prompts')}, '{{}}'))",
        "id": lambda find: f"{find('traceId')} || '/' || {find('spanId')}",
        "model": lambda find: f"trim({find(*_MODEL)}, '\"')",
        "provider": lambda find: f"coalesce(trim({find(*_PROVIDER)}, '\"'), 'unknown')",
        "finish_reason": _finish_reason,
        "cost_usd": _cost,
        "status": _status,
        "streamed": _streamed,
        "provider_usage": lambda find: f"nullif({find('usage')}, '{{}}')",
    },
    expand=_expand,
    document_keys=("resourceSpans",),
    counting="inside",
)
