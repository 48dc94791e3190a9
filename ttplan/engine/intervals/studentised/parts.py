"""Intervals of the parts of a plan's savings: of routes, and of causes."""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir
import numpy as np

from ttplan.engine.causes import CAUSES, cause_sums
from ttplan.engine.cost import NO_ROUTE
from ttplan.engine.dialects import EXACT_TYPE, Amounts
from ttplan.engine.full.money import amount, amount_sum, are_whole, has_amount
from ttplan.engine.intervals.infer import widen_interval
from ttplan.engine.intervals.studentised.hall import total_interval
from ttplan.engine.intervals.studentised.units import Grouped, UnitSums
from ttplan.engine.summary import PICO
from ttplan.model.plan import Interval

_PARTS = ("moved_baseline", "moved_uncached", "provider_cache", "uncached", "l1_cache", "l2_cache")


def part_sums(rows: ir.Table) -> dict[str, ir.NumericScalar]:
    """The sums that split savings by cause, of mapped rows."""
    backend = rows.get_backend()

    def total(name: str, where: ir.BooleanValue | None = None) -> ir.NumericScalar:
        return amount_sum(amount(rows, name), backend, where)

    sums = {
        "moved_baseline": total("baseline_cost_usd", rows.moved),
        "moved_uncached": total("uncached_usd", rows.moved),
        "uncached": total("uncached_usd"),
    }
    if has_amount(rows, "provider_cache_usd"):
        sums["provider_cache"] = total("provider_cache_usd")
    if "l1_hit" in rows.columns:
        sums["l1_cache"] = total("uncached_usd", rows.l1_hit)
        sums["l2_cache"] = total("uncached_usd", rows.l2_hit & ~rows.l1_hit)
    sums |= cause_sums(rows)
    zero = ibis.literal(0, EXACT_TYPE if are_whole(rows) else rows.baseline_cost_usd.type())
    return {name: ibis.coalesce(total, zero) for name, total in sums.items()}


def route_intervals(grouped: Grouped, unit: UnitSums, conditional: bool) -> dict[int, Interval]:
    """The intervals, in USD, of what each route saves against what was paid."""
    change = grouped.columns["actual_change"]
    routes = [route for route in np.unique(grouped.route).tolist() if route != NO_ROUTE]
    intervals = {}
    for route in routes:
        own = np.where(grouped.route == route, change, 0)
        interval = part_interval(grouped, unit, own, conditional)
        if interval is not None:
            intervals[route] = interval
    return intervals


def cause_intervals(
    grouped: Grouped, unit: UnitSums, conditional: bool
) -> dict[str, Interval | None]:
    """The intervals, in USD, of the parts of `SavingsByCause`; None if no unit has the part.

    `kept_cache` is what the requests that no route moves save or lose, if no gateway cache is
    projected: their provider's cache changes.
    """
    zero = np.zeros_like(grouped.columns["baseline"])
    part: Mapping[str, Amounts] = {name: grouped.columns.get(name, zero) for name in _PARTS}
    values = {
        "already": (grouped.columns["baseline"] - part["moved_baseline"])
        - (part["uncached"] - part["moved_uncached"]),
        "routes": part["moved_baseline"] - part["moved_uncached"] - part["provider_cache"],
        "provider_cache": part["provider_cache"],
        "l1_cache": part["l1_cache"],
        "l2_cache": part["l2_cache"],
    }
    if not (part["l1_cache"].any() or part["l2_cache"].any()):
        kept = grouped.route == NO_ROUTE
        values["kept_cache"] = np.where(kept, grouped.columns["actual_change"], 0)
    return {cause: part_interval(grouped, unit, own, conditional) for cause, own in values.items()}


def change_intervals(
    grouped: Grouped, unit: UnitSums, conditional: bool, errors: Mapping[str, float]
) -> dict[str, Interval | None]:
    """The intervals, in USD, of the parts of `ChangeByCause`; None if no unit has the part.

    `errors` are the standard errors (USD) of the assumptions that a part rests on.
    """
    change = grouped.columns["actual_change"]
    values = {name: grouped.columns.get(name, np.zeros_like(change)) for name in CAUSES}
    values["recorded"] = change - sum(values.values())
    intervals: dict[str, Interval | None] = {}
    for cause, own in values.items():
        interval = part_interval(grouped, unit, own, conditional)
        centre = float(own.sum()) / PICO
        intervals[cause] = widen_interval(interval, centre, errors.get(cause, 0.0))
    return intervals


def part_interval(
    grouped: Grouped, unit: UnitSums, values: Amounts, conditional: bool
) -> Interval | None:
    """The interval of the sum of `values`, USD; None if all are 0, or there is one unit alone.

    `conditional`: the number of requests is fixed, so that a unit varies about its share of them.
    """
    spread = unit.with_sums(grouped, value=values).spread("value", "requests")
    if not spread.carriers or spread.units < 2:
        return None
    return total_interval(spread, spread.ratio if conditional else 0.0)
