"""Adds request rows to a PostgreSQL store, within its transaction.

Rows are copied to a temporary table in batches, compared there with each other and with the stored
ones, and inserted.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from ttplan.model.errors import InputError
from ttplan.store.postgres.connection import Connection
from ttplan.store.protocol import SAME_ANSWER, IngestResult, OnConflict
from ttplan.store.sql.ingest import RequestIngest

_POSITIONS = ("place", "row")
"""Columns that are not stored: the number of a row within the call, and within its log."""


class PostgresIngest(RequestIngest):
    """The rows of one call of `add_requests`."""

    temp = "pg_temp."

    def __init__(self, connection: Connection, on_conflict: OnConflict) -> None:
        self._connection = connection
        described = connection.execute("SELECT * FROM ttplan.requests LIMIT 0").description or []
        super().__init__([column.name for column in described], on_conflict)

    def add(
        self, batches: Iterable[pa.RecordBatch], org_id: UUID, own_org: UUID | None
    ) -> IngestResult:
        """Add rows as `Transaction.add_requests` says; with `own_org`, none of another
        organisation."""
        self._run("DROP TABLE IF EXISTS pg_temp.arrived, pg_temp.judged")
        self._run(
            "CREATE TEMP TABLE arrived ON COMMIT DROP AS "
            "SELECT 0::bigint AS place, 0::bigint AS row, r.* FROM ttplan.requests r LIMIT 0"
        )
        self._copy(batches, org_id)
        if own_org is not None:
            self._refuse_others(own_org)
        self._run("ANALYZE pg_temp.arrived")
        self._judge()
        # A conflict that is refused is reported before anything is inserted.
        result = self._result(0)
        names = ", ".join(self._columns)
        is_new = "NOT EXISTS (SELECT FROM pg_temp.judged j WHERE j.place = a.place)"
        added = self._run(
            f"INSERT INTO ttplan.requests ({names}) "  # noqa: S608
            f"SELECT {names} FROM pg_temp.arrived a WHERE {is_new}"
        )
        return result._replace(added=added)

    def _copy(self, batches: Iterable[pa.RecordBatch], org_id: UUID) -> None:
        names = [*_POSITIONS, *self._columns]
        query = f"COPY pg_temp.arrived ({', '.join(names)}) FROM STDIN (FORMAT csv)"
        with self._connection.cursor().copy(query.encode()) as copy:
            total = 0
            for batch in batches:
                copy.write(_as_csv(batch, names, str(org_id), total))
                total += batch.num_rows

    def _refuse_others(self, own_org: UUID) -> None:
        query = "SELECT row, org_id FROM pg_temp.arrived WHERE org_id <> %s ORDER BY place LIMIT 1"
        foreign = self._connection.execute(query, [own_org]).fetchone()
        if foreign is not None:
            raise InputError(
                f"row {foreign[0] + 1} belongs to organisation {foreign[1]}, but this store "
                f"belongs to {own_org}; "
                "import each organisation's rows into its own store"
            )

    def _judge(self) -> None:
        """Find the row of each taken id that is kept, and compare it with the stored row."""
        row, kept, stored = (
            ", ".join(f"{table}.{name}" for name in self._compared) for table in "awb"
        )
        same, first = (", ".join(f"{table}.{name}" for name in SAME_ANSWER) for table in "af")
        is_alike = f"({same}) IS NOT DISTINCT FROM ({first})"
        self._run(
            "CREATE TEMP TABLE judged ON COMMIT DROP AS WITH placed AS ("  # noqa: S608
            "SELECT place, min(place) OVER (PARTITION BY org_id, id) AS first, "
            "count(*) OVER (PARTITION BY org_id, id) AS n FROM pg_temp.arrived), "
            f"alike AS (SELECT p.place, p.first, a.org_id, a.id, a.output_tokens, a.ts, {is_alike} "
            "AS is_alike FROM placed p JOIN pg_temp.arrived a USING (place) "
            "JOIN pg_temp.arrived f ON f.place = p.first WHERE p.n > 1), "
            "ranked AS (SELECT place, is_alike, first_value(place) OVER (PARTITION BY org_id, id "
            "ORDER BY is_alike DESC, output_tokens DESC, ts DESC, place) AS first FROM alike) "
            "SELECT r.place, r.first, CASE "
            f"WHEN ({row}) IS NOT DISTINCT FROM ({kept}) THEN 'repeated' "
            "WHEN r.is_alike THEN 'snapshot' ELSE 'repeated differently' END AS kind "
            "FROM ranked r JOIN pg_temp.arrived a USING (place) "
            "JOIN pg_temp.arrived w ON w.place = r.first WHERE r.place <> r.first "
            "UNION ALL SELECT a.place, a.place, CASE "
            f"WHEN ({row}) IS DISTINCT FROM ({stored}) THEN 'changed' ELSE 'known' END "
            "FROM pg_temp.arrived a JOIN ttplan.requests b ON b.org_id = a.org_id AND b.id = a.id "
            "WHERE a.place NOT IN (SELECT place FROM ranked WHERE place <> first)"
        )

    def _arrived(self, place: int) -> dict[str, Any]:
        return self._one(f"pg_temp.arrived WHERE place = {int(place)}", "row")

    def _stored(self, arrived: dict[str, Any]) -> dict[str, Any]:
        org_id, id_ = arrived["org_id"], arrived["id"]
        return self._one(f"ttplan.requests WHERE org_id = '{org_id}' AND id = '{id_}'")

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query.encode()).fetchall()

    def _run(self, query: str) -> int:
        return self._connection.execute(query.encode()).rowcount


def _as_csv(batch: pa.RecordBatch, names: list[str], org_id: str, total: int) -> bytes:
    """A batch as CSV. Only non-null values are quoted, so null and an empty text differ."""
    places = pa.array(range(total, total + batch.num_rows), pa.int64())
    columns = {"row": places} | {name: batch[name] for name in batch.schema.names}
    columns |= {"place": places, "org_id": pc.fill_null(columns["org_id"], org_id)}
    table = pa.table({name: _as_text(columns[name]) for name in names})
    written = io.BytesIO()
    csv.write_csv(table, written, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    return written.getvalue()


def _as_text(column: pa.Array) -> pa.Array:
    """A column as text that PostgreSQL reads back as the same values."""
    if not pa.types.is_list(column.type):
        return column.cast(pa.string())
    items = pa.ListArray.from_arrays(
        column.offsets, pc.fill_null(column.values.cast(pa.string()), "NULL")
    )
    arrays = pc.binary_join_element_wise("{", pc.binary_join(items, ","), "}", "")
    return pc.if_else(column.is_null(), pa.scalar(None, pa.string()), arrays)
