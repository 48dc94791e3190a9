"""Helicone's exports: cache reads, cache writes and audio are added to the prompt tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.logs.generators.calls import Call
from tests.logs.generators.helicone import requests
from tests.logs.reading import check, plain, read, read_fixture, read_row
from ttplan.model.errors import InputError

ROW: dict[str, Any] = {
    "request_id": "00000000-0000-4000-8000-000000000001",
    "response_status": 200,
    "request_created_at": "2026-05-04 10:00:00.250",
    "provider": "OPENAI",
    "model": "gpt-4o",
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "cost": 0.5,
}
STATUS = {400: 499}


def expected(call: Call) -> dict[str, Any]:
    named = call.number % 4
    return plain(call) | {
        "cached": call.hit,
        "cache_layer": "l1" if call.hit else None,
        "cache_write_tokens": call.written,
        "status": STATUS.get(call.status, call.status),
        "session_id": call.session if named else None,
        "user_id": call.user if named else None,
    }


def expected_of_csv(call: Call) -> dict[str, Any]:
    """The CSV has few columns: no cache counts, a latency only by its times, and another id."""
    return expected(call) | {
        "id": str(call.id)[:-1] + f"{int(str(call.id)[-1], 16) ^ 1:x}",
        "input_tokens": call.input - call.cached - call.written,
        "cached_tokens": 0,
        "cache_write_tokens": None,
        "cached": False,
        "cache_layer": None,
        "streamed": None,
    }


def test_every_request_is_accounted_for() -> None:
    rows, report = read_fixture("helicone.jsonl")
    assert (report.format, report.rows, report.used) == ("helicone", 220, 220)
    check(rows, requests(), expected)
    assert sum(row["cached"] for row in rows) == sum(call.hit for call in requests()) > 0
    assert {row["logged_provider"] for row in rows} == {"OPENAI", "ANTHROPIC", "GOOGLE", "unknown"}


def test_every_row_of_the_csv_is_accounted_for() -> None:
    rows, report = read_fixture("helicone.csv")
    assert (report.format, report.rows, report.used) == ("helicone", 220, 220)
    check(rows, requests(), expected_of_csv)


def test_prompt_tokens_exclude_cache_and_audio(
    tmp_path: Path,
) -> None:
    document = ROW | {
        "prompt_cache_read_tokens": 40,
        "prompt_cache_write_tokens": 5,
        "prompt_audio_tokens": 7,
        "completion_audio_tokens": 3,
        "reasoning_tokens": 12,
    }
    row = read_row(tmp_path, document)
    assert {name: value for name, value in row.items() if name.endswith("tokens")} == {
        "input_tokens": 152,
        "cached_tokens": 40,
        "cache_write_tokens": 5,
        "cache_write_1h_tokens": None,
        "output_tokens": 23,
        "reasoning_tokens": 12,
        "input_audio_tokens": 7,
        "output_audio_tokens": 3,
        "input_image_tokens": None,
        "output_image_tokens": None,
    }


def test_rows_that_are_not_model_requests_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [ROW, ROW | {"response_status": -2}, ROW | {"model": "vector_db"}]
    path.write_text("".join(f"{row}\n".replace("'", '"') for row in rows))
    _, report = read(path)
    assert (report.rows, report.used) == (3, 1)
    assert {skipped.reason: skipped.rows for skipped in report.not_requests} == {
        "a request that was still pending": 1,
        "a call of something other than a model": 1,
    }


def test_a_missing_cost_is_0_only_without_usage(tmp_path: Path) -> None:
    without = ROW | {"cost": None}
    assert read_row(tmp_path, without)["cost_usd"] is None
    assert (
        read_row(tmp_path, without | {"prompt_tokens": None, "completion_tokens": None})["cost_usd"]
        == 0
    )


def test_api_responses_are_read(tmp_path: Path) -> None:
    row = read_row(tmp_path, {"data": [ROW]})
    assert (row["id"], row["provider"], row["input_tokens"]) == (
        ROW["request_id"],
        "openai",
        100,
    )


def test_the_providers_usage_is_kept_if_bodies_have_it(tmp_path: Path) -> None:
    row = read_row(
        tmp_path, ROW | {"response_body": {"usage": {"prompt_tokens": 100}, "choices": []}}
    )
    assert row["provider_usage"] == '{"prompt_tokens":100}'
    assert row["response_body"] is None


def test_an_invalid_count_is_shown(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)input_tokens: expected.*'few'"):
        read_row(tmp_path, ROW | {"prompt_cache_read_tokens": "few"})
