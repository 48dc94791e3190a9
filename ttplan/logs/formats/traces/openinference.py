"""Spans with OpenInference's attributes, as Phoenix exports them: its data frame as CSV, Parquet or
JSON lines (columns such as `attributes.llm.model_name`), its API and its command line (JSON).

By the conventions, the prompt's count includes cache reads and writes, and the completion's
includes reasoning. Some instrumentations pass on disjoint counts: a row's own sums tell.
"""

from __future__ import annotations

from ttplan.logs.format import FROM_USAGE, REPEATED, FindText, Format, Nesting, Signature, in_trace
from ttplan.logs.mapping.mapping import FormatMapping


def _at(*keys: str) -> list[str]:
    """Paths to attributes: a column of their own, a key of the attributes, or nested."""
    return [
        path
        for key in keys
        for path in (f'"attributes.{key}"', f'attributes."{key}"', f"attributes.{key}")
    ]


def _context(key: str) -> list[str]:
    return [f'"context.{key}"', f"context.{key}", key]


_COUNTS = (
    *("prompt", "completion", "total"),
    *("prompt_details.cache_read", "prompt_details.cache_write", "prompt_details.cache_input"),
    *("prompt_details.audio", "completion_details.audio", "completion_details.reasoning"),
)
_TRACE = _context("trace_id")
_KIND = ["span_kind", *_at("openinference.span.kind")]
_MODEL = _at("llm.model_name")


def _usage(find: FindText) -> str:
    """The counts, as one object; NULL if there is none."""
    counts = {name: find(*_at(f"llm.token_count.{name}")) for name in _COUNTS}
    pairs = ", ".join(f"'llm.token_count.{name}', {count}" for name, count in counts.items())
    unused = " AND ".join(f"{count} IS NULL" for count in counts.values())
    return f"CASE WHEN NOT ({unused}) THEN CAST(json_object({pairs}) AS VARCHAR) END"


def _cost(find: FindText) -> str:
    """The cost; 0 for a failed call without usage."""
    unused = f"{_usage(find)} IS NULL AND {find('status_code')} = 'ERROR'"
    return f"coalesce({find(*_at('llm.cost.total'))}, CASE WHEN {unused} THEN '0' END)"


FORMAT = Format(
    title="OpenInference spans (Phoenix)",
    mapping=FormatMapping.model_validate(
        {
            "name": "openinference",
            "rows": ["", "data[*]", "spans[*]"],
            "blank_is_missing": True,
            "fields": {
                "id": _context("span_id"),
                "ts": {"path": "start_time", "unit": "iso_utc"},
                "provider": {"path": _at("llm.provider", "llm.system"), "default": "unknown"},
                "model": _MODEL,
                **FROM_USAGE,
                "latency_ms": {"start": "start_time", "end": "end_time", "unit": "iso_utc"},
                "status": {
                    "path": "status_code",
                    "values": {"OK": 200, "UNSET": 200, "ERROR": 500},
                },
                "finish_reason": _at("llm.finish_reason"),
                "tag": _at("metadata.tag", "metadata.feature", "agent.name"),
                "session_id": [*_at("session.id"), *_context("trace_id")],
                "user_id": _at("user.id"),
                "body": _at("input.value"),
                "prompt_parameters": _at("llm.invocation_parameters"),
                "response_body": _at("output.value"),
            },
            "skip": [
                {
                    "path": _KIND,
                    "is_not": ["LLM"],
                    "reason": "a span of a kind other than LLM",
                },
                {"path": _MODEL, "is": [None], "reason": "a span that names no model"},
                REPEATED,
            ],
        }
    ),
    signature=Signature.of(
        required="span_kind start_time end_time status_code",
        any_of=(
            " ".join(_context("span_id")),
            " ".join(_at("llm.model_name", "openinference.span.kind")),
        ),
        typical="parent_id status_message events name",
    ),
    rules={
        "id": in_trace(_TRACE, *_context("span_id")),
        "provider_usage": _usage,
        "cost_usd": _cost,
    },
    nesting=Nesting(in_trace(_TRACE, *_context("span_id")), in_trace(_TRACE, "parent_id")),
    counting="inside",
)
