"""The DuckDB file: creates it, checks it, opens it and migrates its schema."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ttplan.model.errors import StoreError
from ttplan.store.duckdb.backup import connect_for_copy, draft_beside, keep_copy, reason_of
from ttplan.store.duckdb.instance_cache import DuckDBInstance, instance_for, keep
from ttplan.store.duckdb.locking import connect_when_free, shared_file
from ttplan.store.schema import Migration, migrations


@contextmanager
def open_connection(
    path: Path, *, read_only: bool, lock_timeout: float
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file, open and with the current schema, for the duration of the block.

    Threads of one process take turns; a read within an operation of the same thread joins it.
    Raises StoreLocked if another process or thread has the file open for more than `lock_timeout`
    seconds, and StoreError if it is not a store.
    """
    with shared_file(path, lock_timeout) as shared:
        if shared.connection is not None:
            if not read_only:
                state = "being read" if shared.read_only else "being written"
                raise StoreError(f"{path} is {state} by this thread; end that before writing")
            yield shared.connection
            return
        _check_file(path)
        with instance_for(path) as instance:
            connection = _connect(instance, path, read_only, lock_timeout)
            if _missing(connection, path):
                connection = _migrated(instance, path, read_only, lock_timeout)
            shared.connection, shared.read_only = connection, read_only
            try:
                yield connection
            finally:
                shared.connection = None


def leftover_drafts(path: Path) -> list[Path]:
    """Drafts next to a store, left by processes that were killed while creating or copying one."""
    return sorted(path.absolute().parent.glob(f".{glob.escape(path.name)}.*.new*"))


def create_file(path: Path) -> None:
    """Create an empty store.

    It is written to a draft and then linked: it is never partial, and replaces no file.
    """
    try:
        with draft_beside(path) as draft:
            instance = DuckDBInstance(path, draft)
            try:
                connection = instance.open(draft)
                connection.execute("SET TimeZone = 'UTC'")
                _migrate(connection, migrations())
                connection.execute("CHECKPOINT")  # releasing also does it, but reports no error
            finally:
                keep(instance)
            draft.chmod(0o600)  # it holds nonces and bodies of requests
            os.link(draft, path)
    except FileExistsError:
        return
    except (OSError, duckdb.Error) as error:
        raise StoreError(
            f"{path} cannot be created: {reason_of(error)}; choose a folder that exists and that "
            "this user may write"
        ) from error


def _connect(
    instance: DuckDBInstance, path: Path, read_only: bool, lock_timeout: float
) -> duckdb.DuckDBPyConnection:
    """Open the file, after waiting for other processes."""
    return connect_when_free(path, lock_timeout, lambda: instance.open(path, read_only=read_only))


def _check_file(path: Path) -> None:
    """Refuse what cannot be a store.

    The file is not opened here: closing it would drop the locks of all connections that this
    process has to it, and let another process write.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise StoreError(
            f"{path}: no such store; create one with `ttplan import` or ttplan.open"
        ) from None
    except OSError as error:
        raise StoreError(
            f"{path} cannot be opened: {error.strerror}; expected a store that this user may use"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(
            f"{path} cannot be opened: it is not a file; expected a store that ttplan created"
        )
    if status.st_size == 0:
        raise StoreError(
            f"{path} is empty; expected a store that ttplan created. It was left as it is"
        )


def _missing(connection: duckdb.DuckDBPyConnection, path: Path) -> list[Migration]:
    """The migrations that the store lacks. StoreError if another program, or a newer ttplan, made
    the file.

    Many programs have a table `schema_version`: only a table that lists the migrations of ttplan by
    name is migrated.
    """
    known = {migration.version: migration for migration in migrations()}
    try:
        applied = dict(connection.execute("SELECT version, name FROM schema_version").fetchall())
    except (duckdb.CatalogException, duckdb.BinderException):
        applied = {}
    # Names of unknown versions cannot be compared; each store has the first migration.
    if min(known) not in applied or any(
        version in known and known[version].name != name for version, name in applied.items()
    ):
        raise StoreError(
            f"{path} is a DuckDB file, but not a store that ttplan created. It was left as it is"
        )
    if not applied.keys() <= known.keys():
        newest = max(applied.keys() - known.keys())
        raise StoreError(
            f"{path} has schema version {newest}, newer than this ttplan's {max(known)}; use a "
            "newer ttplan. It was left as it is"
        )
    return [migration for version, migration in known.items() if version not in applied]


def _migrated(
    instance: DuckDBInstance, path: Path, read_only: bool, lock_timeout: float
) -> duckdb.DuckDBPyConnection:
    """Migrate the file to the current schema and open it.

    The old file is copied first.
    """
    instance.release()
    # One lock from the copy to the end of the migrations: no other write can be in one and not in
    # the other.
    writing = connect_for_copy(path, lock_timeout, read_only=False)
    try:
        missing = _missing(writing, path)  # another process may have migrated it
        if missing:
            keep_copy(writing, path, _version(writing))
            _migrate(writing, missing)
    except duckdb.Error as error:
        raise StoreError(
            f"{path} could not be migrated to the current schema, and was left as it was: "
            f"{reason_of(error)}"
        ) from error
    finally:
        writing.close()
    return _connect(instance, path, read_only, lock_timeout)


def _version(connection: duckdb.DuckDBPyConnection) -> int:
    return int(connection.execute("SELECT max(version) FROM schema_version").fetchall()[0][0])


def _migrate(connection: duckdb.DuckDBPyConnection, missing: Iterable[Migration]) -> None:
    """Apply migrations, all in one transaction."""
    connection.execute("BEGIN")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version "
        "(version INTEGER NOT NULL, name VARCHAR NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"
    )
    for migration in missing:
        connection.execute(migration.sql)
        connection.execute(
            "INSERT INTO schema_version VALUES (?, ?, now())", [migration.version, migration.name]
        )
    connection.execute("COMMIT")
