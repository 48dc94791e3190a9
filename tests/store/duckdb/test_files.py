"""The DuckDB file: other files are refused unchanged, locks are waited for, schemas migrated."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

from tests.support import plans
from ttplan.model.errors import StoreError, StoreLocked
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import LiveRoute, UnreadableRoute
from ttplan.store.duckdb import files
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.rows import write_exact
from ttplan.store.schema import Migration, migrations

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def refused(path: Path, message: str) -> None:
    """Opening raises StoreError with that message and leaves the file unchanged."""
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


@pytest.mark.parametrize(
    "content", [b"not a database at all", b"x", b"PAR1" * 100, b"SQLite format 3\0" * 100]
)
def test_a_file_that_is_not_a_duckdb_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.duckdb"
    path.write_bytes(content)
    refused(path, "is not a DuckDB file")


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv", "log.parquet"])
def test_a_log_file_is_not_opened_as_a_store(tmp_path: Path, name: str) -> None:
    """DuckDB itself would open such a file as a table."""
    path = tmp_path / name
    path.write_bytes(b'{"a": 1}\n' * 10)
    refused(path, "is not a DuckDB file")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    path.touch()
    refused(path, "is empty")


@pytest.mark.parametrize("kept", [13, 4096, 5000, 8192, 12288])
def test_a_truncated_store_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "store.duckdb"
    DuckDBStore(path)
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, "cannot be opened as a store")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "cannot be opened")


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "it is not a file")


def test_a_missing_parent_folder_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "none" / "store.duckdb", "cannot be created")


def test_a_duckdb_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE theirs (x INTEGER)")
    refused(path, "not a store that ttplan created")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE schema_version (v INTEGER)",
        "CREATE TABLE schema_version (version VARCHAR); "
        "INSERT INTO schema_version VALUES ('1.2.0')",
        "CREATE TABLE schema_version (version INTEGER); INSERT INTO schema_version VALUES (1)",
        "CREATE TABLE schema_version (version INTEGER, name VARCHAR, applied_at TIMESTAMPTZ)",
        "CREATE TABLE schema_version AS SELECT 1 AS version, 'init' AS name, now() AS applied_at",
        "CREATE VIEW schema_version AS SELECT 1 AS version",
    ],
)
def test_a_foreign_schema_version_is_not_taken_for_a_store(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "theirs.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)
    refused(path, "not a store that ttplan created")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    DuckDBStore(path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 'future', now())")
    refused(path, "schema version 99, newer than this ttplan's")


def test_a_missing_store_is_not_created_without_create(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such store"):
        DuckDBStore(tmp_path / "none.duckdb", create=False)
    assert list(tmp_path.iterdir()) == []


def test_an_older_schema_is_migrated_in_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.duckdb"
    with DuckDBStore(path).transaction() as tx:
        tx.add_plan(plans.run(1))
    known = migrations()
    steps = [
        *known,
        Migration(
            known[-1].version + 1,
            "next.sql",
            "CREATE TABLE later (x INTEGER); INSERT INTO later VALUES (7);",
        ),
    ]
    monkeypatch.setattr(files, "migrations", lambda: steps)
    with DuckDBStore(path).read() as snapshot:
        assert [run.plan_id.int for run in snapshot.plans(plans.ORG)] == [1]
        assert snapshot._rows("SELECT x FROM later") == [(7,)]
        assert snapshot._rows("SELECT version FROM schema_version ORDER BY version") == [
            (step.version,) for step in steps
        ]


def test_plans_from_before_later_columns_are_read_and_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.duckdb"
    run = plans.run(1, (plans.route(1),))
    with monkeypatch.context() as patch:
        patch.setattr(files, "migrations", lambda: migrations()[:2])
        files.create_file(path)
        with duckdb.connect(str(path)) as connection:
            fields = run.model_dump() | {
                name: write_exact(run.model_dump()[name])
                for name in ("config", "pricing", "result")
            }
            columns = [
                row[0]
                for row in connection.execute(
                    "SELECT column_name FROM (DESCRIBE plan_runs)"
                ).fetchall()
            ]
            assert "live_seen" not in columns
            marks = ", ".join("?" for _ in columns)
            connection.execute(
                f"INSERT INTO plan_runs VALUES ({marks})", [fields[name] for name in columns]
            )
    with DuckDBStore(path).transaction() as tx:
        assert tx.plan(UUID(int=1)) == run
        assert tx.mark_applied(UUID(int=1), plans.CREATED, (plans.route(1),)) == "projected"
        assert [live.route for live in tx.live_routes(plans.ORG)] == [plans.route(1)]


def test_a_skipped_migration_is_run_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version numbers have gaps; a gap may be filled after a store has a later version."""
    path = tmp_path / "store.duckdb"
    with DuckDBStore(path).transaction() as tx:
        tx.add_plan(plans.run(1))
    known = migrations()
    gap = next(n for n in range(1, known[-1].version) if n not in {step.version for step in known})
    steps = sorted(
        [*known, Migration(gap, f"{gap:04}_between.sql", "CREATE TABLE between_two (x INTEGER)")]
    )
    monkeypatch.setattr(files, "migrations", lambda: steps)
    with DuckDBStore(path).read() as snapshot:
        assert snapshot._rows("SELECT count(*) FROM between_two") == [(0,)]
        assert snapshot.plan(UUID(int=1)) == plans.run(1)


