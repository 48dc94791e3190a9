"""The unit of a reconciliation: requests of one session, user or key, or of one hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import ibis
import ibis.expr.types as ir

from ttplan.engine.dialects import fetch
from ttplan.engine.full.log_facts import SESSION_COLUMNS
from ttplan.engine.intervals.clusters import period_start
from ttplan.engine.rows import PERIODS, check_columns
from ttplan.model.plan import AUTO, PlanConfig

UNIT_COLUMN = "ttplan_unit"
"""The column that `with_unit` adds."""
LEAST_UNITS = 20
"""A unit has at least this many values in the window and afterwards, if any unit does."""
LEAST_SHARE = 0.5
"""The share of the requests that have a session, if it is the unit."""


class Unit(NamedTuple):
    """A column, or a period of so many seconds. A row without a value belongs to its hour if
    `by_hour`, otherwise all rows without one belong together."""

    name: str
    seconds: int | None = None
    by_hour: bool = False

    @property
    def is_period(self) -> bool:
        """Whether how many units there are follows from the time alone."""
        return self.seconds is not None


def choose_unit(times: Sequence[ir.Table], config: PlanConfig) -> Unit:
    """The unit of a plan's window and of the time after it, whose rows are the two `times`.

    It is the cluster that the plan names. Otherwise it is the first of session, user and key that
    most requests have, and hours if there is none, each with at least `LEAST_UNITS` values in both
    times; failing these, minutes.

    Raises InputError if the log lacks the column that the plan names.
    """
    if config.cluster not in (None, AUTO):
        if config.cluster not in PERIODS:
            check_columns(times[0], (config.cluster,))
        return Unit(config.cluster, PERIODS.get(config.cluster))
    columns = [name for name in SESSION_COLUMNS if all(name in rows.columns for rows in times)]
    counts = [fetch(_counts(rows, columns)).to_pylist()[0] for rows in times]
    for name in columns:
        if all(
            row[f"values_{name}"] >= LEAST_UNITS
            and row[f"rows_{name}"] >= LEAST_SHARE * row["requests"]
            for row in counts
        ):
            return Unit(name, by_hour=True)
    enough = all(row["hours"] >= LEAST_UNITS for row in counts)
    name = "hour" if enough else "minute"
    return Unit(name, PERIODS[name])


def with_unit(table: ir.Table, unit: Unit) -> ir.Table:
    """`table` with the unit of each row, as text."""
    if unit.seconds is not None:
        key = period_start(table.ts, unit.seconds).cast("string")
    else:
        key = table[unit.name].cast("string")
        if unit.by_hour:
            hour = ibis.literal("hour ") + period_start(table.ts, PERIODS["hour"]).cast("string")
            key = ibis.coalesce(key.nullif(""), hour)
    return table.mutate(**{UNIT_COLUMN: key})


def _counts(rows: ir.Table, columns: Sequence[str]) -> ir.Table:
    values = {name: rows[name].cast("string").nullif("") for name in columns}
    return rows.aggregate(
        requests=rows.count(),
        hours=period_start(rows.ts, PERIODS["hour"]).nunique(),
        **{f"rows_{name}": value.count() for name, value in values.items()},
        **{f"values_{name}": value.nunique() for name, value in values.items()},
    )
