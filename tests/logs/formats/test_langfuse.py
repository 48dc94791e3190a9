"""Langfuse's exports: every observation is accounted for, and disjoint usage is added up."""

from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.logs.generators.calls import Call
from tests.logs.generators.files import FIXTURES
from tests.logs.generators.langfuse import generations
from tests.logs.reading import check, plain, read, read_fixture, read_row
from ttplan.model.errors import InputError

UI = ("langfuse-ui.json", "langfuse-ui.csv")
BLOB = ("langfuse-blob-legacy.jsonl", "langfuse-blob-enriched.jsonl.gz")
V2 = "langfuse-ui-v2.json"
ROW: dict[str, Any] = {
    "id": "a1",
    "traceId": "t1",
    "type": "GENERATION",
    "level": "DEFAULT",
    "startTime": "2026-05-04T10:00:00.000Z",
    "endTime": "2026-05-04T10:00:01.500Z",
    "model": "gpt-4o",
    "usageDetails": {"input": 100, "output": 20, "total": 120},
    "costDetails": {"total": 0.5},
}


def expected(name: str, call: Call) -> dict[str, Any]:
    """The expected row of a call. Version 2 has no usage types; legacy blob storage has no traces
    and no messages."""
    unpriced = call.status == 200 and call.number % 41 == 7
    cost = None if unpriced else call.cost
    fields = plain(call) | {
        "id": str(call.id) if call.number % 5 == 0 else call.id.hex[:16],
        "cost_usd": cost,
        "recorded_cost_usd": cost,
        "status": call.status if name in UI or call.status == 200 else 500,
        "session_id": call.id.hex if name == BLOB[0] else call.session,
        "user_id": None if name == BLOB[0] else call.user,
    }
    if name == V2:
        return fields | {
            "cached_tokens": 0,
            "cache_write_tokens": None,
            "reasoning_tokens": None,
            "provider_usage": None,
        }
    return fields | {
        "reasoning_tokens": call.reasoning or None,
        "provider_usage": expected_usage(call),
    }


def expected_usage(call: Call) -> Any:
    return None if call.status != 200 else Anything()


