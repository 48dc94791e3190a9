"""Before a migration the store is copied: the copy is verified and replaces no file."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

from tests.support import plans
from ttplan.model.errors import StoreError
from ttplan.store.duckdb import files
from ttplan.store.duckdb.backup import read_table_sums
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.schema import Migration, migrations

VERSION = migrations()[-1].version
NEXT = Migration(
    VERSION + 1, "next.sql", "CREATE TABLE later (x INTEGER); INSERT INTO later VALUES (7);"
)
BROKEN = Migration(VERSION + 1, "next.sql", "SELECT no_such_function();")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a plan and the current schema."""
    made = tmp_path / "it's here.duckdb"
    with DuckDBStore(made).transaction() as tx:
        tx.add_plan(plans.run(1))
    return made


def newer(monkeypatch: pytest.MonkeyPatch, *steps: Migration) -> None:
    monkeypatch.setattr(files, "migrations", lambda: [*migrations(), *steps])


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def versions(path: Path) -> list[int]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return [
            row[0]
            for row in connection.execute(
                "SELECT version FROM schema_version ORDER BY version"
            ).fetchall()
        ]


@pytest.mark.parametrize("writing", [False, True])
def test_an_older_store_is_copied_before_the_migration(
    path: Path, monkeypatch: pytest.MonkeyPatch, writing: bool
) -> None:
    path.chmod(0o600)
    store = DuckDBStore(path)
    before = versions(path)
    newer(monkeypatch, NEXT)
    with store.transaction() if writing else store.read() as opened:
        assert opened._rows("SELECT x FROM later") == [(7,)]
    kept = path.with_name(f"{path.name}.schema-{VERSION}.bak")
    assert names(path) == [path.name, kept.name]
    assert versions(kept) == before
    assert versions(path) == [*before, VERSION + 1]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    # A copy is an ordinary store: restored, it is migrated again, and the copy exists already.
    path.unlink()
    path.write_bytes(kept.read_bytes())
    with DuckDBStore(path).read() as snapshot:
        assert snapshot.plan(UUID(int=1)) == plans.run(1)
    assert names(path) == [path.name, kept.name]


def test_a_new_store_and_a_current_one_are_not_copied(path: Path) -> None:
    DuckDBStore(path)
    assert names(path) == [path.name]


@pytest.mark.parametrize("content", [b"somebody's file", "another store"])
def test_a_file_with_the_name_of_the_copy_is_never_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str
) -> None:
    taken = path.with_name(f"{path.name}.schema-{VERSION}.bak")
    if isinstance(content, bytes):
        taken.write_bytes(content)
    else:
        DuckDBStore(taken)
    before = taken.read_bytes()
    newer(monkeypatch, NEXT)
    DuckDBStore(path)
    assert taken.read_bytes() == before
    second = path.with_name(f"{path.name}.schema-{VERSION}.2.bak")
    assert names(path) == sorted([path.name, taken.name, second.name])
    with duckdb.connect(str(second), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM plan_runs").fetchall() == [(1,)]


def test_a_migration_that_fails_repeatedly_makes_one_copy(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer(monkeypatch, BROKEN)
    for _ in range(2):
        with pytest.raises(StoreError, match="left as it was"):
            DuckDBStore(path)
    assert names(path) == [path.name, f"{path.name}.schema-{VERSION}.bak"]


def test_a_store_that_cannot_be_copied_is_not_migrated(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer(monkeypatch, NEXT)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ttplan.store.duckdb.backup.os.link", full)
        with pytest.raises(
            StoreError,
            match=r"older schema.*only after a copy.*No space left on device. Free space",
        ):
            DuckDBStore(path)
    assert names(path) == [path.name]
    assert VERSION + 1 not in versions(path)


def test_a_copy_that_reads_back_differently_is_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer(monkeypatch, NEXT)
    original = read_table_sums

    def losing(draft: Path) -> Any:
        with duckdb.connect(str(draft)) as connection:
            connection.execute("DELETE FROM plan_runs")
        return original(draft)

    monkeypatch.setattr("ttplan.store.duckdb.backup.read_table_sums", losing)
    with pytest.raises(StoreError, match="does not read back the same"):
        DuckDBStore(path)
    assert names(path) == [path.name]
    assert VERSION + 1 not in versions(path)


UPGRADING = f"""
import os, signal, sys
from pathlib import Path
from ttplan.store.duckdb import files
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.schema import Migration, migrations
steps = [*migrations(), Migration({VERSION + 1}, "next.sql", {NEXT.sql!r})]
files.migrations = lambda: steps
if sys.argv[2] == "die":
    files._migrate = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
DuckDBStore(Path(sys.argv[1]))
"""


def upgrading(path: Path, how: str = "live") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", UPGRADING, str(path), how], stderr=subprocess.PIPE
    )


@pytest.mark.slow
def test_concurrent_migrations_make_one_copy_despite_a_kill(
    path: Path,
) -> None:
    dying = upgrading(path, "die")
    dying.communicate(timeout=120)
    assert dying.returncode == -signal.SIGKILL
    kept = f"{path.name}.schema-{VERSION}.bak"
    assert names(path) == [path.name, kept]
    for child in [upgrading(path) for _ in range(2)]:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
    assert names(path) == [path.name, kept]
    assert versions(path)[-1] == VERSION + 1
    assert os.path.getsize(path) > 0


NO_ROOM = f"""
import resource, sys
from pathlib import Path
from ttplan.model.errors import StoreError
from ttplan.store.duckdb import files
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.duckdb.backup import copy_store
from ttplan.store.schema import Migration, migrations
# The log fits, a whole file does not: then the log has all of the data, and the file none.
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
path = Path(sys.argv[1])
known = [*migrations()]
for doing in (
    lambda: DuckDBStore(path.with_name("new.duckdb")),
    lambda: copy_store(path, path.with_name("copy.duckdb"), lock_timeout=5),
    lambda: DuckDBStore(path),
):
    try:
        doing()
        print("done")
    except StoreError as error:
        print(error)
    files.migrations = lambda: [*known, Migration({VERSION + 1}, "next.sql", {NEXT.sql!r})]
"""


def test_a_store_whose_data_is_only_in_its_log_is_copied(path: Path) -> None:
    before = path.read_bytes()
    child = subprocess.run(
        [sys.executable, "-c", NO_ROOM, str(path)], capture_output=True, text=True, check=True
    )
    new, copy, upgraded = child.stdout.splitlines()
    assert "new.duckdb cannot be created: " in new
    assert "could not be copied to" in copy
    assert (
        "older schema, which is migrated only after a copy of the store is made, "
        "and the copy failed" in upgraded
    )
    assert names(path) == [path.name]
    assert path.read_bytes() == before
