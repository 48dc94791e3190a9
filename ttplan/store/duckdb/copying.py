"""What makes a copy of a store one to rely on: what its tables hold, read back from the file itself, and on the disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

OFFLINE_CONFIG: dict[str, Any] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class TableSum(NamedTuple):
    """What one table holds: how many rows, and a sum of their hashes, which does not depend on their order."""

    rows: int
    hashes: int


def table_sums(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, TableSum]:
    """What each table of an attached database holds."""
    names = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY table_name",
        [database],
    ).fetchall()
    found = {}
    for (name,) in names:
        table = f'{database}.main."{name.replace(chr(34), chr(34) * 2)}"'
        query = f"SELECT count(*), coalesce(sum(CAST(hash(t) AS HUGEINT)), 0) FROM {table} t"  # noqa: S608
        found[name] = TableSum(*connection.execute(query).fetchall()[0])
    return found


def read_table_sums(draft: Path) -> dict[str, TableSum]:
    """What each table of a file holds, opened anew. Raises duckdb.Error."""
    connection = duckdb.connect(config=OFFLINE_CONFIG)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH {sql_path(draft)} AS target (READ_ONLY)")
        return table_sums(connection, "target")
    finally:
        connection.close()


def sql_path(path: Path) -> str:
    """A path as SQL: absolute, so that DuckDB takes no name (":memory:", "md:x") for anything but a file."""
    return "'" + str(path.absolute()).replace("'", "''") + "'"


def copy_permissions(draft: Path, original: Path) -> None:
    """Let nobody read a copy who may not read the original."""
    draft.chmod(stat.S_IMODE(original.stat().st_mode) & 0o777)


def sync(path: Path) -> None:
    """Have a file or a folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
