"""Adds request rows to a DuckDB store, within its transaction.

Rows with a new id are inserted at once; rows whose id is taken go to a temporary table and are
compared at the end. Of several states of one answer the fullest replaces the first. If rows are
refused, the transaction rolls back. Rows pass through in pieces:
only their ids are all kept, in a temporary table that spills to disk if it exceeds the memory
limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import duckdb

from ttplan.store.duckdb.repeats import digest_sql, repeats_sql
from ttplan.store.protocol import SAME_ANSWER, IngestResult, OnConflict
from ttplan.store.sql.ingest import RequestIngest

if TYPE_CHECKING:
    import pyarrow as pa

MEMORY = 512 * 2**20
"""DuckDB's memory limit while rows are added, in bytes."""
PIECE = 122_880
"""Rows that are looked up and added at once: a DuckDB row group, written to the file once it is
full."""


class _CurrentPiece:
    """The current piece under one registered name: each registered object keeps its rows until
    the transaction ends."""

    def __init__(self) -> None:
        self.rows: pa.Table | None = None

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        assert self.rows is not None  # noqa: S101 - it is only read while it is set
        return self.rows.__arrow_c_stream__(requested_schema)


class DuckDBIngest(RequestIngest):
    """The rows of one call of `add_requests`."""

    temp = "temp."

    def __init__(self, connection: duckdb.DuckDBPyConnection, on_conflict: OnConflict) -> None:
        self._connection = connection
        self._piece, self._registered = _CurrentPiece(), False
        described = self._rows("SELECT column_name FROM (DESCRIBE requests)")
        super().__init__([str(row[0]) for row in described], on_conflict)

    def add(self, batches: Iterable[pa.RecordBatch], org_id: UUID) -> IngestResult:
        """Add rows as `Transaction.add_requests` says."""
        with self._limited_memory():
            self._drop()
            self._rows(
                "CREATE TEMP TABLE taken AS SELECT *, 0::BIGINT AS row, 0::BIGINT AS place FROM "
                "requests LIMIT 0"
            )
            self._rows("CREATE TEMP TABLE ids (id UUID, place BIGINT, row BIGINT)")
            total = sum(self._add_piece(piece, org_id) for piece in self._pieces(batches))
            taken = self._count("taken")
            result = IngestResult(total, 0)
            if taken:
                self._judge()
                result = self._result(total - taken)
                self._replace_snapshots()
            self._drop()
        return result

    def _pieces(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        """The rows in large pieces, with `place` and `row`: each piece scans all stored ids."""
        import pyarrow as pa

        pending: list[pa.RecordBatch] = []
        total = pending_rows = 0
        for batch in batches:
            places = pa.array(range(total, total + batch.num_rows), pa.int64())
            rest = batch if "row" in batch.schema.names else batch.append_column("row", places)
            rest = rest.append_column("place", places)
            total += batch.num_rows
            while pending_rows + rest.num_rows >= PIECE:
                part = rest.slice(0, PIECE - pending_rows)
                rest = rest.slice(PIECE - pending_rows)
                yield pa.Table.from_batches([*pending, part])
                pending, pending_rows = [], 0
            pending.append(rest)
            pending_rows += rest.num_rows
        if pending_rows:
            yield pa.Table.from_batches(pending)

    def _add_piece(self, piece: pa.Table, org_id: UUID) -> int:
        self._piece.rows = piece
        if not self._registered:
            self._connection.register("piece", self._piece)
            self._registered = True
        ids = "SELECT CAST(id AS UUID) AS id, place, row FROM piece"
        self._rows(
            f"CREATE TEMP TABLE known AS SELECT place FROM ({ids}) SEMI JOIN "  # noqa: S608
            "requests USING (id) UNION "
            f"SELECT place FROM (SELECT place, min(place) OVER (PARTITION BY id) AS first FROM "
            f"({ids})) WHERE place > first"
        )
        rows = "(SELECT * REPLACE (coalesce(CAST(org_id AS UUID), $org) AS org_id) FROM piece)"
        new_rows = rows
        if self._count("known"):
            self._rows(
                f"INSERT INTO taken BY NAME SELECT * FROM {rows} SEMI JOIN known "  # noqa: S608
                "USING (place)",
                org=org_id,
            )
            new_rows = f"{rows} ANTI JOIN known USING (place)"
        self._rows(
            f"INSERT INTO requests BY NAME SELECT * EXCLUDE (row, place) FROM "  # noqa: S608
            f"{new_rows}",
            org=org_id,
        )
        self._rows(f"INSERT INTO ids {ids}")
        self._rows("DROP TABLE known")
        return int(piece.num_rows)

    def _judge(self) -> None:
        """Find the row of each taken id that is kept, and compare it with the stored row."""
        digest, same = digest_sql(self._compared), ", ".join(SAME_ANSWER)
        self._rows(
            "CREATE TEMP TABLE firsts AS SELECT id, min(place) AS first FROM ids SEMI JOIN taken "
            "USING (id) GROUP BY id"
        )
        # The first row of an id is in `requests`, or in `taken` if the store had its id before.
        content = f"ts, output_tokens, {same}, {digest} AS digest"
        self._rows(
            f"CREATE TEMP TABLE entries AS SELECT id, place, {content} FROM taken "  # noqa: S608
            f"UNION ALL SELECT id, first AS place, {content} FROM requests JOIN "
            "(FROM firsts ANTI JOIN taken ON place = first) USING (id)"
        )
        self._rows(
            f"CREATE TEMP TABLE repeats AS FROM {repeats_sql('entries')} UNION ALL "  # noqa: S608
            "SELECT place, place, 'kept' FROM entries WHERE id IN "
            "(SELECT id FROM entries GROUP BY id HAVING count(*) = 1)"
        )
        stored = (
            f"(SELECT id, {digest} AS stored FROM requests SEMI JOIN "  # noqa: S608
            "(FROM firsts SEMI JOIN taken ON place = first) USING (id))"
        )
        self._rows(
            "CREATE TEMP TABLE judged AS SELECT place, first, CASE WHEN kind <> 'kept' THEN kind "  # noqa: S608
            "WHEN digest = stored THEN 'known' ELSE 'changed' END AS kind FROM repeats "
            f"JOIN entries USING (place) LEFT JOIN {stored} USING (id) "
            "WHERE kind <> 'kept' OR stored IS NOT NULL"
        )

    def _replace_snapshots(self) -> None:
        """Put the row of each new id that is kept in the place of its first one."""
        kept = (
            "(SELECT place FROM repeats WHERE kind = 'kept'"
            " AND place NOT IN (SELECT place FROM judged))"
        )
        if not self._count(f"taken SEMI JOIN {kept} USING (place)"):
            return
        self._rows(
            "DELETE FROM requests WHERE id IN "  # noqa: S608
            f"(SELECT id FROM taken SEMI JOIN {kept} USING (place))"
        )
        self._rows(
            "INSERT INTO requests BY NAME SELECT * EXCLUDE (row, place) FROM taken "  # noqa: S608
            f"SEMI JOIN {kept} USING (place)"
        )

    def _arrived(self, place: int) -> dict[str, Any]:
        if self._count(f"taken WHERE place = {int(place)}"):
            return self._one(f"taken WHERE place = {int(place)}", "row")
        return self._one(f"requests JOIN ids USING (id) WHERE place = {int(place)}", "row")

    def _stored(self, arrived: dict[str, Any]) -> dict[str, Any]:
        return self._one(f"requests WHERE id = '{arrived['id']}'")

    def _count(self, table: str) -> int:
        return int(self._rows(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608

    def _drop(self) -> None:
        for table in ("taken", "ids", "known", "firsts", "entries", "repeats", "judged"):
            self._rows(f"DROP TABLE IF EXISTS temp.{table}")
        if self._registered:
            self._connection.unregister("piece")
            self._piece.rows, self._registered = None, False

    @contextmanager
    def _limited_memory(self) -> Iterator[None]:
        ((before,),) = self._rows("SELECT current_setting('memory_limit')")
        self._rows(f"SET memory_limit = '{MEMORY}B'")
        try:
            yield
        finally:
            self._rows(f"SET memory_limit = '{before}'")

    def _rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values or None).fetchall()
