"""The threat model names a test for each attack that is detected, and those tests exist."""

from __future__ import annotations

import ast
import re

from tests.paths import ROOT


def named() -> list[tuple[str, str | None]]:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    return [
        (path, name or None) for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    ]


def test_every_test_that_is_named_is_there() -> None:
    listed = named()
    assert len(listed) > 25
    for path, name in listed:
        tree = ast.parse((ROOT / path).read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name is None or name in names, f"{path} has no {name}"


def test_every_row_of_its_tables_that_catches_somebody_names_one() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "| Test |" not in line]
    catching = rows[: next(i for i, row in enumerate(rows) if "tt audit verify" in row)]
    assert [row for row in catching if "`tests/" not in row] == []
