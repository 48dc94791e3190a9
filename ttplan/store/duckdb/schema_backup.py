"""The copy that is kept of a store before its schema is brought forward."""

from __future__ import annotations

import itertools
import os
import secrets
from contextlib import suppress
from pathlib import Path

import duckdb

from ttplan.model.errors import StoreError
from ttplan.store.duckdb.copying import (
    OFFLINE_CONFIG,
    TableSum,
    copy_permissions,
    read_table_sums,
    sql_path,
    sync,
    table_sums,
)
from ttplan.store.duckdb.locking import connect_when_free


def attached(path: Path, lock_timeout: float) -> duckdb.DuckDBPyConnection:
    """A connection that writes to the file, as its database `source`, and can copy it. Raises StoreLocked and StoreError."""

    def connect() -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(config=OFFLINE_CONFIG)
        try:
            connection.execute(f"ATTACH {sql_path(path)} AS source")
            connection.execute("USE source")
        except duckdb.Error:
            connection.close()
            raise
        return connection

    return connect_when_free(path, lock_timeout, connect)


def keep_copy(connection: duckdb.DuckDBPyConnection, path: Path, version: int) -> Path:
    """Keep what the store holds as `<store>.schema-<version>.bak` beside it, read back and compared, and return where it is.

    A file that is there is never replaced: where it holds the same, it is the copy; else the new one is numbered (`.2.bak`).
    Raises StoreError where the store cannot be copied; there is no copy then.
    """
    draft = path.absolute().with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    try:
        connection.execute(f"ATTACH {sql_path(draft)} AS target")
        connection.execute("COPY FROM DATABASE source TO target")
        connection.execute(
            "CHECKPOINT target"
        )  # letting go does it, too, but does not say where it cannot
        connection.execute("DETACH target")
        expected = table_sums(connection, "source")
        if read_table_sums(draft) != expected:
            raise StoreError(
                f"{path} has an older schema, and a copy of it does not read back the same; it was left as it is"
            )
        copy_permissions(draft, path)
        sync(draft)
        kept = _linked(draft, path.absolute(), version, expected)
        sync(kept.parent)
        return kept
    except (OSError, duckdb.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise StoreError(
            f"{path} has an older schema, which is brought forward only once there is a copy, and it could not be copied: "
            f"{reason}. Make room in its folder, or put it into one that this user may write. It was left as it is"
        ) from error
    finally:
        for leftover in (draft, draft.with_name(draft.name + ".wal")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)


def _linked(draft: Path, path: Path, version: int, expected: dict[str, TableSum]) -> Path:
    """The draft under the first name that is free, or the file there that holds the same."""
    numbers = itertools.count(2)
    kept = path.with_name(f"{path.name}.schema-{version}.bak")
    while True:
        try:
            os.link(draft, kept)
            return kept
        except FileExistsError:
            if _holds(kept, expected):
                return kept
        kept = path.with_name(f"{path.name}.schema-{version}.{next(numbers)}.bak")


def _holds(kept: Path, expected: dict[str, TableSum]) -> bool:
    try:
        return read_table_sums(kept) == expected
    except duckdb.Error:
        return False
