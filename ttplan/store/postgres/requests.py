"""Copies the requests of a PostgreSQL store into a temporary DuckDB file, for a replay."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import duckdb
import ibis
import ibis.expr.types as ir

from ttplan.store.postgres.connection import Connection
from ttplan.store.schema import migrations

_CONFIG: dict[str, bool | int | float | str | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_MAX_ROW_BYTES = 2**30


@contextmanager
def copied_requests(connection: Connection, own_org: UUID | None) -> Iterator[ir.Table]:
    """The requests that the connection's transaction sees, for the duration of the block; with
    `own_org`, only its own.

    The server writes CSV and DuckDB reads it: rows pass through without being parsed here or held
    in memory.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ttplan-") as folder,
        _empty_table(Path(folder)) as (copy, columns),
    ):
        file = Path(folder) / "requests.csv"
        # PostgreSQL's text format of arrays is not JSON.
        selected = ", ".join(
            "array_to_json(embedding)" if name == "embedding" else name for name in columns
        )
        query = (
            f"COPY (SELECT {selected} FROM ttplan.requests WHERE coalesce(org_id = "  # noqa: S608
            "%s, true)) "
            "TO STDOUT (FORMAT csv, FORCE_QUOTE *)"
        )
        with (
            file.open("wb") as written,
            connection.cursor().copy(query.encode(), [own_org]) as blocks,
        ):
            for block in blocks:
                written.write(block)
        types = {name: "VARCHAR" if name == "embedding" else kind for name, kind in columns.items()}
        read = copy.read_csv(
            str(file),
            header=False,
            columns=types,
            auto_detect=False,
            delimiter=",",
            quotechar='"',
            escapechar='"',
            na_values="",
            allow_quoted_nulls=False,
            max_line_size=_MAX_ROW_BYTES,
            buffer_size=None,
        )
        read.create_view("arrived")
        copy.execute(
            "INSERT INTO requests BY NAME SELECT * REPLACE (CAST(CAST(embedding AS JSON) AS "
            "FLOAT[]) AS embedding) FROM arrived"
        )
        copy.execute("DROP VIEW arrived")
        file.unlink()
        yield ibis.duckdb.from_connection(copy).table("requests")


@contextmanager
def _empty_table(folder: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, str]]]:
    """A DuckDB file in a folder with an empty table `requests`, and the table's columns with
    their types."""
    connection = duckdb.connect(str(folder / "requests.duckdb"), config=_CONFIG)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        for migration in migrations():
            connection.execute(migration.sql)
        columns = connection.execute(
            "SELECT column_name, column_type FROM (DESCRIBE requests)"
        ).fetchall()
        yield connection, dict(columns)
    finally:
        connection.close()
