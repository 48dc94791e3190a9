"""The formats that can be read: one module for each tool, and the table of all formats.

A format is a `Format`. Its mapping declares what can be declared; the rest is a small function. The
billing exports of providers are known formats, too, but are refused as logs.
"""

from __future__ import annotations

from ttplan.logs.billing.exports import BILLING_FORMATS, NOT_A_LOG
from ttplan.logs.format import Format, Signature
from ttplan.logs.formats import (
    gateways,
    helicone,
    langfuse,
    litellm,
    openrouter,
    otlp,
    request_columns,
)
from ttplan.logs.formats.agents import claude_code, codex, cursor, opencode
from ttplan.logs.formats.providers import batches, bedrock, vertex
from ttplan.logs.formats.traces import (
    datadog,
    langfuse_generations,
    langsmith,
    mlflow,
    openinference,
)
from ttplan.logs.mapping.mapping import FormatMapping

_BILLING_ROWS = ("data[*].results[*]", "results[*]", "data[*]", "")
_FORMATS = (
    request_columns.OWN,
    request_columns.TOKENTRIMMER,
    litellm.SPEND_LOGS,
    litellm.PAYLOAD,
    *(module.FORMAT for module in (langfuse, helicone, openrouter, otlp)),
    claude_code.SESSIONS,
    claude_code.EVENTS,
    codex.FORMAT,
    opencode.FORMAT,
    cursor.FORMAT,
    gateways.CLOUDFLARE,
    gateways.PORTKEY,
    bedrock.FORMAT,
    vertex.FORMAT,
    batches.OPENAI,
    batches.ANTHROPIC,
    openinference.FORMAT,
    mlflow.FORMAT,
    langsmith.FORMAT,
    datadog.FORMAT,
    langfuse_generations.FORMAT,
    *(
        Format(
            title=billing.title,
            mapping=FormatMapping(name=billing.name, rows=_BILLING_ROWS, fields={}),
            signature=Signature(required=tuple(sorted(billing.keys))),
            refusal=NOT_A_LOG,
        )
        for billing in BILLING_FORMATS
    ),
)
FORMATS: dict[str, Format] = {f.name: f for f in _FORMATS}
"""By name, in the order in which they are tried and listed."""
