"""Savings at other prices than those of the headline: of the plan's moment, or of the requests."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import ibis.expr.types as ir
import pyarrow as pa

from ttplan.engine.dialects import fetch_from
from ttplan.engine.full.costs import target_cost, with_cold
from ttplan.engine.full.money import as_usd, scaled
from ttplan.engine.full.requests import follows_price
from ttplan.engine.full.shape import Shape
from ttplan.engine.summary import pico


class CostedRows(NamedTuple):
    """Rows of `with_session_values`, what they are priced with, and the shape of their costs."""

    rows: ir.Table
    terms: ir.Table
    shape: Shape


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


def fetch_other_prices(headline: CostedRows, other: CostedRows, carried: ir.Table) -> OtherPrices:
    """Compare rows at the headline's prices with those at the others.

    Sums that no price explains at either time are left as they are.
    """
    first, second = (
        fetch_from(rows, _sums, shape, beside=(terms, carried))
        for rows, terms, shape in (headline, other)
    )
    return OtherPrices(_savings(second) - _savings(first))


def _sums(rows: ir.Table, terms: ir.Table, carried: ir.Table, shape: Shape) -> ir.Table:
    rows = with_cold(rows.filter(rows.moved & ~rows.hit), terms, carried, shape)
    backend = rows.get_backend()
    target = target_cost(rows, scaled(rows.routed_warm, rows.fit), backend)
    listed = rows.explained
    if shape.reprices:
        listed = follows_price(rows).ifelse(rows.current, rows.explained)
    rows = rows.mutate(listed_usd=as_usd(listed, backend), target_usd=as_usd(target, backend))
    return rows.group_by("factor", "source_factor", "redo_share").aggregate(
        listed=rows.listed_usd.sum(),
        target=rows.target_usd.sum(),
    )


def _savings(sums: pa.Table) -> int:
    total = Decimal(0)
    for row in sums.to_pylist():
        listed = pico(row["listed"]) * row["source_factor"] * (1 - row["redo_share"])
        total += listed - pico(row["target"]) * row["factor"]
    return int(total.to_integral_value())
