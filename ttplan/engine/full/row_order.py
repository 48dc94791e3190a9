"""Queries whose rows may come in any order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from ttplan.engine.dialects import execute_surely

_OPTION = "preserve_insertion_order"
_CHANGING = Lock()
"""Held while some instance of DuckDB has another value of the option."""


@contextmanager
def unordered(backend: Any) -> Iterator[None]:
    """The queries of the block may return rows in any order: else DuckDB joins in one thread.

    The option is that of the whole instance, which others may share. So of blocks at the same time
    only the first changes it: another would restore what the first has set.
    """
    if backend.name != "duckdb" or not _CHANGING.acquire(blocking=False):
        yield
        return
    try:
        with _without_order(backend.con):
            yield
    finally:
        _CHANGING.release()


@contextmanager
def _without_order(connection: Any) -> Iterator[None]:
    was = connection.execute(f"SELECT current_setting('{_OPTION}')").fetchone()[0]
    connection.execute(f"SET {_OPTION} = false")
    try:
        yield
    finally:
        execute_surely(connection, f"SET {_OPTION} = {was}")
