"""Hours in which a log has no request, though at that time of day it usually has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

LEAST_DAYS = 3
"""So many days of a kind, of the week or of its end, tell what is usual."""
LEAST_EXPECTED = 50
"""A gap in which fewer requests would be usual may be chance."""
_SATURDAY = 5


class Gap(NamedTuple):
    """From the first moment of an empty hour (inclusive) to the last one's end, and how many requests would be usual in it."""

    start: datetime
    end: datetime
    expected: int


def find_gaps(by_hour: Mapping[int, int]) -> Iterator[Gap]:
    """The gaps of a log, from its requests by hour since 1970. What is usual is the lower median of that hour of such days."""
    if not by_hour:
        return
    first, last = min(by_hour), max(by_hour)
    seen: dict[tuple[bool, int], list[int]] = defaultdict(list)
    for hour in range(first, last + 1):
        seen[_kind(hour)].append(by_hour.get(hour, 0))
    usual = {
        kind: sorted(counts)[(len(counts) - 1) // 2]
        for kind, counts in seen.items()
        if len(counts) >= LEAST_DAYS
    }
    start, expected = first, 0
    for hour in range(first, last + 1):
        if not by_hour.get(hour):
            expected += usual.get(_kind(hour), 0)
            continue
        if expected >= LEAST_EXPECTED:
            yield Gap(_moment(start), _moment(hour), expected)
        start, expected = hour + 1, 0


def _kind(hour: int) -> tuple[bool, int]:
    moment = _moment(hour)
    return moment.weekday() >= _SATURDAY, moment.hour


def _moment(hour: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
