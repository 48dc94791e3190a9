"""Reading logs: every row is accounted for, and a bad file is reported in one line."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.logs.reading import report_text
from ttplan.logs.reader import LogReader
from ttplan.logs.rows import as_uuid
from ttplan.logs.source import ReadOptions
from ttplan.model.errors import InputError
from ttplan.model.money import round_money, to_decimal

ROW: dict[str, Any] = {
    "id": "00000000-0000-0000-0000-0000000000ab",
    "ts": "2026-05-01T12:00:00Z",
    "provider": "openai",
    "model": "gpt-4o",
    "input_tokens": 10,
    "output_tokens": 2,
    "cost_usd": 0.1,
}


def numbered(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [ROW | {"id": f"00000000-0000-0000-0000-{n:012x}"} | changes for n in range(count)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write the rows in the format of the path's suffix."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path, **options: Any) -> tuple[list[dict[str, Any]], LogReader]:
    log = LogReader(path, ReadOptions(**options))
    return [row for batch in log.batches() for row in batch.to_pylist()], log


FORMATS = ["csv", "jsonl", "parquet"]


@pytest.mark.parametrize("kind", FORMATS)
def test_rows_are_read_from_each_format(tmp_path: Path, kind: str) -> None:
    path = write(
        tmp_path / f"log.{kind}",
        numbered(3, tag="it's", latency_ms=12, cached=True, cache_layer="l1", status=429),
    )
    rows, log = read(path)
    assert len(rows) == 3
    assert rows[2] | {"ts": None} == {
        "id": "00000000-0000-0000-0000-000000000002",
        "org_id": None,
        "ts": None,
        "provider": "openai",
        "model": "gpt-4o",
        "input_tokens": 10,
        "output_tokens": 2,
        "cached_tokens": 0,
        "cost_usd": Decimal("0.100000000000"),
        "baseline_cost_usd": Decimal("0.100000000000"),
        "cached": True,
        "cache_layer": "l1",
        "matched_route_id": None,
        "latency_ms": 12,
        "upstream_latency_ms": None,
        "status": 429,
        "tag": "it's",
        "finish_reason": None,
        "body": None,
        "response_body": None,
        "body_lower": None,
        "source_id": None,
        "session_id": None,
        "user_id": None,
        "api_key_id": None,
        "embedding": None,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
        "input_audio_tokens": None,
        "output_audio_tokens": None,
        "input_image_tokens": None,
        "output_image_tokens": None,
        "streamed": None,
        "service_tier": None,
        "endpoint": None,
        "provider_usage": None,
        "logged_provider": None,
        "logged_model": None,
        "recorded_cost_usd": Decimal("0.100000000000"),
        "cost_basis": "recorded",
        "cache_write_1h_tokens": None,
        "web_searches": None,
        "usage_reading": None,
        "prompt_hash": None,
        "answer_hash": None,
    }
    assert rows[2]["ts"] == datetime(2026, 5, 1, 12, tzinfo=UTC)
    report = log.report()
    assert (report.rows, report.used, report.unusable, report.format, report.kind) == (
        3,
        3,
        0,
        "own",
        kind,
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_logged_usage_is_kept(tmp_path: Path, kind: str) -> None:
    usage: dict[str, Any] = {
        "cache_write_tokens": 7,
        "reasoning_tokens": 1,
        "input_audio_tokens": 3,
        "output_audio_tokens": 0,
        "input_image_tokens": 2,
        "output_image_tokens": 0,
        "streamed": True,
        "service_tier": "batch",
        "endpoint": "eastus",
        "provider_usage": '{"prompt_tokens":10}',
        "logged_provider": "azure",
        "logged_model": "azure/gpt-4o",
        "recorded_cost_usd": Decimal("0.2"),
        "cost_basis": "recomputed",
        "cache_write_1h_tokens": None,
        "web_searches": None,
        "usage_reading": None,
    }
    row, *_ = read(
        write(tmp_path / f"log.{kind}", numbered(1, **(usage | {"recorded_cost_usd": 0.2})))
    )[0]
    assert {name: row[name] for name in usage} == usage


def test_usage_must_be_json_and_large_usage_is_left_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"provider_usage: expected JSON"):
        read(write(tmp_path / "log.jsonl", numbered(1, provider_usage="{not json")))
    large = json.dumps({"text": "x" * 65_536})
    rows, log = read(
        write(tmp_path / "log.jsonl", [*numbered(1), ROW | {"id": "b", "provider_usage": large}])
    )
    assert [row["provider_usage"] for row in rows] == [None, None]
    emptied = log.report().emptied[0]
    assert (emptied.reason, emptied.rows, emptied.examples) == (
        "provider_usage: larger than 65,536 bytes",
        1,
        ("row 2",),
    )


def test_assumptions_are_reported(tmp_path: Path) -> None:
    _, log = read(write(tmp_path / "log.csv", numbered(1, surprise=1)))
    report = log.report()
    assert report.assumed["baseline_cost_usd"] == "cost_usd"
    assert report.assumed["cached_tokens"] == "0"
    assert report.ignored_columns == ("surprise",)
    assert "columns not used: surprise" in report_text(report)


@pytest.mark.parametrize("kind", ["csv", pytest.param("jsonl", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("input_tokens", -5, "a whole number from 0"),
        ("input_tokens", 1.5, "a whole number from 0"),
        ("output_tokens", "many", "a whole number from 0"),
        ("output_tokens", 10**12, "a whole number from 0"),
        ("cost_usd", "NaN", "an amount in USD"),
        ("cost_usd", "Infinity", "an amount in USD"),
        ("cost_usd", "-Infinity", "an amount in USD"),
        ("cost_usd", 1e12, "an amount in USD"),
        ("cost_usd", None, "an amount in USD"),
        ("ts", "2026-05-01T12:00:00", "a time with its zone"),
        ("ts", "2026-13-01T12:00:00Z", "a time with its zone"),
        ("ts", "yesterday", "a time with its zone"),
        ("ts", None, "a time with its zone"),
        ("cached", "maybe", "true or false"),
        ("cache_layer", "l3", "l1, l2 or nothing"),
        ("provider", None, "a text of 1 to 512"),
        ("matched_route_id", "7", "a UUID"),
        ("tag", "x" * 5000, "a text of at most 4,096"),
        ("id", None, "an id"),
    ],
)
def test_an_unusable_row_refuses_the_file_or_is_reported(
    tmp_path: Path, kind: str, field: str, value: Any, expected: str
) -> None:
    rows = numbered(5, cached=False, cache_layer=None, matched_route_id=None, tag=None)
    rows[3] |= {field: value}
    path = write(tmp_path / f"log.{kind}", rows)
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "1 of 5 rows cannot be used, so nothing was imported" in message
    assert f"{field}: expected {expected}" in message
    assert "row 4" in message
    used, log = read(path, on_bad_rows="skip")
    assert len(used) == 4
    report = log.report()
    assert (report.rows, report.used, report.unusable) == (5, 4, 1)
    assert [(s.rows, len(s.examples)) for s in report.skipped] == [(1, 1)]


def test_a_refund_is_counted_and_changes_the_costs(tmp_path: Path) -> None:
    refunds = [ROW | {"id": f"r{n}", "cost_usd": cost} for n, cost in enumerate(["-0.25", "-1e-6"])]
    zero = ROW | {"id": "z", "cost_usd": "-0.0"}
    path = write(tmp_path / "log.csv", [*numbered(3), *refunds])
    used, log = read(path)
    report = log.report()
    assert (len(used), report.rows, report.adjusting, report.unusable) == (3, 5, 2, 0)
    assert report.adjusted_usd == Decimal("-0.250001")
    assert report.adjustments[0].examples == ("row 4: -0.25", "row 5: -0.000001")
    text = report_text(report)
    assert "3 usable, 0 left out, 2 adjustments of costs" in text
    assert "adjustments change the costs of the log by" in text
    with pytest.raises(InputError, match="cost_usd: expected an amount in USD"):
        read(write(tmp_path / "zero.csv", [*numbered(1), zero]))


@pytest.mark.parametrize(
    ("reason", "status", "expected"),
    [
        ("error", None, 500),
        ("Cancelled", None, 499),
        ("stop", None, 200),
        (None, None, 200),
        ("error", 429, 429),
    ],
)
def test_a_finish_reason_marks_a_failed_call(
    tmp_path: Path, reason: str | None, status: int | None, expected: int
) -> None:
    row = ROW | {"finish_reason": reason, "status": status}
    (result,), _ = read(write(tmp_path / "log.jsonl", [row]))
    assert result["status"] == expected


def test_reasons_are_counted_with_three_examples(tmp_path: Path) -> None:
    rows = [*numbered(10, input_tokens=-1), ROW | {"id": "x", "cost_usd": "NaN"}]
    _, log = read(write(tmp_path / "log.jsonl", rows), on_bad_rows="skip")
    first, second = log.report().skipped
    assert (first.rows, len(first.examples), second.rows) == (10, 3, 1)
    assert first.examples[0] == "row 1: '-1'"


def test_a_naive_parquet_timestamp_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "log.parquet", numbered(2, ts=datetime(2026, 5, 1, 12)))
    with pytest.raises(InputError, match="expected a time with its zone"):
        read(path)


def test_a_nan_in_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cost_usd: expected an amount in USD"):
        read(write(tmp_path / "log.parquet", numbered(2, cost_usd=float("nan"))))


def test_foreign_ids_become_deterministic_uuids(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path / "log.csv", [ROW | {"id": "chatcmpl-7", "org_id": "acme"}]))
    assert rows[0]["source_id"] == "chatcmpl-7"
    assert rows[0]["id"] == as_uuid("chatcmpl-7")
    assert UUID(rows[0]["id"]).version == 5
    assert rows[0]["org_id"] == as_uuid("acme")
    second, _ = read(write(tmp_path / "again.jsonl", [ROW | {"id": "chatcmpl-7"}]))
    assert second[0]["id"] == rows[0]["id"]


def test_bodies_are_read_only_on_request_and_never_shown(tmp_path: Path) -> None:
    prompt = "My ΟΔΟΣ secret"
    path = write(
        tmp_path / "log.jsonl", [ROW | {"body": prompt, "response_body": "yes", "input_tokens": 1}]
    )
    assert read(path)[0][0]["body"] is None
    row = read(path, with_bodies=True)[0][0]
    assert (row["body"], row["body_lower"], row["response_body"]) == (prompt, prompt.lower(), "yes")
    bad = write(tmp_path / "bad.jsonl", [ROW | {"body": prompt, "input_tokens": -1}])
    with pytest.raises(InputError) as caught:
        read(bad, with_bodies=True)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("ending", FORMATS)
def test_embeddings_are_read_exactly_and_only_on_request(tmp_path: Path, ending: str) -> None:
    vector = [0.1, -2.5, 1e-7, 3.0]
    spelt: Any = json.dumps(vector) if ending == "csv" else vector
    path = write(tmp_path / f"log.{ending}", [ROW | {"embedding": spelt, "session_id": "s-1"}])
    plain, log = read(path)
    assert plain[0]["embedding"] is None
    assert plain[0]["session_id"] == "s-1"
    rows, _ = read(path, with_embeddings=True)
    assert rows[0]["embedding"] == np.array(vector, dtype=np.float32).tolist()
    assert log.report().ignored_columns == ("embedding",)


@pytest.mark.parametrize("bad", ["[1, 2", "[]", "[1, null]", '["a"]', "[1e39, 0]", "7", "[NaN]"])
@pytest.mark.parametrize("ending", ["csv", pytest.param("jsonl", marks=pytest.mark.slow)])
def test_an_invalid_embedding_is_named(tmp_path: Path, bad: str, ending: str) -> None:
    path = tmp_path / f"log.{ending}"
    write(path, [ROW | {"embedding": bad}])
    with pytest.raises(
        InputError, match=r"embedding: expected a list of 1 to 16,384 finite numbers"
    ):
        read(path, with_embeddings=True)


def test_an_infinite_embedding_in_parquet_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "log.parquet", [ROW | {"embedding": [1.0, float("inf")]}])
    with pytest.raises(
        InputError, match=r"embedding: expected a list of 1 to 16,384 finite numbers.*inf"
    ):
        read(path, with_embeddings=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.parquet", b"PAR1 and then nothing", "cannot be read as parquet"),
        ("log.csv", b"a,b\n1,2\n", "no column id, ts, provider"),
        ("log.csv", b"", "is empty"),
        ("log.jsonl", b'{"id": 1}\n{"id": \n', "cannot be read as jsonl"),
        ("log.jsonl", b"\n\n", "has no rows"),
        ("log.csv", b"id,ts,provider,model,input_tokens,output_tokens,cost_usd\n", "has no rows"),
        (
            "log.csv",
            b"id,ts,provider,model,input_tokens,output_tokens,cost_usd\n1,2,3,4,5,6,7,8,9\n",
            "cannot be read as csv|no column",
        ),
        ("log.txt", b"hello", "its name does not tell its format"),
    ],
)
def test_a_file_that_is_not_a_log_is_one_clear_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "log.parquet", numbered(1000))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(
        InputError, match=r"cannot be read as parquet.*Check that the file is whole"
    ):
        read(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        LogReader(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no log files in this folder"):
        LogReader(tmp_path)
    with pytest.raises(
        InputError,
        match="format 'xml' is not known; expected one of csv, json, jsonl, parquet, own",
    ):
        LogReader(write(tmp_path / "log.csv", [ROW]), ReadOptions(format="xml"))


def test_a_format_can_be_named_or_detected(tmp_path: Path) -> None:
    path = write(tmp_path / "log.parquet", numbered(2))
    path.rename(tmp_path / "log.bin")
    assert len(read(tmp_path / "log.bin")[0]) == 2
    (tmp_path / "log.txt").write_bytes(write(tmp_path / "log.csv", numbered(2)).read_bytes())
    rows, log = read(tmp_path / "log.txt", format="csv")
    assert (len(rows), log.report().kind) == (2, "csv")
    with gzip.open(tmp_path / "log.csv.gz", "wb") as file:
        file.write((tmp_path / "log.csv").read_bytes())
    assert len(read(tmp_path / "log.csv.gz")[0]) == 2


def test_hostile_column_names_stay_names(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", [ROW | {'x"; DROP TABLE requests; --': "1"}])
    rows, log = read(path)
    assert len(rows) == 1
    assert log.report().ignored_columns == ('x"; DROP TABLE requests; --',)


amounts = st.floats(min_value=0, max_value=1e6, allow_nan=False) | st.floats(
    min_value=0, max_value=1e-9
)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(amounts, min_size=20, max_size=100))
def test_money_is_rounded_as_in_models(
    tmp_path_factory: pytest.TempPathFactory, amounts: list[float]
) -> None:
    rows = [ROW | {"id": str(UUID(int=n)), "cost_usd": amount} for n, amount in enumerate(amounts)]
    result = read(write(tmp_path_factory.mktemp("money") / "log.jsonl", rows))[0]
    assert [row["cost_usd"] for row in result] == [
        round_money(to_decimal(amount)) for amount in amounts
    ]
