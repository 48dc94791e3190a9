"""What reverting a plan would restore."""

from __future__ import annotations

from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.require import require_verified
from ttplan.history.timeline import History, load_history
from ttplan.model.errors import DriftError, InvalidState, SupersededPlan
from ttplan.model.stored_plan import LiveRoute, StoredPlan
from ttplan.store.protocol import Snapshot


def restorable(snapshot: Snapshot, run: StoredPlan, key: VerifyingKey | None) -> list[LiveRoute]:
    """The live routes that a plan's own routes replaced, under the names that they had.

    They come from plan rows and the chain, which must verify with `key`, if there is one; or from
    the plan's row alone, if its entry is in a chain elsewhere. Raises InvalidState if the plan is
    not applied, SupersededPlan if a later plan replaced or renamed its routes or took a name that
    they had before, and DriftError if the routes are not live as the plan wrote them, or what it
    replaced is unknown.
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
    _check_untouched(snapshot, run, history)
    before = history.before.get(run.plan_id)
    if before is None and run.plan_id not in history.statuses:
        if run.replaced is None:
            raise DriftError(
                f"plan {run.plan_id} cannot be reverted: what it replaced was not stored when it "
                "was applied, and its "
                "entry is not in a chain of this store. Plan and apply the routes that you want "
                "live instead"
            )
        return list(run.replaced)
    if before is None or history.applied[run.plan_id].changes.keys() != before.keys():
        blocking = (problem.message for problem in history.problems if problem.blocks)
        reason = next(blocking, "its entry is not in the chain")
        raise DriftError(
            f"plan {run.plan_id} cannot be reverted, since what it replaced is unknown: {reason}"
        )
    return [live for live in before.values() if live is not None]


def _check_untouched(snapshot: Snapshot, run: StoredPlan, history: History) -> None:
    """Raise SupersededPlan or DriftError if the plan's routes are not live as it wrote them."""
    later = history.superseded_by(run.plan_id)
    if later is not None:
        step, names = later
        raise SupersededPlan(run.plan_id, step.plan_id, step.plan_name, names)
    live = {row.route.name: row for row in snapshot.live_routes(run.org_id)}
    # If the chain is elsewhere, only the route's id shows that it was renamed since.
    by_id = {} if run.plan_id in history.statuses else {row.route.id: row for row in live.values()}
    of_others: dict[UUID, list[str]] = {}
    drifted = []
    for route in run.result.proposed_routes:
        row = live.get(route.name) or by_id.get(route.id)
        if row is not None and row.plan_id != run.plan_id:
            of_others.setdefault(row.plan_id, []).append(route.name)
        elif row is None or (row.route, row.applied_at) != (route, run.applied_at):
            drifted.append(route.name)
    for name in _previous_names(run, history):
        if name in live:
            of_others.setdefault(live[name].plan_id, []).append(name)
    for plan_id, names in of_others.items():
        other = snapshot.plan(plan_id)
        if other is not None and other.status == "applied":
            raise SupersededPlan(run.plan_id, plan_id, other.name, names)
        drifted += names
    if drifted:
        listed = ", ".join(f"{name!r:.60}" for name in drifted)
        raise DriftError(
            f"plan {run.plan_id} cannot be reverted: its {listed} is not live as the plan wrote "
            "it; look at it with "
            "`ttplan drift`, and restore it with `ttplan repair`"
        )


def _previous_names(run: StoredPlan, history: History) -> list[str]:
    """The names that a plan's routes had before it was applied, and that it left free."""
    own = {route.name for route in run.result.proposed_routes}
    if run.plan_id in history.applied:
        names = list(history.applied[run.plan_id].changes)
    else:
        names = [live.route.name for live in run.replaced or ()]
    return [name for name in names if name not in own]