def test_a_migration_of_a_newer_version_in_a_gap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    DuckDBStore(path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (9, 'theirs', now())")
    refused(path, "schema version 9, newer than this ttplan's")


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.duckdb"
    DuckDBStore(path)
    known = migrations()
    with monkeypatch.context() as patch:
        broken = Migration(
            known[-1].version + 1,
            "broken.sql",
            "CREATE TABLE later (x INTEGER); SELECT no_such_function();",
        )
        patch.setattr(files, "migrations", lambda: [*known, broken])
        with pytest.raises(StoreError, match="left as it was"):
            DuckDBStore(path)
    with DuckDBStore(path).read() as snapshot:
        assert snapshot._rows("SELECT max(version) FROM schema_version") == [(known[-1].version,)]
        assert snapshot._rows(
            "SELECT count(*) FROM information_schema.tables WHERE table_name = 'later'"
        ) == [(0,)]


def test_migrations_are_numbered_in_order_without_repetition() -> None:
    versions = [m.version for m in migrations()]
    assert versions[0] == 1
    assert versions == sorted(set(versions))


def test_a_lock_timeout_names_the_process_that_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path, lock_timeout=0.3)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(StoreLocked, match=rf"in use by process {holder.pid} .*waited 0\.\d s"),
            store.read(),
        ):
            pass
    finally:
        holder.communicate()


def test_a_lock_released_in_time_is_acquired(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path, lock_timeout=30)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
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
    script = (
        "import sys, duckdb; "
        "duckdb.connect(sys.argv[1]).execute('UPDATE plan_runs SET name = ?', ['theirs'])"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    with store.read() as snapshot:
        run = snapshot.plan(UUID(int=1))
    assert run is not None
    assert run.name == "theirs"


def test_a_row_corrupted_by_another_program_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path)
    with store.transaction() as tx:
        tx.add_plan(plans.run(1, (plans.route(1), plans.route(2))))
        tx.mark_applied(UUID(int=1), plans.CREATED, (plans.route(1), plans.route(2)))
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE routes SET conditions = '{not json' WHERE name = 'route 1'")
        connection.execute(
            "UPDATE plan_runs SET result = replace(result, 'sample_size', 'samples')"
        )
    with store.read() as snapshot:
        good, bad = snapshot.live_route_rows(plans.ORG)
        assert isinstance(good, LiveRoute)
        assert good.route == plans.route(2)
        assert isinstance(bad, UnreadableRoute)
        assert bad.name == "route 1"
        with pytest.raises(
            StoreError, match=r"the row of the live route 'route 1' is corrupt: .*`ttplan drift`"
        ):
            snapshot.live_routes(plans.ORG)
        with pytest.raises(
            StoreError, match=rf"the row of plan {UUID(int=1)} is corrupt: result.sample"
        ):
            snapshot.plan(UUID(int=1))
        assert snapshot.statuses(plans.ORG) == {UUID(int=1): "applied"}


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
    with (
        store.read(),
        pytest.raises(StoreError, match="being read by this thread"),
        store.transaction(),
    ):
        pass


def test_another_connection_in_this_process_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path)
    with (
        duckdb.connect(str(path)),
        pytest.raises(StoreError, match="through another connection"),
        store.read(),
    ):
        pass
    with store.read() as snapshot:
        assert snapshot.plans(plans.ORG) == []


