"""Copies of a store: backups, and the copy that is kept before the schema is migrated.

A copy is consistent, and complete or absent: it is written to a draft, read back, compared, synced
to disk, and only then gets its name.
"""

from __future__ import annotations

import itertools
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import duckdb

from ttplan.model.errors import InputError, StoreError
from ttplan.store.duckdb.instance_cache import OFFLINE_CONFIG, sql_path
from ttplan.store.duckdb.locking import connect_when_free, exclusive_access


class TableSum(NamedTuple):
    """The content of a table: its row count, and a sum of row hashes that does not depend on
    their order."""

    rows: int
    hashes: int


TableSums = dict[str, TableSum]


def copy_store(
    path: Path, target: Path, *, lock_timeout: float, overwrite: bool = False
) -> TableSums:
    """Copy the store at `path` to `target`, and return the content of each table, as read back from
    the copy.

    During the copy others can read, but not write. Raises InputError if the target exists and not
    `overwrite`, StoreLocked, and StoreError if it cannot be copied or does not read back the same;
    then there is no copy.
    """
    exists = InputError(f"{target} exists already; choose another path, or overwrite it")
    if os.path.exists(target) and os.path.samefile(path, target):
        raise InputError(f"{target} is the store itself; choose another path for the copy")
    if os.path.lexists(target) and not overwrite:
        raise exists
    if os.path.lexists(f"{target}.wal"):  # DuckDB would replay it into the copy
        raise InputError(
            f"{target}.wal exists: a store there is in use, or was not closed; choose another "
            "path for the copy"
        )
    try:
        with draft_beside(target) as draft:
            with exclusive_access(path, lock_timeout):
                connection = connect_for_copy(path, lock_timeout, read_only=True)
                try:
                    expected = _copy_tables(connection, draft)
                finally:
                    connection.close()
            sums = read_table_sums(draft)
            if sums != expected:
                different = sorted(
                    name
                    for name in expected.keys() | sums.keys()
                    if expected.get(name) != sums.get(name)
                )
                raise StoreError(
                    f"the copy of {path} does not read back the same in {', '.join(different)}; "
                    "it was removed"
                )
            _copy_permissions(path, draft)
            _sync(draft)
            draft.replace(target) if overwrite else os.link(draft, target)
            _sync(target.absolute().parent)
    except FileExistsError:
        raise exists from None
    except (OSError, duckdb.Error) as error:
        raise StoreError(f"{path} could not be copied to {target}: {reason_of(error)}") from error
    return sums


def keep_copy(connection: duckdb.DuckDBPyConnection, path: Path, version: int) -> Path:
    """Copy the store to `<store>.schema-<version>.bak` next to it, read it back and compare it;
    return its path.

    An existing file is never replaced: if it has the same content, it is the copy; otherwise the
    new one gets a number (`.2.bak`). Raises StoreError if the store cannot be copied; then there is
    no copy.
    """
    try:
        with draft_beside(path) as draft:
            expected = _copy_tables(connection, draft)
            if read_table_sums(draft) != expected:
                raise StoreError(
                    f"{path} has an older schema, and a copy of it does not read back the same; "
                    "it was left as it is"
                )
            _copy_permissions(path, draft)
            _sync(draft)
            kept = _link_to_free_name(draft, path.absolute(), version, expected)
            _sync(kept.parent)
            return kept
    except (OSError, duckdb.Error) as error:
        raise StoreError(
            f"{path} has an older schema, which is migrated only after a copy of the store is "
            "made, and the copy failed: "
            f"{reason_of(error)}. Free space in its folder, or move it to a folder that this user "
            "may write. It was "
            "left as it is"
        ) from error


def connect_for_copy(
    path: Path, lock_timeout: float, *, read_only: bool
) -> duckdb.DuckDBPyConnection:
    """A connection with the file attached as `source`, able to attach others.

    Raises StoreLocked and StoreError.
    """

    def connect() -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(config=OFFLINE_CONFIG)
        try:
            option = " (READ_ONLY)" if read_only else ""
            connection.execute(f"ATTACH {sql_path(path)} AS source{option}")
            if not read_only:
                connection.execute("USE source")
        except duckdb.Error:
            connection.close()
            raise
        return connection

    return connect_when_free(path, lock_timeout, connect)


def read_table_sums(path: Path) -> TableSums:
    """The content of each table of a file, over a new connection. Raises duckdb.Error."""
    connection = duckdb.connect(config=OFFLINE_CONFIG)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH {sql_path(path)} AS target (READ_ONLY)")
        return _table_sums(connection, "target")
    finally:
        connection.close()


@contextmanager
def draft_beside(path: Path) -> Iterator[Path]:
    """A path for a new file next to `path`; the file and its log are removed after the block."""
    draft = path.absolute().with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    try:
        yield draft
    finally:
        for leftover in (draft, draft.with_name(draft.name + ".wal")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)


def reason_of(error: Exception) -> str | None:
    """The reason of an OSError or a duckdb.Error in one line."""
    return error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]


def _copy_tables(connection: duckdb.DuckDBPyConnection, draft: Path) -> TableSums:
    """Copy the database `source` to a new file, and return the content of each table."""
    connection.execute(f"ATTACH {sql_path(draft)} AS target")
    connection.execute("COPY FROM DATABASE source TO target")
    connection.execute("CHECKPOINT target")  # closing also does it, but reports no error
    connection.execute("DETACH target")
    return _table_sums(connection, "source")


def _table_sums(connection: duckdb.DuckDBPyConnection, database: str) -> TableSums:
    names = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY table_name",
        [database],
    ).fetchall()
    sums = {}
    for (name,) in names:
        table = f'{database}.main."{name.replace(chr(34), chr(34) * 2)}"'
        columns = "count(*), coalesce(sum(CAST(hash(t) AS HUGEINT)), 0)"
        query = f"SELECT {columns} FROM {table} t"  # noqa: S608
        sums[name] = TableSum(*connection.execute(query).fetchall()[0])
    return sums


def _copy_permissions(original: Path, draft: Path) -> None:
    """Give a copy the permissions of the original."""
    draft.chmod(stat.S_IMODE(original.stat().st_mode) & 0o777)


def _sync(path: Path) -> None:
    """Sync a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link_to_free_name(draft: Path, path: Path, version: int, expected: TableSums) -> Path:
    """Link the draft to the first free name, or return a file there with the same content."""
    numbers = itertools.count(2)
    kept = path.with_name(f"{path.name}.schema-{version}.bak")
    while True:
        try:
            os.link(draft, kept)
            return kept
        except FileExistsError:
            with suppress(duckdb.Error):
                if read_table_sums(kept) == expected:
                    return kept
        kept = path.with_name(f"{path.name}.schema-{version}.{next(numbers)}.bak")
