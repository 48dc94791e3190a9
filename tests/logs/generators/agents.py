"""Logs of coding agents: Claude Code (sessions, events), Codex, opencode and Cursor.

Claude Code and opencode count cache reads, cache writes and reasoning beside input and output,
Codex inside of them, and cumulatively. Cursor has three disjoint columns of input.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.logs.generators.calls import Call, calls, lines, zipped


def claude_calls() -> list[Call]:
    return [call for call in calls(640, 20260601) if call.provider == "anthropic" and not call.hit]


def codex_calls() -> list[Call]:
    done = (call for call in calls(460, 20260602) if call.status == 200 and not call.hit)
    return [call for call in done if call.provider == "openai"]


def opencode_calls() -> list[Call]:
    return [call for call in calls(220, 20260603) if not call.hit]


def cursor_calls() -> list[Call]:
    return [call for call in calls(220, 20260604) if not call.hit]


def files() -> dict[str, bytes]:
    return {
        "claude-code-session.jsonl.gz": zipped(lines(_session())),
        "claude-code-events.jsonl.gz": zipped(lines(_events())),
        "codex-rollout.jsonl.gz": zipped(lines(_rollout())),
        "opencode-session.json.gz": zipped(json.dumps(_exported(), separators=(",", ":"))),
        "cursor-usage.csv": _cursor().encode(),
    }


def holds_an_hour(call: Call) -> bool:
    return call.number % 3 == 0


def claude_usage(call: Call, output: int) -> dict[str, Any]:
    hour = call.written if holds_an_hour(call) else 0
    return {
        "input_tokens": call.input - call.cached - call.written,
        "cache_creation_input_tokens": call.written,
        "cache_read_input_tokens": call.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": call.written - hour,
            "ephemeral_1h_input_tokens": hour,
        },
        "output_tokens": output,
        "service_tier": "standard",
    }


def _time(moment: Any) -> str:
    return str(moment.isoformat(timespec="milliseconds")).replace("+00:00", "Z")


def _session() -> Iterable[dict[str, Any]]:
    yield {"type": "summary", "summary": "a session", "leafUuid": "0"}
    for call in claude_calls():
        line = {
            "parentUuid": None,
            "isSidechain": call.number % 7 == 0,
            "sessionId": call.session,
            "cwd": "/home/u/p",
            "version": "2.1.126",
        }
        user = {"type": "user", "message": {"role": "user", "content": "x"}}
        yield line | user | {"uuid": f"{call.id}-u", "timestamp": _time(call.ts)}
        if call.status != 200:
            text = f"API Error: {call.status} overloaded"
            message = {
                "id": f"msg_{call.id.hex}",
                "model": "<synthetic>",
                "role": "assistant",
                "content": [{"type": "text", "text": text}],
                "usage": {"input_tokens": 0, "output_tokens": 0},
            }
            yield line | {
                "type": "assistant",
                "message": message,
                "uuid": f"{call.id}-e",
                "timestamp": _time(call.end),
                "isApiErrorMessage": True,
            }
            continue
        blocks = 1 + call.number % 3
        for block in range(1, blocks + 1):
            is_last = block == blocks
            output = call.output if is_last else min(call.output, block)
            yield line | {
                "type": "assistant",
                "message": {
                    "id": f"msg_{call.id.hex}",
                    "model": call.model,
                    "role": "assistant",
                    "content": [{"type": "text", "text": "x"}],
                    "stop_reason": call.finish if is_last else None,
                    "usage": claude_usage(call, output),
                },
                "requestId": f"req_{call.number}",
                "uuid": f"{call.id}-{block}",
                "timestamp": _time(call.end if is_last else call.ts),
            }


def _events() -> Iterable[dict[str, Any]]:
    records = [record for call in claude_calls() for record in _records(call)]
    resource = {"attributes": [_pair("service.name", "claude-code")]}
    for start in range(0, len(records), 40):
        scope = {"name": "com.anthropic.claude_code.events"}
        logs = [{"scope": scope, "logRecords": records[start : start + 40]}]
        yield {"resourceLogs": [{"resource": resource, "scopeLogs": logs}]}


def _records(call: Call) -> Iterable[dict[str, Any]]:
    yield _record(call, "user_prompt", prompt_length="12")
    if call.status != 200:
        error = {"status_code": str(call.status), "error": "overloaded", "model": call.model}
        yield _record(call, "api_error", **error)
        return
    yield _record(
        call,
        "api_request",
        model=call.model,
        input_tokens=str(call.input - call.cached - call.written),
        output_tokens=str(call.output),
        cache_read_tokens=str(call.cached),
        cache_creation_tokens=str(call.written),
        cost_usd=str(call.cost),
        duration_ms=str(call.latency_ms),
        request_id=f"req_{call.id.hex}",
    )


def _record(call: Call, event: str, **attributes: str) -> dict[str, Any]:
    named = {"user.id": call.user, "session.id": call.session, "event.name": event}
    return {
        "timeUnixNano": f"{round(call.ts.timestamp() * 1000)}000000",
        "body": {"stringValue": f"claude_code.{event}"},
        "attributes": [_pair(*pair) for pair in (named | attributes).items()],
    }


def _pair(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


CODEX_SESSION = "01990000-aaaa-7000-8000-000000000001"


def codex_lines() -> dict[int, Call]:
    """The calls by the line of the count of tokens that has them."""
    numbered = {}
    number, model = 1, ""
    for call in codex_calls():
        number += 1 + (call.model != model)
        model = call.model
        number += 1
        numbered[number] = call
        number += call.number % 4 == 0
    return numbered


def _rollout() -> Iterable[dict[str, Any]]:
    meta = {"id": CODEX_SESSION, "cwd": "/home/u/p", "model_provider": "openai"}
    first = codex_calls()[0]
    yield {"timestamp": _time(first.ts), "type": "session_meta", "payload": meta}
    total: Counter[str] = Counter()
    model = ""
    for call in codex_calls():
        if call.model != model:
            model = call.model
            turn = {"turn_id": f"t{call.number}", "model": model, "effort": "low"}
            yield {"timestamp": _time(call.ts), "type": "turn_context", "payload": turn}
        item = {"type": "message", "role": "user", "content": []}
        yield {"timestamp": _time(call.ts), "type": "response_item", "payload": item}
        last = Counter(
            input_tokens=call.input,
            cached_input_tokens=call.cached,
            output_tokens=call.output,
            reasoning_output_tokens=call.reasoning,
            total_tokens=call.input + call.output,
        )
        total.update(last)
        info = {"total_token_usage": dict(total), "last_token_usage": dict(last)}
        event = {
            "timestamp": _time(call.end),
            "type": "event_msg",
            "payload": {"type": "token_count", "info": info, "rate_limits": None},
        }
        yield from [event] * (1 + (call.number % 4 == 0))


def _exported() -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    for call in opencode_calls():
        asked = {"id": f"msg_u{call.number}", "role": "user", "sessionID": call.session}
        messages.append({"info": asked, "parts": []})
        begun = round(call.ts.timestamp() * 1000)
        info: dict[str, Any] = {
            "id": f"msg_{call.id.hex}",
            "role": "assistant",
            "sessionID": call.session,
            "modelID": call.model,
            "providerID": call.provider,
            "mode": "build",
            "time": {"created": begun, "completed": begun + call.latency_ms},
            "cost": float(call.cost),
            "tokens": {
                "input": call.input - call.cached - call.written,
                "output": call.output - call.reasoning,
                "reasoning": call.reasoning,
                "cache": {"read": call.cached, "write": call.written},
            },
            "finish": call.finish,
        }
        if call.status == 400:
            info["error"] = {"name": "MessageAbortedError", "data": {}}
        elif call.status != 200:
            info["error"] = {"name": "APIError", "data": {"statusCode": call.status}}
        messages.append({"info": info, "parts": [{"type": "text", "text": "x"}]})
    return {"info": {"id": "ses_1"}, "messages": messages}


def is_included(call: Call) -> bool:
    return call.number % 5 == 0


def cursor_id(call: Call) -> str:
    row = _cursor_row(call)
    names = "Date,User,Kind,Model,Input (w/o Cache Write),Input (w/ Cache Write),Cache Read"
    rest = ("Output Tokens", "Output", "Cost", "Cost to you")
    return "|".join(row.get(name, "") for name in (*names.split(","), *rest))


def cursor_kind(call: Call) -> str:
    if call.status != 200:
        return "Errored, No Charge"
    return "Included" if is_included(call) else ("On-Demand", "User API Key")[call.number % 2]


def _cursor_row(call: Call) -> dict[str, str]:
    kind = cursor_kind(call)
    cost = {"Errored, No Charge": "-", "User API Key": f"${call.cost}", "Included": "Included"}
    return {
        "Date": _time(call.ts),
        "Kind": kind,
        "Model": call.model,
        "Max Mode": "No",
        "Input (w/o Cache Write)": str(call.input - call.cached - call.written),
        "Input (w/ Cache Write)": str(call.written),
        "Cache Read": str(call.cached),
        "Output Tokens": str(call.output),
        "Total Tokens": str(call.input + call.output),
        "Cost": cost.get(kind, str(call.cost)),
    }


def _cursor() -> str:
    rows = [_cursor_row(call) for call in cursor_calls()]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
