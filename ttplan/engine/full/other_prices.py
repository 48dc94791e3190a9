"""Savings at other prices than those of the headline: of the plan's moment, or of the requests."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from ttplan.engine.cost import token_cost
from ttplan.engine.dialects import fetch_from, half_away
from ttplan.engine.full.costs import fitted
from ttplan.engine.summary import pico


class OtherPrices(NamedTuple):
    """By how much savings are larger at the other prices, in 10^-12 USD."""

    more: int


def prices_differ(dated: pa.Table, current: pa.Table, start: datetime, end: datetime) -> bool:
    """Whether some price within a window is not that of the plan's moment."""

    def rows(table: pa.Table) -> dict[int, set[tuple[Any, ...]]]:
        kept: dict[int, set[tuple[Any, ...]]] = {}
        for row in table.to_pylist():
            if row["starts"] < end and start < row["ends"]:
                price = tuple(
                    value
                    for name, value in row.items()
                    if name not in ("piece", "price_key", "starts", "ends")
                )
                kept.setdefault(row["price_key"], set()).add(price)
        return kept

    return rows(dated) != rows(current)


def fetch_other_prices(costed: ir.Table, again: ir.Table, carried: ir.Table) -> OtherPrices:
    """Compare the rows of `with_cold_costs` at the headline's prices with those at the others.

    Sums that no price explains at either time are left as they are.
    """
    first, second = (fetch_from(rows, _sums, beside=(carried,)) for rows in (costed, again))
    return OtherPrices(_savings(second) - _savings(first))


def _sums(rows: ir.Table, carried: ir.Table) -> ir.Table:
    rows = rows.join(carried, [rows.pair == carried.carried_pair])
    rows = rows.filter(rows.moved & ~rows.hit)
    read = fitted(rows.routed_warm, rows.fit)
    exact = (rows.cold - token_cost(read, rows.spread)).cast("decimal(38, 15)")
    exact = ibis.greatest(exact, ibis.literal(Decimal(0), "decimal(38, 15)"))
    rows = rows.mutate(target_usd=half_away(exact, rows.get_backend()))
    return rows.group_by("factor", "source_factor", "redo_share").aggregate(
        listed=(rows.current_usd if "current_usd" in rows.columns else rows.explained_usd).sum(),
        target=rows.target_usd.sum(),
    )


def _savings(sums: pa.Table) -> int:
    total = Decimal(0)
    for row in sums.to_pylist():
        listed = pico(row["listed"]) * row["source_factor"] * (1 - row["redo_share"])
        total += listed - pico(row["target"]) * row["factor"]
    return int(total.to_integral_value())
