"""Finds hours without a request at a time of day that usually has some."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

LEAST_DAYS = 3
"""Days of a kind (weekdays or weekend) that are needed to know what is usual."""
LEAST_EXPECTED = 50
"""A gap in which fewer requests are usual may be chance."""
_SATURDAY = 5


class Gap(NamedTuple):
    """Empty hours, from `start` (inclusive) to `end`, and how many requests they usually have."""

    start: datetime
    end: datetime
    expected: int


def find_gaps(by_hour: Mapping[int, int]) -> Iterator[Gap]:
    """The gaps of a log, from its requests by hour since 1970. The lower median of the same hour of
    such days is usual."""
    if not by_hour:
        return
    first, last = min(by_hour), max(by_hour)
    counts_by_slot: dict[tuple[bool, int], list[int]] = defaultdict(list)
    for hour in range(first, last + 1):
        counts_by_slot[_slot(hour)].append(by_hour.get(hour, 0))
    usual = {
        slot: sorted(counts)[(len(counts) - 1) // 2]
        for slot, counts in counts_by_slot.items()
        if len(counts) >= LEAST_DAYS
    }
    start, expected = first, 0
    for hour in range(first, last + 1):
        if not by_hour.get(hour):
            expected += usual.get(_slot(hour), 0)
            continue
        if expected >= LEAST_EXPECTED:
            yield Gap(_time(start), _time(hour), expected)
        start, expected = hour + 1, 0


def _slot(hour: int) -> tuple[bool, int]:
    """Whether it is on a weekend, and the hour of the day."""
    time = _time(hour)
    return time.weekday() >= _SATURDAY, time.hour


def _time(hour: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
