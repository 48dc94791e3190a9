"""The DuckDB file: what is not a store is refused and left alone; the lock is waited for; schemas go forward."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

from tests import plans
from ttplan.model.errors import StoreError, StoreLocked
from ttplan.store import duckdb_file
from ttplan.store.duckdb import DuckDBStore
from ttplan.store.schema import Migration, migrations

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def refused(path: Path, message: str) -> None:
    """Opening is a StoreError with that message, and the file stays as it was."""
    before = hashlib.sha256(path.read_bytes()).digest() if path.is_file() else None
    beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else None
    with pytest.raises(StoreError, match=message) as caught:
        DuckDBStore(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3
    if before is not None:
        assert hashlib.sha256(path.read_bytes()).digest() == before
    if beside is not None:
        assert sorted(p.name for p in path.parent.iterdir()) == beside


@pytest.mark.parametrize("content", [b"not a database at all", b"x", b"PAR1" * 100, b"SQLite format 3\0" * 100])
def test_a_file_that_is_no_duckdb_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.duckdb"
    path.write_bytes(content)
    refused(path, "is not a DuckDB file")


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    path.touch()
    refused(path, "is empty")


def test_a_truncated_store(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    DuckDBStore(path)
    path.write_bytes(path.read_bytes()[:5000])
    refused(path, "cannot be opened as a store")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "cannot be opened")


def test_a_missing_parent_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none" / "store.duckdb", "cannot be made")


def test_a_duckdb_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "theirs.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE theirs (x INTEGER)")
    refused(path, "not a store that ttplan made")


def test_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    DuckDBStore(path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 'future', now())")
    refused(path, "schema version 99, newer than this ttplan's")


def test_not_creating_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such store"):
        DuckDBStore(tmp_path / "none.duckdb", create=False)
    assert list(tmp_path.iterdir()) == []


def test_an_older_schema_is_brought_forward_in_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.duckdb"
    with DuckDBStore(path).transaction() as tx:
        tx.add_plan(plans.run(1))
    known = migrations()
    steps = [*known, Migration(len(known) + 1, "next.sql", "CREATE TABLE later (x INTEGER); INSERT INTO later VALUES (7);")]
    monkeypatch.setattr(duckdb_file, "migrations", lambda: steps)
    with DuckDBStore(path).read() as snapshot:
        assert [run.plan_id.int for run in snapshot.plans(plans.ORG)] == [1]
        assert snapshot._rows("SELECT x FROM later") == [(7,)]
        assert snapshot._rows("SELECT version FROM schema_version ORDER BY version") == [(n + 1,) for n in range(len(steps))]


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.duckdb"
    DuckDBStore(path)
    known = migrations()
    with monkeypatch.context() as patch:
        broken = Migration(len(known) + 1, "broken.sql", "CREATE TABLE later (x INTEGER); SELECT no_such_function();")
        patch.setattr(duckdb_file, "migrations", lambda: [*known, broken])
        with pytest.raises(StoreError, match="left as it was"):
            DuckDBStore(path)
    with DuckDBStore(path).read() as snapshot:
        assert snapshot._rows("SELECT max(version) FROM schema_version") == [(len(known),)]
        assert snapshot._rows("SELECT count(*) FROM information_schema.tables WHERE table_name = 'later'") == [(0,)]


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [m.version for m in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_lock_that_is_held_too_long_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path, lock_timeout=0.3)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreLocked, match=rf"in use by process {holder.pid} .*waited 0\.\d s"), store.read():
            pass
    finally:
        holder.communicate()


def test_a_lock_that_is_given_up_in_time_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path, lock_timeout=30)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    timer = threading.Timer(0.4, holder.communicate)
    timer.start()
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
    timer.join()
    with store.read() as snapshot:
        assert snapshot.plan(UUID(int=1)) is not None


def test_no_connection_is_held_between_calls(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path)
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
    script = "import sys, duckdb; duckdb.connect(sys.argv[1]).execute('UPDATE plan_runs SET name = ?', ['theirs'])"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    with store.read() as snapshot:
        run = snapshot.plan(UUID(int=1))
    assert run is not None
    assert run.name == "theirs"


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "store.duckdb")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(5):
                with store.transaction() as tx:
                    tx.add_plan(plans.run(number * 100 + step))
                with store.read() as snapshot:
                    assert snapshot.plan(UUID(int=number * 100 + step)) is not None
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with store.read() as snapshot:
        assert len(snapshot.plans(plans.ORG)) == 20


def test_a_read_inside_a_transaction_joins_it(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "store.duckdb")
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
        with store.read() as snapshot:
            assert snapshot.plan(UUID(int=1)) is not None
    with store.read(), pytest.raises(StoreError, match="being read by this very thread"), store.transaction():
        pass


def test_a_connection_of_ones_own_in_this_process_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path)
    with duckdb.connect(str(path)), pytest.raises(StoreError, match=r"through another connection|in use"), store.read():
        pass
    with store.read() as snapshot:
        assert snapshot.plans(plans.ORG) == []


def test_an_edit_of_a_stored_text_is_not_respelled(tmp_path: Path) -> None:
    """What is hashed comes back as the text that it was, however odd."""
    store = DuckDBStore(tmp_path / "store.duckdb")
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
    with store.read() as snapshot:
        (kind,) = snapshot._rows(
            "SELECT data_type FROM information_schema.columns WHERE table_name = 'audit_entries' AND column_name = 'body'"
        )
    assert kind == ("VARCHAR",)


def test_creating_from_two_threads_at_once_makes_one_store(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    threads = [threading.Thread(target=duckdb_file.create_file, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    DuckDBStore(path)
    assert [p.name for p in tmp_path.iterdir()] == ["store.duckdb"]


def test_a_store_cannot_reach_outside_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    store = DuckDBStore(tmp_path / "store.duckdb")
    with store.read() as snapshot, pytest.raises(duckdb.Error):
        snapshot._rows(f"SELECT * FROM read_csv('{secret}')")
