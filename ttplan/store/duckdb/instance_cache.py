"""DuckDB instances that open a store's file, cached by file.

An instance may access its file and nothing else, and has it open for one operation at a time.
Starting an instance takes ten times as long as attaching a file, so the instances of the last files
are kept, with no file attached: between operations neither the file's lock nor its content is held.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

OFFLINE_CONFIG: dict[str, Any] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
MAX_IDLE = 2
"""How many idle instances are kept: of a store, and of one that it is copied to."""
LOCKED = "Could not set lock"
"""The part of DuckDB's message that says that another process has the file open."""
_SUFFIXES = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
"""The files that DuckDB accesses for a database: itself, and its log, also during a checkpoint
or a recovery."""
_IDLE: dict[str, DuckDBInstance] = {}
_IDLE_LOCK = threading.Lock()


class DuckDBInstance:
    """A DuckDB instance for one file.

    One thread uses it at a time; it has the file open from `open` to `release`.
    """

    def __init__(self, path: Path, *drafts: Path) -> None:
        """Start an instance that may access `path`, and `drafts` that become it."""
        self.location = _location(path)
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._reusable = True
        self._spill = Path(f"{self.location}.tmp")
        self._connection = duckdb.connect(
            config=OFFLINE_CONFIG | {"temp_directory": str(self._spill)}
        )
        allowed = ", ".join(
            sql_path(Path(f"{_location(file)}{end}"))
            for file in (path, *drafts)
            for end in _SUFFIXES
        )
        self._connection.execute(f"SET allowed_paths = [{allowed}]")
        self._connection.execute("SET enable_external_access = false")

    def open(self, path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
        """Open the file; create it if it is missing, unless `read_only`. Raises duckdb.Error."""
        option = ", READ_ONLY" if read_only else ""
        # With an explicit type DuckDB does not open other files (CSV, SQLite) as a database.
        try:
            self._connection.execute(
                f"ATTACH {sql_path(Path(_location(path)))} AS store (TYPE duckdb{option})"
            )
        except duckdb.Error as error:
            self._reusable = LOCKED in str(error)
            raise
        self._reusable = False  # until the file is closed
        self._cursor = self._connection.cursor()
        self._cursor.execute("USE store")
        return self._cursor

    def release(self) -> bool:
        """Close the file if it is open; return whether the instance can be reused.

        Commits are on disk either way.
        """
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None
            # It fails if the log cannot be checkpointed, or after a fatal error of DuckDB.
            with suppress(duckdb.Error):
                self._connection.execute("DETACH store")
                self._reusable = True
        # DuckDB removes spilled data only when the instance ends.
        return self._reusable and not os.path.lexists(self._spill)

    def close(self) -> None:
        """End the instance, and close its file."""
        self._connection.close()


@contextmanager
def instance_for(path: Path) -> Iterator[DuckDBInstance]:
    """The instance of a file for the duration of the block: the cached one, or a new one."""
    with _IDLE_LOCK:
        instance = _IDLE.pop(_location(path), None)
    instance = instance or DuckDBInstance(path)
    try:
        yield instance
    finally:
        keep(instance)


def keep(instance: DuckDBInstance) -> None:
    """Close an instance's file and cache the instance; the oldest cached one ends."""
    if not instance.release():
        instance.close()
        return
    ended = []
    with _IDLE_LOCK:
        if instance.location in _IDLE:
            ended.append(_IDLE.pop(instance.location))
        _IDLE[instance.location] = instance
        while len(_IDLE) > MAX_IDLE:
            ended.append(_IDLE.pop(next(iter(_IDLE))))
    for old in ended:
        old.close()


def close_idle() -> None:
    """End all cached instances.

    A process must have none when it forks: a child does not have their threads.
    """
    with _IDLE_LOCK:
        idle = list(_IDLE.values())
        _IDLE.clear()
    for instance in idle:
        with suppress(duckdb.Error):
            instance.close()


def sql_path(path: Path) -> str:
    """A path as an SQL string: absolute, so that DuckDB does not interpret names such as
    ":memory:" or "md:x"."""
    return "'" + str(path.absolute()).replace("'", "''") + "'"


def _location(path: Path) -> str:
    """The real path of a file: DuckDB resolves links, and keeps its log next to the file."""
    return os.path.realpath(path)


atexit.register(close_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=close_idle)
