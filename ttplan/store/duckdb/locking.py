"""Opening a DuckDB file that other processes may have: waited for so long, and what DuckDB says put into words of ours."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from ttplan.model.errors import StoreError, StoreLocked
from ttplan.store.duckdb.instance_cache import LOCKED
from ttplan.store.duckdb.lock_queue import LockQueue
from ttplan.util.waiting import tell_waiting

# What DuckDB says where a file is no store, or cannot be had, and what that means here.
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
        "is not a DuckDB file; expected a store that ttplan made. It was left as it is",
    ),
    (
        ("Permission denied",),
        "cannot be opened: Permission denied; expected a store that this user may use",
    ),
)
_HOLDER = re.compile(r"held in (.+?) \(PID (\d+)\)")


def connect_when_free(
    path: Path, lock_timeout: float, connect: Callable[[], duckdb.DuckDBPyConnection]
) -> duckdb.DuckDBPyConnection:
    """What `connect` opens, in UTC, once no other process has the file; who came first is next.

    Raises StoreLocked and StoreError, and what whoever is told of the wait raises to end it.
    """
    started = time.monotonic()
    pause = 0.002
    queue = LockQueue(path)
    holder = "another process"
    try:
        while True:
            late = time.monotonic() - started >= lock_timeout
            # To try costs a hundred times what it costs to look whose turn it is.
            if late or queue.is_turn():
                try:
                    connection = connect()
                    connection.execute("SET TimeZone = 'UTC'")
                    return connection
                except duckdb.Error as error:
                    waited = time.monotonic() - started
                    reason = str(error).splitlines()[0]
                    if LOCKED not in reason:
                        raise _cannot_open(path, reason) from error
                    if late or waited >= lock_timeout:
                        raise _locked(path, reason, waited) from error
                    holder = _holder(reason)
            tell_waiting(holder)
            queue.enter()
            # Jittered, so that waiting processes do not meet again at every try.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - not for secrets
            pause = min(pause * 1.5, 0.05)
    finally:
        queue.leave()


def _cannot_open(path: Path, reason: str) -> StoreError:
    for signs, meaning in _REASONS:
        if any(sign in reason for sign in signs):
            return StoreError(f"{path} {meaning}")
    return StoreError(f"{path} cannot be opened as a store: {reason}. It was left as it is")


def _locked(path: Path, reason: str, waited: float) -> StoreLocked:
    return StoreLocked(
        f"{path} is in use by {_holder(reason)}; waited {waited:.1f} s for it. Close it there, or try again"
    )


def _holder(reason: str) -> str:
    found = _HOLDER.search(reason)
    return "another process" if found is None else f"process {found[2]} ({found[1]})"
