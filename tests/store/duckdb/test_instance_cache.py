"""Cached DuckDB instances: few, no file open, none that is broken, none in a forked child."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import duckdb
import pytest

from tests.support import plans
from ttplan.model.errors import StoreError
from ttplan.store.duckdb import instance_cache
from ttplan.store.duckdb.store import DuckDBStore


@pytest.fixture(autouse=True)
def none_yet() -> None:
    instance_cache.close_idle()


def made(path: Path) -> DuckDBStore:
    store = DuckDBStore(path)
    with store.transaction() as tx:
        tx.set_org_id(plans.ORG)
    return store


def kept() -> list[str]:
    return [Path(location).name for location in instance_cache._IDLE]


def org_of(store: DuckDBStore) -> object:
    with store.read() as snapshot:
        return snapshot.org_id()


def test_instances_of_the_last_files_are_cached_and_reused(tmp_path: Path) -> None:
    first, second, third = (made(tmp_path / name) for name in "abc")
    assert kept() == ["b", "c"]
    before = instance_cache._IDLE[str(second.path)]
    assert org_of(second) == plans.ORG
    assert kept() == ["c", "b"]
    assert instance_cache._IDLE[str(second.path)] is before
    with second.read():
        assert kept() == ["c"]  # what is in use is nobody else's
    assert org_of(first) == org_of(third) == plans.ORG


def test_a_cached_instance_has_no_file_open(tmp_path: Path) -> None:
    store = made(tmp_path / "s.duckdb")
    for read_only in (False, True):
        with duckdb.connect(str(store.path), read_only=read_only) as connection:
            assert connection.execute("SELECT count(*) FROM settings").fetchall() == [(1,)]
    # A file that replaces it is another store.
    store.path.unlink()
    DuckDBStore(tmp_path / "other.duckdb").path.rename(store.path)
    assert org_of(store) is None


def test_an_operation_leaves_no_state_for_the_next(tmp_path: Path) -> None:
    store = made(tmp_path / "s.duckdb")
    with store.transaction() as tx:
        tx._rows("CREATE TEMP TABLE mine AS SELECT 1")
        tx._rows("SET TimeZone = 'Asia/Tokyo'")
    with store.read() as snapshot:
        assert snapshot._rows("SELECT current_setting('TimeZone')") == [("UTC",)]
        assert snapshot._rows("SELECT count(*) FROM duckdb_tables() WHERE temporary") == [(0,)]


def test_a_broken_instance_or_one_with_files_is_not_cached(tmp_path: Path) -> None:
    store = made(tmp_path / "s.duckdb")
    with store.read():
        (tmp_path / "s.duckdb.tmp").mkdir()  # as if not all had fitted the memory
    assert kept() == []
    (tmp_path / "s.duckdb.tmp").rmdir()
    assert org_of(store) == plans.ORG
    instance_cache._IDLE[str(store.path)]._connection.close()
    with pytest.raises(StoreError, match="cannot be opened"), store.read():
        pass
    assert kept() == []
    assert org_of(store) == plans.ORG


def test_both_processes_can_use_the_store_after_a_fork(tmp_path: Path) -> None:
    store = made(tmp_path / "s.duckdb")
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        with store.transaction() as tx:
            tx.add_plan(plans.run(1))
        os._exit(0 if org_of(store) == plans.ORG else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with store.read() as snapshot:
        assert len(snapshot.plans(plans.ORG)) == 1
