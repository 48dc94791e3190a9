"""Errors, exit codes, help and interrupts of the command line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.cli.support import ROUTES, check_error, first_plan_id, run_json
from tests.logs.test_reader import numbered, write
from tests.paths import DATA
from tests.workspace.test_workspace import content
from ttplan.cli.entrypoint import OLD_NAMES, build_command, run
from ttplan.cli.output import OPTION_OF_PARAMETER, name_options
from ttplan.model.audit import User


def test_bad_input_is_one_line_and_keeps_the_store(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = first_plan_id(capsys)
    before = content(store)
    (tmp_path / "cut.parquet").write_bytes((DATA / "requests.parquet").read_bytes()[:-500])
    (tmp_path / "header.csv").write_text("a,b\n1,2\n")
    bad: dict[str, list[dict[str, object]]] = {
        "negative.csv": numbered(2, input_tokens=-1),
        "fraction.jsonl": numbered(2, input_tokens=1.5),
        "nan.csv": numbered(2, cost_usd="NaN"),
        "naive.csv": numbered(2, ts="2026-05-01 12:00:00"),
        "twice.csv": [*numbered(1, tag="new"), *numbered(1, tag="x")],
        "changed.csv": numbered(1, tag="other"),
    }
    for name, rows in bad.items():
        write(tmp_path / name, rows)
    routes = {
        "key.yaml": "routes: [{name: a, priority: 1, when: {tag: x}, then: {target_model: m}}]",
        "names.yaml": "routes:\n"
        + "".join(
            f"- {{id: {i}, name: a, priority: 1, then: {{target_model: m}}}}\n" for i in "ab"
        ),
        "price.yaml": "routes: [{name: a, priority: 1, then: {target_model: no-such-model}}]",
        "broken.yaml": "routes: [",
    }
    for name, text in routes.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "cut.jsonl").write_bytes(b'{"meta":true')
    (tmp_path / "other.pem").write_text("no key")
    (tmp_path / "other.pem").chmod(0o600)
    at = str(tmp_path) + "/"
    cases: list[tuple[list[str], int, str]] = [
        (["import", at + "none.parquet"], 2, "none.parquet: no such file"),
        (["import", at + "cut.parquet"], 2, "cut.parquet cannot be read as parquet"),
        (["import", at + "header.csv"], 2, "header.csv: no column id"),
        (["import", at + "negative.csv"], 2, "input_tokens: expected a whole number"),
        (["import", at + "fraction.jsonl"], 2, "row 1: '1.5'"),
        (["import", at + "nan.csv"], 2, "cost_usd: expected an amount in USD"),
        (["import", at + "naive.csv"], 2, "ts: expected a time with its zone"),
        (["import", at + "twice.csv"], 2, "is in row 1 and in row 2"),
        (["import", at + "changed.csv"], 2, "is in the store already with another"),
        (["plan", at + "none.yaml", "--name", "p"], 2, "none.yaml: no such file"),
        (["plan", at + "key.yaml", "--name", "p"], 2, "when.tag: this key is not known"),
        (["plan", at + "names.yaml", "--name", "p"], 2, "two routes have the name 'a'"),
        (["plan", at + "price.yaml", "--name", "p"], 2, "no price for model 'no-such-model'"),
        (["plan", at + "broken.yaml", "--name", "p"], 2, "broken.yaml, line"),
        (
            [
                "plan",
                ROUTES,
                "--name",
                "p",
                "--start",
                "2026-05-02T00:00:00Z",
                "--end",
                "2026-05-01T00:00:00Z",
            ],
            2,
            "not after its start",
        ),
        (
            ["plan", ROUTES, "--name", "p", "--start", "2026-05-02"],
            2,
            "--start and --end go together",
        ),
        (
            ["plan", ROUTES, "--name", "p", "--start", "2026-05-02T00:00", "--end", "2026-05-03"],
            2,
            "--start is '2026-05-02T00:00'; expected",
        ),
        (["plan", ROUTES, "--name", "p", "--method", "magic"], 2, "expected one of auto"),
        (["plan", ROUTES], 2, "--name"),
        (["show", "12345678"], 2, "no plan 12345678"),
        (["apply", str(UUID(int=5)), "--yes"], 2, "no plan"),
        (["apply", plan, "--yes", "--api-key", "me"], 2, "--api-key is 'me'; expected a UUID"),
        (["apply", plan, "--yes", "--system", "--user", str(UUID(int=5))], 2, "give only one of"),
        (["apply", plan, "--json"], 2, "add --yes"),
        (["apply", plan, "--yes", "--key-file", at + "none.pem"], 2, "no signing key at"),
        (["apply", plan, "--yes", "--key-file", at + "other.pem"], 2, "is not a private key"),
        (["plans", "--store", at + "none.duckdb"], 2, "no such store"),
        (["plans", "--store", at + "log.jsonl"], 3, "is not a DuckDB file"),
        (["verify", at + "none.jsonl"], 2, "none.jsonl cannot be read"),
        (["verify", at + "none.duckdb"], 2, "no such store"),
        (["verify", at + "cut.jsonl", "--key-hex", "22" * 32], 2, "line 1: not JSON"),
        (["verify", str(store), "--key-hex", "xyz"], 2, "expected 64 hex digits"),
        (["verify", str(store), "--key-hex", "00" * 32], 2, "small order"),
        (["verify", str(store), "--anchor", "7"], 2, "is not an anchor"),
        (["verify", str(store), "--signatures", "some"], 2, "expected all or tip"),
        (["key", "generate", at + "other.pem"], 2, "exists already"),
        (["export-chain", at + "log.jsonl"], 2, "exists already"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["demo", "--store", str(store)], 2, "exists already"),
    ]
    for arguments, code, message in cases:
        check_error(arguments, code, message, capsys)
    assert content(store) == before


def test_apply_asks_for_confirmation(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = first_plan_id(capsys)
    before = content(store)
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(["apply", plan]) == 130
    out, err = capsys.readouterr()
    assert "Apply this plan?" in out + err
    assert "nothing was done" in err
    assert content(store) == before


def test_an_unexpected_error_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("ttplan.cli.entrypoint.build_command", lambda: broken)
    check_error(["plans"], 3, "unexpected ZeroDivisionError: odd", capsys)


@pytest.mark.slow
def test_the_demo_runs_all_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--store", str(tmp_path / "demo.duckdb")]) == 0
    out = capsys.readouterr().out
    for text in (
        "28,185 added",
        "saves",
        "USD",
        "3 routes live",
        "VERIFIED: 1 entry",
        "BROKEN: 0 entries",
        "(HashMismatch)",
    ):
        assert text in out
    assert run(["demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"]["verdict"] == "verified"


def test_help_and_a_closed_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    module = [sys.executable, "-m", "ttplan"]
    done = subprocess.run([*module, "--help"], capture_output=True, text=True, check=True)
    assert "import" in done.stdout
    assert capsys.readouterr().out.split() == done.stdout.split()
    process = subprocess.Popen(
        [*module, "prices", "gpt-4o"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() in (0, 1)


def test_old_command_names_still_work(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "chain.jsonl"]) == run(["export-chain", "other.jsonl"]) == 0
    assert run(["check"]) == run(["check-logs"])
    assert run(["keygen", "key.pem"]) == 0
    assert {"check", "export", "history", "keygen", "watch"} == OLD_NAMES.keys()
    assert run(["--help"]) == 0
    assert "keygen" not in capsys.readouterr().out


def test_each_mapped_option_exists() -> None:
    def options(command: Any) -> Iterator[str]:
        for parameter in command.params:
            yield from parameter.opts
        for subcommand in getattr(command, "commands", {}).values():
            yield from options(subcommand)

    assert set(OPTION_OF_PARAMETER.values()) <= set(options(build_command()))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("leave them out with on_bad_rows='skip'", "leave them out with --skip-bad-rows"),
        ("give one in a price file (prices)", "give one in a price file (--prices)"),
        ("count at their cost (allow_unpriced)", "count at their cost (--allow-unpriced)"),
        ("import with cost='doctor'", "import with --cost doctor"),
        ("allow that with allow_bodies=True", "allow that with --allow-bodies"),
        ("the log has no requests and no prices", "the log has no requests and no prices"),
        ("no column org_id", "no column org_id"),
        ("open it with org_id=UUID", "open it with --org UUID"),
        ("target_models names no model", "--target names no model"),
        ("min_share is 2; expected a share", "--min-share is 2; expected a share"),
        ("base_url cannot be read", "--base-url cannot be read"),
    ],
)
def test_parameters_are_named_as_options(message: str, expected: str) -> None:
    assert name_options(message) == expected


def test_a_person_is_named_by_email(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = first_plan_id(capsys)
    entry = run_json(capsys, "apply", plan, "--yes", "--user", "Ada@Example.com")
    assert entry["actor"]["user_id"] == str(User.named("ada@example.com").user_id)
