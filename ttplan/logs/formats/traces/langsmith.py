"""LangSmith runs: its bulk export (Parquet), and runs from the API or the SDK as JSON.

Counts of a run, and of LangChain's `usage_metadata`, include everything. Only runs of type `llm`
are requests; runs around them have their sums.
"""

from __future__ import annotations

from ttplan.logs.format import REPEATED, FindText, Format, Nesting, Signature
from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.mapping.sql import error_code

_MESSAGE = "outputs.generations[0][0].message"
_USAGE = [
    "outputs.usage_metadata",
    f"{_MESSAGE}.kwargs.usage_metadata",
    f"{_MESSAGE}.usage_metadata",
    "outputs.llm_output.token_usage",
    "outputs.llm_output.usage",
    "outputs.usage",
    "extra.metadata.usage_metadata",
]


def _details(find: FindText) -> str:
    """What a run itself lists of its counts, in LangChain's names."""
    prompt, completion = find("prompt_token_details"), find("completion_token_details")
    objects = (
        f"CASE WHEN json_valid({text}) THEN {text}::JSON END" for text in (prompt, completion)
    )
    pairs = ", ".join(
        f"'{name}', {text}"
        for name, text in zip(("input_token_details", "output_token_details"), objects, strict=True)
    )
    return (
        f"CASE WHEN {prompt} IS NOT NULL OR {completion} IS NOT NULL"
        f" THEN CAST(json_object({pairs}) AS VARCHAR) END"
    )


def _status(find: FindText) -> str:
    failed = f"{find('error')} IS NOT NULL OR {find('status')} = 'error'"
    code = error_code(find("error"))
    return f"CASE WHEN {failed} THEN coalesce({code}, '500') ELSE '200' END"


def _cost(find: FindText) -> str:
    """The cost; 0 for a failed run without usage."""
    unused = f"coalesce({find('total_tokens')}, '0') = '0' AND {find('error')} IS NOT NULL"
    return f"coalesce({find('total_cost')}, CASE WHEN {unused} THEN '0' END)"


def _metadata(*keys: str) -> list[str]:
    return [f"extra.metadata.{key}" for key in keys]


FORMAT = Format(
    title="LangSmith runs",
    mapping=FormatMapping.model_validate(
        {
            "name": "langsmith",
            "rows": ["", "runs[*]"],
            "blank_is_missing": True,
            "documents": [
                *("extra", "inputs", "outputs"),
                *("prompt_token_details", "completion_token_details"),
            ],
            "fields": {
                "id": "id",
                "ts": {"path": "start_time", "unit": "iso_utc"},
                "provider": {
                    "path": _metadata("ls_provider", "provider"),
                    "default": "unknown",
                },
                "model": [
                    *_metadata("ls_model_name", "model_name"),
                    "extra.invocation_params.model",
                    "extra.invocation_params.model_name",
                    "outputs.llm_output.model_name",
                    "outputs.model",
                    "name",
                ],
                "input_tokens": {"path": "prompt_tokens", "default": 0},
                "output_tokens": {"path": "completion_tokens", "default": 0},
                "cached_tokens": {"constant": 0},
                "total_tokens": "total_tokens",
                "provider_usage": _USAGE,
                "latency_ms": {"start": "start_time", "end": "end_time", "unit": "iso_utc"},
                "service_tier": ["outputs.service_tier", "extra.invocation_params.service_tier"],
                "finish_reason": [
                    "outputs.generations[0][0].generation_info.finish_reason",
                    "outputs.choices[0].finish_reason",
                ],
                "tag": ["tags[0]", *_metadata("tag", "feature")],
                "session_id": [
                    *_metadata("session_id", "thread_id", "conversation_id"),
                    "trace_id",
                ],
                "user_id": _metadata("user_id", "user"),
                "body": "inputs",
                "prompt_parameters": "extra.invocation_params",
                "response_body": "outputs",
            },
            "skip": [
                {
                    "path": "run_type",
                    "is_not": ["llm"],
                    "reason": "a run of a type other than llm",
                },
                {
                    "path": "status",
                    "is": ["pending"],
                    "reason": "a run that had not ended",
                },
                REPEATED,
            ],
        }
    ),
    signature=Signature.of(
        required="id run_type start_time trace_id",
        any_of=("dotted_order parent_run_id session_id", "extra outputs"),
        typical="dotted_order total_tokens prompt_tokens completion_tokens total_cost",
    ),
    rules={
        "other_usage": _details,
        "status": _status,
        "cost_usd": _cost,
        "streamed": lambda find: (
            f"CASE WHEN {find('first_token_time')} IS NOT NULL THEN 'true' END"
        ),
    },
    nesting=Nesting(lambda find: find("id"), lambda find: find("parent_run_id")),
    counting="inside",
)
