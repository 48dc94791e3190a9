"""Coding agents: streamed lines count once, and cumulative counts become requests."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tests.logs.generators.agents import (
    CODEX_SESSION,
    claude_calls,
    codex_lines,
    cursor_calls,
    cursor_id,
    cursor_kind,
    holds_an_hour,
    is_included,
    opencode_calls,
)
from tests.logs.generators.calls import Call, lines
from tests.logs.generators.files import FIXTURES
from tests.logs.reading import Rows, check, counted, plain, read, read_fixture

LINES = {call.id: number for number, call in codex_lines().items()}
DONE = [call for call in claude_calls() if call.status == 200]


def of_session(call: Call) -> dict[str, Any]:
    return plain(call) | {
        "id": f"msg_{call.id.hex}",
        "ts": call.end,
        "cache_write_tokens": call.written,
        "cache_write_1h_tokens": call.written if holds_an_hour(call) else 0,
        "cost_usd": None,
        "recorded_cost_usd": None,
        "latency_ms": None,
        "streamed": True,
        "tag": "subagent" if call.number % 7 == 0 else "main",
        "user_id": None,
        "finish_reason": call.finish,
    }


def of_event(call: Call) -> dict[str, Any]:
    return plain(call) | {
        "id": f"req_{call.id.hex}",
        "cache_write_tokens": call.written,
        "streamed": True,
        "tag": "claude-code",
    }


def of_codex(call: Call) -> dict[str, Any]:
    return plain(call) | {
        "id": f"{CODEX_SESSION}/{LINES[call.id]}",
        "ts": call.end,
        "reasoning_tokens": call.reasoning,
        "cost_usd": None,
        "recorded_cost_usd": None,
        "latency_ms": None,
        "streamed": True,
        "tag": None,
        "session_id": CODEX_SESSION,
        "user_id": None,
    }


def of_opencode(call: Call) -> dict[str, Any]:
    return plain(call) | {
        "id": f"msg_{call.id.hex}",
        "cache_write_tokens": call.written,
        "reasoning_tokens": call.reasoning,
        "status": 499 if call.status == 400 else call.status,
        "streamed": True,
        "tag": "build",
        "user_id": None,
    }


def of_cursor(call: Call) -> dict[str, Any]:
    return plain(call) | {
        "id": cursor_id(call),
        "cache_write_tokens": call.written,
        "latency_ms": None,
        "status": 200 if call.status == 200 else 500,
        "streamed": None,
        "tag": cursor_kind(call),
        "session_id": None,
        "user_id": None,
    }


def test_a_response_of_several_lines_is_one_request() -> None:
    rows, report = read_fixture("claude-code-session.jsonl.gz")
    check(rows, DONE, of_session)
    assert report.format == "claude_code"
    assert counted(report) == {
        "a line that is not a response of a model": 1 + len(claude_calls()),
        "an earlier line of a response, which a later one replaces": sum(
            call.number % 3 for call in DONE
        ),
        "a message that Claude Code wrote itself": len(claude_calls()) - len(DONE),
    }


def test_a_session_without_a_response_is_one(tmp_path: Path) -> None:
    session = gzip.decompress((FIXTURES / "claude-code-session.jsonl.gz").read_bytes())
    (tmp_path / "b.jsonl").write_bytes(session)
    (tmp_path / "a.jsonl").write_text('{"type":"summary","summary":"x","leafUuid":"0"}\n')
    rows, report = read(tmp_path)
    assert (len(rows), len(report.files)) == (len(DONE), 2)


def test_an_event_is_a_request_if_it_is_called_one() -> None:
    rows, report = read_fixture("claude-code-events.jsonl.gz")
    check(rows, DONE, of_event)
    events = 2 * len(claude_calls())
    assert (report.format, report.rows) == ("claude_code_events", events)
    assert counted(report) == {"an event other than a request to a model": events - len(DONE)}


def test_cumulative_counts_become_requests() -> None:
    rows, report = read_fixture("codex-rollout.jsonl.gz")
    check(rows, codex_lines().values(), of_codex)
    repeated = sum(call.number % 4 == 0 for call in codex_lines().values())
    assert report.format == "codex"
    assert counted(report)["a count of tokens that repeats the one before it"] == repeated


def _counts(total: int, last: int | None = None, second: int = 0) -> dict[str, Any]:
    info = {"total_token_usage": _usage(total)}
    if last is not None:
        info["last_token_usage"] = _usage(last)
    return _event("event_msg", {"type": "token_count", "info": info}, second)


def _event(kind: str, payload: dict[str, Any], second: int = 0) -> dict[str, Any]:
    moment = f"2026-05-04T10:{second // 60:02}:{second % 60:02}Z"
    return {"timestamp": moment, "type": kind, "payload": payload}


def _usage(tokens: int) -> dict[str, int]:
    return {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}


def _read_rollout(folder: Path, *rows: dict[str, Any], **meta: Any) -> Rows:
    path = folder / "rollout.jsonl"
    first = _event("session_meta", {"id": "s", "model_provider": "openai"} | meta, 300)
    path.write_text(lines([first, *rows]))
    return read(path)[0]


def test_what_a_fork_copied_is_not_counted_again(tmp_path: Path) -> None:
    parent = _event("session_meta", {"id": "parent"}, 300)
    for seconds in ((300, 300, 301), (0, 60, 240)):
        copied = (_counts(n * 1_000, 1_000, second) for n, second in enumerate(seconds, 1))
        rows = _read_rollout(
            tmp_path, parent, *copied, _counts(3_040, 40, 305), forked_from_id="parent"
        )
        assert [(row["session_id"], row["input_tokens"]) for row in rows] == [("s", 40)]
    assert len(_read_rollout(tmp_path, parent, _counts(1_000), _counts(2_000))) == 2


def test_a_resumed_session_counts_only_its_own(tmp_path: Path) -> None:
    rows = _read_rollout(tmp_path, _counts(9_000, 40), _counts(9_100, 100))
    assert [row["input_tokens"] for row in rows] == [40, 100]


def test_a_rollout_without_a_request_is_one(tmp_path: Path) -> None:
    assert _read_rollout(tmp_path) == []


def test_counts_that_begin_again_are_requests(tmp_path: Path) -> None:
    rows = _read_rollout(tmp_path, _counts(9_000, 9_000), _counts(50, 50))
    assert [row["input_tokens"] for row in rows] == [9_000, 50]
    assert {row["model"] for row in rows} == {"unknown"}


def test_reasoning_is_beside_opencodes_output() -> None:
    rows, report = read_fixture("opencode-session.json.gz")
    check(rows, opencode_calls(), of_opencode)
    assert report.format == "opencode"
    assert counted(report) == {"a message that is not a response of a model": len(opencode_calls())}


def test_a_message_file_of_opencode_is_read(tmp_path: Path) -> None:
    path = tmp_path / "msg_1.json"
    message = {
        "id": "msg_1",
        "role": "assistant",
        "sessionID": "s",
        "modelID": "gpt-5",
        "providerID": "openai",
        "time": {"created": 1_777_881_600_000},
        "cost": 0.1,
        "tokens": {"input": 3, "output": 5, "reasoning": 2, "cache": {"read": 7, "write": 1}},
    }
    path.write_text(json.dumps(message))
    ((row,), _) = read(path)
    assert (row["input_tokens"], row["output_tokens"], row["latency_ms"]) == (11, 7, None)


def test_what_a_subscription_includes_is_apart() -> None:
    rows, report = read_fixture("cursor-usage.csv")
    included = [c for c in cursor_calls() if c.status == 200 and is_included(c)]
    check(rows, (call for call in cursor_calls() if call not in included), of_cursor)
    assert report.format == "cursor"
    reason = "included in the subscription, so without a cost of its own"
    assert counted(report) == {reason: len(included)}


def test_cursors_names_of_models_are_understood(tmp_path: Path) -> None:
    head = (
        "Date,Kind,Model,Input (w/ Cache Write),Input (w/o Cache Write),Cache Read,"
        "Output Tokens,Total Tokens,Cost\n"
    )
    path = tmp_path / "usage.csv"
    names = ("claude-4.5-opus-high-thinking", "gpt-5-high-fast", "auto")
    rows = (f"2026-05-04T10:00:0{n}Z,K,{name},0,1,0,1,2,$0.5\n" for n, name in enumerate(names))
    path.write_text(head + "".join(rows))
    assert [row["model"] for row in read(path)[0]] == ["claude-opus-4-5", "gpt-5", "auto"]
