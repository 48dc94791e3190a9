"""The store's policy, and approvals: set, checked, given; each with its entry in the chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from ttplan.apply import Clock, StoreChain, utc_now
from ttplan.audit.entries import format_timestamp
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.keys.signer import Signer
from ttplan.model.audit import Actor, AuditEntry, User
from ttplan.model.errors import InputError, InvalidState, PlanNotFound, StoreError, TtplanError
from ttplan.model.policy import Policy, PolicyCheck
from ttplan.policy.approvals import APPROVED, POLICY_SET, approval_message, plan_digest
from ttplan.policy.check import check_policy
from ttplan.policy.rules import policy_digest
from ttplan.store.protocol import Store, Transaction
from ttplan.store.transactions import run_in_transaction


def set_policy(
    chain: StoreChain, org_id: UUID, policy: Policy | None, actor: Actor, *, clock: Clock = utc_now
) -> AuditEntry:
    """Hold every plan to a policy from now on, or to none, and return the entry `policy.set`, which has its digest.

    Both are one transaction. Raises StoreError and AuditError; nothing is written then.
    """
    digest = None if policy is None else policy_digest(policy)
    payload = {
        "policy_digest": digest,
        "rules": 0 if policy is None else len(policy.rules),
        "set_at": format_timestamp(clock()),
    }
    return _write(chain, org_id, actor, POLICY_SET, payload, lambda tx: tx.set_policy(policy))


def check_plan(store: Store, plan_id: UUID, key: VerifyingKey | None) -> PolicyCheck | None:
    """Hold a plan to the store's policy; None where it has none. `key` verifies the chain, if there is one.

    Raises PlanNotFound, DriftError, StoreError.
    """
    with store.read() as snapshot:
        run = snapshot.plan(plan_id)
        if run is None:
            raise PlanNotFound(plan_id)
        return check_policy(snapshot, run, key)


def approve_plan(
    chain: StoreChain,
    plan_id: UUID,
    actor: Actor,
    *,
    key: Signer | None = None,
    clock: Clock = utc_now,
) -> AuditEntry:
    """Approve a projected plan as it is now, and return the entry `plan.approved`, which has the plan's digest.

    `key` is one of the approver's own, whose signature of the digest the entry then has, too. Raises InputError where the actor
    is no person, PlanNotFound, InvalidState, StoreError and AuditError; nothing is written then.
    """
    if not isinstance(actor, User):
        raise InputError(
            f"an approval is a person's, and {actor.type!r} is none; expected ttplan.User.named(name) (actor)"
        )
    with chain.store.read() as snapshot:
        run = snapshot.plan(plan_id)
    if run is None:
        raise PlanNotFound(plan_id)
    if run.status != "projected":
        raise InvalidState(plan_id, run.status)
    digest = plan_digest(run)
    payload: dict[str, Any] = {
        "plan_id": str(plan_id),
        "plan_digest": digest,
        "approved_at": format_timestamp(clock()),
    }
    if key is not None:
        payload["approver_key"] = key.public_key.hex
        payload["approver_signature"] = key.sign(approval_message(digest, run.org_id)).hex()

    def still_so(tx: Transaction) -> None:
        found = tx.plan(plan_id)
        if found is None or plan_digest(found) != digest:
            raise StoreError(
                f"plan {plan_id} was changed while it was approved; nothing was written. Look at it again"
            )

    return _write(chain, run.org_id, actor, APPROVED, payload, still_so)


def _write(
    chain: StoreChain,
    org_id: UUID,
    actor: Actor,
    event: str,
    payload: Mapping[str, Any],
    change: Callable[[Transaction], None],
) -> AuditEntry:
    def work(tx: Transaction) -> AuditEntry:
        change(tx)
        failure_message = "nothing was written, since the audit entry could not be"
        return chain.append_required(
            tx, org_id, actor, event, payload, failure_message=failure_message
        )

    try:
        entry = run_in_transaction(chain.store, work)
    except TtplanError:
        raise
    except Exception as error:
        raise StoreError(f"nothing was written: {error}") from error
    chain.publish(entry)
    return entry
