"""Request rows on their way into a PostgreSQL store: copied to a table of the session, judged there, and then added.

All of it is in the transaction that is under way. Rows pass through in batches; the server holds those that wait on its disk.
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
from ttplan.store.protocol import (
    MAX_EXAMPLES,
    ConflictKind,
    IngestResult,
    OnConflict,
    RowConflict,
    RowConflicts,
    conflict_error,
)

_PLACES = ("place", "row")
"""Columns that are not kept: which of the rows that were handed over one is, and where it stood in its log."""


class RequestIngest:
    """The rows that one call adds."""

    def __init__(self, connection: Connection, on_conflict: OnConflict) -> None:
        self._connection = connection
        self._on_conflict = on_conflict
        described = (
            self._connection.execute("SELECT * FROM ttplan.requests LIMIT 0").description or []
        )
        self._columns = [column.name for column in described]

    def add(
        self, batches: Iterable[pa.RecordBatch], org_id: UUID, own: UUID | None
    ) -> IngestResult:
        """Add rows as `Transaction.add_requests` says; with `own` none of another organisation."""
        self._run("DROP TABLE IF EXISTS pg_temp.arrived, pg_temp.judged")
        self._run(
            "CREATE TEMP TABLE arrived ON COMMIT DROP AS "
            "SELECT 0::bigint AS place, 0::bigint AS row, r.* FROM ttplan.requests r LIMIT 0"
        )
        self._copy(batches, org_id)
        if own is not None:
            self._refuse_others(own)
        self._run("ANALYZE pg_temp.arrived")
        self._judge()
        found = [self._conflicts(kind) for kind in ("repeated", "repeated differently", "changed")]
        conflicts = tuple(one for one in found if one.rows)
        names = ", ".join(self._columns)
        query = (
            f"INSERT INTO ttplan.requests ({names}) SELECT {names} FROM pg_temp.arrived a "  # noqa: S608
            "WHERE NOT EXISTS (SELECT FROM pg_temp.judged j WHERE j.place = a.place)"
        )
        added = self._connection.execute(query.encode()).rowcount
        ((known,),) = self._connection.execute(
            "SELECT count(*) FROM pg_temp.judged WHERE kind = 'known'"
        ).fetchall()
        return IngestResult(added, known, conflicts)

    def _copy(self, batches: Iterable[pa.RecordBatch], org_id: UUID) -> None:
        names = [*_PLACES, *self._columns]
        query = f"COPY pg_temp.arrived ({', '.join(names)}) FROM STDIN (FORMAT csv)"
        with self._connection.cursor().copy(query.encode()) as copy:
            total = 0
            for batch in batches:
                copy.write(_as_csv(batch, names, str(org_id), total))
                total += batch.num_rows

    def _refuse_others(self, own: UUID) -> None:
        query = "SELECT row, org_id FROM pg_temp.arrived WHERE org_id <> %s ORDER BY place LIMIT 1"
        found = self._connection.execute(query, [own]).fetchone()
        if found is not None:
            raise InputError(
                f"row {found[0] + 1} belongs to organisation {found[1]}, and this store is {own}'s; import each "
                "organisation's rows into its own"
            )

    def _judge(self) -> None:
        """What the rows are whose ids were taken: in the same log before, equal or not, or in the store, equal or not."""
        a, b = (", ".join(f"{table}.{name}" for name in self._columns) for table in "ab")
        again = f"CASE WHEN ({a}) IS DISTINCT FROM ({b}) THEN 'repeated differently' ELSE 'repeated' END"
        known = f"CASE WHEN ({a}) IS DISTINCT FROM ({b}) THEN 'changed' ELSE 'known' END"
        self._run(
            "CREATE TEMP TABLE judged ON COMMIT DROP AS WITH placed AS ("  # noqa: S608
            "SELECT place, min(place) OVER (PARTITION BY org_id, id) AS first FROM pg_temp.arrived) "
            f"SELECT a.place, p.first, {again} AS kind FROM placed p JOIN pg_temp.arrived a USING (place) "
            "JOIN pg_temp.arrived b ON b.place = p.first WHERE p.place > p.first UNION ALL "
            f"SELECT a.place, p.first, {known} FROM placed p JOIN pg_temp.arrived a USING (place) "
            "JOIN ttplan.requests b ON b.org_id = a.org_id AND b.id = a.id WHERE p.place = p.first"
        )

    def _conflicts(self, kind: ConflictKind) -> RowConflicts:
        query = "SELECT place, first, count(*) OVER () FROM pg_temp.judged WHERE kind = %s ORDER BY place LIMIT %s"
        rows = self._connection.execute(query, [kind, MAX_EXAMPLES]).fetchall()
        if not rows:
            return RowConflicts(kind, 0)
        found = RowConflicts(
            kind, rows[0][2], tuple(self._example(place, first) for place, first, _ in rows)
        )
        if self._on_conflict == "refuse":
            raise conflict_error(found)
        return found

    def _example(self, place: int, first: int) -> RowConflict:
        """One conflict: the row, the one before it if that is in the same log, and the first column that differs."""
        row = self._row("pg_temp.arrived WHERE place = %s", place)
        if first < place:
            other = self._row("pg_temp.arrived WHERE place = %s", first)
        else:
            other = self._row(
                "ttplan.requests WHERE org_id = %s AND id = %s", row["org_id"], row["id"]
            )
        differs = next((name for name in self._columns if row[name] != other[name]), None)
        return RowConflict(
            row["source_id"] or str(row["id"]),
            row["row"],
            other["row"] if first < place else None,
            differs,
        )

    def _row(self, where: str, *values: Any) -> dict[str, Any]:
        cursor = self._connection.execute(f"SELECT * FROM {where}".encode(), values)  # noqa: S608
        names = [column.name for column in cursor.description or []]
        return dict(zip(names, cursor.fetchall()[0], strict=True))

    def _run(self, query: str) -> None:
        self._connection.execute(query.encode())


def _as_csv(batch: pa.RecordBatch, names: list[str], org_id: str, total: int) -> bytes:
    """A batch as CSV in which nothing and an empty text differ: only the text is in quotes."""
    places = pa.array(range(total, total + batch.num_rows), pa.int64())
    columns = {name: batch[name] for name in batch.schema.names}
    columns = (
        {"row": places}
        | columns
        | {"place": places, "org_id": pc.fill_null(columns["org_id"], org_id)}
    )
    table = pa.table({name: _spelled(columns[name]) for name in names})
    written = io.BytesIO()
    csv.write_csv(table, written, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    return written.getvalue()


def _spelled(column: pa.Array) -> pa.Array:
    """A column as text that PostgreSQL reads back as the same values."""
    if not pa.types.is_list(column.type):
        return column.cast(pa.string())
    items = pa.ListArray.from_arrays(
        column.offsets, pc.fill_null(column.values.cast(pa.string()), "NULL")
    )
    spelled = pc.binary_join_element_wise("{", pc.binary_join(items, ","), "}", "")
    return pc.if_else(column.is_null(), pa.scalar(None, pa.string()), spelled)
