"""A copy of a store that others may be using: consistent, whole or not at all, and read back before it gets its name."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from ttplan.model.errors import InputError, StoreError
from ttplan.store.duckdb_file import alone, waiting_for

_CONFIG: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


class TableSum(NamedTuple):
    """What one table holds: how many rows, and a sum of their hashes, which does not depend on their order."""

    rows: int
    hashes: int


def copy_store(path: Path, target: Path, *, lock_timeout: float, overwrite: bool = False) -> dict[str, TableSum]:
    """Copy the store at `path` to `target`, and return what each table holds, as read back from the copy.

    While it copies, others can read and none can write. Raises InputError where there is such a file already, unless `overwrite`,
    StoreLocked, and StoreError where it cannot be copied or does not read back the same; there is no copy then.
    """
    if os.path.exists(target) and os.path.samefile(path, target):
        raise InputError(f"{target} is the store itself; choose another path for the copy")
    if os.path.lexists(target) and not overwrite:
        raise InputError(f"{target} exists already; choose another path, or say to overwrite it")
    if os.path.lexists(f"{target}.wal"):  # DuckDB would take it for the copy's own, and write it into the copy
        raise InputError(f"{target}.wal exists: a store there is in use, or was not closed; choose another path for the copy")
    draft = target.absolute().with_name(f".{target.name}.{secrets.token_hex(6)}.new")
    try:
        with alone(path, lock_timeout):
            expected = _copy(path, draft, lock_timeout)
        found = _read_back(draft)
        if found != expected:
            odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            raise StoreError(f"the copy of {path} does not read back the same in {', '.join(odd)}; it was thrown away")
        _sync(draft)
        draft.replace(target) if overwrite else os.link(draft, target)
        _sync(target.absolute().parent)
    except FileExistsError:
        raise InputError(f"{target} exists already; choose another path, or say to overwrite it") from None
    except (OSError, duckdb.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise StoreError(f"{path} could not be copied to {target}: {reason}") from error
    finally:
        for leftover in (draft, draft.with_name(draft.name + ".wal")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
    return found


def _copy(path: Path, draft: Path, lock_timeout: float) -> dict[str, TableSum]:
    def connect() -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(config=_CONFIG)
        try:
            connection.execute(f"ATTACH {_quoted(path)} AS source (READ_ONLY)")
        except duckdb.Error:
            connection.close()
            raise
        return connection

    connection = waiting_for(path, lock_timeout, connect)
    try:
        connection.execute(f"ATTACH {_quoted(draft)} AS target")
        connection.execute("COPY FROM DATABASE source TO target")
        return _sums(connection, "source")
    finally:
        connection.close()


def _read_back(draft: Path) -> dict[str, TableSum]:
    connection = duckdb.connect(config=_CONFIG)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH {_quoted(draft)} AS target (READ_ONLY)")
        return _sums(connection, "target")
    finally:
        connection.close()


def _sums(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, TableSum]:
    names = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY table_name", [database]
    ).fetchall()
    found = {}
    for (name,) in names:
        table = f'{database}.main."{name.replace(chr(34), chr(34) * 2)}"'
        query = f"SELECT count(*), coalesce(sum(CAST(hash(t) AS HUGEINT)), 0) FROM {table} t"  # noqa: S608
        found[name] = TableSum(*connection.execute(query).fetchall()[0])
    return found


def _quoted(path: Path) -> str:
    # Absolute, so that DuckDB takes no name (":memory:", "md:x") for anything but a file.
    return "'" + str(path.absolute()).replace("'", "''") + "'"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
