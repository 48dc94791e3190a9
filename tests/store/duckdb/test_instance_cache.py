"""Engines that are kept: few, with no file open, none that is spent, and none in a child of a fork."""

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


def test_the_engines_of_the_files_used_last_are_kept_and_used_again(tmp_path: Path) -> None:
    one, two, three = (made(tmp_path / name) for name in "abc")
    assert kept() == ["b", "c"]
    before = instance_cache._IDLE[str(two.path)]
    assert org_of(two) == plans.ORG
    assert kept() == ["c", "b"]
    assert instance_cache._IDLE[str(two.path)] is before
    with two.read():
        assert kept() == ["c"]  # what is in use is nobody else's
    assert org_of(one) == org_of(three) == plans.ORG


def test_no_file_is_open_in_an_engine_that_is_kept(tmp_path: Path) -> None:
    store = made(tmp_path / "s.duckdb")
    for theirs in (False, True):
        with duckdb.connect(str(store.path), read_only=theirs) as connection:
            assert connection.execute("SELECT count(*) FROM settings").fetchall() == [(1,)]
    # Another file in its place is another store.
    store.path.unlink()
    DuckDBStore(tmp_path / "other.duckdb").path.rename(store.path)
    assert org_of(store) is None


def test_nothing_of_an_operation_is_left_in_the_next(tmp_path: Path) -> None:
    store = made(tmp_path / "s.duckdb")
    with store.transaction() as tx:
        tx._rows("CREATE TEMP TABLE mine AS SELECT 1")
        tx._rows("SET TimeZone = 'Asia/Tokyo'")
    with store.read() as snapshot:
        assert snapshot._rows("SELECT current_setting('TimeZone')") == [("UTC",)]
        assert snapshot._rows("SELECT count(*) FROM duckdb_tables() WHERE temporary") == [(0,)]


def test_an_engine_that_is_spent_or_left_files_is_not_kept(tmp_path: Path) -> None:
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


def test_a_child_of_a_fork_uses_the_store_and_so_does_its_parent(tmp_path: Path) -> None:
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
