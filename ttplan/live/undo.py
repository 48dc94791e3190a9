"""What reverting a plan would put back."""

from __future__ import annotations

from uuid import UUID

from ttplan.live.history import history_of
from ttplan.model.errors import DriftError, InvalidState, TouchedSince
from ttplan.model.plan_run import LiveRoute, PlanRun
from ttplan.store.protocol import Snapshot


def restorable(snapshot: Snapshot, run: PlanRun) -> list[LiveRoute]:
    """The live routes that a plan's own took the place of, in the order of its routes.

    They come from the chain and the plan rows, or, where the plan's entry is in a chain elsewhere, from its row alone. Raises
    InvalidState where the plan is not applied, TouchedSince where a later plan has replaced its routes, and DriftError where they
    are not live as it put them there, or what was there before cannot be known.
    """
    if run.status != "applied" or run.applied_at is None:
        raise InvalidState(run.plan_id, run.status, expected="applied")
    _refuse_touched(snapshot, run)
    history = history_of(snapshot, run.org_id)
    before = history.before.get(run.plan_id)
    if before is None and run.plan_id not in history.statuses:
        if run.replaced is None:
            raise DriftError(
                f"plan {run.plan_id} cannot be reverted: what it replaced was not kept when it was applied, and its entry is in "
                "no chain of this store. Plan and apply what shall be live instead"
            )
        return list(run.replaced)
    names = [route.name for route in run.result.proposed_routes]
    if before is None or any(name not in before for name in names):
        reason = next((problem.message for problem in history.problems if problem.blocks), "its entry is not in the chain")
        raise DriftError(f"plan {run.plan_id} cannot be reverted, since what it replaced cannot be known: {reason}")
    return [live for name in names if (live := before[name]) is not None]


def _refuse_touched(snapshot: Snapshot, run: PlanRun) -> None:
    live = {one.route.name: one for one in snapshot.live_routes(run.org_id)}
    other: dict[UUID, list[str]] = {}
    drifted = []
    for route in run.result.proposed_routes:
        found = live.get(route.name)
        if found is not None and found.plan_id != run.plan_id:
            other.setdefault(found.plan_id, []).append(route.name)
        elif found is None or (found.route, found.applied_at) != (route, run.applied_at):
            drifted.append(route.name)
    for plan_id, names in other.items():
        later = snapshot.plan(plan_id)
        if later is not None and later.status == "applied":
            raise TouchedSince(run.plan_id, plan_id, later.name, names)
        drifted += names
    if drifted:
        said = ", ".join(f"{name!r:.60}" for name in drifted)
        raise DriftError(
            f"plan {run.plan_id} cannot be reverted: its {said} is not live as it was put there; look with `ttplan drift`, and "
            "put it right with `ttplan repair`"
        )
