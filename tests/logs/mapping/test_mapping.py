"""Mapping files: what they read, and which ones are refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.logs.reading import report_text
from ttplan.logs.mapping.mapping import read_mapping
from ttplan.logs.mapping.paths import parse_path, pointer, rows_path
from ttplan.logs.reader import LogReader
from ttplan.logs.source import ReadOptions
from ttplan.model.errors import InputError

FIELDS: dict[str, Any] = {
    "id": "call.id",
    "ts": {"path": "when", "unit": "epoch_ms"},
    "provider": {"constant": "openai"},
    "model": ["model", "fallback"],
    "input_tokens": {"sum": ["usage.fresh", ["usage.read", "usage.cached"], '"usage.write"']},
    "output_tokens": "out",
    "cost_usd": {"path": "cents", "unit": "cents"},
    "latency_ms": {"path": "took", "unit": "s"},
    "streamed": {"path": "mode", "values": {"live": True, "whole": False, "?": None}},
    "tag": {"path": "labels[1]", "default": "none"},
}
ROW: dict[str, Any] = {
    "call": {"id": "a"},
    "when": 1777636800123,
    "model": "gpt-4o",
    "usage": {"fresh": 5, "read": 2},
    "usage.write": 1,
    "out": 3,
    "cents": 0.25,
    "took": 1.2345,
    "mode": "live",
    "labels": ["x", "y"],
    "kind": "chat",
}


def rows(path: Path, mapping: Any, **options: Any) -> list[dict[str, Any]]:
    with LogReader(path, ReadOptions(mapping=mapping, **options)) as log:
        return [row for batch in log.batches() for row in batch.to_pylist()]


def lines(path: Path, *made: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def test_a_mapping_reads_json_and_nested_parquet(tmp_path: Path) -> None:
    second = ROW | {
        "call": {"id": "b"},
        "model": None,
        "fallback": "gpt-4o-mini",
        "usage": {"cached": 4},
        "mode": "?",
        "labels": [],
    }
    result = rows(lines(tmp_path / "log.jsonl", ROW, second), {"fields": FIELDS})
    assert result[0]["source_id"] == "a"
    assert result[0]["ts"] == datetime(2026, 5, 1, 12, 0, 0, 123000, tzinfo=UTC)
    assert (result[0]["provider"], result[0]["model"]) == ("openai", "gpt-4o")
    assert (result[0]["input_tokens"], result[0]["output_tokens"]) == (8, 3)
    assert (result[0]["cost_usd"], result[0]["latency_ms"]) == (Decimal("0.0025"), 1235)
    assert (result[0]["streamed"], result[0]["tag"]) == (True, "y")
    assert (
        result[1]["model"],
        result[1]["input_tokens"],
        result[1]["streamed"],
        result[1]["tag"],
    ) == (
        "gpt-4o-mini",
        5,
        None,
        "none",
    )
    pq.write_table(pa.Table.from_pylist([ROW]), tmp_path / "log.parquet")
    assert rows(tmp_path / "log.parquet", {"fields": FIELDS}) == result[:1]


@pytest.mark.parametrize("name", ["usage", "u", 'x"); DROP TABLE y; --'])
def test_a_part_is_the_first_existing_document(tmp_path: Path, name: str) -> None:
    (begins,) = quoted_keys([name])
    fields = FIELDS | {
        "output_tokens": f"{begins}.out",
        "provider_usage": begins,
        "cached_tokens": f"{begins}.cache[1]",
    }
    mapping = {
        "parts": {name: ["meta.usage", "usage"]},
        "fields": fields | {"input_tokens": f"{begins}.fresh"},
    }
    first = ROW | {"meta": {"usage": {"fresh": 7, "out": 1, "cache": [0, 4]}}}
    second = ROW | {"call": {"id": "b"}, "usage": {"fresh": 5, "out": 2}}
    names = ("input_tokens", "output_tokens", "cached_tokens")
    result = rows(lines(tmp_path / "log.jsonl", first, second), mapping)
    assert [[row[field] for field in names] for row in result] == [[7, 1, 4], [5, 2, 0]]
    assert json.loads(result[1]["provider_usage"]) == second["usage"]
    with (tmp_path / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        texts = {
            key: json.dumps(value) if isinstance(value, dict | list) else value
            for key, value in first.items()
        }
        writer.writerow(texts)
    assert [rows(tmp_path / "log.csv", mapping)[0][field] for field in names] == [7, 1, 4]


@pytest.mark.parametrize(
    "document", [[ROW, ROW], {"data": {"rows": [ROW, ROW]}}], ids=["array", "document"]
)
@pytest.mark.parametrize("indent", [None, 2])
def test_rows_are_found_in_documents(tmp_path: Path, document: Any, indent: int | None) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(document, indent=indent))
    assert len(rows(path, {"rows": ["", "data.rows[*]"], "fields": FIELDS})) == 2


def test_rows_that_are_not_requests_are_skipped_with_reason(tmp_path: Path) -> None:
    others = [ROW | {"kind": kind} for kind in ("tool", "embedding", None)]
    path = lines(tmp_path / "log.jsonl", ROW, *others)
    skip = [
        {"path": "kind", "is": ["tool"], "reason": "a call of a tool"},
        {"path": "kind", "is_not": ["chat", "embedding"], "reason": "of no kind that is known"},
    ]
    with LogReader(path, ReadOptions(mapping={"fields": FIELDS, "skip": skip})) as log:
        assert sum(batch.num_rows for batch in log.batches()) == 2
        report = log.report()
    assert [
        (skipped.reason, skipped.rows, skipped.examples) for skipped in report.not_requests
    ] == [
        ("a call of a tool", 1, ("row 2",)),
        ("of no kind that is known", 1, ("row 4",)),
    ]
    assert (report.rows, report.used, report.unusable, report.passed_over) == (4, 2, 0, 2)
    assert "2 usable, 0 left out, 2 not requests" in report_text(report)


def test_a_negative_latency_is_left_empty_and_counted(
    tmp_path: Path,
) -> None:
    fields = FIELDS | {"latency_ms": {"start": "when", "end": "until", "unit": "epoch_ms"}}
    path = lines(
        tmp_path / "log.jsonl", ROW | {"until": ROW["when"] + 70}, ROW | {"until": ROW["when"] - 1}
    )
    with LogReader(path, ReadOptions(mapping={"fields": fields})) as log:
        latencies = [row["latency_ms"] for batch in log.batches() for row in batch.to_pylist()]
        emptied = log.report().emptied
    assert latencies == [70, None]
    assert [(entry.reason, entry.rows, entry.examples) for entry in emptied] == [
        ("latency_ms: it ends before it begins", 1, ("row 2",))
    ]


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("epoch_s", 1777636800, datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("epoch_s", "1777636800.25", datetime(2026, 5, 1, 12, 0, 0, 250000, tzinfo=UTC)),
        ("epoch_us", 1777636800000001, datetime(2026, 5, 1, 12, 0, 0, 1, tzinfo=UTC)),
        ("epoch_ns", 1777636800000001000, datetime(2026, 5, 1, 12, 0, 0, 1, tzinfo=UTC)),
        ("iso_utc", "2026-05-01 12:00:00", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        (
            "iso_utc",
            "2026-05-01T14:00:00.5+02:00",
            datetime(2026, 5, 1, 12, 0, 0, 500000, tzinfo=UTC),
        ),
        ("epoch_s", 1777636800123, None),
        ("epoch_ms", 1777636800, None),
        ("iso", "2026-05-01 12:00:00", None),
        ("epoch_s", "soon", None),
    ],
)
def test_times_are_read_only_in_their_unit(
    tmp_path: Path, unit: str, value: Any, expected: datetime | None
) -> None:
    path = lines(tmp_path / "log.jsonl", ROW | {"when": value})
    mapping = {"fields": FIELDS | {"ts": {"path": "when", "unit": unit}}}
    if expected is not None:
        assert rows(path, mapping)[0]["ts"] == expected
        return
    with pytest.raises(InputError, match="ts: expected"):
        rows(path, mapping)


@pytest.mark.parametrize("part", ["many", -1, 1.5])
def test_an_invalid_count_in_a_sum_makes_a_bad_row(tmp_path: Path, part: Any) -> None:
    path = lines(tmp_path / "log.jsonl", ROW | {"usage": {"fresh": 1, "read": part}})
    with pytest.raises(
        InputError, match=rf"input_tokens: expected a whole number.*row 1: '{part}'"
    ):
        rows(path, {"fields": FIELDS})


def test_a_sum_without_counts_is_missing(tmp_path: Path) -> None:
    bare = {name: value for name, value in ROW.items() if not name.startswith("usage")}
    with pytest.raises(InputError, match=r"input_tokens: expected a whole number.*row 1: nothing"):
        rows(lines(tmp_path / "log.jsonl", bare), {"fields": FIELDS})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": FIELDS | {"colour": "x"}}, "colour is not a field of ttplan"),
        (
            {"fields": {name: FIELDS[name] for name in FIELDS if name != "model"}},
            "does not say where model is",
        ),
        (
            {"fields": FIELDS | {"ts": {"path": "when", "unit": "years"}}},
            "unit 'years' is not known",
        ),
        (
            {"fields": FIELDS | {"ts": {"path": "when", "unit": "cents"}}},
            "unit 'cents' does not fit",
        ),
        (
            {"fields": FIELDS | {"tag": {"path": "a", "constant": "b"}}},
            "expected one of path, sum, join, first, constant",
        ),
        ({"fields": FIELDS | {"tag": {"path": "a..b"}}}, "is not a path to a value"),
        ({"fields": FIELDS, "rows": "data"}, "is not a path to rows"),
        (
            {"fields": FIELDS, "skip": [{"path": "a", "reason": "b"}]},
            "expected either is or is_not",
        ),
        ({"fields": FIELDS, "extra": 1}, "this key is not known"),
    ],
)
def test_an_invalid_mapping_is_one_clear_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(json.dumps(change))
    with pytest.raises(InputError, match=message) as caught:
        read_mapping(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("when,model,out\n1777636800123,gpt-4o,3\n")
    with pytest.raises(
        InputError,
        match=r"no column id, input_tokens, cost_usd; expected at least .*;"
        r" the file has when, model, out",
    ):
        rows(path, {"fields": FIELDS})
    with pytest.raises(InputError, match="`format` and `mapping` both say"):
        LogReader(path, ReadOptions(format="litellm", mapping={"fields": FIELDS}))


KEYS = st.text(min_size=1, max_size=8).filter(
    lambda key: not any(0xD800 <= ord(c) <= 0xDFFF or c == "\x00" for c in key)
)


def quoted_keys(keys: list[str]) -> Iterator[str]:
    for key in keys:
        yield '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(KEYS, min_size=1, max_size=4))
def test_a_path_can_express_every_key(keys: list[str]) -> None:
    assert parse_path(".".join(quoted_keys(keys))) == tuple(keys)
    undone = [
        part.replace("~1", "/").replace("~0", "~") for part in pointer(tuple(keys)).split("/")[1:]
    ]
    assert undone == keys


@pytest.mark.parametrize(
    "key", ["it's", 'a"b', "a/b~c", "a.b", "$", "x; DROP TABLE y", "Zoë 😀", "[0]", "\\"]
)
def test_a_hostile_key_stays_a_key(tmp_path: Path, key: str) -> None:
    (path,) = quoted_keys([key])
    row = ROW | {"deep": {key: "inner"}, key: "outer"}
    fields = FIELDS | {"tag": f"deep.{path}", "user_id": path}
    (result,) = rows(lines(tmp_path / "log.jsonl", row), {"fields": fields})
    assert (result["tag"], result["user_id"]) == ("inner", "outer")


@pytest.mark.parametrize("text", ["", "a..b", ".a", "a.", "[0]", "a[x]", "a[1", 'a"b', "a.[0]"])
def test_an_invalid_path_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a path to a value"):
        parse_path(text)
    with pytest.raises(InputError, match="not a path"):
        rows_path(text)
