"""Exact money: USD as decimals with 12 digits after the point.

Input is rounded once, half away from zero, from its shortest decimal form. JSON contains the
nearest double.
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
"""Upper bound of one request's cost in USD, so that sums fit in 38 digits."""
MAX_PRICE = Decimal(10) ** 9
"""Upper bound of a price in USD per million tokens, for the same reason."""

# So wide that quantize never fails: the fields themselves check bounds.
_CONTEXT = Context(prec=400)


def to_decimal(value: Any) -> Decimal:
    """Convert to the shortest decimal form. Raises ValueError if not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{value!r} is not a number")
    number = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    if number and not -400 < number.adjusted() < 320:
        raise ValueError(f"{value!r} is out of range")
    return number


def round_money(value: Decimal) -> Decimal:
    """Round half away from zero to 12 digits."""
    return value.quantize(MONEY_STEP, rounding=ROUND_HALF_UP, context=_CONTEXT)


def money_floor(value: Decimal) -> Decimal:
    """Round down to 12 digits: for money `m`, `m > value` is `m > money_floor(value)`."""
    return value.quantize(MONEY_STEP, rounding=ROUND_FLOOR, context=_CONTEXT)


def money_ceiling(value: Decimal) -> Decimal:
    """Round up to 12 digits: for money `m`, `m < value` is `m < money_ceiling(value)`."""
    return value.quantize(MONEY_STEP, rounding=ROUND_CEILING, context=_CONTEXT)


def _to_money(value: Any) -> Decimal:
    return round_money(to_decimal(value))


def _to_price(value: Any) -> Decimal:
    return to_decimal(value).quantize(PRICE_STEP, rounding=ROUND_HALF_UP, context=_CONTEXT)


_AS_NUMBER = PlainSerializer(float, return_type=float, when_used="json")

SignedMoney = Annotated[Decimal, BeforeValidator(_to_money), _AS_NUMBER]
"""USD, 12 digits after the point, positive or negative."""
Money = Annotated[SignedMoney, Field(ge=0)]
"""USD, 12 digits after the point, not negative."""
RequestMoney = Annotated[SignedMoney, Field(ge=0, lt=MAX_MONEY)]
"""Cost of one request: USD, 12 digits after the point, below 10^12."""
Price = Annotated[Decimal, BeforeValidator(_to_price), Field(ge=0, lt=MAX_PRICE), _AS_NUMBER]
"""USD per million tokens, 9 digits after the point."""
Bound = Annotated[Decimal, BeforeValidator(to_decimal), _AS_NUMBER]
"""A limit that amounts are compared with, kept with all its digits."""
