"""Waits for a DuckDB file that other threads or processes have open, and explains why one cannot
be opened."""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from ttplan.model.errors import StoreError, StoreLocked
from ttplan.store.duckdb.instance_cache import LOCKED
from ttplan.store.duckdb.lock_queue import LockQueue
from ttplan.store.transactions import thread_lock
from ttplan.util.monitor import report_wait

# Parts of DuckDB's messages if a file is not a store or cannot be opened, and what they mean.
_REASONS = (
    (
        ("different configuration", "Unique file handle conflict"),
        "is open in this process through another connection; close it",
    ),
    (
        (
            "not a valid DuckDB database",
            "external extensions is disabled",
            "in-memory database in read-only",
        ),
        "is not a DuckDB file; expected a store that ttplan created. It was left as it is",
    ),
    (
        ("Permission denied",),
        "cannot be opened: Permission denied; expected a store that this user may use",
    ),
)
_HOLDER = re.compile(r"held in (.+?) \(PID (\d+)\)")


@dataclass
class SharedFile:
    """What threads of this process share of a file: the one that holds `lock` may open it."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    connection: duckdb.DuckDBPyConnection | None = None
    read_only: bool = True


_SHARED: dict[str, SharedFile] = {}
_SHARED_LOCK = threading.Lock()


@contextmanager
def shared_file(path: Path, lock_timeout: float) -> Iterator[SharedFile]:
    """The file's share of this process, without other threads for the duration of the block.

    Raises StoreLocked.
    """
    with _SHARED_LOCK:
        shared = _SHARED.setdefault(os.path.realpath(path), SharedFile())
    with thread_lock(shared.lock, path, lock_timeout):
        yield shared


@contextmanager
def exclusive_access(path: Path, lock_timeout: float) -> Iterator[None]:
    """No thread of this process has the file open during the block.

    StoreError if this thread has it open.
    """
    with shared_file(path, lock_timeout) as shared:
        if shared.connection is not None:
            raise StoreError(f"{path} is open in this thread; close it before copying it")
        yield


def connect_when_free(
    path: Path, lock_timeout: float, connect: Callable[[], duckdb.DuckDBPyConnection]
) -> duckdb.DuckDBPyConnection:
    """Call `connect` once no other process has the file open; waiting processes are served in order
    of arrival.

    Raises StoreLocked, StoreError, and what an `on_wait` callback raises to end the wait.
    """
    started = time.monotonic()
    pause = 0.002
    queue = LockQueue(path)
    holder = "another process"
    try:
        while True:
            is_late = time.monotonic() - started >= lock_timeout
            # Trying costs a hundred times as much as looking whose turn it is.
            if is_late or queue.is_turn():
                try:
                    connection = connect()
                    connection.execute("SET TimeZone = 'UTC'")
                    return connection
                except duckdb.Error as error:
                    waited = time.monotonic() - started
                    reason = str(error).splitlines()[0]
                    if LOCKED not in reason:
                        raise _cannot_open(path, reason) from error
                    if is_late or waited >= lock_timeout:
                        raise _locked(path, reason, waited) from error
                    holder = _holder(reason)
            report_wait(holder)
            queue.enter()
            # Jitter keeps waiting processes from meeting at each attempt.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - not for secrets
            pause = min(pause * 1.5, 0.05)
    finally:
        queue.leave()


def _cannot_open(path: Path, reason: str) -> StoreError:
    for parts, meaning in _REASONS:
        if any(part in reason for part in parts):
            return StoreError(f"{path} {meaning}")
    return StoreError(f"{path} cannot be opened as a store: {reason}. It was left as it is")


def _locked(path: Path, reason: str, waited: float) -> StoreLocked:
    return StoreLocked(
        f"{path} is in use by {_holder(reason)}; waited {waited:.1f} s for it. Close it there, or "
        "try again"
    )


def _holder(reason: str) -> str:
    match = _HOLDER.search(reason)
    return "another process" if match is None else f"process {match[2]} ({match[1]})"
