"""Langfuse's older table of generations: the CSV and JSON that its page of generations exported.

It has no `type`, since every row is a generation, and three counts that include everything. Some
versions wrote each cell of the CSV as JSON, so with quotes.
"""

from __future__ import annotations

from ttplan.logs.fields import OTHER_UNITS
from ttplan.logs.format import FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping
from ttplan.logs.mapping.sql import error_code

_USED = ("promptTokens", "completionTokens", "totalTokens")


def _cost(find: FindText) -> str:
    """The cost. It is missing, not 0, if there are tokens and no price was known."""
    unused = " AND ".join(f"coalesce({find(name)}, '0') = '0'" for name in _USED)
    return f"coalesce({find('totalCost', 'calculatedTotalCost')}, CASE WHEN {unused} THEN '0' END)"


def _status(find: FindText) -> str:
    code = error_code(find("statusMessage"))
    return f"CASE WHEN {find('level')} = 'ERROR' THEN coalesce({code}, '500') ELSE '200' END"


FORMAT = Format(
    title="Langfuse generations (older table)",
    mapping=FormatMapping.model_validate(
        {
            "name": "langfuse_generations",
            "blank_is_missing": True,
            "fields": {
                "id": "id",
                "ts": {"path": "startTime", "unit": "iso_utc"},
                "provider": {"path": "metadata.ls_provider", "default": "unknown"},
                "model": "model",
                "latency_ms": {"start": "startTime", "end": "endTime", "unit": "iso_utc"},
                "tag": "name",
                "session_id": ["sessionId", "traceId"],
                "user_id": "userId",
                "input_tokens": "promptTokens",
                "output_tokens": "completionTokens",
                "total_tokens": "totalTokens",
                "service_tier": "modelParameters.service_tier",
                "body": "input",
                "prompt_parameters": "modelParameters",
                "response_body": "output",
            },
            "skip": [
                {
                    "path": "unit",
                    "is": [*OTHER_UNITS],
                    "reason": "a generation that is not counted in tokens",
                },
                {
                    "path": "model",
                    "is": [None, "null"],
                    "reason": "a generation that names no model",
                },
            ],
        }
    ),
    signature=Signature.of(
        required="id traceId startTime promptTokens completionTokens unit level",
        any_of=("totalCost calculatedTotalCost",),
        forbidden="type",
        typical="traceName timeToFirstToken latencyPerToken inputCost modelId",
    ),
    rules={
        "cost_usd": _cost,
        "status": _status,
        "streamed": lambda find: (
            f"CASE WHEN {find('completionStartTime')} IS NOT NULL THEN 'true' END"
        ),
    },
    counting="inside",
)