def test_a_stored_entry_body_is_not_reformatted(tmp_path: Path) -> None:
    """The hashed text is stored as it is, with its numbers, spaces and escapes."""
    store = DuckDBStore(tmp_path / "store.duckdb")
    payload = '{"a":1e16,"b":1.50,"c":1E+2,"d":"\\u00e9 é"}'
    body = f'{{"event": "e","payload":{payload},"timestamp":"t"}}'.encode()
    record = StoredEntry(str(plans.ORG), 0, "0" * 64, "1" * 64, "2" * 128, body)
    with store.transaction() as tx:
        tx.append_entry(record)
    with store.read() as snapshot:
        assert list(snapshot.entries(plans.ORG)) == [record]


def test_a_failed_open_keeps_the_lock_of_another_connection(tmp_path: Path) -> None:
    """Closing any handle to a file releases all locks of the process on it, so that another
    process could write while the connection is open."""
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path)
    script = "import sys, duckdb; duckdb.connect(sys.argv[1])"
    with duckdb.connect(str(path)):
        for operation in (store.read, store.transaction):
            with pytest.raises(StoreError), operation():
                pass
        other = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True
        )
    assert other.returncode != 0
    assert "Could not set lock" in other.stderr


def test_a_store_attached_to_another_connection_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS mine")
        with pytest.raises(StoreError, match="through another connection"), store.read():
            pass


@pytest.mark.parametrize("name", [":memory:", "md:cloud", "sqlite:x", "s3:bucket"])
def test_special_duckdb_names_are_ordinary_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with DuckDBStore(name).transaction() as tx:
        tx.add_plan(plans.run(1))
    with DuckDBStore(tmp_path / name).read() as snapshot:
        assert snapshot.plan(UUID(int=1)) is not None
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_wait_for_another_thread_ends_at_the_timeout(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "store.duckdb", lock_timeout=0.1)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            with store.read():
                pass
        except BaseException as error:
            caught.append(error)

    with store.transaction():
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(10)
    (error,) = caught
    assert isinstance(error, StoreLocked)
    assert "another thread of this process; waited 0.1 s" in str(error)


WITHOUT_PERMISSION = """
import os, sys
from pathlib import Path
from ttplan.operations.keyring import Keyring
from ttplan.model.errors import KeyFileError, StoreError
from ttplan.workspace.open import open_workspace
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.memory import MemoryStore
from ttplan.store.schema import migrations
migrations()  # read now: without its rights this process may not reach the package
if os.geteuid() == 0:
    os.seteuid(65534)
for name in sys.argv[1:]:
    try:
        with DuckDBStore(Path(name)).transaction():
            print("opened")
    except StoreError as error:
        print(error)
shut = Path(sys.argv[-1])
keyring = Keyring(MemoryStore(), None, shut.with_name("key.pem"), makes_key=True)
for opening in (lambda: open_workspace(shut), keyring.signing):
    try:
        opening()
    except (StoreError, KeyFileError) as error:
        print(error)
"""


def test_a_store_without_permission_is_refused() -> None:
    # Not in tmp_path: its parents are closed to other users, and the store must be refused.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        unreadable, unwritable, new = (
            folder / "unreadable.duckdb",
            folder / "unwritable.duckdb",
            folder / "shut" / "new.duckdb",
        )
        for path, mode in ((unreadable, 0o000), (unwritable, 0o444)):
            DuckDBStore(path)
            path.chmod(mode)
        new.parent.mkdir()
        new.parent.chmod(0o000)
        before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
        child = subprocess.run(
            [sys.executable, "-c", WITHOUT_PERMISSION, str(unreadable), str(unwritable), str(new)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    finally:
        with suppress(OSError):
            new.parent.chmod(0o755)
        shutil.rmtree(folder)
    first, second, third, workspace, key = child.stdout.splitlines()
    assert (
        first == f"{unreadable} cannot be opened: Permission denied; "
        "expected a store that this user may use"
    )
    assert (
        second == f"{unwritable} cannot be opened: Permission denied; "
        "expected a store that this user may use"
    )
    assert third.startswith(f"{new} cannot be created: ")
    assert "Permission denied" in third
    assert workspace.startswith(f"{new} cannot be created: ")
    assert key.startswith(f"{new.with_name('key.pem')} cannot be written: Permission denied")


def test_creating_from_two_threads_at_once_makes_one_store(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    threads = [threading.Thread(target=files.create_file, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    DuckDBStore(path)
    assert [p.name for p in tmp_path.iterdir()] == ["store.duckdb"]


def test_a_store_cannot_access_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    store = DuckDBStore(tmp_path / "store.duckdb")
    with store.read() as snapshot, pytest.raises(duckdb.Error):
        snapshot._rows(f"SELECT * FROM read_csv('{secret}')")
