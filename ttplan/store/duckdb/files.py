"""The DuckDB file itself: made whole or not at all, checked before it is opened, shared in turn with other processes."""

from __future__ import annotations

import glob
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from ttplan.model.errors import StoreError, StoreLocked
from ttplan.store.duckdb.instance_cache import Engine, engine_for, keep
from ttplan.store.duckdb.locking import connect_when_free
from ttplan.store.duckdb.schema_backup import attached, keep_copy
from ttplan.store.schema import Migration, migrations
from ttplan.util.waiting import tell_waiting

_THREAD = "another thread of this process"
_LOOK = 0.05
"""Seconds after which a thread that waits for another looks whether it is still to wait."""


@dataclass
class _Shared:
    """What the threads of this process share of one file: whoever holds `lock` may have it open."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    connection: duckdb.DuckDBPyConnection | None = None
    read_only: bool = True


_SHARED: dict[str, _Shared] = {}
_SHARED_LOCK = threading.Lock()


def _shared(path: Path) -> _Shared:
    with _SHARED_LOCK:
        return _SHARED.setdefault(os.path.realpath(path), _Shared())


@contextmanager
def _turn(path: Path, lock_timeout: float) -> Iterator[_Shared]:
    """What this process has of the file, for the length of the block no other thread's. Raises StoreLocked."""
    shared = _shared(path)
    started = time.monotonic()
    while not shared.lock.acquire(
        timeout=min(max(lock_timeout - (time.monotonic() - started), 0), _LOOK)
    ):
        if time.monotonic() - started >= lock_timeout:
            raise StoreLocked(
                f"{path} is in use by {_THREAD}; waited {lock_timeout:.1f} s for it. Try again"
            )
        tell_waiting(_THREAD)
    try:
        yield shared
    finally:
        shared.lock.release()


@contextmanager
def exclusive_access(path: Path, lock_timeout: float) -> Iterator[None]:
    """No other thread of this process has the file for the length of the block. StoreError where this very thread has it open."""
    with _turn(path, lock_timeout) as shared:
        if shared.connection is not None:
            raise StoreError(f"{path} is open by this very thread; end that before copying it")
        yield


@contextmanager
def open_connection(
    path: Path, *, read_only: bool, lock_timeout: float
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file, opened and of the current schema, for the length of the block.

    Threads of one process take turns; a read inside an operation of the same thread joins it. Raises StoreLocked where another
    process, or another thread, has the file for longer than `lock_timeout` seconds, and StoreError where it is not a store.
    """
    with _turn(path, lock_timeout) as shared:
        if shared.connection is not None:
            if not read_only:
                doing = "being read" if shared.read_only else "being written"
                raise StoreError(f"{path} is {doing} by this very thread; end that before writing")
            yield shared.connection
            return
        _check_file(path)
        with engine_for(path) as engine:
            connection = _connect(engine, path, read_only, lock_timeout)
            if _missing(connection, path):
                connection = _migrated(engine, path, read_only, lock_timeout)
            shared.connection, shared.read_only = connection, read_only
            try:
                yield connection
            finally:
                shared.connection = None


def leftover_drafts(path: Path) -> list[Path]:
    """Files beside a store that a process which made or copied one left when it was killed."""
    return sorted(path.absolute().parent.glob(f".{glob.escape(path.name)}.*.new*"))


def create_file(path: Path) -> None:
    """Make a new, empty store. Made beside and then linked: nobody ever sees half of one, and none is replaced."""
    draft = path.absolute().with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    try:
        engine = Engine(path, draft)
        try:
            connection = engine.open(draft)
            connection.execute("SET TimeZone = 'UTC'")
            _migrate(connection, migrations())
            connection.execute(
                "CHECKPOINT"
            )  # letting go does it, too, but does not say where it cannot
        finally:
            keep(engine)
        os.link(draft, path)
    except FileExistsError:
        return
    except (OSError, duckdb.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise StoreError(
            f"{path} cannot be made: {reason}; choose a folder that exists and that this user may write"
        ) from error
    finally:
        for leftover in (draft, draft.with_name(draft.name + ".wal")):
            with suppress(OSError):  # where it could not be made, it need not be removed
                leftover.unlink(missing_ok=True)


def _connect(
    engine: Engine, path: Path, read_only: bool, lock_timeout: float
) -> duckdb.DuckDBPyConnection:
    """Open the file, waiting for another process that has it."""
    return connect_when_free(path, lock_timeout, lambda: engine.open(path, read_only=read_only))


def _check_file(path: Path) -> None:
    """Refuse what cannot be a store. The file is not opened here: closing it would drop the locks of any connection to it that
    this process has, its user's own included, and let another process write under it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise StoreError(
            f"{path}: no such store; make one with `ttplan import` or ttplan.open"
        ) from None
    except OSError as error:
        raise StoreError(
            f"{path} cannot be opened: {error.strerror}; expected a store that this user may use"
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(
            f"{path} cannot be opened: it is not a file; expected a store that ttplan made"
        )
    if found.st_size == 0:
        raise StoreError(
            f"{path} is empty; expected a store that ttplan made. It was left as it is"
        )


def _missing(connection: duckdb.DuckDBPyConnection, path: Path) -> list[Migration]:
    """The migrations that the store has not had. StoreError where it is somebody else's file, or a newer ttplan's.

    Many programs keep a table `schema_version`: only one that lists our migrations by name is ours to bring forward.
    """
    ours = {migration.version: migration for migration in migrations()}
    try:
        found = dict(connection.execute("SELECT version, name FROM schema_version").fetchall())
    except (duckdb.CatalogException, duckdb.BinderException):
        found = {}
    # Names of versions that are not known here cannot be compared; every store of ours has had the first.
    if min(ours) not in found or any(
        version in ours and ours[version].name != name for version, name in found.items()
    ):
        raise StoreError(
            f"{path} is a DuckDB file, but not a store that ttplan made. It was left as it is"
        )
    if not found.keys() <= ours.keys():
        newest = max(found.keys() - ours.keys())
        raise StoreError(
            f"{path} has schema version {newest}, newer than this ttplan's {max(ours)}; use a newer ttplan. It was left as it is"
        )
    return [migration for version, migration in ours.items() if version not in found]


def _migrated(
    engine: Engine, path: Path, read_only: bool, lock_timeout: float
) -> duckdb.DuckDBPyConnection:
    """The file brought to the current schema, opened as it was asked for. A copy of it as it was is made beside it first."""
    engine.let_go()
    # One lock from before the copy until after the migrations: nobody else's write can be in the one and not in the other.
    writing = attached(path, lock_timeout)
    try:
        missing = _missing(writing, path)  # another process may have been first
        if missing:
            keep_copy(writing, path, _version(writing))
            _migrate(writing, missing)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise StoreError(
            f"{path} could not be brought to the current schema, and was left as it was: {reason}"
        ) from error
    finally:
        writing.close()
    return _connect(engine, path, read_only, lock_timeout)


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
