"""Imports a log: read, normalise names, choose each row's cost, store; in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from ttplan.doctor.cost_choice import CostBasis, CostChooser
from ttplan.doctor.finding_text import finding_lines
from ttplan.logs.model_names import normalise_model
from ttplan.logs.reader import LogReader
from ttplan.logs.report import ReadReport, SkippedRows
from ttplan.logs.source import ReadOptions
from ttplan.model.errors import InputError
from ttplan.operations.logs.check_logs import LEFT_OUT, RowBuffer
from ttplan.prices.book import PriceBook, PriceSource
from ttplan.store.protocol import (
    ConflictingRequests,
    RowConflicts,
    Store,
    Transaction,
    conflict_error,
)
from ttplan.store.transactions import retry_on_conflict
from ttplan.util.monitor import show_progress
from ttplan.util.paths import PathLike


@dataclass(frozen=True)
class ImportOptions(ReadOptions):
    """How a log is read and imported.

    `cost` and `prices` are `CostChooser`'s. With `check` the log doctor compares each row with its
    price, for the findings of the report. `progress=None` shows a bar on a terminal or in a
    notebook.
    """

    cost: CostBasis = "recorded"
    prices: PriceSource = None
    check: bool = True
    progress: bool | None = None


def import_logs(
    store: Store,
    path: PathLike | Sequence[PathLike],
    options: ImportOptions,
    *,
    new_id: Callable[[], UUID],
    at: datetime,
) -> ReadReport:
    """Add the requests of a log to a store.

    Rows are checked as of `at`. `new_id` makes the id of the organisation if neither the store nor
    the log has one. Raises InputError, naming the file; the store is then unchanged.
    """
    options = replace(options, needs_cost=options.cost == "recorded")
    book = PriceBook(options.prices)

    def attempt() -> ReadReport:
        """Import from the first row; called again if another writer interferes."""
        chooser = CostChooser(options.cost, book, skip=options.on_bad_rows == "skip")
        with (
            LogReader(path, options, normalise=normalise_model) as log,
            show_progress(
                f"importing {Path(log.name).name}", options.progress, total=log.row_count()
            ) as monitor,
            RowBuffer() if options.check else nullcontext() as buffer,
        ):
            with store.transaction() as tx:
                default_org = tx.org_id() or new_id()
                rows = chooser(log.batches(monitor.count, numbered=True))
                try:
                    result = tx.add_requests(
                        rows if buffer is None else buffer(rows), default_org, options.on_bad_rows
                    )
                except ConflictingRequests as error:
                    message = conflict_error(error.conflicts, log.location)
                    raise InputError(f"{log.name}: {message}; nothing was imported") from None
                except InputError as error:
                    if log.name in str(error):
                        raise
                    raise InputError(f"{log.name}: {error}") from None
                _set_org(tx, log.name, default_org)
            # The transaction is over: checking the rows does not block other writers.
            findings: tuple[str, ...] = ()
            if buffer is not None:
                buffer.leave_out_repeats(result.changed)
            if buffer is not None and buffer.rows:
                findings = finding_lines(buffer.check(log=log.name, book=book, at=at))
            report = log.report()
            conflicts = (skipped_rows(rows, log.location) for rows in result.conflicts)
            left_out = (*chooser.left_out(), *conflicts)
        return report.model_copy(
            update={
                "added": result.added,
                "already_there": result.already_there,
                "used": report.used - sum(skipped.rows for skipped in left_out),
                "skipped": (*report.skipped, *left_out),
                "findings": (*chooser.summary(), *findings),
            }
        )

    return retry_on_conflict(attempt)


def skipped_rows(conflicts: RowConflicts, location: Callable[[int], str]) -> SkippedRows:
    """Rows that were left out because other rows have their ids, for a report."""
    examples = []
    for row in conflicts.examples:
        other = "the store" if row.earlier is None else location(row.earlier)
        differs = "" if row.differs is None else f", another {row.differs}"
        examples.append(f"{location(row.row)}: {row.id}, as in {other}{differs}")
    return SkippedRows(
        reason=LEFT_OUT[conflicts.kind], rows=conflicts.rows, examples=tuple(examples)
    )


def _set_org(tx: Transaction, log: str, default_org: UUID) -> None:
    """Decide which organisation the store belongs to, if that is still open."""
    orgs = tx.request_orgs()
    if tx.org_id() is None:
        if len(orgs) > 1:
            raise InputError(
                f"{log} has requests of {len(orgs)} organisations; say whose this store is:"
                " open it with `org_id`"
            )
        tx.set_org_id(orgs[0] if orgs else default_org)
