"""What reverting a plan would put back."""

from __future__ import annotations

from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.require import require_verified
from ttplan.history.timeline import History, load_history
from ttplan.model.errors import DriftError, InvalidState, SupersededPlan
from ttplan.model.stored_plan import LiveRoute, StoredPlan
from ttplan.store.protocol import Snapshot


def restorable(snapshot: Snapshot, run: StoredPlan, key: VerifyingKey | None) -> list[LiveRoute]:
    """The live routes that a plan's own took the place of, under the names that they had.

    They come from the plan rows and the chain, which has to verify with `key`, if there is one; or, where the plan's entry is in
    a chain elsewhere, from its row alone. Raises InvalidState where the plan is not applied, TouchedSince where a later plan has
    replaced or renamed its routes, or taken a name that they had before, and DriftError where they are not live as it put them
    there, or it cannot be known what was there.
    """
    if run.status != "applied" or run.applied_at is None:
        raise InvalidState(run.plan_id, run.status, expected="applied")
    history = load_history(snapshot, run.org_id)
    if key is not None:
        require_verified(
            lambda: snapshot.entries(run.org_id),
            key,
            f"what the chain says was live before plan {run.plan_id}",
        )
    _refuse_touched(snapshot, run, history)
    before = history.before.get(run.plan_id)
    if before is None and run.plan_id not in history.statuses:
        if run.replaced is None:
            raise DriftError(
                f"plan {run.plan_id} cannot be reverted: what it replaced was not kept when it was applied, and its entry is in "
                "no chain of this store. Plan and apply what shall be live instead"
            )
        return list(run.replaced)
    if before is None or history.applied[run.plan_id].changes.keys() != before.keys():
        reason = next(
            (problem.message for problem in history.problems if problem.blocks),
            "its entry is not in the chain",
        )
        raise DriftError(
            f"plan {run.plan_id} cannot be reverted, since what it replaced cannot be known: {reason}"
        )
    return [live for live in before.values() if live is not None]


def _refuse_touched(snapshot: Snapshot, run: StoredPlan, history: History) -> None:
    touched = history.superseded_by(run.plan_id)
    if touched is not None:
        step, names = touched
        raise SupersededPlan(run.plan_id, step.plan_id, step.plan_name, names)
    live = {one.route.name: one for one in snapshot.live_routes(run.org_id)}
    # A chain elsewhere cannot be asked who renamed a route since; its id can.
    elsewhere = (
        {} if run.plan_id in history.statuses else {one.route.id: one for one in live.values()}
    )
    other: dict[UUID, list[str]] = {}
    drifted = []
    for route in run.result.proposed_routes:
        found = live.get(route.name) or elsewhere.get(route.id)
        if found is not None and found.plan_id != run.plan_id:
            other.setdefault(found.plan_id, []).append(route.name)
        elif found is None or (found.route, found.applied_at) != (route, run.applied_at):
            drifted.append(route.name)
    for name in _names_before(run, history):
        if name in live:
            other.setdefault(live[name].plan_id, []).append(name)
    for plan_id, names in other.items():
        later = snapshot.plan(plan_id)
        if later is not None and later.status == "applied":
            raise SupersededPlan(run.plan_id, plan_id, later.name, names)
        drifted += names
    if drifted:
        said = ", ".join(f"{name!r:.60}" for name in drifted)
        raise DriftError(
            f"plan {run.plan_id} cannot be reverted: its {said} is not live as it was put there; look with `ttplan drift`, and "
            "put it right with `ttplan repair`"
        )


def _names_before(run: StoredPlan, history: History) -> list[str]:
    """The names that routes of a plan had until it was applied, and that it left free."""
    own = {route.name for route in run.result.proposed_routes}
    if run.plan_id in history.applied:
        return [name for name in history.applied[run.plan_id].changes if name not in own]
    return [one.route.name for one in run.replaced or () if one.route.name not in own]
