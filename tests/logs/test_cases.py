"""Logs in shapes that people have: what they say, what the check finds, what they should cost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import pytest

from tests.logs.reading import Rows, read
from tests.paths import TESTS
from ttplan.logs.report import ReadReport
from ttplan.model.results.diagnosis import Diagnosis
from ttplan.operations.logs.check_logs import check_files

CASES = TESTS / "data" / "logs"
NOW = datetime(2027, 1, 1, tzinfo=UTC)


class Case(NamedTuple):
    """The right values of a file: rows and sums of counts, findings with rows, and USD."""

    used: int
    sums: dict[str, int]
    findings: dict[str, int]
    expected_usd: str = "0"
    decided: int = 0


EXPECTED = {
    "ai_sdk.jsonl": Case(
        8,
        {"input_tokens": 59_318, "cached_tokens": 50_480, "reasoning_tokens": 956},
        {"cost_missing": 8},
        decided=1,
    ),
    "openinference.jsonl": Case(
        3,
        {"input_tokens": 11_770, "cached_tokens": 9_965, "reasoning_tokens": 900},
        {"cost_missing": 3},
        decided=1,
    ),
    "agent_cascade.jsonl": Case(2, {"input_tokens": 14_426}, {"cost_missing": 2}),
    "openllmetry.jsonl": Case(
        5,
        {"input_tokens": 264_587, "cached_tokens": 259_958, "cache_write_tokens": 2_506},
        {"cost_missing": 5, "total_unexplained": 1},
        decided=2,
    ),
    "hour_writes.json": Case(40, {"cache_write_1h_tokens": 181_743}, {}, "1.7594739"),
    "hour_writes_underbilled.json": Case(
        40, {"cache_write_1h_tokens": 182_756}, {"cost_off": 40}, "1.7996043"
    ),
    "web_searches.json": Case(31, {"web_searches": 109}, {"cost_off": 1}, "4.04017275"),
    "service_tiers.jsonl": Case(40, {"cached_tokens": 40_960}, {"cost_off": 10}, "1.0104462"),
    "without_tokens.json": Case(
        14, {"output_image_tokens": 2_240}, {"media_as_text": 1}, "0.339171"
    ),
    "deployments.json": Case(9, {"input_tokens": 9_000}, {"unpriced": 4, "cost_off": 1}, "0.0297"),
    "langfuse_hour_writes.json": Case(
        33,
        {"cache_write_1h_tokens": 470_535},
        {"cost_missing": 2},
        "6.1269365",
    ),
    "langfuse_sums.json": Case(
        5,
        {"input_tokens": 188_875, "output_tokens": 5_111, "reasoning_tokens": 1_912},
        {"cost_missing": 1, "cost_off": 2},
        "0.1204375",
        decided=3,
    ),
    "langfuse_priority.json": Case(24, {}, {"constant_factor": 24}, "1.052935"),
}


@cache
def read_case(name: str) -> tuple[Rows, ReadReport]:
    """The rows and the report of a case, which tests leave unchanged."""
    return read(CASES / f"{name}.gz")


@cache
def check_case(name: str) -> Diagnosis:
    """What the check finds in a case."""
    return check_files([CASES / f"{name}.gz"], at=NOW)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_row_is_accounted_for_and_counted(name: str) -> None:
    case = EXPECTED[name]
    rows, report = read_case(name)
    assert len(rows) == report.used == case.used
    assert report.rows == report.used + report.passed_over
    sums = {count: sum(row[count] or 0 for row in rows) for count in case.sums}
    assert sums == case.sums
    assert sum(decided.rows for decided in report.decided) == case.decided


@pytest.mark.parametrize("name", EXPECTED)
def test_the_check_finds_what_is_wrong_and_no_more(name: str) -> None:
    case, diagnosis = EXPECTED[name], check_case(name)
    found: dict[str, int] = {}
    for finding in diagnosis.findings:
        found[finding.kind] = found.get(finding.kind, 0) + finding.count
    assert found == case.findings
    assert diagnosis.compared_expected_usd == Decimal(case.expected_usd)


def row_of(name: str, suffix: str) -> dict[str, Any]:
    """The row whose id ends so."""
    (row,) = (row for row in read_case(name)[0] if row["source_id"].endswith(suffix))
    return row


def test_spans_that_repeat_their_children_count_once() -> None:
    _, report = read_case("ai_sdk.jsonl")
    reasons = {skipped.reason: skipped.rows for skipped in report.not_requests}
    assert reasons["a span around calls of models, whose usage it repeats"] == 8
    thinking = row_of("ai_sdk.jsonl", "90002")
    assert (thinking["model"], thinking["cached_tokens"]) == ("gpt-5.1", 20_480)
    assert (thinking["reasoning_tokens"], thinking["output_tokens"]) == (956, 1_970)
    assert row_of("ai_sdk.jsonl", "90004")["input_tokens"] == 31_200
    effects = {(f.provider, f.model): f.effect_usd for f in check_case("ai_sdk.jsonl").findings}
    assert effects["openai", "gpt-5.1"] == Decimal("0.0243075")
    assert effects["anthropic", "claude-sonnet-4-5"] == Decimal("0.01395")
    assert None not in effects.values()


def test_sums_and_their_parts_count_once() -> None:
    name = "langfuse_hour_writes.json"
    assert row_of(name, "000")["cache_write_tokens"] == 1_000
    assert row_of(name, "002")["input_tokens"] == 3_451
    assert row_of("langfuse_sums.json", "005")["input_tokens"] == 130_213


def test_deployments_have_the_model_that_the_row_names() -> None:
    models = [(row["provider"], row["model"]) for row in read_case("deployments.json")[0]]
    assert models[0] == ("azure", "gpt-4o")
    assert models[2] == ("aws", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0")


def test_the_served_tier_counts_not_the_requested_one() -> None:
    tiers = [row["service_tier"] for row in read_case("service_tiers.jsonl")[0]]
    assert tiers == [*["default"] * 10, *["priority"] * 10, *["flex"] * 10, *["priority"] * 10]
