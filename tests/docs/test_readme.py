"""The README's example and commands run as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.paths import DATA, ROOT
from ttplan.cli.entrypoint import run

README = (ROOT / "README.md").read_text()


def block(language: str, containing: str) -> str:
    """The code block of a language that contains a text."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in blocks if containing in text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the sample data and the README's `routes.yaml`."""
    shutil.copytree(DATA, tmp_path / "data")
    shutil.copy(DATA / "requests.parquet", tmp_path)
    (tmp_path / "routes.yaml").write_text(block("yaml", "routes:"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = block("python", "import ttplan")
    assert len(example.strip().splitlines()) <= 12
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102
    output = capsys.readouterr().out
    assert "saves" in output
    assert "VERIFIED" in output


def test_the_commands_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [
        shlex.split(line.removeprefix("$ ttplan "), comments=True)
        for line in block("console", "$ ttplan import").splitlines()
    ]
    assert len(commands) == 10
    assert run(["key", "show", "--store", "plans.duckdb"]) != 0  # there is no store yet
    for command in commands:
        if command[0] == "verify":
            continue
        if command[0] == "plan":  # the routes that `suggest` wrote have other names and targets
            (folder / "routes.yaml").write_text(block("yaml", "routes:"))
        arguments = command + (["--yes"] if command[0] in ("apply", "revert") else [])
        arguments += ["--overwrite"] if command[0] == "suggest" else []
        assert run(arguments) in ((0, 1) if command[0] == "check-logs" else (0,)), command
    capsys.readouterr()
    assert run(["key", "show", "--store", "plans.duckdb"]) == 0
    key = re.search(r"\b[0-9a-f]{64}\b", capsys.readouterr().out)
    assert key is not None
    assert run(["verify", "chain.jsonl", "--key-hex", key[0]]) == 0


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
