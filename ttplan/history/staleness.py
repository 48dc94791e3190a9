"""Finds out whether a plan is stale: what changed in the live routes since it was computed."""

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
    """How the live routes differ in content from those that a plan was computed against, by name;
    empty if they do not.

    A plan that was stored before `live_seen` was recorded is never stale.
    """
    if run.live_seen is None:
        return ()
    then = {route.name: route for route in run.live_seen}
    now = {route.name: route for route in seen_routes(live)}
    if {name: route.digest for name, route in then.items()} == {
        name: route.digest for name, route in now.items()
    }:
        return ()
    renamed = _renamed(snapshot, run, {name: then[name] for name in then.keys() - now.keys()})
    # A name that a rename created is part of that change, unless another route has taken it since.
    created = {
        change.to
        for change in renamed.values()
        if change.to in now
        and (change.how == "renamed back" or now[str(change.to)].plan_id == change.plan_id)
    }
    statuses = snapshot.statuses(run.org_id)
    names = sorted(then.keys() | (now.keys() - created))
    changes = (
        renamed.get(name) or _change(then.get(name), now.get(name), statuses) for name in names
    )
    return tuple(change for change in changes if change is not None)


def _renamed(
    snapshot: Snapshot, run: StoredPlan, gone: Mapping[str, SeenRoute]
) -> dict[str, StaleRoute]:
    """Of the routes that are gone, by name, those that another plan renamed, or renamed back
    when it was reverted."""
    changes: dict[str, StaleRoute] = {}
    for other in snapshot.plans(run.org_id) if gone else ():
        if other.plan_id == run.plan_id or other.status not in ("applied", "reverted"):
            continue
        replaced = {live.route.name: live for live in other.replaced or ()}
        for new, old in find_previous_names(
            replaced.values(), other.result.proposed_routes
        ).items():
            if other.status == "applied":
                name, to, how, owner = old, new, "renamed", replaced[old].plan_id
            else:
                name, to, how, owner = new, old, "renamed back", other.plan_id
            if name in gone and gone[name].plan_id == owner:
                changes[name] = StaleRoute(name=name, how=how, plan_id=other.plan_id, to=to)
    return changes


def _change(
    then: SeenRoute | None, now: SeenRoute | None, statuses: Mapping[UUID, Status]
) -> StaleRoute | None:
    if then is None:
        if now is None:
            return None
        return _since(now.name, "added", now.plan_id, statuses.get(now.plan_id) == "applied")
    reverted = statuses.get(then.plan_id) == "reverted"
    if now is None:
        return _since(then.name, "removed", then.plan_id, reverted)
    if then.digest == now.digest:
        return None
    if reverted:
        return _since(now.name, "put back", then.plan_id, True)
    return _since(now.name, "replaced", now.plan_id, now.plan_id != then.plan_id)


def _since(name: str, how: StaleRouteKind, plan_id: UUID, is_by_plan: bool) -> StaleRoute:
    """The change; it names the plan only if that plan made it."""
    return StaleRoute(name=name, how=how, plan_id=plan_id if is_by_plan else None)
