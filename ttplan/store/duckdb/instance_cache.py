"""The DuckDB that opens a store's file. It may reach that file and nothing else, and has it open for one operation at a time.

To start a DuckDB takes ten times as long as to open a file in one, so those of the files used last are kept, with no file open:
nothing of a file is held between operations, neither its lock nor what was read of it.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from ttplan.store.duckdb.copying import OFFLINE_CONFIG, sql_path

KEPT = 2
"""How many are kept: of a store, and of one that it is compared with or copied to."""
LOCKED = "Could not set lock"
"""What DuckDB says where another process has the file."""
_BESIDE = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
"""What DuckDB reads and writes of a file: itself, and its log, also while that is written into it and when it is made anew."""
_IDLE: dict[str, Engine] = {}
_IDLE_LOCK = threading.Lock()


class Engine:
    """A DuckDB for one file. It is one thread's at a time, and has the file from `open` to `let_go`."""

    def __init__(self, path: Path, *drafts: Path) -> None:
        """Start one that may reach `path`, and `drafts` that become it."""
        self.location = _location(path)
        self._opened: duckdb.DuckDBPyConnection | None = None
        self._sound = True
        self._spill = Path(f"{self.location}.tmp")
        self._base = duckdb.connect(config=OFFLINE_CONFIG | {"temp_directory": str(self._spill)})
        allowed = ", ".join(
            sql_path(Path(f"{_location(one)}{end}")) for one in (path, *drafts) for end in _BESIDE
        )
        self._base.execute(f"SET allowed_paths = [{allowed}]")
        self._base.execute("SET enable_external_access = false")

    def open(self, path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
        """The file, open, and made where there is none, unless `read_only`. Raises duckdb.Error."""
        how = ", READ_ONLY" if read_only else ""
        # The type is said, so that DuckDB takes no other file (a CSV, an SQLite file) for a database.
        try:
            self._base.execute(
                f"ATTACH {sql_path(Path(_location(path)))} AS store (TYPE duckdb{how})"
            )
        except duckdb.Error as error:
            self._sound = LOCKED in str(error)
            raise
        self._sound = False  # until the file is closed again
        self._opened = self._base.cursor()
        self._opened.execute("USE store")
        return self._opened

    def let_go(self) -> bool:
        """Close the file, if it is open, and say whether this can be used again. What was committed is on the disk anyway."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
            # It fails where the log cannot be written into the file, or DuckDB has given up.
            with suppress(duckdb.Error):
                self._base.execute("DETACH store")
                self._sound = True
        # What did not fit the memory is removed as a DuckDB ends.
        return self._sound and not os.path.lexists(self._spill)

    def close(self) -> None:
        """End it, and close the file, if it is open."""
        self._base.close()


@contextmanager
def engine_for(path: Path) -> Iterator[Engine]:
    """The engine of a file for the length of the block: the one that was kept, or a new one."""
    with _IDLE_LOCK:
        engine = _IDLE.pop(_location(path), None)
    engine = engine or Engine(path)
    try:
        yield engine
    finally:
        keep(engine)


def keep(engine: Engine) -> None:
    """Let go of an engine's file, and keep the engine for who needs it next; the one that was kept longest ends."""
    if not engine.let_go():
        engine.close()
        return
    ended = []
    with _IDLE_LOCK:
        if engine.location in _IDLE:
            ended.append(_IDLE.pop(engine.location))
        _IDLE[engine.location] = engine
        while len(_IDLE) > KEPT:
            ended.append(_IDLE.pop(next(iter(_IDLE))))
    for one in ended:
        one.close()


def end_idle() -> None:
    """End all that are kept. A process that forks must have none: their threads are not in the child."""
    with _IDLE_LOCK:
        idle = list(_IDLE.values())
        _IDLE.clear()
    for engine in idle:
        with suppress(duckdb.Error):
            engine.close()


def _location(path: Path) -> str:
    """Where a file is in truth: DuckDB follows links, too, and its log is beside the file, not beside the link."""
    return os.path.realpath(path)


atexit.register(end_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=end_idle)
