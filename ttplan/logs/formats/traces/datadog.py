"""Datadog's LLM Observability: spans of its export API, and payloads of its intake API and SDKs.

`input_tokens` includes cache reads and writes. Costs are in billionths of a USD. The documentation
calls `start_ns` nanoseconds and shows milliseconds: the size of the number tells.
"""

from __future__ import annotations

from ttplan.logs.format import FROM_USAGE, REPEATED, FindText, Format, Nesting, Signature, in_trace
from ttplan.logs.mapping.mapping import FormatMapping

_YEAR_2000, _YEAR_2100 = 946_684_800_000, 4_102_444_800_000
"""In milliseconds since 1970."""
_MILLISECONDS = 100_000_000_000_000
"""A smaller number is milliseconds, else nanoseconds."""


def _at(*keys: str) -> list[str]:
    """Paths to a value of a span, which the export API has in `attributes`."""
    return [path for key in keys for path in (f"attributes.{key}", key)]


def _start(find: FindText) -> str:
    """The start as a time. Another text is kept, so that it is reported."""
    start = find(*_at("start_ns"))
    number = f"TRY_CAST({start} AS BIGINT)"
    micros = f"CASE WHEN {number} < {_MILLISECONDS} THEN {number} * 1000 ELSE {number} // 1000 END"
    is_time = f"{number} BETWEEN {_YEAR_2000} AND {_YEAR_2100} * 1000000"
    moment = f"CAST(make_timestamp({micros}) AS VARCHAR) || 'Z'"
    return f"CASE WHEN {is_time} THEN {moment} ELSE {start} END"


def _cost(find: FindText) -> str:
    """The estimated cost in USD; 0 for a failed call without usage."""
    cost = find(*_at("metrics.estimated_total_cost"))
    amount = f"TRY_CAST({cost} AS DECIMAL(28, 6))"
    usd = f"coalesce(CAST({amount} * 0.000000001 AS VARCHAR), {cost})"
    unused = f"{find(*_at('metrics.output_tokens'))} IS NULL AND {_failed(find)}"
    return f"coalesce({usd}, CASE WHEN {unused} THEN '0' END)"


def _failed(find: FindText) -> str:
    return f"coalesce({find(*_at('status'))} = 'error', FALSE)"


_TRACE = _at("trace_id")
_KIND = _at("span_kind", "meta.kind", 'meta."span.kind"', "meta.span.kind")
_MODEL = _at("model_name", "meta.model_name", "meta.metadata.model_name")
FORMAT = Format(
    title="Datadog LLM Observability spans",
    mapping=FormatMapping.model_validate(
        {
            "name": "datadog",
            "rows": ["", "data[*]", "data.attributes.spans[*]", "spans[*]"],
            "fields": {
                "id": _at("span_id"),
                "ts": {"path": _at("start_ns"), "unit": "epoch_ns"},
                "provider": {
                    "path": _at(
                        "model_provider", "meta.model_provider", "meta.metadata.model_provider"
                    ),
                    "default": "unknown",
                },
                "model": _MODEL,
                **FROM_USAGE,
                "provider_usage": _at("metrics"),
                "latency_ms": {"path": _at("duration"), "unit": "ns"},
                "tag": _at("name"),
                "session_id": _at("session_id", "trace_id"),
                "user_id": _at("metadata.user_id", "meta.metadata.user_id"),
                "body": _at("input", "meta.input"),
                "prompt_parameters": _at("metadata", "meta.metadata"),
                "response_body": _at("output", "meta.output"),
            },
            "skip": [
                {
                    "path": _KIND,
                    "is_not": ["llm"],
                    "reason": "a span of a kind other than llm",
                },
                {"path": _MODEL, "is": [None], "reason": "a span that names no model"},
                REPEATED,
            ],
        }
    ),
    signature=Signature(
        any_of=tuple(
            tuple(paths) for paths in (_at("span_id"), _at("start_ns"), _at("duration"), _KIND)
        ),
        typical=tuple(_at("ml_app", "parent_id", "metrics.input_tokens")),
    ),
    rules={
        "id": in_trace(_TRACE, *_at("span_id")),
        "ts": _start,
        "cost_usd": _cost,
        "status": lambda find: f"CASE WHEN {_failed(find)} THEN '500' ELSE '200' END",
    },
    nesting=Nesting(in_trace(_TRACE, *_at("span_id")), in_trace(_TRACE, *_at("parent_id"))),
    counting="inside",
)