class Anything:
    """Equal to every text."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("name", [*UI, V2, *BLOB])
def test_every_observation_is_accounted_for(name: str) -> None:
    rows, report = read_fixture(name)
    assert report.format == "langfuse"
    assert report.rows >= 240 - 1
    assert report.used == len(generations()) == len(rows)
    assert report.unusable == 0
    (others,) = report.not_requests
    assert others.reason == "an observation of a type other than GENERATION"
    assert others.rows == report.rows - report.used > 20
    check(rows, generations(), lambda call: expected(name, call))


@pytest.mark.parametrize("name", [*UI, *BLOB])
def test_cache_reads_and_writes_are_added_to_the_input(name: str) -> None:
    rows, _ = read_fixture(name)
    usage = {
        row["source_id"] or row["id"]: json.loads(row["provider_usage"] or "{}") for row in rows
    }
    written = 0
    for row in rows:
        parts = {kind: int(count) for kind, count in usage[row["source_id"] or row["id"]].items()}
        if parts:
            cached = parts.get("input_cached_tokens", 0) + parts.get("cache_read_input_tokens", 0)
            assert row["input_tokens"] == parts["input"] + cached + parts.get(
                "cache_creation_input_tokens", 0
            )
            assert row["output_tokens"] == parts["output"] + parts.get("output_reasoning_tokens", 0)
            assert (row["cached_tokens"], row["input_tokens"] + row["output_tokens"]) == (
                cached,
                parts["total"],
            )
            written += row["cache_write_tokens"] or 0
    assert written == sum(call.written for call in generations())


def test_any_type_of_usage_counts_on_its_side(tmp_path: Path) -> None:
    usage = {
        "input": 100,
        "input_cached_tokens": 40,
        "input_audio": 7,
        "cache_creation_input_tokens": 5,
        "input_image_tokens": 3,
        "output": 20,
        "reasoning_tokens": 9,
        "output_audio": 2,
        "total": 999,
        "output_nothing": None,
    }
    row = read_row(tmp_path, ROW | {"usageDetails": usage})
    assert {name: value for name, value in row.items() if name.endswith("tokens")} == {
        "input_tokens": 155,
        "cached_tokens": 40,
        "cache_write_tokens": 5,
        "cache_write_1h_tokens": None,
        "output_tokens": 31,
        "reasoning_tokens": 9,
        "input_audio_tokens": 7,
        "output_audio_tokens": 2,
        "input_image_tokens": 3,
        "output_image_tokens": None,
    }


def test_counts_of_version_2_include_everything(tmp_path: Path) -> None:
    base = {
        name: value for name, value in ROW.items() if name not in ("usageDetails", "costDetails")
    }
    row = read_row(
        tmp_path,
        base | {"promptTokens": 100, "completionTokens": 20, "calculatedTotalCost": "0.25"},
    )
    assert (row["input_tokens"], row["output_tokens"], row["cost_usd"]) == (
        100,
        20,
        Decimal("0.25"),
    )
    nested = {"input": 100, "output": 20, "total": 120, "unit": "TOKENS", "totalCost": 0.5}
    row = read_row(tmp_path, base | {"usage": nested})
    assert (row["input_tokens"], row["output_tokens"], row["cost_usd"]) == (
        100,
        20,
        Decimal("0.5"),
    )


def test_an_unknown_cost_is_missing_and_not_0(tmp_path: Path) -> None:
    assert read_row(tmp_path, ROW | {"costDetails": {}, "totalCost": 0})["cost_usd"] is None
    assert read_row(tmp_path, ROW | {"costDetails": {"total": 0}})["cost_usd"] == 0
    failed = ROW | {"level": "ERROR", "usageDetails": {}, "costDetails": {}}
    assert read_row(tmp_path, failed)["cost_usd"] == 0
    with pytest.raises(InputError, match="cost_usd: expected an amount"):
        read_row(tmp_path, ROW | {"costDetails": {}}, needs_cost=True)


def test_a_stream_without_usage_is_kept_with_0_tokens(tmp_path: Path) -> None:
    row = read_row(
        tmp_path, ROW | {"usageDetails": {}, "completionStartTime": "2026-05-04T10:00:00.300Z"}
    )
    assert (row["input_tokens"], row["output_tokens"], row["streamed"]) == (0, 0, True)


@pytest.mark.parametrize(
    ("level", "message", "status"),
    [
        ("ERROR", "Error code: 429 - too many", 429),
        ("ERROR", "no idea", 500),
        ("ERROR", None, 500),
        ("WARNING", "404", 200),
    ],
)
def test_the_status_is_read_from_the_error_message(
    tmp_path: Path, level: str, message: str | None, status: int
) -> None:
    assert read_row(tmp_path, ROW | {"level": level, "statusMessage": message})["status"] == status


def test_the_provider_in_the_metadata_takes_precedence(
    tmp_path: Path,
) -> None:
    row = read_row(tmp_path, ROW | {"metadata": {"ls_provider": "azure"}})
    assert (row["provider"], row["logged_provider"]) == ("azure", None)
    assert read_row(tmp_path, ROW)["provider"] == "openai"


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"usageDetails": {"input": 1, "input_cached_tokens": "some"}}, "cached_tokens", "some"),
        ({"usageDetails": {"output": -3}}, "output_tokens", "-3"),
        ({"usageDetails": "none"}, "provider_usage", "none"),
        ({"costDetails": {"total": "free"}}, "cost_usd", "free"),
    ],
)
def test_an_invalid_value_is_shown_with_its_field(
    tmp_path: Path, changes: Any, field: str, value: str
) -> None:
    with pytest.raises(InputError, match=rf"(?s){field}: expected.*{value}"):
        read_row(tmp_path, ROW | changes)


def test_parquet_has_usage_as_maps(tmp_path: Path) -> None:
    """The default of new integrations."""
    lines = gzip.decompress((FIXTURES / BLOB[1]).read_bytes()).decode().splitlines()
    documents = [json.loads(line) for line in lines]
    counts = pa.map_(pa.string(), pa.uint64())
    table = pa.table(
        {
            "id": [row["id"] for row in documents],
            "trace_id": [row["trace_id"] for row in documents],
            "type": [row["type"] for row in documents],
            "level": [row["level"] for row in documents],
            "start_time": [row["start_time"] for row in documents],
            "end_time": [row["end_time"] for row in documents],
            "name": [row["name"] for row in documents],
            "provided_model_name": [row["provided_model_name"] for row in documents],
            "session_id": [row["session_id"] for row in documents],
            "user_id": [row["user_id"] for row in documents],
            "completion_start_time": [row["completion_start_time"] for row in documents],
            "usage_details": pa.array(
                [[(k, int(v)) for k, v in row["usage_details"].items()] for row in documents],
                counts,
            ),
            "cost_details": pa.array(
                [list(r["cost_details"].items()) for r in documents],
                pa.map_(pa.string(), pa.float64()),
            ),
            "total_cost": [float(row["total_cost"]) for row in documents],
        }
    )
    pq.write_table(table, tmp_path / "observations.parquet")
    rows, report = read(tmp_path / "observations.parquet")
    assert (report.format, report.used) == ("langfuse", len(generations()))
    check(rows, generations(), lambda call: expected(BLOB[1], call))


@pytest.mark.parametrize("where", [{"unit": "CHARACTERS"}, {"usage": {"unit": "SECONDS"}}])
def test_usage_in_other_units_is_no_count_of_tokens(tmp_path: Path, where: dict[str, Any]) -> None:
    path = tmp_path / "log.jsonl"
    rows = [ROW | {"unit": "TOKENS"}, ROW | {"id": "a2"} | where]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read_rows, report = read(path)
    assert [row["source_id"] for row in read_rows] == ["a1"]
    assert [s.reason for s in report.not_requests] == ["it does not count tokens"]


def test_dates_may_carry_json_quotes_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    texts = {
        key: json.dumps(value) if "Time" in key or isinstance(value, dict) else value
        for key, value in ROW.items()
    }
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([texts.keys(), texts.values()])
    ((row,), _) = read(path)
    assert (row["ts"].isoformat(), row["latency_ms"]) == ("2026-05-04T10:00:00+00:00", 1500)
