"""What changed in the live routes since a plan was computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from ttplan.live.history import seen
from ttplan.model.plan_run import LiveRoute, PlanRun, SeenRoute, Status
from ttplan.model.since import RouteSince, SinceKind

PlanOf = Callable[[UUID], PlanRun | None]


def changes_since(run: PlanRun, live: Iterable[LiveRoute], plan_of: PlanOf) -> tuple[RouteSince, ...]:
    """How the live routes differ in content from those that a plan was computed against, by name; nothing where they do not.

    A row from before that was remembered is never stale.
    """
    if run.live_seen is None:
        return ()
    then = {one.name: one for one in run.live_seen}
    now = {one.name: one for one in seen(live)}
    changed = (_since(then.get(name), now.get(name), plan_of) for name in sorted(then.keys() | now.keys()))
    return tuple(one for one in changed if one is not None)


def _since(then: SeenRoute | None, now: SeenRoute | None, plan_of: PlanOf) -> RouteSince | None:
    if then is None:
        return None if now is None else _told(now.name, "added", now.plan_id, "applied", plan_of)
    if now is None:
        return _told(then.name, "removed", then.plan_id, "reverted", plan_of)
    if then.digest == now.digest:
        return None
    put_back = _told(now.name, "put back", then.plan_id, "reverted", plan_of)
    if put_back.plan_id is not None:
        return put_back
    return RouteSince(name=now.name, how="replaced", plan_id=now.plan_id if now.plan_id != then.plan_id else None)


def _told(name: str, how: SinceKind, plan_id: UUID, wanted: Status, plan_of: PlanOf) -> RouteSince:
    """The change, by that plan where its status says that it can have done it."""
    run = plan_of(plan_id)
    return RouteSince(name=name, how=how, plan_id=plan_id if run is not None and run.status == wanted else None)
