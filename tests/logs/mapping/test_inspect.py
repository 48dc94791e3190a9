"""Inspecting a log of an unknown format drafts a mapping and shows no text of the log."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.logs.generators.files import FIXTURES
from tests.workspace.test_workspace import opened
from ttplan.cli.entrypoint import run
from ttplan.logs.mapping.inspect import inspect_file
from ttplan.logs.mapping.mapping import read_mapping
from ttplan.model.errors import InputError


def calls(count: int) -> list[dict[str, Any]]:
    """Rows of an unknown format."""
    return [
        {
            "uuid": f"call-{n}",
            "conversation": {"thread_id": f"t-{n // 3}"},
            "started_at": 1777636800000 + n * 1000,
            "Provider": "openai",
            "request": {"model": "gpt-4o", "stream": n % 2 == 0},
            "usage": {"promptTokenCount": 10 + n, "candidatesTokenCount": 5, "cached_tokens": 2},
            "cost_cents": 0.5,
            "duration": 1.5,
            "prompt": f"a private question {n}",
        }
        for n in range(count)
    ]


def test_a_drafted_mapping_reads_its_file(tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    path.write_text(json.dumps({"page": 1, "items": calls(20)}))
    inspection = inspect_file(path)
    assert (inspection.rows, inspection.sampled, inspection.missing, inspection.known_as) == (
        "items[*]",
        20,
        (),
        None,
    )
    draft = tmp_path / "mapping.yaml"
    draft.write_text(inspection.yaml())
    assert read_mapping(draft).fields["ts"].unit == "epoch_ms"
    report = opened(tmp_path / "s.duckdb").import_logs(path, mapping=draft)
    assert (report.added, report.unusable, report.format) == (20, 0, "calls")
    with opened(tmp_path / "s.duckdb").store.read() as snapshot:
        row = (
            snapshot.requests()
            .filter(lambda t: t.source_id == "call-4")
            .to_pyarrow()
            .to_pylist()[0]
        )
    assert (row["input_tokens"], row["output_tokens"], row["cached_tokens"]) == (14, 5, 2)
    assert (float(row["cost_usd"]), row["latency_ms"], row["streamed"]) == (0.005, 1500, True)
    assert (row["provider"], row["model"], row["session_id"]) == ("openai", "gpt-4o", "t-1")


def test_a_draft_lists_missing_fields(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["request id", "time", "model", "tokens_in", "note"])
        writer.writerows(
            [f"r{n}", "2026-05-01 12:00:00", "gpt-4o", "5", "private"] for n in range(3)
        )
    inspection = inspect_file(path)
    assert inspection.missing == ("output_tokens",)
    assert "# output_tokens: say where it is" in inspection.yaml()
    assert inspection.mapping["fields"]["provider"] == {"constant": "unknown"}
    assert inspection.mapping["fields"]["ts"] == {"path": "time", "unit": "iso_utc"}
    assert inspection.mapping["fields"]["id"] == "request id"


def test_no_text_of_a_log_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in calls(5)))
    assert run(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "private" not in shown
    assert "call-1" not in shown
    assert "usage.promptTokenCount" in shown
    assert "10 to 14" in shown


def test_a_known_format_needs_no_mapping(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "m.yaml"
    assert run(["inspect", str(FIXTURES / "litellm_spend_logs.csv"), "--output", str(target)]) == 0
    shown = capsys.readouterr().out
    assert "it is LiteLLM_SpendLogs rows, which needs no mapping" in shown
    assert f"--mapping {target}" in shown
    assert read_mapping(target).fields["input_tokens"].path == ("prompt_tokens",)
    assert run(["inspect", str(FIXTURES / "litellm_spend_logs.csv"), "--output", str(target)]) == 2
    assert run(["inspect", str(tmp_path / "none.csv")]) == 2


def test_deep_nesting_and_invalid_json_are_handled(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text('{"id": "a", "d": ' + "[" * 10_000 + "]" * 10_000 + "}\n")
    assert inspect_file(path).sampled == 1
    path.write_text('{"id": "a"}\n{"id": \n')
    with pytest.raises(InputError, match="cannot be read"):
        inspect_file(path)


def test_short_names_are_matched_by_their_values(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["n", "when", "service", "llm", "prompt", "completion", "price_cents", "ms"]
        )
        writer.writerows(
            [n, "2026-05-01 12:00:00", "openai", "gpt-4o", 100 + n, 5, "0.03", 900]
            for n in range(3)
        )
    fields = inspect_file(path).mapping["fields"]
    assert fields["ts"] == {"path": "when", "unit": "iso_utc"}  # the only time
    assert (fields["input_tokens"], fields["output_tokens"], fields["model"]) == (
        "prompt",
        "completion",
        "llm",
    )
    assert fields["cost_usd"] == {"path": "price_cents", "unit": "cents"}
    assert fields["latency_ms"] == {"path": "ms", "unit": "ms"}
