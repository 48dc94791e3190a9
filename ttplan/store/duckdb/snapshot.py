"""Reads and writes of a DuckDB store, on a connection to the open file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import duckdb

from ttplan.store.duckdb.ingest import DuckDBIngest
from ttplan.store.duckdb.summaries import summary_table
from ttplan.store.protocol import IngestResult, OnConflict, check_org
from ttplan.store.sql.queries import Dialect, Query
from ttplan.store.sql.snapshot import SQLSnapshot
from ttplan.store.sql.transaction import SQLTransaction

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa


def _in_body(field: str) -> str:
    """A field of an entry's body as SQL; null if the body is not JSON."""
    return f"CASE WHEN json_valid(body) THEN json_extract_string(body, '$.{field}') END"


class DuckDBSnapshot(SQLSnapshot):
    """What can be read of an open store."""

    dialect = Dialect(
        tables="",
        insertion_order="rowid",
        name_contains="contains(name, ?)",
        payload_plan_id=_in_body("payload.plan_id"),
        event=_in_body("event"),
        timestamp=f"TRY_CAST({_in_body('timestamp')} AS TIMESTAMPTZ)",
        logged_at="TRY_CAST(logged_at AS TIMESTAMPTZ)",
    )

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, list(values)).fetchall()

    def _setting(self, name: str) -> str | None:
        rows = self._select("value", "settings", "WHERE name = ?", name)
        return rows[0][0] if rows else None

    def _summary_table(self, selection: Query) -> pa.Table:
        return summary_table(self._connection, selection)

    def org_id(self) -> UUID | None:
        text = self._setting("org_id")
        return None if text is None else UUID(text)

    def requests(self) -> ir.Table:
        import ibis

        return ibis.duckdb.from_connection(self._connection).table("requests")


class DuckDBTransaction(DuckDBSnapshot, SQLTransaction):
    """What can be written to an open store, in its transaction."""

    def _write(self, query: str, *values: Any) -> int:
        return int(self._rows(query, *values)[0][0])

    def _set_setting(self, name: str, value: str | None) -> None:
        self._write("DELETE FROM settings WHERE name = ?", name)
        if value is not None:
            self._insert("settings", ("name", "value"), (name, value))

    def set_org_id(self, org_id: UUID) -> None:
        if check_org(self.org_id(), org_id) is None:
            self._insert("settings", ("name", "value"), ("org_id", str(org_id)))

    def add_requests(
        self, batches: Iterable[pa.RecordBatch], org_id: UUID, on_conflict: OnConflict = "refuse"
    ) -> IngestResult:
        return DuckDBIngest(self._connection, on_conflict).add(batches, org_id)
