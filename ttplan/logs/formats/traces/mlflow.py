"""MLflow traces: what `Trace.to_json()` and the download of the UI give, one trace a document.

Spans of a chat model have `mlflow.chat.tokenUsage`; spans around them repeat its sums. The values
of attributes are JSON as text. Cache reads are inside `input_tokens`, but beside Anthropic's.
"""

from __future__ import annotations

from ttplan.logs.format import FROM_USAGE, REPEATED, FindText, Format, Nesting, Signature, in_trace
from ttplan.logs.mapping.mapping import FormatMapping


def _at(*keys: str) -> list[str]:
    return [f'span.attributes."{key}"' for key in keys]


_MODEL = _at("mlflow.llm.model", "gen_ai.response.model", "gen_ai.request.model", "model_name")
_PROVIDER = _at("mlflow.llm.provider", "gen_ai.provider.name", "gen_ai.system")
_TRACE = ["info.trace_id", "info.request_id"]
_KIND = _at("mlflow.spanType")
_USAGE = _at("mlflow.chat.tokenUsage")
_SPAN = ["span.span_id", "span.context.span_id"]
_PARENT = ["span.parent_span_id", "span.parent_id"]
_CALLS = ("CHAT_MODEL", "LLM")
_START = ["span.start_time_unix_nano", "span.start_time_ns", "span.start_time"]
_END = ["span.end_time_unix_nano", "span.end_time_ns", "span.end_time"]


def _spans(documents: str) -> str:
    """Each span with its trace's information."""
    return f"""(SELECT json_object('info', info, 'span', span) AS json FROM (
        SELECT json->'/info' AS info,
            unnest(TRY_CAST(coalesce(json->'/data/spans', json->'/spans') AS JSON[])) AS span
        FROM {documents}))"""  # noqa: S608


def _text(find: FindText, *paths: str) -> str:
    """A text without the quotes of JSON."""
    return f"trim({find(*paths)}, '\"')"


def _usage(find: FindText) -> str:
    """The usage; Anthropic's and Bedrock's is marked as theirs, since it leaves out the cache."""
    usage, provider = find(*_USAGE), f"lower({_text(find, *_PROVIDER)})"
    name = f"CASE WHEN {provider} LIKE '%bedrock%' THEN 'bedrock' ELSE 'anthropic' END"
    theirs = f"{provider} LIKE '%anthropic%' OR {provider} LIKE '%bedrock%'"
    marked = f"'{{\"' || {name} || '\":{{\"usage\":' || {usage} || '}}}}'"
    return f"CASE WHEN {theirs} THEN {marked} ELSE {usage} END"


def _cost(find: FindText) -> str:
    cost = find(*_at("mlflow.llm.cost"))
    unused = f"{find(*_USAGE)} IS NULL AND {_failed(find)}"
    total = f"TRY(json_extract_string({cost}, '$.total_cost'))"
    return f"coalesce({total}, CASE WHEN {unused} THEN '0' END)"


def _failed(find: FindText) -> str:
    code = find("span.status.code", "span.status_code", "span.status.status_code")
    return f"coalesce({code} IN ('STATUS_CODE_ERROR', 'ERROR', '2'), FALSE)"


FORMAT = Format(
    title="MLflow traces",
    mapping=FormatMapping.model_validate(
        {
            "name": "mlflow",
            "fields": {
                "id": _SPAN,
                "ts": {"path": _START, "unit": "epoch_ns"},
                "provider": {"path": _PROVIDER, "default": "unknown"},
                "model": _MODEL,
                **FROM_USAGE,
                "latency_ms": {"start": _START, "end": _END, "unit": "epoch_ns"},
                "tag": ['info.tags."mlflow.traceName"', "info.tags.tag"],
                "session_id": [
                    'info.trace_metadata."mlflow.trace.session"',
                    'info.request_metadata."mlflow.trace.session"',
                    "info.trace_id",
                    "info.request_id",
                ],
                "user_id": [
                    'info.trace_metadata."mlflow.trace.user"',
                    'info.request_metadata."mlflow.trace.user"',
                ],
                "body": _at("mlflow.spanInputs"),
                "response_body": _at("mlflow.spanOutputs"),
            },
            "skip": [
                {
                    "path": _KIND,
                    "is_not": [*_CALLS, *(f'"{kind}"' for kind in _CALLS)],
                    "reason": "a span of a type other than CHAT_MODEL and LLM",
                },
                {
                    "path": _MODEL,
                    "is": [None],
                    "reason": "a span that names no model",
                },
                REPEATED,
            ],
        }
    ),
    signature=Signature.of(
        required="info span span.attributes",
        any_of=(
            "info.trace_id info.request_id",
            'span.attributes."mlflow.spanType" span.attributes."mlflow.traceRequestId"',
        ),
        typical="info.trace_metadata info.tags info.state",
    ),
    rules={
        "id": in_trace(_TRACE, *_SPAN),
        "provider": lambda find: f"coalesce({_text(find, *_PROVIDER)}, 'unknown')",
        "model": lambda find: _text(find, *_MODEL),
        "provider_usage": _usage,
        "cost_usd": _cost,
        "status": lambda find: f"CASE WHEN {_failed(find)} THEN '500' ELSE '200' END",
    },
    expand=_spans,
    document_keys=("data", "spans"),
    nesting=Nesting(in_trace(_TRACE, *_SPAN), in_trace(_TRACE, *_PARENT)),
    counting="inside",
)
