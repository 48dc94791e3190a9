"""Reading a log without a store."""

from __future__ import annotations

from pathlib import Path

import pytest

import ttplan
from tests.logs.generators.files import FIXTURES
from tests.logs.test_reader import ROW, numbered, write
from ttplan.logs.rows import REQUEST_SCHEMA
from ttplan.model.errors import InputError


def test_a_log_is_a_table_and_a_report() -> None:
    logs = ttplan.read_logs(FIXTURES / "litellm_spend_logs.csv")
    assert logs.table.schema.equals(REQUEST_SCHEMA)
    assert len(logs) == logs.report.used == logs.table.num_rows
    assert (logs.report.rows, logs.report.format, logs.report.added) == (240, "litellm", None)
    frame = logs.to_pandas()
    assert len(frame) == len(logs)
    assert repr(logs) == str(logs.report)
    # Names are those of the catalogue; the logged name is kept.
    prefixed = frame[frame["logged_model"] == "openai/gpt-4o-mini"]
    assert set(prefixed["model"]) == {"gpt-4o-mini"}


def test_a_row_without_a_cost_is_kept(tmp_path: Path) -> None:
    logs = ttplan.read_logs(
        write(tmp_path / "log.jsonl", [*numbered(2), ROW | {"id": "c", "cost_usd": None}])
    )
    assert logs.table["cost_usd"].null_count == 1


def test_repeats_are_refused_or_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        ROW | {"id": key, "tag": tag} for key, tag in (("a", ""), ("b", ""), ("a", ""), ("b", "x"))
    ]
    path = write(tmp_path / "log.csv", rows)
    with pytest.raises(
        InputError,
        match=r"log\.csv: the request id 'b' is in row 2 and in row 4, with another tag",
    ):
        ttplan.read_logs(path)
    logs = ttplan.read_logs(path, on_bad_rows="skip")
    assert (len(logs), logs.report.used, logs.report.unusable) == (2, 2, 2)
    assert {group.reason: group.examples for group in logs.report.skipped} == {
        "id: the same row again": ("row 3: a, as in row 1",),
        "id: another row has it; the first was taken": ("row 4: b, as in row 2, another tag",),
    }
