"""Read a log with no store: its rows as a table, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.apply import utc_now
from ttplan.display.import_report import ImportCard
from ttplan.doctor.finding_text import finding_lines
from ttplan.logs.model_names import normalise_model
from ttplan.logs.reader import REQUEST_SCHEMA, LogReader, OnBadRows
from ttplan.logs.source import MappingLike
from ttplan.model.errors import InputError
from ttplan.operations.logs.check_logs import check_table
from ttplan.operations.logs.import_logs import skipped_rows
from ttplan.prices.book import PriceSource
from ttplan.store.protocol import (
    MAX_EXAMPLES,
    ConflictKind,
    RowConflict,
    RowConflicts,
    conflict_error,
)
from ttplan.util.monitor import show_progress
from ttplan.util.paths import PathLike

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Logs:
    """Requests of a log: an Arrow table of `ttplan.logs.rows.REQUEST_SCHEMA` (money in USD as decimals, times in UTC), and the report."""

    table: pa.Table
    report: ImportCard

    def to_pandas(self) -> pd.DataFrame:
        """The table as a DataFrame."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return repr(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def read_logs(
    path: PathLike | Sequence[PathLike],
    format: str | None = None,
    *,
    mapping: MappingLike | None = None,
    table: str | None = None,
    on_bad_rows: OnBadRows = "refuse",
    with_bodies: bool = False,
    with_embeddings: bool = False,
    check: bool = True,
    prices: PriceSource = None,
    progress: bool | None = None,
) -> Logs:
    """The requests of a log, of any format that is known or mapped, as a table in memory, and a report; with no store.

    All as in `Workspace.import_logs`, but that a row without a cost is kept, with nothing as `cost_usd`. With `check` the log
    doctor holds each row against its price, `prices` over the catalogue's, for the report's findings. Raises InputError where
    it cannot be read, and, with `on_bad_rows` of "conflict_error", where a row cannot be used or an id stands twice.
    """
    with (
        LogReader(
            path,
            format=format,
            mapping=mapping,
            table=table,
            on_bad_rows=on_bad_rows,
            with_bodies=with_bodies,
            with_embeddings=with_embeddings,
            needs_cost=False,
            namer=normalise_model,
        ) as log,
        show_progress("reading", progress, total=log.row_count()) as monitor,
    ):
        batches = list(log.batches(count, numbered=True))
        rows = pa.Table.from_batches(batches, REQUEST_SCHEMA.append(pa.field("row", pa.int64())))
        kept, found = _without_repeats(rows)
        if found and on_bad_rows == "refuse":
            raise InputError(f"{log.name}: {conflict_error(found[0], log.place)}")
        report = log.report()
        skipped = (*report.skipped, *(skipped_rows(one, log.place) for one in found))
        found_wrong = (
            finding_lines(check_table(kept, log=log.name, prices=prices, at=utc_now()))
            if check
            else ()
        )
    told = report.model_copy(
        update={"used": kept.num_rows, "skipped": skipped, "findings": found_wrong}
    )
    return Logs(kept, ImportCard.of(told))


def _without_repeats(rows: pa.Table) -> tuple[pa.Table, list[RowConflicts]]:
    """The rows without those whose id came before, and what those are."""
    ids = pa.table({"id": rows["id"], "place": pa.array(range(rows.num_rows), pa.int64())})
    with duckdb.connect() as connection:
        connection.register("ids", ids)
        again = connection.execute(
            "SELECT place, first FROM (SELECT place, min(place) OVER (PARTITION BY id) AS first FROM ids) WHERE place > first "
            "ORDER BY place"
        ).fetchall()
    if not again:
        return rows.drop_columns(["row"]), []
    counts: Counter[ConflictKind] = Counter()
    examples: dict[ConflictKind, list[RowConflict]] = {"repeated": [], "repeated differently": []}
    for place, first in again:
        row, other = (rows.slice(at, 1).to_pylist()[0] for at in (place, first))
        differs = next((name for name in REQUEST_SCHEMA.names if row[name] != other[name]), None)
        kind: ConflictKind = "repeated" if differs is None else "repeated differently"
        counts[kind] += 1
        if len(examples[kind]) < MAX_EXAMPLES:
            examples[kind].append(
                RowConflict(row["source_id"] or row["id"], row["row"], other["row"], differs)
            )
    left_out = pa.array([place for place, _ in again], pa.int64())
    kept = rows.filter(pc.invert(pc.is_in(ids["place"], value_set=left_out))).drop_columns(["row"])
    return kept, [
        RowConflicts(kind, counts[kind], tuple(found)) for kind, found in examples.items() if found
    ]
