"""Exports of tracing tools: a span around calls, which repeats their usage, is no request."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.logs.generators.calls import Call, lines
from tests.logs.generators.files import FIXTURES
from tests.logs.generators.traces import phoenix_rows, span_id, table, trace_id, traced_calls
from tests.logs.reading import check, counted, plain, read, read_fixture


def of_phoenix(call: Call) -> dict[str, Any]:
    used = call.status == 200
    return plain(call) | {
        "id": f"{trace_id(call)}/{span_id(call)}",
        "cache_write_tokens": call.written if used else None,
        "reasoning_tokens": call.reasoning if used else None,
        "status": 200 if used else 500,
        "streamed": None,
    }


def of_mlflow(call: Call) -> dict[str, Any]:
    return of_phoenix(call) | {
        "id": f"tr-{trace_id(call)}/{span_id(call)}",
        "reasoning_tokens": None,
    }


def of_langsmith(call: Call) -> dict[str, Any]:
    used = call.status == 200
    return plain(call) | {
        "cache_write_tokens": call.written if used else None,
        "reasoning_tokens": call.reasoning if used else None,
    }


def of_langfuse(call: Call) -> dict[str, Any]:
    return plain(call) | {"cached_tokens": 0, "session_id": trace_id(call), "user_id": None}


IN_TOKENS = [call for call in traced_calls() if call.number % 10]


@pytest.mark.parametrize(
    ("name", "log_format", "calls", "expected", "reason"),
    [
        ("phoenix-spans.csv.gz", "openinference", traced_calls(), of_phoenix, "a span of a kind"),
        ("phoenix-traces.json.gz", "openinference", traced_calls(), of_phoenix, "a span of a kind"),
        ("mlflow-traces.jsonl.gz", "mlflow", traced_calls(), of_mlflow, "a span of a type"),
        ("langsmith-runs.jsonl.gz", "langsmith", traced_calls(), of_langsmith, "a run of a type"),
        ("datadog-spans.json.gz", "datadog", traced_calls(), of_phoenix, "a span of a kind"),
        (
            "langfuse-generations.csv.gz",
            "langfuse_generations",
            IN_TOKENS,
            of_langfuse,
            "a generation that is not counted in tokens",
        ),
    ],
)
def test_every_row_is_accounted_for(
    name: str,
    log_format: str,
    calls: list[Call],
    expected: Callable[[Call], dict[str, Any]],
    reason: str,
) -> None:
    rows, report = read_fixture(name)
    check(rows, calls, expected)
    assert (report.format, report.used) == (log_format, len(calls))
    ((counted_reason, count),) = counted(report).items()
    assert counted_reason.startswith(reason)
    assert count == report.rows - report.used


def test_phoenixs_data_frame_is_read_from_parquet(tmp_path: Path) -> None:
    path = tmp_path / "spans.parquet"
    some = traced_calls()[:20]
    table = pa.Table.from_pylist([row for call in some for row in phoenix_rows(call)])
    times = pa.timestamp("ns", tz="UTC")
    for name in ("start_time", "end_time"):
        moments = pa.array([call.ts if name[0] == "s" else call.end for call in some for _ in "ab"])
        table = table.set_column(table.schema.get_field_index(name), name, moments.cast(times))
    pq.write_table(table, path)
    check(read(path)[0], some, of_phoenix)


def test_a_bulk_export_of_langsmith_is_read(tmp_path: Path) -> None:
    path = tmp_path / "runs.parquet"
    run = {
        "id": "00000000-0000-4000-8000-000000000001",
        "trace_id": "t",
        "run_type": "llm",
        "dotted_order": "x",
        "start_time": "2026-05-04T10:00:00.250",
        "end_time": "2026-05-04T10:00:01.250",
        "status": "success",
        "extra": '{"metadata": {"ls_provider": "openai", "ls_model_name": "gpt-4o"}}',
        "outputs": '{"generations": [[{"message": {"kwargs": {"usage_metadata": {"input_tokens": 9,'
        ' "output_tokens": 4, "total_tokens": 13, "input_token_details": {"cache_read": 5}}}}}]]}',
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "total_tokens": 13,
    }
    pq.write_table(pa.Table.from_pylist([run]), path)
    ((row,), _) = read(path)
    counts = (row["input_tokens"], row["cached_tokens"], row["output_tokens"], row["latency_ms"])
    assert (row["model"], counts) == ("gpt-4o", (9, 5, 4, 1_000))


def test_a_payload_of_datadogs_sdk_is_read(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    path.write_text(
        '{"event_type":"span","spans":[{"trace_id":"t","span_id":"s","parent_id":"undefined",'
        '"name":"chat","start_ns":1777881600000000000,"duration":1500000000,"status":"ok",'
        '"meta":{"span.kind":"llm","model_name":"gpt-4o","model_provider":"openai"},'
        '"metrics":{"input_tokens":10,"output_tokens":5,"cache_read_input_tokens":4}}]}\n'
    )
    ((row,), _) = read(path)
    assert (row["input_tokens"], row["cached_tokens"], row["latency_ms"]) == (10, 4, 1_500)


@pytest.mark.parametrize(
    ("name", "parent"),
    [("phoenix-spans.csv.gz", "parent_id"), ("langsmith-runs.jsonl.gz", "parent_run_id")],
)
def test_a_request_around_another_one_repeats_it(name: str, parent: str, tmp_path: Path) -> None:
    text = gzip.decompress((FIXTURES / name).read_bytes()).decode()
    is_csv = ".csv" in name
    spans: list[dict[str, Any]] = (
        list(csv.DictReader(io.StringIO(text)))
        if is_csv
        else [json.loads(line) for line in text.splitlines()]
    )
    for outer, inner in zip(spans[::2], spans[1::2], strict=True):
        kind = "span_kind" if is_csv else "run_type"
        outer[kind] = inner[kind]
        inner[parent] = outer["context.span_id" if is_csv else "id"]
    path = tmp_path / ("spans.csv" if is_csv else "runs.jsonl")
    path.write_text(table(spans) if is_csv else lines(spans))
    rows, report = read(path)
    used = sum(call.status == 200 for call in traced_calls())
    assert counted(report) == {"a span around calls of models, whose usage it repeats": used}
    assert sum(row["input_tokens"] for row in rows) == sum(call.input for call in traced_calls())
    first = next(n for n, call in enumerate(traced_calls()) if call.status == 200)
    assert report.not_requests[0].examples[0] == f"row {2 * first + 1}"
