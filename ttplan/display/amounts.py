"""Figures as text: with their unit, with more digits if they are small, and with their interval."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from ttplan.model.plan import Interval

NO_INTERVAL = "no interval"


def usd(amount: Decimal | float) -> str:
    """An amount with its unit."""
    return f"{amount:,.{_digits(amount)}f} USD"


def usd_interval(interval: Interval | None) -> str:
    """An interval with its unit; both ends have as many digits as the larger one needs."""
    if interval is None:
        return NO_INTERVAL
    digits = _digits(max(abs(interval[0]), abs(interval[1])))
    return format_interval(interval, digits, "USD")


def format_interval(interval: Interval | None, digits: int, unit: str, *, factor: float = 1) -> str:
    """An interval with its unit, each end times `factor`."""
    if interval is None:
        return NO_INTERVAL
    low, high = (end * factor for end in interval)
    return f"{low:,.{digits}f} to {high:,.{digits}f} {unit}"


def negated(interval: Interval | None) -> Interval | None:
    """The interval of a loss, from the interval of the gain."""
    return None if interval is None else (-interval[1], -interval[0])


def plural(count: int, singular: str, several: str = "") -> str:
    """The count with its noun, such as `1 route` or `2 routes`."""
    return f"{count:,} {singular if count == 1 else several or singular + 's'}"


def duration_text(duration: timedelta) -> str:
    """A duration in words, such as `15 minutes` or `1 day 12 hours`."""
    seconds = round(duration.total_seconds())
    parts = []
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(plural(count, name))
    return " ".join(parts) or "0 seconds"


def _digits(amount: Decimal | float) -> int:
    return 6 if -1 < amount < 1 and amount != 0 else 2
