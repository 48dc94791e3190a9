"""The routes that are or were live, and the history of one route."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ttplan.history.timeline import History, load_history
from ttplan.model.errors import DriftError, InputError
from ttplan.model.stored_plan import LiveRoute
from ttplan.operations.context import Context, PlanRef
from ttplan.operations.filters import TimeLike, parse_time_or_none
from ttplan.store.protocol import Store

_MAX_SHOWN = 5


class LiveRoutes(NamedTuple):
    """Live routes by precedence, at a time or now."""

    routes: Sequence[LiveRoute]
    at: datetime | None


class RouteEvent(NamedTuple):
    """A change of a route: when, by which entry and plan, and what is live since (None: nothing).

    `name` is the route's name then. If it is renamed, `renamed_to` is its new name.
    """

    since: datetime
    seq: int
    event: str
    plan_id: UUID
    plan_name: str
    live: LiveRoute | None
    name: str
    renamed_to: str | None = None


class RouteEvents(NamedTuple):
    """The history of the route with a name."""

    name: str
    events: list[RouteEvent]


def routes(
    context: Context,
    *,
    at: TimeLike | None = None,
    name: str | None = None,
    plan: PlanRef | None = None,
    target_model: str | None = None,
) -> LiveRoutes:
    """Show the live routes, by precedence.

    Parameters
    ----------
    at : time, optional
        Show the routes that were live at this time, from plan rows and chain alone. A
        timezone-aware datetime, an ISO 8601 string or a date (00:00 UTC).
    name : str, optional
        A part of the route's name, case-sensitive.
    plan : Plan, UUID or str, optional
        Only routes that this plan put live.
    target_model : str, optional
        Only routes to this model.

    Returns
    -------
    View
        A DataFrame with the columns `ttplan.views.ROUTES`. ``to_yaml()`` returns the routes as a
        plan file with their ids: to edit, rename routes in, and ``plan`` with.

    Raises
    ------
    InputError
        If `at` cannot be used.
    DriftError
        If plan rows and chain do not say what was live.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> list(ws.routes(target_model="gpt-4o-mini")["name"])
    ['short chat to mini']
    """
    time = parse_time_or_none(at, "at")
    plan_id = None if plan is None else context.plan_id(plan)
    live = _live_now(context.store) if time is None else routes_at(context.store, time)
    matching = [
        route
        for route in live
        if (name is None or name in route.route.name)
        and (plan_id is None or route.plan_id == plan_id)
        and (target_model is None or route.route.then.target_model == target_model)
    ]
    return LiveRoutes(matching, time)


def route_history(context: Context, name: str) -> RouteEvents:
    """Show the history of the route with a name, oldest first, from plan rows and chain alone.

    Parameters
    ----------
    name : str
        The route's name now, or the last one that it had.

    Returns
    -------
    View
        A DataFrame with the columns `ttplan.views.HISTORY`.

    Raises
    ------
    InputError
        If there never was such a route.
    DriftError
        If plan rows and chain do not say what was live.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> list(ws.route_history("short chat to mini")["event"])
    ['plan.applied']
    """
    return RouteEvents(name, route_events(context.store, name))


def routes_at(store: Store, at: datetime) -> list[LiveRoute]:
    """The routes that were live at a time, by precedence. Raises DriftError."""
    live = _history(store).at(at).values()
    return sorted(live, key=lambda route: (-route.route.priority, route.route.id))


def route_events(store: Store, name: str) -> list[RouteEvent]:
    """The changes of the route with a name, oldest first, through the names that it had before.

    Raises InputError if no plan ever put such a route live, and DriftError.
    """
    history = _history(store)
    events: list[RouteEvent] = []
    current_name = name
    for step in reversed(history.steps):
        if current_name not in step.changes:
            continue
        live = step.changes[current_name]
        new_names = (new for new, old in step.renamed.items() if old == current_name)
        renamed_to = next(new_names, None) if live is None else None
        events.append(
            RouteEvent(
                step.at,
                step.seq,
                step.event,
                step.plan_id,
                step.plan_name,
                live,
                current_name,
                renamed_to,
            )
        )
        current_name = step.renamed.get(current_name, current_name)
    if not events:
        raise _no_such_route(
            name, sorted({known for step in history.steps for known in step.changes})
        )
    return events[::-1]


def _no_such_route(name: str, known: Sequence[str]) -> InputError:
    shown = ", ".join(f"{other!r:.60}" for other in known[:_MAX_SHOWN])
    more = ", …" if len(known) > _MAX_SHOWN else ""
    hint = f"there were {shown}{more}" if known else "no plan was applied yet"
    return InputError(f"no route {name!r:.60} was ever live; {hint}")


def _live_now(store: Store) -> Sequence[LiveRoute]:
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        return [] if org_id is None else snapshot.live_routes(org_id)


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
