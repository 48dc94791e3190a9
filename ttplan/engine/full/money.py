"""Exact money of a request: whole 10^-15 USD where 64 bits hold it, else decimals.

A rate is USD per token. Its column is of whole numbers of 10^-15 USD if no request of the log can
cost `MAX_WHOLE` or more: engines compute with 64 bits several times as fast as with 128.

In mapped rows a column `cost_usd` is then `cost_pico`, of whole 10^-12 USD.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any

import ibis
import ibis.expr.types as ir

from ttplan.engine.cost import PRICE_TYPE, token_cost
from ttplan.engine.dialects import (
    exact_sum,
    exact_total,
    half_away,
    half_away_product,
    money_type,
    quotient,
)
from ttplan.engine.full.shape import MICRO
from ttplan.model.money import MONEY_STEP

MAX_WHOLE = 900
"""Amounts below this, in USD, fit, also times a factor."""
_FACTOR_TYPE = "decimal(10, 6)"
_FACTORED_TYPE = "decimal(27, 12)"
"""Money that is multiplied with a factor: engines keep the product, of 38 digits, whole."""
_EXACT_TYPE = "decimal(38, 15)"
_PICO = 10**12
_STEP = ibis.literal(MONEY_STEP, "decimal(19, 12)")


def scaled(tokens: ir.IntegerValue, ratio: ir.IntegerValue) -> ir.IntegerValue:
    """Tokens times a ratio in whole millionths, rounded half up."""
    return (tokens * ratio * 2 + MICRO) // (2 * MICRO)


def product(tokens: ir.IntegerValue, rate: ir.NumericValue) -> ir.NumericValue:
    """The exact cost of that many tokens."""
    return tokens * rate if rate.type().is_integer() else token_cost(tokens, rate.cast(PRICE_TYPE))


def total_of(costs: Sequence[ir.NumericValue], backend: Any) -> ir.NumericValue:
    """The exact sum of costs."""
    if all(cost.type().is_integer() for cost in costs):
        return reduce(add, costs)
    return exact_total(costs, backend)


def at_least_zero(exact: ir.NumericValue) -> ir.NumericValue:
    """An exact amount, or 0 if it is negative."""
    kind = "int64" if exact.type().is_integer() else _EXACT_TYPE
    return ibis.greatest(exact, ibis.literal(0 if kind == "int64" else Decimal(0), kind))


def rounded(exact: ir.NumericValue, backend: Any) -> ir.NumericValue:
    """A non-negative exact amount, rounded half away from zero to money's 12 digits: whole 10^-12
    USD if it is whole, else USD."""
    if not exact.type().is_integer():
        return half_away(exact.cast(_EXACT_TYPE), backend)
    return quotient(exact + 500, 1_000, backend)


def times(amount: ir.NumericValue, factor: ir.DecimalValue, backend: Any) -> ir.NumericValue:
    """A rounded amount times a factor, rounded in the same way.

    Of a whole amount the factor is in whole millionths, below 10^10.
    """
    if not amount.type().is_integer():
        # Polars keeps no more digits of a product than its longer factor has.
        kind = "decimal(38, 18)" if backend.name == "polars" else _FACTORED_TYPE
        return half_away_product(amount.cast(kind) * factor.cast(_FACTOR_TYPE), backend)
    high = quotient(amount, MICRO, backend)
    low = (amount - high * MICRO) * factor + MICRO // 2
    return high * factor + quotient(low, MICRO, backend)


def as_usd(amount: ir.NumericValue, backend: Any) -> ir.DecimalValue:
    """A rounded amount in USD."""
    if amount.type().is_integer():
        return as_decimal(amount, backend)
    return amount.cast(money_type(backend))


def whole_name(name: str) -> str:
    """The name of a column of USD where it is whole."""
    return f"{name.removesuffix('_usd')}_pico"


def are_whole(rows: ir.Table) -> bool:
    """Whether the amounts of mapped rows are whole."""
    return whole_name("cost_usd") in rows.columns


def has_amount(rows: ir.Table, name: str) -> bool:
    """Whether rows have a column of an amount, which is named as one of USD."""
    return (whole_name(name) if are_whole(rows) else name) in rows.columns


def amount(rows: ir.Table, name: str) -> ir.NumericColumn:
    """The column of an amount, which is named as one of USD.

    The cost without gateway caches is the projected one if none is projected, and then not kept.
    """
    if not are_whole(rows):
        return rows[name]
    whole = whole_name(name)
    return rows[whole if whole in rows.columns else whole_name("projected_usd")]


def amount_sum(
    value: ir.NumericColumn, backend: Any, where: ir.BooleanValue | None = None
) -> ir.NumericScalar:
    """The exact sum of amounts; null if there are none."""
    if not value.type().is_integer():
        return value.sum(where=where)
    return exact_sum(value if where is None else where.ifelse(value, None), backend)


def as_whole(usd: ir.DecimalValue) -> ir.IntegerValue:
    """USD below 1,125, which a float holds exactly, as a whole amount."""
    return (usd.cast("float64") * float(_PICO) + 0.5).floor().cast("int64")


def as_decimal(whole: ir.IntegerValue, backend: Any) -> ir.DecimalValue:
    """A whole amount in USD."""
    return (whole.cast("decimal(19, 0)") * _STEP).cast(money_type(backend))


def with_usd(rows: ir.Table) -> ir.Table:
    """Mapped rows with their amounts in USD."""
    if not are_whole(rows):
        return rows
    backend = rows.get_backend()
    whole = [name for name in rows.columns if name.endswith("_pico")]
    usd = {f"{name.removesuffix('_pico')}_usd": as_decimal(rows[name], backend) for name in whole}
    return rows.mutate(**usd).drop(*whole)
