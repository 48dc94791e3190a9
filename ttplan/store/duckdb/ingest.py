"""Request rows on their way into a DuckDB store: what is new goes in at once, what has a taken id is kept aside and judged.

All of it is in the transaction that is under way, so that a refusal takes back what went in. Nothing here holds more than the ids
of all rows at once: rows themselves pass through in pieces, and what does not fit the memory that DuckDB may use waits on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import duckdb

from ttplan.store.protocol import (
    MAX_EXAMPLES,
    ConflictKind,
    IngestResult,
    OnConflict,
    RowConflict,
    RowConflicts,
    conflict_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

MEMORY = 512 * 2**20
"""What DuckDB may use, in bytes, while rows are added."""
PIECE = 122_880
"""How many rows are looked up and added at once: one of DuckDB's row groups, which is written to the file when it is full."""
ROW = "row"
"""The column that says where a row stood in its log. It is not kept."""


class _Current:
    """The rows at hand, under one name for all of a transaction: each name registered in one keeps its rows until the end."""

    def __init__(self) -> None:
        self.rows: pa.Table | None = None

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        assert self.rows is not None  # noqa: S101 - it is only read while there are some
        return self.rows.__arrow_c_stream__(requested_schema)


class RequestIngest:
    """The rows that one call adds."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, on_conflict: OnConflict) -> None:
        self._connection = connection
        self._on_conflict = on_conflict
        self._current, self._named = _Current(), False
        described = self._rows("SELECT column_name FROM (DESCRIBE requests)")
        self._columns = [str(row[0]) for row in described]

    def add(self, batches: Iterable[pa.RecordBatch], org_id: UUID) -> IngestResult:
        """Add rows as `Transaction.add_requests` says."""
        with self._bounded():
            self._drop()
            self._rows(
                f"CREATE TEMP TABLE taken AS SELECT *, 0::BIGINT AS {ROW}, 0::BIGINT AS place FROM requests LIMIT 0"
            )  # noqa: S608
            self._rows("CREATE TEMP TABLE seen (id UUID, place BIGINT, row BIGINT)")
            total = sum(self._add_piece(piece, org_id) for piece in self._pieces(batches))
            taken = self._count("taken")
            found = self._judge() if taken else []
            self._drop()
        conflicts = tuple(one for one in found if one.rows)
        return IngestResult(total - taken, taken - sum(one.rows for one in conflicts), conflicts)

    def _pieces(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        """The rows in pieces of some size, each with its place: to look up the ids of a piece is to scan all that are stored."""
        import pyarrow as pa

        waiting: list[pa.RecordBatch] = []
        total = waits = 0
        for batch in batches:
            places = pa.array(range(total, total + batch.num_rows), pa.int64())
            rest = batch if ROW in batch.schema.names else batch.append_column(ROW, places)
            rest = rest.append_column("place", places)
            total += batch.num_rows
            while waits + rest.num_rows >= PIECE:
                part = rest.slice(0, PIECE - waits)
                rest = rest.slice(PIECE - waits)
                yield pa.Table.from_batches([*waiting, part])
                waiting, waits = [], 0
            waiting.append(rest)
            waits += rest.num_rows
        if waits:
            yield pa.Table.from_batches(waiting)

    def _add_piece(self, piece: pa.Table, org_id: UUID) -> int:
        self._current.rows = piece
        if not self._named:
            self._connection.register("piece", self._current)
            self._named = True
        ids = "SELECT CAST(id AS UUID) AS id, place, row FROM piece"
        self._rows(
            f"CREATE TEMP TABLE known AS SELECT place FROM ({ids}) SEMI JOIN requests USING (id) UNION "  # noqa: S608
            f"SELECT place FROM (SELECT place, min(place) OVER (PARTITION BY id) AS first FROM ({ids})) WHERE place > first"
        )
        rows = "SELECT * REPLACE (coalesce(CAST(org_id AS UUID), $org) AS org_id) FROM piece"
        org = {"org": org_id}
        fresh = "INSERT INTO requests BY NAME SELECT * EXCLUDE (row, place)"
        if self._count("known"):
            self._run(
                f"INSERT INTO taken BY NAME SELECT * FROM ({rows}) SEMI JOIN known USING (place)",
                org,
            )  # noqa: S608
            self._run(f"{fresh} FROM ({rows}) ANTI JOIN known USING (place)", org)
        else:
            self._run(f"{fresh} FROM ({rows})", org)
        self._rows(f"INSERT INTO seen {ids}")
        self._rows("DROP TABLE known")
        return int(piece.num_rows)

    def _judge(self) -> list[RowConflicts]:
        """What the rows are whose ids were taken: in the same log before, equal or not, or in the store, with another content."""
        digest = self._digest()
        self._rows(
            "CREATE TEMP TABLE firsts AS SELECT id, min(place) AS first FROM seen SEMI JOIN taken USING (id) GROUP BY id"
        )
        # The row that came first is in the store now, unless the store had its id: then it was kept aside itself.
        self._rows(
            "CREATE TEMP TABLE judged AS SELECT t.place, f.first, "  # noqa: S608
            "t.digest IS DISTINCT FROM coalesce(b.digest, r.digest) AS differs, "
            f"t.digest IS DISTINCT FROM r.digest AS changed FROM (SELECT id, place, {digest} AS digest FROM taken) t "
            "JOIN firsts f USING (id) "
            f"JOIN (SELECT id, {digest} AS digest FROM requests SEMI JOIN firsts USING (id)) r USING (id) "
            f"LEFT JOIN (SELECT place, {digest} AS digest FROM taken) b ON b.place = f.first AND t.place > f.first"
        )
        again = "place > first AND "
        return [
            self._conflicts("repeated", again + "NOT differs"),
            self._conflicts("repeated differently", again + "differs"),
            self._conflicts("changed", "place = first AND changed"),
        ]

    def _conflicts(self, kind: ConflictKind, test: str) -> RowConflicts:
        count = self._count(f"judged WHERE {test}")
        if not count:
            return RowConflicts(kind, 0)
        rows = self._rows(
            f"SELECT place, first FROM judged WHERE {test} ORDER BY place LIMIT {MAX_EXAMPLES}"
        )  # noqa: S608
        return self._judged(kind, count, [self._example(place, first) for place, first in rows])

    def _judged(
        self, kind: ConflictKind, rows: int, examples: Sequence[RowConflict]
    ) -> RowConflicts:
        found = RowConflicts(kind, rows, tuple(examples))
        if rows and self._on_conflict == "refuse":
            raise conflict_error(found)
        return found

    def _example(self, place: int, first: int) -> RowConflict:
        """One conflict: the row, the one before it if that is in the same log, and the first column that differs."""
        differing = " ".join(f"WHEN a.{c} IS DISTINCT FROM b.{c} THEN '{c}'" for c in self._columns)
        aside = first < place and self._count(f"taken WHERE place = {int(first)}")
        other = f"taken b ON b.place = {int(first)}" if aside else "requests b ON b.id = a.id"
        ((name, row, differs),) = self._rows(
            f"SELECT coalesce(a.source_id, CAST(a.id AS VARCHAR)), a.{ROW}, CASE {differing} END FROM taken a JOIN {other} "  # noqa: S608
            f"WHERE a.place = {int(place)}"
        )
        earlier = self._rows(f"SELECT row FROM seen WHERE place = {int(first)}")[0][0]  # noqa: S608
        return RowConflict(name, row, earlier if first < place else None, differs)

    def _digest(self) -> str:
        """SQL of 128 bits of a row's content: two hashes, over the columns in either order."""
        forth, back = ", ".join(self._columns), ", ".join(reversed(self._columns))
        return f"{{a: hash({forth}), b: hash({back})}}"

    def _count(self, table: str) -> int:
        return int(self._rows(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608

    def _drop(self) -> None:
        for table in ("taken", "seen", "known", "firsts", "judged"):
            self._rows(f"DROP TABLE IF EXISTS temp.{table}")
        if self._named:
            self._connection.unregister("piece")
            self._current.rows, self._named = None, False

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """DuckDB within its memory for the length of the block."""
        (before,) = self._rows("SELECT current_setting('memory_limit')")[0]
        self._rows(f"SET memory_limit = '{MEMORY}B'")
        try:
            yield
        finally:
            self._rows(f"SET memory_limit = '{before}'")

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()

    def _run(self, query: str, values: dict[str, Any]) -> None:
        self._connection.execute(query, values).fetchall()
