"""Check logs: those that a store has, or files as they are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ttplan.doctor.check import check_rows
from ttplan.doctor.cost_checks import CHECKED_COLUMNS
from ttplan.doctor.kinds import FINDING_KINDS
from ttplan.logs.billing.compare import compare_totals
from ttplan.logs.billing.totals import read_totals
from ttplan.logs.model_names import normalise_model
from ttplan.logs.reader import LogReader
from ttplan.model.errors import InputError
from ttplan.model.results.diagnosis import Diagnosis, Finding
from ttplan.prices.book import PriceBook, PriceSource
from ttplan.store.protocol import Store
from ttplan.util.paths import PathLike

MEMORY = "1GB"
"""What DuckDB may hold of rows that are checked."""


def check_store(
    store: Store,
    name: str,
    *,
    prices: PriceSource = None,
    totals: Sequence[PathLike] = (),
    at: datetime,
) -> Diagnosis:
    """Check the requests of a store, which is called `name`, as of now, `at`.

    `prices` are one's own, over the catalogue's; `totals` are a provider's exports of usage or costs by day, to hold the log
    against. Raises InputError where one of them cannot be used.
    """
    book = PriceBook(prices)
    with store.read() as snapshot:
        table = snapshot.requests()
        backend: Any = table.get_backend()
        rows = f"({backend.compile(table)})"
        found = check_rows(backend.con, rows, table.columns, book, log=name, at=at)
        return _with_totals(found, backend.con, rows, totals)


class RowBuffer:
    """Rows on their way to somewhere else, kept aside, outside of memory, to be checked when all have passed."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ttplan-")
        self._connection = duckdb.connect(str(Path(self._folder.name) / "rows.duckdb"))
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(f"SET memory_limit = '{MEMORY}'")
        self._any = False

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, unchanged."""
        for batch in batches:
            self._connection.register("batch", batch.select(list(CHECKED_COLUMNS)))
            self._connection.execute("CREATE TABLE IF NOT EXISTS requests AS FROM batch LIMIT 0")
            self._connection.execute("INSERT INTO requests FROM batch")
            self._connection.unregister("batch")
            self._any = True
            yield batch

    def check(
        self,
        *,
        log: str,
        book: PriceBook,
        totals: Sequence[PathLike] = (),
        at: datetime,
        notes: Sequence[str] = (),
    ) -> Diagnosis:
        """What passed, checked as of `at`. Raises InputError where nothing did, or `totals` cannot be used."""
        if not self._any:
            raise InputError(f"{log} has no rows; expected one request a row")
        found = check_rows(
            self._connection, "requests", list(CHECKED_COLUMNS), book, log=log, at=at, notes=notes
        )
        return _with_totals(found, self._connection, "requests", totals)

    def __enter__(self) -> RowBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._folder.cleanup()


def check_files(
    paths: Sequence[PathLike],
    *,
    format: str | None = None,
    mapping: Any = None,
    prices: PriceSource = None,
    totals: Sequence[PathLike] = (),
    at: datetime,
    progress: Callable[[int], None] | None = None,
) -> Diagnosis:
    """Check logs in files, of any format that can be read, with no store; rows that cannot be used are counted in the notes.

    `prices` and `totals` as in `check_store`. Raises InputError where a file cannot be read.
    """
    book = PriceBook(prices)
    with RowBuffer() as rows:
        notes = [note for path in paths for note in _read(rows, path, format, mapping, progress)]
        return rows.check(
            log=", ".join(str(path) for path in paths), book=book, totals=totals, at=at, notes=notes
        )


def check_table(
    table: pa.Table, *, log: str, prices: PriceSource = None, at: datetime
) -> Diagnosis:
    """Check requests in a table in our column names."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("requests", table)
        return check_rows(
            connection, "requests", table.schema.names, PriceBook(prices), log=log, at=at
        )


def _read(
    rows: RowBuffer,
    path: PathLike,
    format: str | None,
    mapping: Any,
    progress: Callable[[int], None] | None,
) -> Iterator[str]:
    """Have a file's requests pass, and tell what was left out."""
    options: dict[str, Any] = {
        "format": format,
        "mapping": mapping,
        "on_bad_rows": "skip",
        "needs_cost": False,
    }
    with LogReader(path, **options, namer=normalise_model) as log:
        for _ in rows(log.batches(progress)):
            pass
        report = log.report()
    for skipped in (*report.skipped, *report.not_requests):
        yield f"{path}: {skipped.rows:,} rows left out: {skipped.reason} ({skipped.examples[0]})."


def _with_totals(
    found: Diagnosis, connection: Any, rows: str, totals: Sequence[PathLike]
) -> Diagnosis:
    if not totals:
        return found
    read = [read_totals(path) for path in totals]
    compared = compare_totals(connection.sql(f"SELECT * FROM {rows}"), *read)  # noqa: S608
    kind = FINDING_KINDS["totals_differ"]
    told = {
        "kind": "totals_differ",
        "title": kind.title,
        "in_a_plan": kind.in_a_plan,
        "remedy": kind.remedy,
    }
    gaps = [
        Finding(
            **told,
            provider=gap.provider,
            model=gap.model,
            count=len(gap.days),
            effect_usd=gap.difference if gap.measure == "cost_usd" else None,
            detail=str(gap),
            examples=tuple(f"{day}" for day in gap.days),
        )
        for gap in compared.gaps
    ]
    alone = [
        Finding(**told, count=len(names), detail=detail, examples=tuple(names[:3]))
        for names, detail in (
            (compared.only_billed, "billed, but not in the log"),
            (compared.only_logged, "in the log, but not billed"),
        )
        if names
    ]
    days = "no day in common" if compared.first is None else f"{compared.first} to {compared.last}"
    notes = [
        f"Totals of {len(read)} {'file' if len(read) == 1 else 'files'} compared: {days}.",
        *compared.left_out,
    ]
    return found.model_copy(
        update={"findings": (*found.findings, *gaps, *alone), "notes": (*found.notes, *notes)}
    )
