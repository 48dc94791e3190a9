"""Logs in a tool's own database: a PostgreSQL server, given by its URL, or a DuckDB file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import duckdb

from ttplan.logs.mapping.sql import identifier, quoted
from ttplan.logs.sources.files import FileRelation, unreadable
from ttplan.model.errors import InputError
from ttplan.util.paths import redact_url

_DATABASE = "log"
UsedColumns = Callable[[dict[str, str]], Iterable[str]]
"""Which of a table's columns, given with their types, are read."""


def open_duckdb(
    connection: duckdb.DuckDBPyConnection, file: Path, table: str | None, known: Iterable[str]
) -> FileRelation:
    """A table of a DuckDB file: the named one, else one of the known ones."""
    try:
        connection.execute(f"DETACH DATABASE IF EXISTS {_DATABASE}")
        connection.execute(
            f"ATTACH {quoted(str(file.absolute()))} AS {_DATABASE} (READ_ONLY, TYPE duckdb)"
        )
        rows = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables()"  # noqa: S608
            f" WHERE database_name = '{_DATABASE}'"
            " UNION ALL SELECT schema_name, view_name FROM duckdb_views()"
            f" WHERE database_name = '{_DATABASE}' AND NOT internal"
        ).fetchall()
        table = _choose_table(str(file), [str(row[1]) for row in rows], table, known)
        schema = next(str(row[0]) for row in rows if row[1] == table)
        relation = f"{_DATABASE}.{identifier(schema)}.{identifier(table)}"
        described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()  # noqa: S608
    except duckdb.Error as error:
        raise unreadable(file, "duckdb", error) from None
    columns = {str(row[0]): str(row[1]) for row in described}
    return FileRelation(str(file), "duckdb", f"its table {table}", relation, columns, bound=False)


def copy_postgres(
    url: str, table: str | None, known: Iterable[str], used: UsedColumns, folder: Path
) -> tuple[Path, str]:
    """Copy the used columns of a server's table to a CSV file in a folder; returns file and table.

    One statement reads them, so they are a consistent snapshot, and the server writes the CSV, so
    no row passes through Python. Raises InputError if the server cannot be reached or has no such
    table.
    """
    try:
        import psycopg
        from psycopg import sql
    except ImportError:
        raise InputError(
            "reading from PostgreSQL needs psycopg; install ttplan[postgres]"
        ) from None
    try:
        with psycopg.connect(url, options="-c timezone=UTC -c datestyle=ISO") as server:
            server.read_only = True
            rows = server.execute(
                "SELECT table_schema, table_name FROM information_schema.tables"
                " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
                " ORDER BY table_schema <> 'public', table_schema"
            ).fetchall()
            table = _choose_table(redact_url(url), [str(row[1]) for row in rows], table, known)
            name = sql.Identifier(next(str(row[0]) for row in rows if row[1] == table), table)
            head = server.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(name)).description
            all_columns = [column.name for column in head or []]
            columns = list(used(dict.fromkeys(all_columns, "VARCHAR"))) or all_columns
            query = sql.SQL(
                "COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)"
            ).format(sql.SQL(", ").join(map(sql.Identifier, columns)), name)
            target = folder / f"{re.sub(r'[^A-Za-z0-9_]', '_', table)}.csv"
            with target.open("wb") as file, server.cursor().copy(query) as copy:
                for block in copy:
                    file.write(block)
    except psycopg.Error as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{redact_url(url)} cannot be read: {reason};"
            " expected a database that this user may read"
        ) from None
    return target, table


def _choose_table(where: str, tables: list[str], name: str | None, known: Iterable[str]) -> str:
    """The table with that name, else the only known one."""
    names = [name] if name is not None else list(known)
    matches = [table for table in dict.fromkeys(tables) if table in names]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InputError(f"{where} has {' and '.join(matches)}; say which with `table`")
    raise InputError(
        f"{where} has no table {' or '.join(names)}; it has {', '.join(tables[:20]) or 'none'}."
        " Say which one with `table`"
    )
