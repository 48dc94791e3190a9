"""Reads a log in a test: all its rows and the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from tests.logs.generators.calls import Call
from tests.logs.generators.files import FIXTURES
from ttplan.display.logs import ImportCard
from ttplan.logs.model_names import normalise_model
from ttplan.logs.reader import LogReader
from ttplan.logs.report import ReadReport
from ttplan.logs.source import ReadOptions

Rows = list[dict[str, Any]]


def read(path: Path, **options: Any) -> tuple[Rows, ReadReport]:
    """The rows, with the catalogue's names, and the report; by default a cost may be missing."""
    read_options = ReadOptions(**{"needs_cost": False, **options})
    with LogReader(path, read_options, normalise=normalise_model) as log:
        rows = [row for batch in log.batches() for row in batch.to_pylist()]
        return rows, log.report()


@cache
def read_fixture(name: str) -> tuple[Rows, ReadReport]:
    """The rows and the report of a fixture, read once for all tests, which leave them unchanged."""
    return read(FIXTURES / name)


def read_row(folder: Path, row: Any, **options: Any) -> dict[str, Any]:
    """The row that a document becomes."""
    path = folder / "row.jsonl"
    path.write_text(json.dumps(row) + "\n")
    ((found_row,), _) = read(path, **options)
    return found_row


def counted(report: ReadReport) -> dict[str, int]:
    """How many rows are not requests, by reason; no row was skipped for another one."""
    assert not report.skipped
    return {reason.reason: reason.rows for reason in report.not_requests}


def report_text(report: ReadReport) -> str:
    """The card of a report on one line."""
    return " ".join(str(ImportCard.of(report)).split())


def check(rows: Rows, calls: Iterable[Call], expected: Callable[[Call], dict[str, Any]]) -> None:
    """Check that calls and rows correspond one to one and every row has the expected fields.

    Rows are identified by the id in the log.
    """
    by_id = {row["source_id"] or row["id"]: row for row in rows}
    assert len(by_id) == len(rows)
    expected_by_id = {str(fields["id"]): fields for fields in map(expected, calls)}
    assert set(by_id) == set(expected_by_id)
    for key, fields in expected_by_id.items():
        row = by_id[key]
        assert {name: row[name] for name in fields if name != "id"} == {
            n: v for n, v in fields.items() if n != "id"
        }, key


def plain(call: Call) -> dict[str, Any]:
    """The expected row of a call in a format that has all fields."""
    return {
        "id": call.id,
        "ts": call.ts,
        "provider": call.provider,
        "model": normalise_model(call.provider, call.model).model,
        "input_tokens": call.input,
        "output_tokens": call.output,
        "cached_tokens": call.cached,
        "cost_usd": call.cost,
        "recorded_cost_usd": call.cost,
        "latency_ms": call.latency_ms,
        "status": call.status,
        "cached": False,
        "tag": call.task,
        "session_id": call.session,
        "user_id": call.user,
        "streamed": True if call.first else None,
    }
