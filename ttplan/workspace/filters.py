"""What a person asks of a view, checked: moments, limits, and which plans."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from ttplan.model.errors import InputError
from ttplan.model.stored_plan import Status
from ttplan.store.protocol import PlanFilter

Moment = datetime | str | None
"""A moment with a zone, or its text; a day alone is its beginning in UTC."""
_SUCH_AS = (
    "expected a moment with a zone, such as 2026-05-01T00:00:00+00:00, or a day, such as 2026-05-01"
)
_STATUSES = ("projected", "applied", "reverted", "failed")


def moment_of(asked: Moment, name: str) -> datetime | None:
    """A moment as it was asked for, in UTC. Raises InputError for one without a zone, and for text that is none."""
    if asked is None:
        return None
    try:
        moment = datetime.fromisoformat(asked) if isinstance(asked, str) else asked
    except ValueError:
        raise InputError(f"{name} is {asked!r:.60}; {_SUCH_AS}") from None
    if isinstance(asked, str) and len(asked) == len("2026-05-01"):
        moment = moment.replace(tzinfo=UTC)
    if moment.tzinfo is None:
        raise InputError(f"{name} is {moment.isoformat()}, which has no time zone; {_SUCH_AS}")
    return moment.astimezone(UTC)


def limit_of(limit: int | None) -> int | None:
    """A limit as it was asked for. Raises InputError for less than 1."""
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; expected at least 1")
    return limit


def which_plans(
    *,
    plan_id: UUID | None = None,
    status: Status | None = None,
    name: str | None = None,
    since: Moment = None,
    until: Moment = None,
    limit: int | None = None,
) -> PlanFilter:
    """Which plans are asked for. Raises InputError."""
    if status is not None and status not in _STATUSES:
        raise InputError(f"status is {status!r:.60}; expected one of {', '.join(_STATUSES)}")
    return PlanFilter(
        plan_id, status, name, moment_of(since, "since"), moment_of(until, "until"), limit_of(limit)
    )
