"""Spans of OpenTelemetry's GenAI conventions as OTLP JSON: collector lines, and one document.

With current names, `gen_ai.usage.input_tokens` includes cache reads and writes, and `output_tokens`
includes reasoning. Older instrumentations have `gen_ai.system`, `prompt_tokens` and
`completion_tokens`; some pass on Anthropic's own count, which excludes the cache. Other spans are
of HTTP, tools, and agents, which repeat the usage of their calls.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

from tests.logs.generators.calls import Call, calls

CURRENT = {"openai": "openai", "anthropic": "anthropic", "google": "gcp.gemini"}
OLDER = {"openai": "openai", "anthropic": "Anthropic", "google": "Google"}


def requests() -> list[Call]:
    """The calls without hits in a gateway's cache, which have no spans."""
    return [call for call in calls(213, 20260525) if not call.hit]


def older(call: Call) -> bool:
    return call.number % 3 == 1


def has_disjoint_counts(call: Call) -> bool:
    """Whether its input count excludes the cache, recognisably: the cache counts are greater."""
    return (
        older(call)
        and call.provider == "anthropic"
        and call.cached + call.written > call.input - call.cached - call.written
    )


def priced(call: Call) -> bool:
    """Whether its instrumentation adds a cost, which the conventions do not have."""
    return older(call) and call.number % 2 == 0


def files() -> dict[str, bytes]:
    spans = list(_spans())
    exports = [_export(some) for some in _batches(spans, 25)]
    lines = "".join(json.dumps(export, separators=(",", ":")) + "\n" for export in exports)
    whole = json.dumps(_export(spans), separators=(",", ":"))
    return {
        "otlp-collector.jsonl": lines.encode(),
        "otlp.json.gz": gzip.compress(whole.encode(), mtime=0),
    }


def _batches(spans: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(spans), size):
        yield spans[start : start + size]


def _export(spans: list[dict[str, Any]]) -> dict[str, Any]:
    """The spans in two services, each with two scopes, one of them empty."""
    return {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": _attributes({"service.name": service, "host.arch": "arm64"})
                },
                "scopeSpans": [
                    {"scope": {"name": "empty"}, "spans": []},
                    {
                        "scope": {
                            "name": "opentelemetry.instrumentation.genai",
                            "version": "1.2.0",
                        },
                        "spans": some,
                    },
                ],
                "schemaUrl": "https://opentelemetry.io/schemas/1.37.0",
            }
            for service, some in (("shop", spans[::2]), ("support", spans[1::2]))
        ]
    }


def _spans() -> Iterator[dict[str, Any]]:
    for call in requests():
        yield _of_model(call)
        if call.number % 6 == 0:
            yield _span(
                call,
                1,
                "POST",
                {"http.request.method": "POST", "http.response.status_code": call.status},
                1,
            )
        if call.number % 9 == 0:
            name = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
            yield _span(call, 2, "execute_tool search", name, 1)
        if call.number % 10 == 0:
            total = {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.provider.name": CURRENT[call.provider],
                "gen_ai.request.model": call.model,
                "gen_ai.usage.input_tokens": call.input,
                "gen_ai.usage.output_tokens": call.output,
            }
            yield _span(call, 3, "invoke_agent support", total, 1)


def _of_model(call: Call) -> dict[str, Any]:
    attributes = _older(call) if older(call) else _current(call)
    if call.status != 200:
        attributes |= {"error.type": str(call.status) if call.number % 2 else "RateLimitError"}
    return _span(call, 0, f"chat {call.model}", attributes, 3)


def _current(call: Call) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "generate_content" if call.provider == "google" else "chat",
        "gen_ai.provider.name": CURRENT[call.provider],
        "gen_ai.request.model": call.model,
        "gen_ai.conversation.id": call.session,
        "gen_ai.request.temperature": 0.2,
        "server.address": f"api.{call.provider}.com",
        "server.port": 443,
        "user.id": call.user,
        "gen_ai.input.messages": json.dumps(
            [{"role": "user", "parts": [{"type": "text", "content": f"Please {call.task}"}]}]
        ),
    }
    if call.status != 200:
        return attributes
    attributes |= {
        "gen_ai.response.model": call.model,
        "gen_ai.response.id": f"resp-{call.id.hex[:12]}",
        "gen_ai.response.finish_reasons": [call.finish],
        "gen_ai.usage.input_tokens": call.input,
        "gen_ai.usage.output_tokens": call.output,
    }
    if call.cached:
        attributes["gen_ai.usage.cache_read.input_tokens"] = call.cached
    if call.written:
        attributes["gen_ai.usage.cache_creation.input_tokens"] = call.written
    if call.reasoning:
        attributes["gen_ai.usage.reasoning.output_tokens"] = call.reasoning
    if call.streamed:
        attributes |= {
            "gen_ai.request.stream": True,
            "gen_ai.response.time_to_first_chunk": call.first_ms / 1000,
        }
    if call.provider == "openai" and call.number % 8 == 0:
        attributes["openai.response.service_tier"] = "priority"
    return attributes


def _older(call: Call) -> dict[str, Any]:
    fresh = call.input - call.cached - call.written
    attributes: dict[str, Any] = {
        "gen_ai.system": OLDER[call.provider],
        "gen_ai.request.model": call.model,
        "llm.request.type": "chat",
        "llm.is_streaming": call.streamed,
        "session.id": call.session,
        "gen_ai.prompt.0.content": f"Please {call.task}",
    }
    if call.status != 200:
        return attributes
    prompt = fresh if has_disjoint_counts(call) else call.input
    attributes |= {
        "gen_ai.response.model": call.model,
        "gen_ai.usage.prompt_tokens": prompt,
        "gen_ai.usage.completion_tokens": call.output,
        "llm.usage.total_tokens": prompt + call.output,
        "gen_ai.completion.0.finish_reason": call.finish,
    }
    if call.cached:
        attributes["gen_ai.usage.cache_read_input_tokens"] = call.cached
    if call.written:
        attributes["gen_ai.usage.cache_creation_input_tokens"] = call.written
    if call.reasoning:
        attributes["gen_ai.usage.reasoning_tokens"] = call.reasoning
    if priced(call):
        attributes["gen_ai.usage.cost"] = float(call.cost)
    return attributes


def _span(
    call: Call, which: int, name: str, attributes: dict[str, Any], kind: int
) -> dict[str, Any]:
    start = int(call.ts.timestamp()) * 10**9 + call.ts.microsecond * 1000
    end = start + call.latency_ms * 10**6
    # Some exporters write 64-bit numbers as numbers, and enums by name.
    numbers = call.number % 7 == 2
    failed = call.status != 200 and which == 0
    return {
        "traceId": call.id.hex,
        "spanId": f"{call.id.int >> 68:015x}{which:x}",
        "parentSpanId": "",
        "name": name,
        "kind": "SPAN_KIND_CLIENT" if numbers and kind == 3 else kind,
        "startTimeUnixNano": start if numbers else str(start),
        "endTimeUnixNano": end if numbers else str(end),
        "attributes": _attributes(attributes, numbers),
        "status": ({"code": "STATUS_CODE_ERROR"} if numbers else {"code": 2, "message": "failed"})
        if failed
        else {},
    }


def _attributes(attributes: dict[str, Any], numbers: bool = False) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(value, numbers)} for key, value in attributes.items()]


def _any_value(value: Any, numbers: bool) -> dict[str, Any]:
    """A value as OTLP's AnyValue; protobuf's JSON writes an integer as a text."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": value if numbers else str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(item, numbers) for item in value]}}
    return {"stringValue": value}
