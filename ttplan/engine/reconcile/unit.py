"""The unit of a reconciliation: the requests of a plan's window that vary together."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import ibis
import ibis.expr.types as ir

from ttplan.engine.intervals.clusters import period_start
from ttplan.engine.intervals.studentised.choose import choose_unit, variances
from ttplan.engine.intervals.studentised.infer import read_units
from ttplan.engine.intervals.studentised.units import UnitSums
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import PERIODS
from ttplan.model.plan import AUTO


class Unit(NamedTuple):
    """A period, or a column. `scarce` is a coarser period by which savings vary more, of which the
    window has too few, and how much more."""

    name: str
    scarce: tuple[UnitSums, float] | None = None

    @property
    def is_period(self) -> bool:
        """Whether how many units there are follows from the time alone."""
        return self.name in PERIODS


def with_auto_unit(spec: ReplaySpec) -> ReplaySpec:
    """The spec, whose window's rows tell the unit unless the plan names its cluster."""
    if spec.config.cluster not in (None, AUTO):
        return spec
    return replace(spec, config=spec.config.model_copy(update={"cluster": AUTO}), unit=None)


def unit_of(mapped: ir.Table, spec: ReplaySpec, session: str | None) -> Unit:
    """The cluster that the plan names, or the unit that a plan would resample, at least minutes."""
    if spec.cluster is not None:
        return Unit(spec.cluster)
    units = read_units(mapped, spec, session).units
    minutes = next(unit for unit in units if unit.name == "minute")
    others = [unit for unit in units if unit is not minutes]
    choice = choose_unit(variances(*minutes.spreads), others)
    return Unit("minute" if choice.unit is None else choice.name, choice.scarce)


def unit_key(rows: ir.Table, unit: Unit) -> ir.StringValue:
    """The unit of each row, as text. A request without a value is one by its minute."""
    if unit.is_period:
        return period_start(rows.ts, PERIODS[unit.name]).cast("string")
    key = rows.cluster if unit.name not in rows.columns else rows[unit.name]
    minute = ibis.literal("minute ") + period_start(rows.ts, PERIODS["minute"]).cast("string")
    return ibis.coalesce(key.cast("string").nullif(""), minute)
