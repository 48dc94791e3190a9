"""Import a log: read, name, choose what each row cost, and keep, in one transaction or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from ttplan.doctor.cost_choice import CostBasis, CostChooser
from ttplan.doctor.finding_text import finding_lines
from ttplan.logs.model_names import normalise_model
from ttplan.logs.reader import LogReader, OnBadRows
from ttplan.logs.report import ReadReport, SkippedRows
from ttplan.model.errors import InputError
from ttplan.operations.logs.check_logs import RowBuffer
from ttplan.prices.book import PriceBook, PriceSource
from ttplan.store.protocol import (
    ConflictingRequests,
    ConflictKind,
    RowConflicts,
    Store,
    Transaction,
    conflict_error,
)
from ttplan.store.transactions import retry_on_conflict
from ttplan.util.monitor import show_progress
from ttplan.util.paths import PathLike

_CONFLICTS: dict[ConflictKind, str] = {
    "repeated": "id: the same row again",
    "repeated differently": "id: another row has it; the first was taken",
    "changed": "id: it is in the store with another content, which stays",
}


def import_logs(
    store: Store,
    path: PathLike | Sequence[PathLike],
    *,
    new_id: Callable[[], UUID],
    cost: CostBasis = "recorded",
    prices: PriceSource = None,
    on_bad_rows: OnBadRows = "refuse",
    check: bool = True,
    at: datetime,
    progress: bool | None = None,
    **reading: Any,
) -> ReadReport:
    """Add a log's requests to a store. `reading` is what else `LogReader` is told; `cost` and `prices` are `CostChooser`'s.

    With `check` the log doctor holds each row against its price, as of `at`, for the report's findings. `new_id` makes an
    organisation's id where neither the store nor the log has one. Raises InputError, naming the file, after
    which the store is as it was.
    """
    book = PriceBook(prices)
    told = {"on_bad_rows": on_bad_rows, "needs_cost": cost == "recorded", "namer": normalise_model}
    asked = _Asked(new_id, book, on_bad_rows, check, at, progress)

    def once() -> ReadReport:  # anew from the first row
        return _import(
            store,
            LogReader(path, **(told | reading)),
            CostChooser(cost, book, skip=on_bad_rows == "skip"),
            asked,
        )

    return retry_on_conflict(once)


class _Asked(NamedTuple):
    """How a log is imported, as `import_logs` is told it."""

    new_id: Callable[[], UUID]
    book: PriceBook
    on_bad_rows: OnBadRows
    check: bool
    at: datetime
    progress: bool | None


def _import(store: Store, read: LogReader, choose: CostChooser, asked: _Asked) -> ReadReport:
    with (
        read as log,
        show_progress(
            f"importing {Path(log.name).name}", asked.progress, total=log.row_count()
        ) as monitor,
        RowBuffer() if asked.check else nullcontext() as rows,
    ):
        with store.transaction() as tx:
            default = tx.org_id() or asked.new_id()
            try:
                chosen = choose(log.batches(monitor.count, numbered=True))
                added = tx.add_requests(
                    chosen if rows is None else rows(chosen), default, asked.on_bad_rows
                )
            except ConflictingRequests as error:
                raise InputError(
                    f"{log.name}: {conflict_error(error.conflicts, log.place)}; nothing was imported"
                ) from None
            except InputError as error:
                if log.name in str(error):
                    raise
                raise InputError(f"{log.name}: {error}") from None
            _settle_org(tx, log.name, default)
        # The store is free again while the rows are checked.
        wrong = (
            ()
            if rows is None
            else finding_lines(rows.check(log=log.name, book=asked.book, at=asked.at))
        )
        report = log.report()
        left_out = (*choose.left_out(), *(skipped_rows(one, log.place) for one in added.conflicts))
    return report.model_copy(
        update={
            "added": added.added,
            "already_there": added.already_there,
            "used": report.used - sum(one.rows for one in left_out),
            "skipped": (*report.skipped, *left_out),
            "findings": (*choose.said(), *wrong),
        }
    )


def skipped_rows(found: RowConflicts, place: Callable[[int], str]) -> SkippedRows:
    """Rows that were left out since others have their ids, as a report has them."""
    examples = []
    for one in found.examples:
        of = "the store" if one.earlier is None else place(one.earlier)
        differs = "" if one.differs is None else f", another {one.differs}"
        examples.append(f"{place(one.row)}: {one.id}, as in {of}{differs}")
    return SkippedRows(reason=_CONFLICTS[found.kind], rows=found.rows, examples=tuple(examples))


def _settle_org(tx: Transaction, log: str, default: UUID) -> None:
    orgs = tx.request_orgs()
    if tx.org_id() is None:
        if len(orgs) > 1:
            raise InputError(
                f"{log} has requests of {len(orgs)} organisations; say whose this store is: open it with `org_id`"
            )
        tx.set_org_id(orgs[0] if orgs else default)
