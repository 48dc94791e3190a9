"""The requests of a PostgreSQL store as a table that a replay reads: copied into DuckDB, in a file that is gone afterwards."""

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
_LONGEST = 2**30
"""The most bytes of one row."""


@contextmanager
def copied_requests(connection: Connection, own: UUID | None) -> Iterator[ir.Table]:
    """The requests, as the transaction of the connection sees them, for the block; with `own` those of one organisation.

    The server writes CSV and DuckDB reads it: no row is looked at here, and none has to fit in memory.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ttplan-") as folder,
        _table_in(Path(folder)) as (copy, columns),
    ):
        file = Path(folder) / "requests.csv"
        # Of arrays PostgreSQL has a spelling of its own.
        spelled = ", ".join(
            "array_to_json(embedding)" if name == "embedding" else name for name in columns
        )
        query = (
            f"COPY (SELECT {spelled} FROM ttplan.requests WHERE coalesce(org_id = %s, true)) "  # noqa: S608
            "TO STDOUT (FORMAT csv, FORCE_QUOTE *)"
        )
        with file.open("wb") as written, connection.cursor().copy(query.encode(), [own]) as blocks:
            for block in blocks:
                written.write(block)
        texts = {name: "VARCHAR" if name == "embedding" else kind for name, kind in columns.items()}
        read = copy.read_csv(
            str(file),
            header=False,
            columns=texts,
            auto_detect=False,
            delimiter=",",
            quotechar='"',
            escapechar='"',
            na_values="",
            allow_quoted_nulls=False,
            max_line_size=_LONGEST,
            buffer_size=None,
        )
        read.create_view("arrived")
        copy.execute(
            "INSERT INTO requests BY NAME SELECT * REPLACE (CAST(CAST(embedding AS JSON) AS FLOAT[]) AS embedding) FROM arrived"
        )
        copy.execute("DROP VIEW arrived")
        file.unlink()
        yield ibis.duckdb.from_connection(copy).table("requests")


@contextmanager
def _table_in(folder: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, str]]]:
    """An empty table `requests` of a DuckDB store, in a file in a folder, and its columns with their types."""
    connection = duckdb.connect(str(folder / "requests.duckdb"), config=_CONFIG)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        for migration in migrations():
            connection.execute(migration.sql)
        described = connection.execute(
            "SELECT column_name, column_type FROM (DESCRIBE requests)"
        ).fetchall()
        yield connection, dict(described)
    finally:
        connection.close()
