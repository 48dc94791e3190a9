"""What changed in the live routes since a plan was computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from ttplan.live.history import seen
from ttplan.model.plan_run import LiveRoute, PlanRun, SeenRoute, Status
from ttplan.model.since import RouteSince, SinceKind


def changes_since(run: PlanRun, live: Iterable[LiveRoute], statuses: Mapping[UUID, Status]) -> tuple[RouteSince, ...]:
    """How the live routes differ in content from those that a plan was computed against, by name; nothing where they do not.

    `statuses` are those of all plans. A row from before that was remembered is never stale.
    """
    if run.live_seen is None:
        return ()
    then = {one.name: one for one in run.live_seen}
    now = {one.name: one for one in seen(live)}
    changed = (_since(then.get(name), now.get(name), statuses) for name in sorted(then.keys() | now.keys()))
    return tuple(one for one in changed if one is not None)


def _since(then: SeenRoute | None, now: SeenRoute | None, statuses: Mapping[UUID, Status]) -> RouteSince | None:
    if then is None:
        return None if now is None else _told(now.name, "added", now.plan_id, statuses.get(now.plan_id) == "applied")
    taken_back = statuses.get(then.plan_id) == "reverted"
    if now is None:
        return _told(then.name, "removed", then.plan_id, taken_back)
    if then.digest == now.digest:
        return None
    if taken_back:
        return _told(now.name, "put back", then.plan_id, True)
    return _told(now.name, "replaced", now.plan_id, now.plan_id != then.plan_id)


def _told(name: str, how: SinceKind, plan_id: UUID, by_it: bool) -> RouteSince:
    """The change, by that plan where that can be."""
    return RouteSince(name=name, how=how, plan_id=plan_id if by_it else None)
