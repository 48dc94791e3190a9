"""What applying a plan, or reverting it, would change. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.history.compare import route_changes
from ttplan.history.revert import restorable
from ttplan.history.staleness import changes_since_plan
from ttplan.history.timeline import live_digest, routes_after_apply, seen_routes
from ttplan.model.errors import PlanNotFound
from ttplan.model.results.changes import Preview
from ttplan.model.stored_plan import LiveRoute, StoredPlan
from ttplan.store.protocol import Snapshot, Store


def preview(store: Store, plan_id: UUID, at: datetime) -> Preview:
    """What applying a plan at a moment would change in the live routes. Raises PlanNotFound."""
    with store.read() as snapshot:
        run, live = _look(snapshot, plan_id)
        stale = (
            changes_since_plan(run, live.values(), snapshot) if run.status == "projected" else ()
        )
    return _preview("apply", run, live, routes_after_apply(live.values(), run, at)).model_copy(
        update={
            "stale": stale,
            "computed_against": None if run.live_seen is None else live_digest(run.live_seen),
        }
    )


def preview_revert(store: Store, plan_id: UUID, key: VerifyingKey | None = None) -> Preview:
    """What reverting a plan would change; `key` verifies the chain, if there is one.

    Raises PlanNotFound, InvalidState, TouchedSince, DriftError, as `revert_plan` does.
    """
    with store.read() as snapshot:
        run, live = _look(snapshot, plan_id)
        restored = {one.route.name: one for one in restorable(snapshot, run, key)}
    return _preview(
        "revert",
        run,
        live,
        dict.fromkeys(route.name for route in run.result.proposed_routes) | restored,
    )


def _look(snapshot: Snapshot, plan_id: UUID) -> tuple[StoredPlan, Mapping[str, LiveRoute]]:
    run = snapshot.plan(plan_id)
    if run is None:
        raise PlanNotFound(plan_id)
    return run, {one.route.name: one for one in snapshot.live_routes(run.org_id)}


def _preview(
    action: str,
    run: StoredPlan,
    live: Mapping[str, LiveRoute],
    after: Mapping[str, LiveRoute | None],
) -> Preview:
    return Preview.model_validate(
        {
            "action": action,
            "plan_id": run.plan_id,
            "plan_name": run.name,
            "status": run.status,
            "changes": tuple(route_changes(live, after)),
            "untouched": len(live.keys() - after.keys()),
            "live_now": live_digest(seen_routes(live.values())),
        }
    )
