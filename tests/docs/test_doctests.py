"""The examples in the docstrings of every public name run, and every function has one.

An example finds `ttplan` and its names, `Path`, `datetime`, `timedelta`, and `ws`: a workspace in
the current folder, on 2,000 requests of the first week of April 2026, with a projected plan
"cheaper". The folder also holds `requests.parquet` and `routes.yaml`. Each docstring gets a folder
of its own.
"""

from __future__ import annotations

import doctest
import inspect
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ttplan
from tests.paths import DATA
from ttplan.workspace import Workspace
from ttplan.workspace.base import Evidence

NOW = datetime(2026, 4, 8, 12, tzinfo=UTC)


def documented() -> Iterator[tuple[str, Any]]:
    """Public functions, classes and methods, by name."""
    for name in ttplan.__all__:
        value = getattr(ttplan, name)
        if callable(value):
            yield name, value
    for kind in (Workspace, Evidence):
        for name, value in vars(kind).items():
            if not name.startswith("_") and (callable(value) or isinstance(value, property)):
                yield f"{kind.__name__}.{name}", value
    for module in (ttplan.plots,):
        for name in module.__all__:
            yield f"{module.__name__.rpartition('.')[2]}.{name}", getattr(module, name)


OBJECTS = dict(documented())
NEEDS_EXAMPLE = [
    name
    for name, value in OBJECTS.items()
    if inspect.isfunction(inspect.unwrap(getattr(value, "fget", value)))
]


def open_workspace(folder: Path) -> Workspace:
    return ttplan.open(folder / "plans.duckdb", clock=lambda: NOW)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that examples use."""
    folder = tmp_path_factory.mktemp("examples")
    rows = pq.read_table(DATA / "requests.parquet").slice(0, 2_000)
    start = datetime(2026, 4, 1, tzinfo=UTC)
    times = [start + n * timedelta(days=7) / rows.num_rows for n in range(rows.num_rows)]
    column = rows.schema.get_field_index("ts")
    rows = rows.set_column(column, "ts", pa.array(times, rows.schema.field("ts").type))
    pq.write_table(rows, folder / "requests.parquet")
    shutil.copy(DATA / "routes.yaml", folder)
    workspace = open_workspace(folder)
    workspace.import_logs(folder / "requests.parquet", progress=False)
    workspace.plan(folder / "routes.yaml", name="cheaper", progress=False)
    return folder


@pytest.mark.parametrize("name", OBJECTS)
def test_examples_run(
    name: str, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = inspect.getdoc(OBJECTS[name]) or ""
    if ">>>" not in text:
        pytest.skip("has no example")
    folder = tmp_path / "examples"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {name: getattr(ttplan, name) for name in ttplan.__all__}
    names |= {"ttplan": ttplan, "Path": Path, "datetime": datetime, "timedelta": timedelta}
    names["ws"] = open_workspace(folder)
    example = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


@pytest.mark.parametrize("name", NEEDS_EXAMPLE)
def test_every_public_function_has_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(OBJECTS[name]) or "")
