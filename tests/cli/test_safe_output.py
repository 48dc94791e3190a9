"""Text of a store or a file cannot change the terminal, in any command."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from tests.store.conftest import new_duckdb_store
from tests.support import plans
from tests.support.plan_driver import PlanDriver
from ttplan.cli.entrypoint import run
from ttplan.model.route import RouteConditions

HOSTILE = "x\x1b[31m\x9b2J\u202e\r\nVERIFIED: 9 entries\x07"
UNSAFE = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store in which names, tags and models are hostile."""
    store = new_duckdb_store(tmp_path)
    driver = PlanDriver(store)
    when = RouteConditions(model_in=(HOSTILE,), tag_equals=HOSTILE)
    driver.live(1, plans.route(1, name=HOSTILE, when=when))
    driver.project(2, plans.route(2, name=f"2 {HOSTILE}", when=when), name=HOSTILE)
    return str(store.path)


@pytest.mark.parametrize(
    "command",
    [
        ["plans"],
        ["savings"],
        ["routes"],
        ["routes", "--yaml"],
        ["entries"],
        ["drift"],
        ["health"],
        ["show", "00000000-0000-0000-0000-000000000002"],
        ["apply", "00000000-0000-0000-0000-000000000002", "--yes"],
        ["show", HOSTILE + "none"],
        ["plans", "--json"],
        ["routes", "--json"],
    ],
    ids=lambda command: " ".join(command)[:20],
)
def test_output_is_safe(command: list[str], store: str, capsys: pytest.CaptureFixture[str]) -> None:
    run([*command, "--store", store])
    out, err = capsys.readouterr()
    assert out + err
    assert [c for c in out + err if unicodedata.category(c) in UNSAFE and c != "\n"] == []
    assert not any(line.startswith("VERIFIED") for line in (out + err).splitlines())
    if "--json" in command:
        rows = json.loads(out)
        assert HOSTILE in [row["name"] for row in rows]
