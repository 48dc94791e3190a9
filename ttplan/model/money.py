"""Exact money: USD as decimals with 12 digits after the point.

Whatever arrives is rounded once, half away from zero, from its shortest decimal form; JSON shows the nearest double.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

MONEY_DIGITS = 12
PRICE_DIGITS = 9
MONEY_STEP = Decimal(1).scaleb(-MONEY_DIGITS)
PRICE_STEP = Decimal(1).scaleb(-PRICE_DIGITS)
MAX_MONEY = Decimal(10) ** 12
"""No single request costs this many USD; it bounds what 38 digits have to hold when a log is summed."""
MAX_PRICE = Decimal(10) ** 9
"""No price is this many USD per million tokens, for the same reason."""

# Wide enough that quantize is never the thing that fails: bounds are checked by the fields themselves.
_CONTEXT = Context(prec=400)


def to_decimal(value: Any) -> Decimal:
    """`value` exactly as its shortest decimal form says. Raises ValueError for what is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{value!r} is not a number")
    number = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    if number and not -400 < number.adjusted() < 320:
        raise ValueError(f"{value!r} is out of range")
    return number


def round_money(value: Decimal) -> Decimal:
    """`value` rounded half away from zero to 12 digits."""
    return value.quantize(MONEY_STEP, rounding=ROUND_HALF_UP, context=_CONTEXT)


def money_floor(value: Decimal) -> Decimal:
    """The largest amount of 12 digits not above `value`: for money `m`, `m > value` is `m > money_floor(value)`."""
    return value.quantize(MONEY_STEP, rounding=ROUND_FLOOR, context=_CONTEXT)


def money_ceiling(value: Decimal) -> Decimal:
    """The smallest amount of 12 digits not below `value`: for money `m`, `m < value` is `m < money_ceiling(value)`."""
    return value.quantize(MONEY_STEP, rounding=ROUND_CEILING, context=_CONTEXT)


def _money(value: Any) -> Decimal:
    return round_money(to_decimal(value))


def _price(value: Any) -> Decimal:
    return to_decimal(value).quantize(PRICE_STEP, rounding=ROUND_HALF_UP, context=_CONTEXT)


_AS_NUMBER = PlainSerializer(float, return_type=float, when_used="json")

SignedMoney = Annotated[Decimal, BeforeValidator(_money), _AS_NUMBER]
"""USD, 12 digits after the point, of either sign."""
Money = Annotated[SignedMoney, Field(ge=0)]
"""USD, 12 digits after the point, not negative."""
RequestMoney = Annotated[SignedMoney, Field(ge=0, lt=MAX_MONEY)]
"""What one request costs: USD, 12 digits after the point, below 10^12."""
Price = Annotated[Decimal, BeforeValidator(_price), Field(ge=0, lt=MAX_PRICE), _AS_NUMBER]
"""USD per million tokens, 9 digits after the point."""
Bound = Annotated[Decimal, BeforeValidator(to_decimal), _AS_NUMBER]
"""A bound that amounts are compared with, kept to every digit."""
