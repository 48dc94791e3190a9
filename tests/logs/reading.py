"""Reading a log in a test: all its rows, and what the report says of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.logs.made.calls import Call
from ttplan.logs.model_names import normalise_model
from ttplan.logs.reader import LogReader
from ttplan.logs.report import ReadReport
from ttplan.logs.source import ReadOptions

Rows = list[dict[str, Any]]


def read(path: Path, **options: Any) -> tuple[Rows, ReadReport]:
    """The rows and the report, with the catalogue's names; by default a row may lack its cost."""
    read_options = ReadOptions(**{"needs_cost": False, **options})
    with LogReader(path, read_options, normalise=normalise_model) as log:
        rows = [row for batch in log.batches() for row in batch.to_pylist()]
        return rows, log.report()


def read_row(folder: Path, row: Any, **options: Any) -> dict[str, Any]:
    """The one row that a document becomes."""
    path = folder / "row.jsonl"
    path.write_text(json.dumps(row) + "\n")
    ((found,), _) = read(path, **options)
    return found


def check(rows: Rows, calls: Iterable[Call], expected: Callable[[Call], dict[str, Any]]) -> None:
    """Every call is a row, every row a call, and each has what is expected of it. Rows are found by what the log called them."""
    found = {row["source_id"] or row["id"]: row for row in rows}
    assert len(found) == len(rows)
    wanted = {str(one["id"]): one for one in map(expected, calls)}
    assert set(found) == set(wanted)
    for key, one in wanted.items():
        row = found[key]
        assert {name: row[name] for name in one if name != "id"} == {
            n: v for n, v in one.items() if n != "id"
        }, key


def plain(call: Call) -> dict[str, Any]:
    """What any format that knows all of it says of a call."""
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
