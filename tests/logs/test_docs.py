"""What docs/logs.md and its pages say holds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.logs.generators.files import FIXTURES
from tests.paths import DOCS
from tests.workspace.test_workspace import opened
from ttplan.logs.formats import FORMATS
from ttplan.logs.mapping.mapping import read_mapping
from ttplan.logs.units import UNITS


def test_every_format_has_a_line_and_every_page_is_linked() -> None:
    text = (DOCS / "logs.md").read_text()
    for name, one in FORMATS.items():
        if one.refusal is None:
            assert any(
                name.startswith(said.removesuffix("…"))
                for cell in re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
                for said in re.findall(r"`([\w…]+)`", cell)
            ), name
    linked = set(re.findall(r"\(logs/(\w+\.md)", text))
    assert linked == {page.name for page in (DOCS / "logs").glob("*.md")}
    for page in (DOCS / "logs").glob("*.md"):
        assert "ttplan import" in page.read_text() or page.name == "totals.md"


def test_the_report_is_what_an_import_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(FIXTURES / "litellm_spend_logs.csv", "spend_logs.csv")
    said = str(opened(tmp_path / "s.duckdb").import_logs("spend_logs.csv")).splitlines()
    shown = re.findall(
        r"```console\n\$ ttplan import spend_logs.*?\n(.*?)```",
        (DOCS / "logs.md").read_text(),
        re.DOTALL,
    )[0]
    assert said[: len(shown.splitlines())] == shown.splitlines()


def test_the_mapping_that_is_shown_is_one(tmp_path: Path) -> None:
    text = (DOCS / "logs" / "mapping.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "mapping.yaml"
    path.write_text(example)
    assert read_mapping(path).name == yaml.safe_load(example)["name"]
    table = text[text.index("| Unit |") :]
    assert set(UNITS) <= set(re.findall(r"`(\w+)`", table))
