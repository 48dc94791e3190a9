"""What the two ingest paths share: conflicts between rows that arrive, and with rows that are
stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from ttplan.store.protocol import (
    DERIVED,
    KINDS,
    MAX_EXAMPLES,
    REFUSED,
    ConflictKind,
    IngestResult,
    OnConflict,
    RowConflict,
    RowConflicts,
    conflict_error,
)


class RequestIngest(ABC):
    """The rows of one call of `add_requests`.

    A back end loads the rows and fills the temporary table `judged` with those whose id is taken:
    `place` (the number of the row within the call), `first` (the place of the row of its id that is
    kept) and `kind`, which is a `ConflictKind`, or 'known' if the store has the same row.
    """

    temp: ClassVar[str]
    """The prefix of temporary tables."""

    def __init__(self, columns: Sequence[str], on_conflict: OnConflict) -> None:
        self._columns = tuple(columns)
        self._compared = tuple(name for name in columns if name not in DERIVED)
        self._on_conflict = on_conflict

    @abstractmethod
    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""

    @abstractmethod
    def _arrived(self, place: int) -> dict[str, Any]:
        """The row at a place, with `row`, its number in the log."""

    @abstractmethod
    def _stored(self, arrived: dict[str, Any]) -> dict[str, Any]:
        """The stored row that has the id of a row that arrived."""

    def _result(self, added: int) -> IngestResult:
        """The result, once `judged` is filled. Raises ConflictingRequests."""
        by_kind = (self._conflicts(kind) for kind in KINDS)
        conflicts = tuple(conflicts for conflicts in by_kind if conflicts is not None)
        query = f"SELECT count(*) FROM {self.temp}judged WHERE kind = 'known'"  # noqa: S608
        known = self._rows(query)
        changed: tuple[str, ...] = ()
        if any(conflict.kind == "changed" for conflict in conflicts):
            places = self._rows(f"SELECT place FROM {self.temp}judged WHERE kind = 'changed'")  # noqa: S608
            changed = tuple(str(self._arrived(place)["id"]) for (place,) in places)
        return IngestResult(added, known[0][0], conflicts, changed)

    def _conflicts(self, kind: ConflictKind) -> RowConflicts | None:
        rows = self._rows(
            f"SELECT place, first, count(*) OVER () FROM {self.temp}judged WHERE "  # noqa: S608
            f"kind = '{kind}' "
            f"ORDER BY place LIMIT {MAX_EXAMPLES}"
        )
        if not rows:
            return None
        examples = tuple(self._example(place, first) for place, first, _ in rows)
        conflicts = RowConflicts(kind, rows[0][2], examples)
        if self._on_conflict == "refuse" and kind in REFUSED:
            raise conflict_error(conflicts)
        return conflicts

    def _example(self, place: int, first: int) -> RowConflict:
        row = self._arrived(place)
        other = self._arrived(first) if first != place else self._stored(row)
        differs = next((name for name in self._compared if row[name] != other[name]), None)
        earlier = other["row"] if first != place else None
        return RowConflict(row["source_id"] or str(row["id"]), row["row"], earlier, differs)

    def _one(self, table: str, *more: str) -> dict[str, Any]:
        """One row of a table expression as a dict of the stored columns and `more`."""
        names = (*self._columns, *more)
        (row,) = self._rows(f"SELECT {', '.join(names)} FROM {table}")  # noqa: S608
        return dict(zip(names, row, strict=True))
