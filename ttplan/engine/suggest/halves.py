"""The two halves of a log: which requests belong together, and where to cut between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir
import numpy as np

from ttplan.engine.dialects import exact_sum, fetch
from ttplan.engine.intervals.clusters import with_minute
from ttplan.engine.intervals.studentised.choose import Choice, Variances, candidates, choose_unit
from ttplan.engine.intervals.studentised.hall import Spread, central_sums, effective_number
from ttplan.engine.intervals.studentised.units import (
    Grouped,
    Span,
    UnitSums,
    read_grouped,
    sum_units,
)
from ttplan.engine.suggest.segments import TargetSums, Totals
from ttplan.engine.summary import PICO, on_grid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Halves:
    """Units that begin before `split_at` select, the others are held out.

    `choice` is the unit of the whole log; `session` is the column that its clusters are of, if it
    has clusters.
    """

    split_at: datetime
    choice: Choice
    session: str | None

    @property
    def by_cluster(self) -> bool:
        """Whether whole clusters are held out."""
        return self.choice.unit is not None and not self.choice.unit.seconds

    def late(self, rows: ir.Table) -> ir.BooleanValue:
        """Whether each of the rows is held out."""
        start = rows.began if self.by_cluster else rows.ts
        return start >= ibis.literal(self.split_at, "timestamp('UTC', 6)")


def split_log(
    rows: ir.Table,
    count: int,
    totals: Totals,
    session: str | None,
    window: tuple[datetime, datetime],
) -> Halves:
    """Choose the unit by what all requests would save on the best target, and cut the units in
    the order in which they begin, where half of the `count` requests are reached.

    A burst is then in one half, and what changes over time shows as a difference between the
    halves.
    """
    column = f"saved_{totals.best}"
    by_minute = read_grouped(fetch(_grouped(rows, "minute", column)))
    span = by_minute.span(window)
    clusters = None
    if "cluster" in rows.columns:
        by_cluster = read_grouped(fetch(_grouped(rows, "cluster", column)))
        clusters = units_of(by_cluster, session or "session", 0, span)
    units = candidates(clusters, units_input(by_minute), span)
    variance = _of_requests(rows, totals, count)
    choice = choose_unit(Variances(0.0, variance, 0.0), units)
    by = rows.began if choice.unit is not None and not choice.unit.seconds else rows.ts
    middle = fetch(rows.select(at=by).order_by("at").limit(1, offset=count // 2))["at"][0]
    split_at = middle.as_py().astimezone(UTC)
    if choice.unit is not None and choice.unit.seconds:
        block = timedelta(seconds=choice.unit.seconds)
        split_at = _EPOCH + (split_at - _EPOCH) // block * block
    return Halves(split_at, choice, session)


def units_input(grouped: Grouped) -> Grouped:
    """Sums with the columns that a choice among units reads: savings against requests."""
    requests, saved = grouped.columns["requests"], grouped.columns["change"]
    return grouped._replace(
        columns={
            "requests": requests,
            "hits": np.zeros_like(requests),
            "change": saved,
            "baseline": requests,
            "actual_change": saved,
        }
    )


def units_of(grouped: Grouped, name: str, seconds: int, span: Span) -> UnitSums:
    """The units of that length (0: clusters), with the columns that a choice reads."""
    return sum_units(units_input(grouped), name, seconds, span)


def spread_of_requests(sums: TargetSums, step: int, units: int) -> Spread:
    """How savings on a target vary by request, among `units` requests."""
    orders = {(1, 0): sums.p1, (2, 0): sums.p2, (3, 0): sums.p3}
    crossed = {(1, 1): sums.p1, (2, 1): sums.p2, (1, 2): sums.p1}
    ones = {(0, k): units for k in (1, 2, 3)}
    return Spread(
        units=units,
        degrees=max(units - 1, 1),
        s=sums.saved / PICO,
        b=units,
        moments=central_sums([orders | crossed | ones], [units], (step / PICO, 1.0)),
        carriers=effective_number(sums.size, sums.p2),
    )


def _grouped(rows: ir.Table, key: str, column: str) -> ir.Table:
    rows = with_minute(rows) if key == "minute" else rows
    table = rows.select(key, saved=rows[column])
    return table.group_by(key).aggregate(requests=table.count(), change=table.saved.sum())


def _of_requests(rows: ir.Table, totals: Totals, count: int) -> float:
    """The variance of the savings on the best target, by request."""
    step = totals.steps[totals.best]
    table = on_grid(rows, s=(rows[f"saved_{totals.best}"], step))
    square, backend = table.s * table.s, rows.get_backend()
    row = fetch(
        table.aggregate(p1=exact_sum(table.s, backend), p2=exact_sum(square, backend))
    ).to_pylist()[0]
    spread = spread_of_requests(TargetSums(p1=int(row["p1"]), p2=int(row["p2"])), step, count)
    return spread.variance(spread.ratio)
