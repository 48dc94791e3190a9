"""Logs in the database of the tool that wrote them: a PostgreSQL server, by its URL, or a DuckDB file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import duckdb

from ttplan.logs.mapping.sql import identifier, quoted
from ttplan.logs.sources.files import Opened, unreadable
from ttplan.model.errors import InputError
from ttplan.util.paths import redact_url

_ATTACHED = "log"
Used = Callable[[dict[str, str]], Iterable[str]]
"""Which of a table's columns are read, from all of them and their types."""


def open_duckdb(
    connection: duckdb.DuckDBPyConnection, file: Path, asked: str | None, known: Iterable[str]
) -> Opened:
    """A table of a DuckDB file: the one that is asked for, else the one that is known. InputError where there is none."""
    try:
        connection.execute(f"DETACH DATABASE IF EXISTS {_ATTACHED}")
        connection.execute(f"ATTACH {quoted(str(file.absolute()))} AS {_ATTACHED} (READ_ONLY)")
        rows = connection.execute(
            f"SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = '{_ATTACHED}' "  # noqa: S608
            f"UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = '{_ATTACHED}' AND NOT internal"
        ).fetchall()
        table = _chosen(str(file), [str(row[1]) for row in rows], asked, known)
        schema = next(str(row[0]) for row in rows if row[1] == table)
        relation = f"{_ATTACHED}.{identifier(schema)}.{identifier(table)}"
        described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()  # noqa: S608
    except duckdb.Error as error:
        raise unreadable(file, "duckdb", error) from None
    columns = {str(row[0]): str(row[1]) for row in described}
    return Opened(str(file), "duckdb", f"its table {table}", relation, columns, bound=False)


def copy_postgres(
    url: str, asked: str | None, known: Iterable[str], used: Used, folder: Path
) -> tuple[Path, str]:
    """The used columns of a table on a server, copied to a CSV file in a folder; and the table's name.

    They are read in one statement, so as of one moment. The server writes the CSV, so no row is looked at here. InputError where
    it cannot be reached, or has no such table.
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
            found = server.execute(
                "SELECT table_schema, table_name FROM information_schema.tables "
                "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY table_schema <> 'public', table_schema"
            ).fetchall()
            table = _chosen(redact_url(url), [str(row[1]) for row in found], asked, known)
            name = sql.Identifier(next(str(row[0]) for row in found if row[1] == table), table)
            head = (
                server.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(name)).description or []
            )
            columns = list(used({column.name: "VARCHAR" for column in head})) or [
                column.name for column in head
            ]
            chosen = sql.SQL(", ").join(sql.Identifier(column) for column in columns)
            target = folder / f"{re.sub(r'[^A-Za-z0-9_]', '_', table)}.csv"
            query = sql.SQL(
                "COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)"
            ).format(chosen, name)
            with target.open("wb") as file, server.cursor().copy(query) as copy:
                for block in copy:
                    file.write(block)
    except psycopg.Error as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{redact_url(url)} cannot be read: {reason}; expected a database that this user may read"
        ) from None
    return target, table


def _chosen(where: str, tables: list[str], asked: str | None, known: Iterable[str]) -> str:
    """The table to read."""
    wanted = [asked] if asked is not None else list(known)
    found = [table for table in dict.fromkeys(tables) if table in wanted]
    if len(found) == 1:
        return found[0]
    have = ", ".join(tables[:20]) or "none"
    if found:
        raise InputError(f"{where} has {' and '.join(found)}; say which with `table`")
    raise InputError(
        f"{where} has no table {' or '.join(wanted)}; it has {have}. Say which one with `table`"
    )
