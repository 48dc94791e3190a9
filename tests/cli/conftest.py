"""Fixtures of the command-line tests: a key and a store in the environment."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import UUID

import pytest

from tests.cli.support import ROUTES
from tests.logs.test_reader import numbered, write
from ttplan.audit.keys.key_files import SIGNING_KEY_VARIABLE
from ttplan.cli.entrypoint import run


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one signing key, a store and a working directory of the test."""
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
    monkeypatch.setenv("TTPLAN_STORE", str(tmp_path / "s.duckdb"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def planned_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small log and a store with one projected plan, made once."""
    folder = tmp_path_factory.mktemp("planned")
    log = write(folder / "log.jsonl", numbered(400, tag="chat", latency_ms=900))
    store = str(folder / "s.duckdb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
        assert run(["import", str(log), "--store", store]) == 0
        assert run(["plan", ROUTES, "--name", "cheaper", "--store", store]) == 0
    return folder


@pytest.fixture(scope="session")
def applied_store(
    planned_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """A store with two applied plans, and their ids, made once."""
    from ttplan import open as open_workspace

    folder = tmp_path_factory.mktemp("applied")
    shutil.copy(planned_store / "s.duckdb", folder)
    store = str(folder / "s.duckdb")
    plan_ids = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
        assert run(["plan", ROUTES, "--name", "second", "--store", store]) == 0
        plan_ids = list(open_workspace(store).plans()["plan_id"])
        options = ["--yes", "--allow-stale", "--user", str(UUID(int=7)), "--store", store]
        for plan_id in plan_ids:
            assert run(["apply", plan_id, *options]) == 0
    return folder, plan_ids


@pytest.fixture
def store(planned_store: Path, tmp_path: Path) -> Path:
    """A store with a small log and one projected plan."""
    for file in planned_store.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / "s.duckdb"


@pytest.fixture
def plans(applied_store: tuple[Path, list[str]], tmp_path: Path) -> list[str]:
    """The ids of two applied plans in the store."""
    folder, plan_ids = applied_store
    shutil.copy(folder / "s.duckdb", tmp_path)
    return plan_ids
