"""What changed in the live routes since a plan was computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from ttplan.history.timeline import seen_routes
from ttplan.model.results.changes import StaleRoute, StaleRouteKind
from ttplan.model.stored_plan import LiveRoute, SeenRoute, Status, StoredPlan, find_previous_names
from ttplan.store.protocol import Snapshot


def changes_since_plan(
    run: StoredPlan, live: Iterable[LiveRoute], snapshot: Snapshot
) -> tuple[StaleRoute, ...]:
    """How the live routes differ in content from those that a plan was computed against, by name; nothing where they do not.

    A row from before that was remembered is never stale.
    """
    if run.live_seen is None:
        return ()
    then = {one.name: one for one in run.live_seen}
    now = {one.name: one for one in seen_routes(live)}
    if {name: one.digest for name, one in then.items()} == {
        name: one.digest for name, one in now.items()
    }:
        return ()
    moved = _renamed(snapshot, run, {name: then[name] for name in then.keys() - now.keys()})
    # What got a name by a rename is told with that; another route that stands there by now is one of its own.
    there = [one for one in moved.values() if one.to in now]
    arrived = {
        one.to
        for one in there
        if one.how == "renamed back" or now[str(one.to)].plan_id == one.plan_id
    }
    statuses = snapshot.statuses(run.org_id)
    names = sorted(then.keys() | (now.keys() - arrived))
    changed = (moved.get(name) or _since(then.get(name), now.get(name), statuses) for name in names)
    return tuple(one for one in changed if one is not None)


def _renamed(
    snapshot: Snapshot, run: StoredPlan, gone: Mapping[str, SeenRoute]
) -> dict[str, StaleRoute]:
    """Of the routes that are gone, by name, those which another plan renamed, or gave back the name that they had before."""
    found: dict[str, StaleRoute] = {}
    for other in snapshot.plans(run.org_id) if gone else ():
        if other.plan_id == run.plan_id or other.status not in ("applied", "reverted"):
            continue
        replaced = {one.route.name: one for one in other.replaced or ()}
        for new, old in find_previous_names(
            replaced.values(), other.result.proposed_routes
        ).items():
            if other.status == "applied":
                name, to, how, owner = old, new, "renamed", replaced[old].plan_id
            else:
                name, to, how, owner = new, old, "renamed back", other.plan_id
            if name in gone and gone[name].plan_id == owner:
                found[name] = StaleRoute(name=name, how=how, plan_id=other.plan_id, to=to)
    return found


def _since(
    then: SeenRoute | None, now: SeenRoute | None, statuses: Mapping[UUID, Status]
) -> StaleRoute | None:
    if then is None:
        return (
            None
            if now is None
            else _told(now.name, "added", now.plan_id, statuses.get(now.plan_id) == "applied")
        )
    taken_back = statuses.get(then.plan_id) == "reverted"
    if now is None:
        return _told(then.name, "removed", then.plan_id, taken_back)
    if then.digest == now.digest:
        return None
    if taken_back:
        return _told(now.name, "put back", then.plan_id, True)
    return _told(now.name, "replaced", now.plan_id, now.plan_id != then.plan_id)


def _told(name: str, how: StaleRouteKind, plan_id: UUID, by_it: bool) -> StaleRoute:
    """The change, by that plan where that can be."""
    return StaleRoute(name=name, how=how, plan_id=plan_id if by_it else None)
