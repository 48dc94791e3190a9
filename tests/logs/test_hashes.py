"""Hashes of prompts and answers: equal for what gets the same answer, and only for that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from ttplan.logs.hashes import hash_answer, hash_prompt, normalise_hash
from ttplan.logs.reader import LogReader
from ttplan.logs.source import ReadOptions

MESSAGES = [{"role": "user", "content": "Which colour is the sky?"}]
BODY = {"model": "gpt-4o", "messages": MESSAGES, "temperature": 0, "metadata": {"call": 1}}


def hash_of(body: Any, parameters: Any = None) -> str | None:
    return hash_prompt(json.dumps(body), None if parameters is None else json.dumps(parameters))


def test_the_hash_is_blake3_of_canonical_json() -> None:
    canonical = '{"messages":[{"content":"Hi","role":"user"}],"temperature":0}'
    body = '{"temperature": 0, "messages": [{"role": "user", "content": "Hi"}]}'
    assert hash_prompt(body) == blake3(canonical.encode()).hexdigest(length=16)


@pytest.mark.parametrize(
    "other",
    [
        dict(reversed(BODY.items())),
        BODY | {"model": "gpt-4o-mini", "stream": True, "user": "u7", "metadata": None},
        BODY | {"top_p": None},
    ],
)
def test_order_model_and_callers_do_not_change_a_hash(other: dict[str, Any]) -> None:
    assert hash_of(other) == hash_of(BODY)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [*MESSAGES, {"role": "user", "content": ""}]},
        {"temperature": 1},
        {"tools": [{"type": "function"}]},
        {"system": "Be brief."},
        {"seed": 7},
    ],
)
def test_what_may_change_the_answer_changes_the_hash(change: dict[str, Any]) -> None:
    assert hash_of(BODY | change) != hash_of(BODY)


def test_parameters_that_are_logged_elsewhere_count() -> None:
    otlp = {"gen_ai.request.temperature": 0, "gen_ai.request.model": "gpt-4o"}
    assert hash_of(MESSAGES, otlp) == hash_of(BODY)
    assert hash_of(MESSAGES) != hash_of(BODY)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        '{"model": "gpt-4o", "stream": true}',
        '{"contents": [], "generationConfig": {"temperature": 0}}',
        '[{"role": "user", "content": "a prompt that was cut o',
        '{"messages": [{"role": "user", "content": "redacted-by-litellm"}]}',
        '{"helicone_message": "fetching body from signed_url"}',
        '{"messages": "ab... (litellm_truncated skipped 9000 chars) ...yz"}',
    ],
)
def test_placeholders_and_cut_prompts_have_no_hash(body: str) -> None:
    assert hash_prompt(body) is None


def test_a_cache_key_that_may_have_a_prompt_is_hashed() -> None:
    key = "AB" * 32
    assert normalise_hash(key) == key.lower()
    raw = normalise_hash("model: gpt-4o messages: Hello")
    assert raw is not None
    assert len(raw) == 32
    assert normalise_hash("") is None


def test_answers_are_compared_without_what_each_call_has() -> None:
    def response(call: int, text: str) -> str:
        message = {"role": "assistant", "content": text, "refusal": None}
        choices = [{"index": 0, "message": message}]
        return json.dumps({"id": f"c{call}", "created": call, "choices": choices})

    assert hash_answer(response(1, "blue")) == hash_answer(response(2, "blue"))
    assert hash_answer(response(1, "blue")) != hash_answer(response(1, "grey"))
    claude = {"id": "m", "type": "message", "content": [{"type": "text", "text": "blue"}]}
    assert hash_answer(json.dumps(claude)) == hash_answer(json.dumps(claude | {"id": "n"}))
    assert hash_answer("blue") == hash_answer("blue ")
    assert hash_answer(None) is None


ROW = {
    "id": "a",
    "ts": "2026-05-01T12:00:00Z",
    "provider": "openai",
    "model": "gpt-4o",
    "input_tokens": 10,
    "output_tokens": 5,
    "cost_usd": 0.1,
}


def read(path: Path, rows: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """The rows of a file of JSON Lines with these objects."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with LogReader(path, ReadOptions(**options)) as log:
        return [row for batch in log.batches() for row in batch.to_pylist()]


def test_a_log_is_read_with_hashes_and_without_bodies(tmp_path: Path) -> None:
    body = json.dumps(BODY)
    (row,) = read(tmp_path / "log.jsonl", [ROW | {"body": body, "response_body": "blue"}])
    assert (row["body"], row["response_body"]) == (None, None)
    assert row["prompt_hash"] == hash_prompt(body)
    assert row["answer_hash"] == hash_answer("blue")
    (kept,) = read(tmp_path / "log.jsonl", [ROW | {"body": body}], with_bodies=True)
    assert (kept["body"], kept["prompt_hash"]) == (body, hash_prompt(body))
    (off,) = read(tmp_path / "log.jsonl", [ROW | {"body": body}], with_hashes=False)
    assert off["prompt_hash"] is None


@pytest.mark.parametrize("name", ["prompt", "prompt_hash"])
def test_a_mapping_names_the_prompt_or_its_hash(tmp_path: Path, name: str) -> None:
    fields = {field: field for field in ROW} | {name: "question"}
    mapping = {"fields": fields}
    first, second, other = read(
        tmp_path / "log.jsonl",
        [ROW | {"id": f"{i}", "question": text} for i, text in enumerate(["x y", "x y", "z"])],
        mapping=mapping,
    )
    assert first["prompt_hash"] == second["prompt_hash"] != other["prompt_hash"]
    assert "x y" not in str(first)


def test_litellms_cache_key_is_the_hash_unless_it_is_off(tmp_path: Path) -> None:
    row = {
        "request_id": "a",
        "call_type": "acompletion",
        "startTime": "2026-05-04T08:00:59Z",
        "endTime": "2026-05-04T08:01:14Z",
        "model": "gpt-4o",
        "custom_llm_provider": "openai",
        "spend": 0.1,
        "prompt_tokens": 3,
        "completion_tokens": 5,
    }
    keys = ["ab" * 32, "Cache OFF"]
    rows = [row | {"request_id": key, "cache_key": key} for key in keys]
    assert [r["prompt_hash"] for r in read(tmp_path / "log.jsonl", rows)] == [keys[0], None]
