"""Check what a person asks of a view: times, limits, and which plans."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from uuid import UUID

from ttplan.model.errors import InputError
from ttplan.model.stored_plan import Status
from ttplan.store.protocol import PlanFilter

TimeLike = datetime | date | str
"""Timezone-aware datetime (also pandas.Timestamp), ISO 8601 string, or date (00:00 UTC)."""
TimeWindow = tuple[TimeLike, TimeLike]
"""From (inclusive) to (exclusive)."""
_EXPECTED = (
    "expected a timezone-aware datetime, an ISO 8601 time with its offset such as "
    "2026-05-01T00:00:00+00:00, or a date such as 2026-05-01 (00:00 UTC)"
)
_STATUSES = ("projected", "applied", "reverted", "failed")


def parse_time(value: TimeLike, parameter: str) -> datetime:
    """Convert a time to a datetime in UTC. Raises InputError, which names `parameter`."""
    try:
        moment = _to_datetime(value)
        if moment.tzinfo is None:
            raise ValueError
        utc = moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{parameter} is {value!r:.60}; {_EXPECTED}") from None
    # A pandas.Timestamp is a datetime, but the store and JSON expect a plain one.
    return datetime.combine(utc.date(), utc.time(), UTC)


def parse_time_or_none(value: TimeLike | None, parameter: str) -> datetime | None:
    """`parse_time` of a value that may be left out."""
    return None if value is None else parse_time(value, parameter)


def parse_window(window: TimeWindow | None) -> tuple[datetime, datetime] | None:
    """Convert both ends of a window to datetimes in UTC. Raises InputError."""
    if window is None:
        return None
    if isinstance(window, str) or len(window) != 2:
        raise InputError(f"window is {window!r:.60}; expected a start and an end, each a time")
    return parse_time(window[0], "the window's start"), parse_time(window[1], "the window's end")


def check_limit(limit: int) -> int:
    """Return a limit. Raises InputError if it is less than 1."""
    if limit < 1:
        raise InputError(f"limit is {limit}; expected at least 1")
    return limit


def plan_filter(
    *,
    plan_id: UUID | None = None,
    status: Status | None = None,
    name: str | None = None,
    since: TimeLike | None = None,
    until: TimeLike | None = None,
    limit: int | None = None,
) -> PlanFilter:
    """Which plans a view shows. Raises InputError."""
    if status is not None and status not in _STATUSES:
        raise InputError(f"status is {status!r:.60}; expected one of {', '.join(_STATUSES)}")
    return PlanFilter(
        plan_id,
        status,
        name,
        parse_time_or_none(since, "since"),
        parse_time_or_none(until, "until"),
        None if limit is None else check_limit(limit),
    )


def _to_datetime(value: TimeLike) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    try:
        return datetime.combine(date.fromisoformat(value), time(), UTC)
    except ValueError:
        return datetime.fromisoformat(value)
