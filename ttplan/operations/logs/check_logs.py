"""Checks logs for wrong costs: those in a store, or files as they are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ttplan.doctor.check import check_rows, new_finding
from ttplan.doctor.cost_checks import CHECKED_COLUMNS
from ttplan.logs.billing.compare import compare_totals
from ttplan.logs.billing.totals import read_totals
from ttplan.logs.model_names import normalise_model
from ttplan.logs.reader import LogReader
from ttplan.logs.source import MappingLike, ReadOptions
from ttplan.logs.usage_columns import UNEXPLAINED
from ttplan.model.errors import InputError
from ttplan.model.results.diagnosis import Diagnosis
from ttplan.prices.book import PriceBook, PriceSource
from ttplan.store.duckdb.repeats import digest_sql, repeats_sql
from ttplan.store.protocol import ConflictKind, Store
from ttplan.util.paths import PathLike

LEFT_OUT: dict[ConflictKind, str] = {
    "snapshot": "id: another state of the same answer; the last or largest was taken",
    "repeated": "id: the same row again",
    "repeated differently": "id: another row has it; the first was taken",
    "changed": "id: it is in the store with another content, which stays",
}
"""Why rows that repeat an id are left out."""
MEMORY_LIMIT = "1GB"
"""Memory that DuckDB may use for rows to check."""


def check_store(
    store: Store,
    name: str,
    *,
    prices: PriceSource = None,
    totals: Sequence[PathLike] = (),
    at: datetime,
) -> Diagnosis:
    """Check the requests of a store, called `name`, as of `at`.

    `prices` override the catalogue's; `totals` are a provider's exports of daily usage or costs to
    compare the log with. Raises InputError if one of them cannot be used.
    """
    book = PriceBook(prices)
    with store.read() as snapshot:
        table = snapshot.requests()
        backend: Any = table.get_backend()
        rows = f"({backend.compile(table)})"
        diagnosis = check_rows(backend.con, rows, table.columns, book, log=name, at=at)
        return _with_totals(diagnosis, backend.con, rows, totals)


class RowBuffer:
    """Keeps a copy, on disk, of the rows that pass through it, and checks them at the end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ttplan-")
        self._connection = duckdb.connect(str(Path(self._folder.name) / "rows.duckdb"))
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        self.rows = 0
        """How many rows passed through."""

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, unchanged."""
        for batch in batches:
            numbers = pa.array(range(self.rows, self.rows + batch.num_rows), pa.int64())
            rows = batch.select(list(CHECKED_COLUMNS)).append_column("place", numbers)
            self._connection.register("batch", rows)
            self._connection.execute("CREATE TABLE IF NOT EXISTS requests AS FROM batch LIMIT 0")
            self._connection.execute("INSERT INTO requests FROM batch")
            self._connection.unregister("batch")
            self.rows += batch.num_rows
            yield batch

    def leave_out_repeats(self, changed: Sequence[str] | None = None) -> dict[ConflictKind, int]:
        """Leave out rows that are equal to another one, or an unfinished state of its answer; how
        many, by kind.

        After an import also those that repeat an id with other content, and those whose id is one
        of `changed`.
        """
        if not self.rows:
            return {}
        columns = list(CHECKED_COLUMNS)
        entries = f"(SELECT *, {digest_sql(columns)} AS digest FROM requests)"  # noqa: S608
        self._connection.execute(f"CREATE TEMP TABLE repeats AS FROM {repeats_sql(entries)}")
        kinds = "('kept', 'repeated differently')" if changed is None else "('kept')"
        left_out = f"FROM repeats WHERE kind NOT IN {kinds}"
        counts = self._connection.execute(f"SELECT kind, count(*) {left_out} GROUP BY 1").fetchall()
        self._connection.execute(
            f"DELETE FROM requests WHERE place IN (SELECT place {left_out})"  # noqa: S608
        )
        if changed:
            self._connection.execute(
                "DELETE FROM requests WHERE id IN (SELECT unnest($ids))", {"ids": list(changed)}
            )
        ((self.rows,),) = self._connection.execute("SELECT count(*) FROM requests").fetchall()
        return dict(counts)

    def check(
        self,
        *,
        log: str,
        book: PriceBook,
        totals: Sequence[PathLike] = (),
        at: datetime,
        notes: Sequence[str] = (),
    ) -> Diagnosis:
        """Check the rows as of `at`. Raises InputError if there are none or `totals` is invalid."""
        if not self.rows:
            reasons = "".join(f"; {note}" for note in notes)
            raise InputError(f"{log} has no usable request, so there is nothing to check{reasons}")
        columns = list(CHECKED_COLUMNS)
        diagnosis = check_rows(
            self._connection, "requests", columns, book, log=log, at=at, notes=notes
        )
        return _with_totals(diagnosis, self._connection, "requests", totals)

    def __enter__(self) -> RowBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._folder.cleanup()


def check_files(
    paths: Sequence[PathLike],
    *,
    format: str | None = None,
    mapping: MappingLike | None = None,
    prices: PriceSource = None,
    totals: Sequence[PathLike] = (),
    at: datetime,
    progress: Callable[[int], None] | None = None,
) -> Diagnosis:
    """Check log files of any readable format, without a store; unusable rows are in the notes.

    `prices` and `totals` as in `check_store`. Raises InputError if a file cannot be read.
    """
    options = ReadOptions(format, mapping, on_bad_rows="skip", needs_cost=False, with_hashes=False)
    book, notes = PriceBook(prices), []
    with RowBuffer() as buffer:
        for path in paths:
            with LogReader(path, options, normalise=normalise_model) as log:
                for _ in buffer(log.batches(progress)):
                    pass
                report = log.report()
            notes += [
                f"{path}: {skipped.rows:,} rows left out: {skipped.reason} ({skipped.examples[0]})."
                for skipped in (*report.skipped, *report.not_requests)
            ]
            if report.adjustments:
                notes.append(
                    f"{path}: {report.adjusting:,} rows adjust costs by"
                    f" {report.adjusted_usd.normalize():f} USD; they belong to no request."
                )
            notes += [
                f"{path}: {decided.rows:,} rows by their own sums: {decided.reason}."
                for decided in report.decided
                if decided.reason != UNEXPLAINED
            ]
        log_name = ", ".join(map(str, paths))
        notes += [
            f"{log_name}: {count:,} rows left out: {LEFT_OUT[kind]}."
            for kind, count in sorted(buffer.leave_out_repeats().items())
        ]
        return buffer.check(log=log_name, book=book, totals=totals, at=at, notes=notes)


def check_table(
    table: pa.Table, *, log: str, prices: PriceSource = None, at: datetime
) -> Diagnosis:
    """Check requests in a table with ttplan's columns."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("requests", table)
        columns = table.schema.names
        return check_rows(connection, "requests", columns, PriceBook(prices), log=log, at=at)


