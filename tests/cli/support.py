"""Run commands in this process and check what they print."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.paths import DATA
from ttplan.cli.entrypoint import run

ROUTES = str(DATA / "routes.yaml")


def check_error(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check a command's exit code and its error: one line on stderr, and nothing on stdout."""
    capsys.readouterr()
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("ttplan: ")
    assert message in err
    assert "Traceback" not in err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """Return the JSON document that a command prints, and check that it prints nothing else."""
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def run_text(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Return the text that a command prints."""
    capsys.readouterr()
    assert run(list(arguments)) == code
    return capsys.readouterr().out


def first_plan_id(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the id of the store's first plan."""
    plan_id: str = run_json(capsys, "plans")[0]["plan_id"]
    return plan_id
