"""LiteLLM's table and its standard payload: every row of the fixtures is accounted for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.logs.formats import litellm_rows
from tests.logs.formats.litellm_rows import Made
from tests.logs.generators.files import FIXTURES
from tests.logs.reading import report_text
from ttplan.logs.reader import LogReader
from ttplan.logs.source import ReadOptions
from ttplan.model.money import round_money, to_decimal

CASES = [
    ("litellm_spend_logs.csv", "litellm", litellm_rows.spend_logs),
    ("litellm_spend_logs.json.gz", "litellm", litellm_rows.spend_logs),
    ("litellm_spend_logs.jsonl.gz", "litellm", litellm_rows.spend_logs),
    ("litellm_payloads.jsonl.gz", "litellm_payload", litellm_rows.payloads),
]


def read(path: Path, **options: Any) -> tuple[list[dict[str, Any]], LogReader]:
    log = LogReader(path, ReadOptions(**options))
    return [row for batch in log.batches() for row in batch.to_pylist()], log


@pytest.mark.parametrize(("file", "format", "made"), CASES, ids=[case[0] for case in CASES])
def test_every_row_is_accounted_for(
    file: str, format: str, made: Callable[[int], Iterator[Made]]
) -> None:
    rows, log = read(FIXTURES / file)
    report = log.report()
    expected = list(made(240))
    used = [entry for entry in expected if entry.why is None]
    assert (report.format, report.rows, report.used, report.skipped) == (format, 240, len(used), ())
    assert {entry.reason: entry.rows for entry in report.not_requests} == Counter(
        entry.why for entry in expected if entry.why
    )
    assert report.used + report.passed_over == report.rows
    assert "request_id" in report.why or "response_cost" in report.why
    for row, entry in zip(rows, used, strict=True):
        fields = dict(entry.expected)
        cost, has_usage = round_money(to_decimal(fields.pop("cost"))), fields.pop("has_usage")
        assert {name: row[name] for name in fields} == fields
        assert (row["cost_usd"], row["recorded_cost_usd"], row["cost_basis"]) == (
            cost,
            cost,
            "recorded",
        )
        assert (row["provider_usage"] is not None) == has_usage
        assert row["body"] is None
        assert row["response_body"] is None


def test_input_includes_cache_and_output_includes_reasoning() -> None:
    rows, _ = read(FIXTURES / "litellm_spend_logs.csv")
    claude = next(row for row in rows if row["cache_write_tokens"] and row["cached_tokens"])
    usage = json.loads(claude["provider_usage"])
    if "prompt_tokens" in usage:
        assert usage["prompt_tokens"] == claude["input_tokens"]
    assert claude["input_tokens"] > claude["cached_tokens"] + claude["cache_write_tokens"]
    assert all(
        row["reasoning_tokens"] <= row["output_tokens"]
        for row in rows
        if row["reasoning_tokens"] is not None
    )
    assert any(row["reasoning_tokens"] for row in rows)


def test_bodies_are_read_only_on_request() -> None:
    rows, _ = read(FIXTURES / "litellm_payloads.jsonl.gz", with_bodies=True)
    assert json.loads(rows[0]["body"])[0]["content"].startswith("a private question")
    assert rows[0]["finish_reason"] == "stop"
    assert "private" in rows[0]["response_body"]
    assert "private" not in report_text(read(FIXTURES / "litellm_payloads.jsonl.gz")[1].report())


def test_an_empty_body_is_missing(tmp_path: Path) -> None:
    row_without_body = next(litellm_rows.spend_logs(1)).row
    prompt = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    rows = [
        row_without_body,
        row_without_body | {"request_id": "b", "proxy_server_request": prompt},
        row_without_body | {"request_id": "c", "messages": prompt["messages"]},
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(litellm_rows.as_api(row)) + "\n" for row in rows))
    bodies = [row["body"] and json.loads(row["body"]) for row in read(path, with_bodies=True)[0]]
    assert bodies == [None, prompt, prompt["messages"]]


def test_invalid_tokens_and_costs_are_named_by_row(tmp_path: Path) -> None:
    rows = [litellm_rows.as_texts(made.row) for made in litellm_rows.spend_logs(6)]
    rows[2] |= {"prompt_tokens": "NaN"}
    rows[4] |= {"spend": ""}
    path = tmp_path / "log.csv"
    litellm_rows.write_csv(path, iter(rows))
    _, log = read(path, on_bad_rows="skip")
    reasons = {skipped.reason: skipped.examples for skipped in log.report().skipped}
    assert reasons["input_tokens: expected a whole number from 0 to 999,999,999,999"] == (
        "row 3: 'NaN'",
    )
    (missing,) = [why for why in reasons if why.startswith("cost_usd")]
    assert "imported with cost='recomputed'" in missing
    kept, log = read(path, on_bad_rows="skip", needs_cost=False)
    assert [row["cost_usd"] for row in kept if row["source_id"] == rows[4]["request_id"]] == [None]
    assert (log.report().used, log.report().unusable) == (5, 1)


def test_a_cost_in_scientific_notation_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    litellm_rows.write_csv(
        path,
        iter([litellm_rows.as_texts(next(litellm_rows.spend_logs(1)).row) | {"spend": "1.05e-05"}]),
    )
    assert read(path)[0][0]["cost_usd"] == Decimal("0.0000105")