def _with_totals(
    diagnosis: Diagnosis, connection: Any, rows: str, totals: Sequence[PathLike]
) -> Diagnosis:
    """The diagnosis with a comparison of the log with a provider's own totals."""
    if not totals:
        return diagnosis
    billed = [read_totals(path) for path in totals]
    comparison = compare_totals(connection.sql(f"SELECT * FROM {rows}"), *billed)  # noqa: S608
    gaps = [
        new_finding(
            "totals_differ",
            (gap.provider, gap.model),
            len(gap.days),
            gap.difference if gap.measure == "cost_usd" else None,
            [str(day) for day in gap.days],
            str(gap),
        )
        for gap in comparison.gaps
    ]
    one_sided = [
        new_finding("totals_differ", (), len(names), None, names, detail)
        for names, detail in (
            (comparison.only_billed, "billed, but not in the log"),
            (comparison.only_logged, "in the log, but not billed"),
        )
        if names
    ]
    days = f"{comparison.first} to {comparison.last}" if comparison.first else "no day in common"
    files = "file" if len(billed) == 1 else "files"
    notes = (f"Totals of {len(billed)} {files} compared: {days}.", *comparison.left_out)
    return diagnosis.model_copy(
        update={
            "findings": (*diagnosis.findings, *gaps, *one_sided),
            "notes": (*diagnosis.notes, *notes),
        }
    )
