"""Request rows on their way into a DuckDB store: kept aside until all have come, compared, and added or refused.

Nothing here holds more than ids and digests of all rows at once: rows themselves pass through, and what does not fit the memory
that DuckDB may use for it waits on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import duckdb

from ttplan.store.protocol import EXAMPLES, AddedRequests, Conflict, ConflictKind, Conflicts, OnConflict, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

MEMORY = 512 * 2**20
"""What DuckDB may use, in bytes, while rows are added."""
ROW = "row"
"""The column that says where a row stood in its log. It is not kept."""


class Arrivals:
    """The rows that one call adds."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, on_conflict: OnConflict) -> None:
        self._connection = connection
        self._on_conflict = on_conflict
        described = self._rows("SELECT column_name FROM (DESCRIBE requests)")
        self._columns = [str(row[0]) for row in described]

    def add(self, batches: Iterable[pa.RecordBatch], org_id: UUID) -> AddedRequests:
        """Add rows as `Transaction.add_requests` says."""
        with self._bounded():
            total = self._keep_aside(batches, org_id)
            repeats = self._repeats()
            changed, known = self._known()
            left_out = sum(one.rows for one in (*repeats, changed)) + known
            if left_out < total:
                self._insert(everything=left_out == 0)
            self._drop()
        conflicts = tuple(one for one in (*repeats, changed) if one.rows)
        return AddedRequests(total - left_out, known, conflicts)

    def _keep_aside(self, batches: Iterable[pa.RecordBatch], org_id: UUID) -> int:
        import pyarrow as pa

        self._drop()
        self._rows(f"CREATE TEMP TABLE arrived AS SELECT *, 0::BIGINT AS {ROW}, 0::BIGINT AS place FROM requests LIMIT 0")  # noqa: S608
        total = 0
        for batch in batches:
            places = pa.array(range(total, total + batch.num_rows), pa.int64())
            numbered = batch.append_column("place", places)
            if ROW not in batch.schema.names:
                numbered = numbered.append_column(ROW, places)
            self._connection.register("batch", numbered)
            self._rows(
                "INSERT INTO arrived BY NAME SELECT * REPLACE (coalesce(CAST(org_id AS UUID), ?) AS org_id) FROM batch", org_id
            )
            self._connection.unregister("batch")
            total += batch.num_rows
        return total

    def _repeats(self) -> tuple[Conflicts, Conflicts]:
        """Rows whose id came before: the same row again, and another one. They are left out from here on."""
        self._rows(
            "CREATE TEMP TABLE left_out AS SELECT a.id, a.place, f.first FROM (SELECT id, place FROM arrived) a JOIN "
            "(SELECT id, min(place) AS first FROM arrived GROUP BY id HAVING count(*) > 1) f USING (id) WHERE a.place > f.first"
        )
        if not self._count("left_out"):
            return Conflicts("repeated", 0), Conflicts("repeated differently", 0)
        self._rows(
            f"CREATE TEMP TABLE differing AS SELECT l.id, l.place, l.first FROM left_out l "  # noqa: S608
            f"JOIN (SELECT place, {self._digest()} AS digest FROM arrived) a ON a.place = l.place "
            f"JOIN (SELECT place, {self._digest()} AS digest FROM arrived) b ON b.place = l.first WHERE a.digest <> b.digest"
        )
        differing, total = self._count("differing"), self._count("left_out")
        same = self._rows(
            f"SELECT id, place, first FROM left_out ANTI JOIN differing USING (place) ORDER BY place LIMIT {EXAMPLES}"  # noqa: S608
        )
        others = self._rows(f"SELECT id, place, first FROM differing ORDER BY place LIMIT {EXAMPLES}")  # noqa: S608
        self._rows("DROP TABLE differing")
        return (
            self._judged("repeated", total - differing, [self._example(place, first) for _, place, first in same]),
            self._judged("repeated differently", differing, [self._example(place, first) for _, place, first in others]),
        )

    def _known(self) -> tuple[Conflicts, int]:
        """Rows whose id the store has: those with another content, and how many are there, equal. Both are left out."""
        self._rows(
            "CREATE TEMP TABLE known AS SELECT id, place FROM (SELECT id, place FROM arrived ANTI JOIN left_out USING (place)) "
            "SEMI JOIN requests USING (id)"
        )
        count = self._count("known")
        if not count:
            return Conflicts("changed", 0), 0
        digest = self._digest()
        self._rows(
            f"CREATE TEMP TABLE changed AS SELECT a.id, a.place FROM "  # noqa: S608
            f"(SELECT id, place, {digest} AS digest FROM arrived SEMI JOIN known USING (place)) a "
            f"JOIN (SELECT id, {digest} AS digest FROM requests SEMI JOIN known USING (id)) r USING (id) "
            "WHERE a.digest <> r.digest"
        )
        changed = self._count("changed")
        examples = self._rows(f"SELECT place FROM changed ORDER BY place LIMIT {EXAMPLES}")  # noqa: S608
        found = self._judged("changed", changed, [self._example(row[0], None) for row in examples])
        self._rows("INSERT INTO left_out SELECT id, place, NULL FROM known")
        return found, count - changed

    def _insert(self, everything: bool) -> None:
        rest = "" if everything else "ANTI JOIN left_out USING (place)"
        self._rows(f"INSERT INTO requests BY NAME SELECT * EXCLUDE ({ROW}, place) FROM (SELECT * FROM arrived {rest})")  # noqa: S608

    def _judged(self, kind: ConflictKind, rows: int, examples: Sequence[Conflict]) -> Conflicts:
        found = Conflicts(kind, rows, tuple(examples))
        if rows and self._on_conflict == "refuse":
            raise refuse(found)
        return found

    def _example(self, place: int, first: int | None) -> Conflict:
        """One conflict: the row, the one before it if that is in the same log, and the first column that differs."""
        differing = " ".join(f"WHEN a.{c} IS DISTINCT FROM b.{c} THEN '{c}'" for c in self._columns)
        other = "requests b ON b.id = a.id" if first is None else f"arrived b ON b.place = {int(first)}"
        before = "NULL" if first is None else f"b.{ROW}"
        ((name, row, earlier, differs),) = self._rows(
            f"SELECT coalesce(a.source_id, CAST(a.id AS VARCHAR)), a.{ROW}, {before}, CASE {differing} END "  # noqa: S608
            f"FROM arrived a JOIN {other} WHERE a.place = {int(place)}"
        )
        return Conflict(name, row, earlier, differs)

    def _digest(self) -> str:
        """SQL of 128 bits of a row's content: two hashes, over the columns in either order."""
        forth, back = ", ".join(self._columns), ", ".join(reversed(self._columns))
        return f"{{a: hash({forth}), b: hash({back})}}"

    def _count(self, table: str) -> int:
        return int(self._rows(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608

    def _drop(self) -> None:
        for table in ("arrived", "left_out", "known", "changed"):
            self._rows(f"DROP TABLE IF EXISTS temp.{table}")

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """DuckDB within its memory for the length of the block."""
        (before,) = self._rows("SELECT current_setting('memory_limit')")[0]
        self._rows(f"SET memory_limit = '{MEMORY}B'")
        try:
            yield
        finally:
            self._rows(f"SET memory_limit = '{before}'")

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, list(values)).fetchall()
