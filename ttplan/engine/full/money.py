"""Exact money of a request: whole 10^-15 USD where 64 bits hold it, else decimals.

A rate is USD per token. Its column is of whole numbers of 10^-15 USD if no request of the log can
cost `MAX_WHOLE` or more: engines compute with 64 bits several times as fast as with 128.
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
from ttplan.engine.dialects import exact_total, half_away, money_type

MAX_WHOLE = 9_000
"""Amounts below this, in USD, fit."""
_EXACT_TYPE = "decimal(38, 15)"
_PICO = ibis.literal(Decimal("0.000000000001"), "decimal(16, 12)")


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


def rounded(exact: ir.NumericValue, backend: Any) -> ir.DecimalValue:
    """A non-negative exact amount, rounded half away from zero to money's 12 digits."""
    if not exact.type().is_integer():
        return half_away(exact.cast(_EXACT_TYPE), backend)
    # Engines divide whole numbers as floats: the quotient may be off by one or two, which the
    # remainder tells.
    near = exact // 1_000
    pico = near + (exact - near * 1_000 + 500) // 1_000
    return (pico.cast("decimal(16, 0)") * _PICO).cast(money_type(backend))
