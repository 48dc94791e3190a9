"""The store's policy and approvals: set, check and approve, each with an entry in the chain."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from ttplan.audit.entries import format_timestamp
from ttplan.audit.keys.signer import Signer
from ttplan.model.audit import Actor, Anonymous, AuditEntry, User
from ttplan.model.errors import InputError, InvalidState, StoreError, TtplanError
from ttplan.model.policy import Policy, PolicyCheck
from ttplan.operations.context import Context, PlanRef, find_plan, require_plan
from ttplan.policy import check
from ttplan.policy.approvals import APPROVED, POLICY_SET, approval_message, plan_digest
from ttplan.policy.rules import policy_digest, read_policy
from ttplan.store.protocol import Transaction
from ttplan.store.transactions import run_in_transaction


def set_policy(
    context: Context, policy: str | os.PathLike[str] | Policy | None, *, actor: Actor | None = None
) -> AuditEntry:
    """Require a policy of every plan from now on, or none.

    The policy and the audit entry with its digest are one transaction. If it fails, nothing is
    written.

    Parameters
    ----------
    policy : path, Policy or None
        A YAML policy file, or a policy. None removes the policy.
    actor : User, ApiKey, System or Anonymous, optional
        Who sets it. `Anonymous` if left out.

    Returns
    -------
    EntryCard
        The audit entry ``policy.set``.

    Raises
    ------
    InputError
        If `policy` is not a policy, or the store has no log yet.
    StoreError, AuditError, KeyFileError
        If the policy or its entry cannot be stored.

    Examples
    --------
    >>> ws.set_policy(ttplan.Policy()).event
    'policy.set'
    """
    wanted = policy if policy is None or isinstance(policy, Policy) else read_policy(policy)
    org_id = context.org_id()
    if org_id is None:
        raise InputError(
            f"{context.name} belongs to no organisation yet; import a log first, with "
            "`ttplan import` or import_logs"
        )
    payload = {
        "policy_digest": None if wanted is None else policy_digest(wanted),
        "rules": 0 if wanted is None else len(wanted.rules),
        "set_at": format_timestamp(context.clock()),
    }
    return _write(context, org_id, actor, POLICY_SET, payload, lambda tx: tx.set_policy(wanted))


def check_policy(context: Context, plan: PlanRef) -> PolicyCheck | None:
    """Check a plan against the store's policy, as applying it does.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.

    Returns
    -------
    PolicyCheckCard
        Each rule with its verdict; ``result`` is None if the store has no policy.

    Raises
    ------
    PlanNotFound, DriftError, StoreError
        If there is no such plan, or the policy is not the signed one.

    Examples
    --------
    >>> entry = ws.set_policy(ttplan.Policy())
    >>> ws.check_policy("cheaper").result.blocking
    ()
    """
    plan_id = context.plan_id(plan)
    key = context.keys.verifying_or_none(None)
    with context.store.read() as snapshot:
        return check.check_policy(snapshot, require_plan(snapshot, plan_id), key)


def approve(
    context: Context, plan: PlanRef, *, actor: Actor, key: Signer | None = None
) -> AuditEntry:
    """Approve a projected plan as it is now.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.
    actor : User
        The person who approves it, for example ``ttplan.User.named("ada@example.com")``.
    key : Signer, optional
        The approver's own key, which signs the plan's digest, too.

    Returns
    -------
    EntryCard
        The audit entry ``plan.approved``, which has the plan's digest.

    Raises
    ------
    InputError
        If the actor is not a person.
    PlanNotFound, InvalidState
        If there is no such plan, or it is not a projected one.
    StoreError, AuditError, KeyFileError
        If the entry cannot be stored. Nothing is written then.

    Examples
    --------
    >>> ws.approve("cheaper", actor=ttplan.User.named("grace@example.com")).event
    'plan.approved'
    """
    if not isinstance(actor, User):
        raise InputError(
            f"only a person can approve a plan, and {actor.type!r} is not one; expected "
            "ttplan.User(id) as actor"
        )
    run = find_plan(context.store, plan)
    if run.status != "projected":
        raise InvalidState(run.plan_id, run.status)
    digest = plan_digest(run)
    payload: dict[str, Any] = {
        "plan_id": str(run.plan_id),
        "plan_digest": digest,
        "approved_at": format_timestamp(context.clock()),
    }
    if key is not None:
        payload["approver_key"] = key.public_key.hex
        payload["approver_signature"] = key.sign(approval_message(digest, run.org_id)).hex()

    def check_unchanged(tx: Transaction) -> None:
        stored = tx.plan(run.plan_id)
        if stored is None or plan_digest(stored) != digest:
            raise StoreError(
                f"plan {run.plan_id} was changed while it was approved; nothing was written. "
                "Look at it again"
            )

    return _write(context, run.org_id, actor, APPROVED, payload, check_unchanged)


def _write(
    context: Context,
    org_id: UUID,
    actor: Actor | None,
    event: str,
    payload: Mapping[str, Any],
    change: Callable[[Transaction], None],
) -> AuditEntry:
    """Make a change and append its entry, in one transaction."""
    chain = context.chain()

    def work(tx: Transaction) -> AuditEntry:
        change(tx)
        failure = "nothing was written, since the audit entry could not be"
        return chain.append_required(
            tx, org_id, actor or Anonymous(), event, payload, failure_message=failure
        )

    try:
        entry = run_in_transaction(context.store, work)
    except TtplanError:
        raise
    except Exception as error:
        raise StoreError(f"nothing was written: {error}") from error
    chain.publish(entry)
    return entry
