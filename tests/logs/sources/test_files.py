"""The files that a path names, their kinds, and the formats of their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.logs.reading import report_text
from tests.logs.test_reader import ROW, numbered, write
from ttplan.logs.formats import FORMATS
from ttplan.logs.reader import LogReader
from ttplan.logs.report import ReadReport
from ttplan.logs.source import ReadOptions
from ttplan.model.errors import InputError

TRIMMER = ROW | {
    "org_id": "00000000-0000-0000-0000-00000000000a",
    "ts": "2026-05-01 12:00:00.5+00",
    "cached_tokens": 0,
    "baseline_cost_usd": 0.1,
    "cached": "t",
    "cache_layer": "",
    "matched_route_id": "",
    "upstream_latency_ms": "",
}


def read(path: Any, **options: Any) -> tuple[list[dict[str, Any]], ReadReport]:
    with LogReader(path, ReadOptions(**options)) as log:
        return [row for batch in log.batches() for row in batch.to_pylist()], log.report()


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_compressed_files_are_read_under_any_name(
    tmp_path: Path, compression: str, kind: str
) -> None:
    plain = tmp_path / f"log.{kind}"
    if kind == "json":
        plain.write_text(json.dumps(numbered(3)))
    else:
        write(plain, numbered(3))
    ending = {"gzip": "gz", "zstd": "zst"}[compression]
    for name in (f"log.{kind}.{ending}", f"bare.{kind}"):
        with pa.output_stream(tmp_path / name, compression=compression) as file:
            file.write(plain.read_bytes())
        rows, report = read(tmp_path / name)
        assert (len(rows), report.kind, report.format) == (3, kind, "own")


def test_a_truncated_gzip_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    with pa.output_stream(path, compression="gzip") as file:
        file.write("".join(json.dumps(row) + "\n" for row in numbered(2000)).encode())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"log\.jsonl\.gz cannot be read as") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_folders_globs_and_several_paths_are_one_log(tmp_path: Path) -> None:
    rows = numbered(9)
    for n, name in enumerate(("a.jsonl", "b.jsonl", "deeper/c.jsonl")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, rows[3 * n : 3 * n + 3])
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / ".hidden.jsonl").write_text("{}")
    for path, files in (
        (tmp_path, 3),
        (str(tmp_path / "*.jsonl"), 2),
        ([tmp_path / "b.jsonl", tmp_path / "a.jsonl"], 2),
    ):
        result, report = read(path)
        assert (len(result), len(report.files)) == (3 * files, files)
        assert sum(file.rows for file in report.files) == report.rows
    assert [Path(file.path).name for file in report.files] == ["b.jsonl", "a.jsonl"]
    assert "in 2 files" in report_text(report)


def test_files_of_several_formats_are_refused_together(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", numbered(2))
    write(tmp_path / "b.csv", [TRIMMER])
    with pytest.raises(
        InputError,
        match=r"b\.csv has rows of tokentrimmer, and .*a\.csv of own; read each on its own",
    ):
        read(tmp_path)


@pytest.mark.parametrize("name", ["log[1].jsonl", "what?.jsonl", "a*b.jsonl", "it's.jsonl"])
def test_a_file_name_with_glob_characters_is_read(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a1b.jsonl", numbered(5))
    assert len(read(write(tmp_path / name, numbered(2)))[0]) == 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.csv", "no such file"),
        ("*.parquet", "no file has such a name"),
        ("empty", "no log files in this folder"),
    ],
)
def test_a_path_without_files_is_one_clear_line(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        read(tmp_path / path)
    with pytest.raises(InputError, match="no log was given"):
        read([])


def test_gateway_rows_are_recognised_by_their_columns(tmp_path: Path) -> None:
    rows, report = read(write(tmp_path / "request_logs.csv", [TRIMMER]))
    assert report.format == "tokentrimmer"
    assert report.why.startswith("its rows have id, org_id, ts")
    assert (rows[0]["cached"], rows[0]["ts"].microsecond, rows[0]["org_id"]) == (
        True,
        500_000,
        TRIMMER["org_id"],
    )


def test_an_unknown_format_lists_known_ones_and_advice(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(write(tmp_path / "log.jsonl", [{"colour": "blue"}]))
    message = str(caught.value)
    assert "they have colour" in message
    assert "ttplan inspect" in message
    assert all(
        f"{name}: " in message for name, log_format in FORMATS.items() if log_format.refusal is None
    )


def test_a_format_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", numbered(2))
    assert read(path, format="own")[1].why == "it was asked for"
    with pytest.raises(InputError, match="no column"):
        read(path, format="litellm")


def test_large_documents_are_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ttplan.logs.sources import files

    path = tmp_path / "log.json"
    path.write_text(json.dumps({"data": numbered(100)}))
    monkeypatch.setattr(files, "MAX_DOCUMENT", 1000)
    with pytest.raises(
        InputError, match=r"one JSON document of more than .* convert it to JSON lines"
    ):
        read(path)
