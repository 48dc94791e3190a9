"""Amounts as a person reads them: with their unit, and more digits where they are small."""

from __future__ import annotations

from decimal import Decimal

from ttplan.model.plan import Interval

NO_INTERVAL = "no interval"


def usd(amount: Decimal | float) -> str:
    """An amount with its unit."""
    return f"{amount:,.{_digits(amount)}f} USD"


def usd_interval(ends: Interval | None) -> str:
    """An interval with its unit; both ends have as many digits as the larger one needs."""
    if ends is None:
        return NO_INTERVAL
    digits = _digits(max(abs(ends[0]), abs(ends[1])))
    return f"{ends[0]:,.{digits}f} to {ends[1]:,.{digits}f} USD"


def negated(ends: Interval | None) -> Interval | None:
    """The interval of what is lost, from that of what is gained."""
    return None if ends is None else (-ends[1], -ends[0])


def _digits(amount: Decimal | float) -> int:
    return 6 if -1 < amount < 1 and amount != 0 else 2
