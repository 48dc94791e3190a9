"""The routes as they were at a moment, and what became of one route: from plan rows and chain alone."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ttplan.history.timeline import History, load_history
from ttplan.model.errors import DriftError, InputError
from ttplan.model.stored_plan import LiveRoute
from ttplan.store.protocol import Store


class Turn(NamedTuple):
    """A moment at which a route changed: by which entry of the chain, which plan, and what is live since (None: nothing).

    `name` is its name then; `renamed_to` the one under which it lives on, where that is why nothing is live under this one.
    """

    since: datetime
    seq: int
    event: str
    plan_id: UUID
    plan_name: str
    live: LiveRoute | None
    name: str
    renamed_to: str | None = None


def routes_at(store: Store, at: datetime) -> list[LiveRoute]:
    """The routes that were live at a moment, by precedence.

    Raises InputError for a moment without a zone, and DriftError where plan rows and chain do not say.
    """
    if at.tzinfo is None:
        raise InputError(
            f"{at.isoformat()} has no time zone; expected a moment such as 2026-05-01T00:00:00+00:00"
        )
    history = _history(store)
    return sorted(history.at(at).values(), key=lambda live: (-live.route.priority, live.route.id))


def route_turns(store: Store, name: str) -> list[Turn]:
    """What became of the route of that name, oldest first, through the names that it had before.

    Raises InputError where no plan ever put one of that name live, and DriftError where plan rows and chain do not say.
    """
    history = _history(store)
    turns: list[Turn] = []
    called = name
    for step in reversed(history.steps):
        if called in step.changes:
            to = next(
                (
                    new
                    for new, old in step.renamed.items()
                    if old == called and step.changes[called] is None
                ),
                None,
            )
            turns.append(
                Turn(
                    step.at,
                    step.seq,
                    step.event,
                    step.plan_id,
                    step.plan_name,
                    step.changes[called],
                    called,
                    to,
                )
            )
            called = step.renamed.get(called, called)
    if not turns:
        known = sorted({known for step in history.steps for known in step.changes})
        there = ", ".join(f"{known!r:.60}" for known in known[:5]) + (
            ", …" if len(known) > 5 else ""
        )
        raise InputError(
            f"no route {name!r:.60} was ever live; "
            + (f"there were {there}" if known else "no plan was applied yet")
        )
    return turns[::-1]


def _history(store: Store) -> History:
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        history = History() if org_id is None else load_history(snapshot, org_id)
    for problem in history.problems:
        if problem.blocks:
            raise DriftError(
                f"what was live when cannot be known: {problem.message}; see `ttplan drift`"
            )
    return history
