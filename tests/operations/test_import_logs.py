"""Importing a log: in one transaction, idempotent, and without replacing stored requests."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.logs.generators.files import FIXTURES
from tests.logs.test_reader import ROW, numbered, write
from tests.workspace.test_workspace import content, opened
from ttplan.cli.entrypoint import run
from ttplan.model.errors import InputError
from ttplan.operations.logs.check_logs import check_files
from ttplan.workspace.read_logs import read_logs


def test_a_litellm_log_is_imported_once(tmp_path: Path) -> None:
    workspace = opened(tmp_path / "s.duckdb")
    report = workspace.import_logs(FIXTURES / "litellm_spend_logs.csv")
    assert (report.added, report.already_there, report.unusable) == (report.used, 0, 0)
    assert (report.added or 0) + report.passed_over == report.rows == 240
    before = content(tmp_path / "s.duckdb")
    second = workspace.import_logs(FIXTURES / "litellm_spend_logs.csv")
    assert (second.added, second.already_there) == (0, report.added)
    assert content(tmp_path / "s.duckdb") == before
    # The same requests by way of the API are the same rows.
    other = workspace.import_logs(FIXTURES / "litellm_spend_logs.json.gz", on_bad_rows="skip")
    assert other.used + other.unusable + other.passed_over == other.rows


def test_a_changed_row_is_named_and_the_store_stays_unchanged(tmp_path: Path) -> None:
    workspace = opened(tmp_path / "s.duckdb")
    workspace.import_logs(write(tmp_path / "a.jsonl", numbered(5)))
    before = content(tmp_path / "s.duckdb")
    changed = numbered(7)
    changed[3] |= {"output_tokens": 99}
    path = write(tmp_path / "b.jsonl", changed)
    with pytest.raises(
        InputError, match=r"\(row 4\) is in the store already with another output_tokens"
    ) as caught:
        workspace.import_logs(path)
    assert str(path) in str(caught.value)
    assert content(tmp_path / "s.duckdb") == before
    report = workspace.import_logs(path, on_bad_rows="skip")
    assert (report.added, report.already_there, report.unusable, report.used) == (2, 4, 1, 6)
    (left_out,) = report.skipped
    assert left_out.reason == "id: it is in the store with another content, which stays"
    assert left_out.examples[0].startswith("row 4: ")
    assert left_out.examples[0].endswith("as in the store, another output_tokens")


def test_a_repeated_row_is_named_with_both_rows(tmp_path: Path) -> None:
    workspace = opened(tmp_path / "s.duckdb")
    folder = tmp_path / "logs"
    folder.mkdir()
    write(
        folder / "a.jsonl",
        [ROW | {"id": "x"}, ROW | {"id": "bad", "input_tokens": -1}, ROW | {"id": "y"}],
    )
    write(
        folder / "b.jsonl",
        [
            ROW | {"id": "bad", "output_tokens": -1},
            ROW | {"id": "y"},
            ROW | {"id": "x", "output_tokens": 7},
        ],
    )
    report = workspace.import_logs(folder, on_bad_rows="skip")
    assert (report.rows, report.added, report.unusable) == (6, 2, 4)
    reasons = {group.reason: group.examples for group in report.skipped}
    assert reasons["id: the same row again"] == (
        f"{folder / 'b.jsonl'} row 2: y, as in {folder / 'a.jsonl'} row 3",
    )
    assert reasons["id: another state of the same answer; the last or largest was taken"] == (
        f"{folder / 'a.jsonl'} row 1: x, as in {folder / 'b.jsonl'} row 3, another output_tokens",
    )
    assert [(Path(file.path).name, file.rows) for file in report.files] == [
        ("a.jsonl", 3),
        ("b.jsonl", 3),
    ]


def test_equal_rows_count_once_and_others_refuse_a_file(tmp_path: Path) -> None:
    workspace = opened(tmp_path / "s.duckdb")
    before = content(tmp_path / "s.duckdb")
    path = write(tmp_path / "log.jsonl", [*numbered(3), numbered(1)[0] | {"tag": "other"}])
    with pytest.raises(InputError, match=r"is in row 1 and in row 4, with another tag"):
        workspace.import_logs(path)
    assert content(tmp_path / "s.duckdb") == before
    report = workspace.import_logs(write(path, [*numbered(3), numbered(1)[0]]))
    assert (report.added, report.used, report.unusable) == (3, 3, 1)
    assert report.skipped[0].reason == "id: the same row again"


def test_the_last_state_of_an_answer_is_imported_and_checked(tmp_path: Path) -> None:
    states = [ROW | {"id": "x", "output_tokens": n, "cost_usd": 0.9} for n in (1, 1, 527)]
    path = write(tmp_path / "log.jsonl", [*states, ROW | {"id": "y"}])
    workspace = opened(tmp_path / "s.duckdb")
    report = workspace.import_logs(path)
    assert (report.added, report.rows, report.unusable) == (2, 4, 2)
    assert all("2 requests" in line or "1 request" in line for line in report.findings)
    logs = read_logs(path)
    assert sorted(logs.table["output_tokens"].to_pylist()) == [ROW["output_tokens"], 527]
    diagnosis = check_files([path], at=datetime(2027, 1, 1, tzinfo=UTC))
    assert (diagnosis.rows, diagnosis.recorded_usd) == (
        2,
        Decimal(1),
    )
    assert any("the last or largest was taken" in note for note in diagnosis.notes)
    assert workspace.import_logs(path).added == 0


def test_a_line_that_is_not_json_can_be_skipped(tmp_path: Path) -> None:
    workspace = opened(tmp_path / "s.duckdb")
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(ROW) + '\n{"id": "cut", "ts": "2026-\n')
    with pytest.raises(InputError, match="cannot be read as jsonl"):
        workspace.import_logs(path)
    report = workspace.import_logs(path, on_bad_rows="skip")
    assert (report.rows, report.added, report.unusable) == (2, 1, 1)


@pytest.mark.parametrize("option", [(), ("--no-hashes",)])
def test_the_command_keeps_hashes_unless_told_not_to(
    tmp_path: Path, option: tuple[str, ...]
) -> None:
    path = write(tmp_path / "a.jsonl", [ROW | {"body": "why is the sky blue?"}])
    store = tmp_path / "s.duckdb"
    assert run(["import", str(path), "--store", str(store), *option]) == 0
    with opened(store).store.read() as snapshot:
        (kept,) = snapshot.requests().prompt_hash.to_pyarrow().to_pylist()
    assert (kept is None) == bool(option)
