"""Make a plan live and take it back, and preview what either changes."""

from __future__ import annotations

from collections.abc import Mapping

from ttplan.apply import apply_plan, revert_plan
from ttplan.history.compare import route_changes
from ttplan.history.revert import restorable
from ttplan.history.staleness import changes_since_plan
from ttplan.history.timeline import live_digest, routes_after_apply, seen_routes
from ttplan.model.audit import Actor, Anonymous, AuditEntry
from ttplan.model.policy import Override
from ttplan.model.results.changes import Preview
from ttplan.model.stored_plan import LiveRoute, StoredPlan
from ttplan.operations.context import Context, PlanRef, find_plan, require_plan
from ttplan.store.protocol import Snapshot


def preview(context: Context, plan: PlanRef) -> Preview:
    """Show what applying a plan would change in the live routes; nothing is written.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.

    Returns
    -------
    PreviewCard
        Each route with its change: ``+`` new, ``~`` replaced, ``=`` same.

    Raises
    ------
    PlanNotFound
        If there is no such plan.

    Examples
    --------
    >>> for change in ws.preview("cheaper").result.changes:
    ...     print(change.kind, change.name)
    new short chat to mini
    new code completions to haiku
    new expensive chat to haiku
    """
    plan_id = context.plan_id(plan)
    with context.store.read() as snapshot:
        run = require_plan(snapshot, plan_id)
        live = _live_by_name(snapshot, run)
        stale = (
            changes_since_plan(run, live.values(), snapshot) if run.status == "projected" else ()
        )
    after = routes_after_apply(live.values(), run, context.clock())
    return _preview("apply", run, live, after).model_copy(
        update={
            "stale": stale,
            "computed_against": None if run.live_seen is None else live_digest(run.live_seen),
        }
    )


def preview_revert(context: Context, plan: PlanRef) -> Preview:
    """Show what reverting a plan would change in the live routes; nothing is written.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.

    Returns
    -------
    PreviewCard
        Each route with its change: ``-`` removed, ``~`` put back, ``=`` same.

    Raises
    ------
    PlanNotFound, InvalidState, SupersededPlan, DriftError
        As `revert` does.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> [change.kind for change in ws.preview_revert("cheaper").result.changes]
    ['removed', 'removed', 'removed']
    """
    plan_id = context.plan_id(plan)
    key = context.keys.verifying_or_none(None)
    with context.store.read() as snapshot:
        run = require_plan(snapshot, plan_id)
        live = _live_by_name(snapshot, run)
        restored = {route.route.name: route for route in restorable(snapshot, run, key)}
    removed = dict.fromkeys(route.name for route in run.result.proposed_routes)
    return _preview("revert", run, live, removed | restored)


def apply(
    context: Context,
    plan: PlanRef,
    *,
    actor: Actor | None = None,
    allow_stale: bool = False,
    override: Override | None = None,
) -> AuditEntry:
    """Make a projected plan live: its status, its routes and a signed audit entry.

    All of it is one transaction. If it fails, nothing is written.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.
    actor : User, ApiKey, System or Anonymous, optional
        Who applies it, for example ``ttplan.User.named("ada@example.com")``. `Anonymous` if left
        out.
    allow_stale : bool, default False
        Apply the plan even if other routes are live than it was computed against. The entry says
        so.
    override : Override, optional
        Apply a plan that does not meet the store's policy. The entry names who overrides it and
        why.

    Returns
    -------
    EntryCard
        The audit entry ``plan.applied``.

    Raises
    ------
    PlanNotFound, InvalidState
        If there is no such plan, or it is not a projected one.
    StalePlan, PolicyBlocked
        Unless `allow_stale` or `override` permits it.
    DriftError, StoreError, AuditError, KeyFileError
        If the chain does not verify, or the entry cannot be signed or stored.

    Examples
    --------
    >>> entry = ws.apply("cheaper", actor=ttplan.User.named("ada@example.com"))
    >>> entry.seq, entry.event
    (0, 'plan.applied')
    """
    run = find_plan(context.store, plan)
    return apply_plan(
        context.store,
        context.chain(),
        run.result,
        actor or Anonymous(),
        allow_stale=allow_stale,
        override=override,
        clock=context.clock,
    )


def revert(context: Context, plan: PlanRef, *, actor: Actor | None = None) -> AuditEntry:
    """Put back what an applied plan replaced: status, routes and a signed audit entry.

    All of it is one transaction. If it fails, nothing is written.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.
    actor : User, ApiKey, System or Anonymous, optional
        Who reverts it. `Anonymous` if left out.

    Returns
    -------
    EntryCard
        The audit entry ``plan.reverted``.

    Raises
    ------
    PlanNotFound, InvalidState
        If there is no such plan, or it is not applied.
    SupersededPlan
        If a later plan changed its routes. The error names the plan to revert first.
    DriftError, StoreError, AuditError, KeyFileError
        If the live routes or the chain are not what was signed, or the entry cannot be stored.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.revert("cheaper").event
    'plan.reverted'
    """
    plan_id = context.plan_id(plan)
    return revert_plan(
        context.store, context.chain(), plan_id, actor or Anonymous(), clock=context.clock
    )


def _live_by_name(snapshot: Snapshot, run: StoredPlan) -> Mapping[str, LiveRoute]:
    return {live.route.name: live for live in snapshot.live_routes(run.org_id)}


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
