"""Apply a plan, and revert it: status, live routes and audit entry together.

`apply_plan` and `revert_plan` are the only functions that change a plan's status, so no plan is
applied without an entry in the audit chain. Both do the same three steps:

1. In one transaction of the store, check the plan, change its status and write the live routes.
2. Append the audit entry: in the same transaction if the chain is in that store, else right after
   it.
3. Publish the chain's new tip, once the transaction has committed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeGuard
from uuid import UUID

from ttplan.audit.canonical import payload_money
from ttplan.audit.entries import format_timestamp
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.history.revert import restorable
from ttplan.history.staleness import changes_since_plan
from ttplan.history.timeline import (
    APPLIED,
    RENAMED,
    REVERTED,
    applied_commitment,
    restored_commitment,
)
from ttplan.history.timeline import routes_commitment as routes_commitment
from ttplan.model.audit import Actor, AuditEntry
from ttplan.model.errors import (
    ApplyError,
    AuditError,
    InvalidState,
    PlanNotFound,
    PolicyBlocked,
    StalePlan,
    StoreError,
    TtplanError,
)
from ttplan.model.plan import PlanResult
from ttplan.model.policy import Override
from ttplan.model.stored_plan import StoredPlan, find_previous_names
from ttplan.policy.check import check_policy
from ttplan.store.chain import AuditWriter as AuditWriter
from ttplan.store.chain import Clock as Clock
from ttplan.store.chain import StoreChain as StoreChain
from ttplan.store.chain import utc_now as utc_now
from ttplan.store.protocol import Store, Transaction
from ttplan.store.transactions import run_in_transaction


def apply_plan(
    store: Store,
    audit: AuditWriter,
    result: PlanResult,
    actor: Actor,
    *,
    allow_stale: bool = False,
    override: Override | None = None,
    clock: Clock = utc_now,
) -> AuditEntry:
    """Make the routes of a projected plan live.

    The store changes the status to `applied` and writes the routes, both or neither; then
    `plan.applied` is appended to the audit chain. If `audit` is the `StoreChain` of `store`, all of
    it is one transaction.

    Parameters
    ----------
    store : Store
        The store of the plan and of the live routes.
    audit : AuditWriter
        Appends the audit entry: the `StoreChain` of `store`, or a writer of a chain elsewhere.
    result : PlanResult
        The result of the plan; its `proposed_routes` become live.
    actor : Actor
        Who applies the plan, such as `User` or `System`.
    allow_stale : bool, default False
        Also apply a plan that was computed against other live routes; the entry records it.
    override : Override, optional
        Apply a plan that does not meet the store's policy, with a name and a reason that the entry
        records.
    clock : callable, optional
        Returns the time of the apply. Default: the current time in UTC.

    Returns
    -------
    AuditEntry
        The entry `plan.applied`. It has a commitment to the routes, not the routes themselves.

    Raises
    ------
    PlanNotFound, InvalidState, StalePlan, PolicyBlocked
        There is no such plan; it is not projected; the live routes have changed since it was
        computed; it does not meet the policy. Nothing was written.
    DriftError
        The policy is not the signed one, or the chain's record of it or of approvals does not
        verify. Nothing was written.
    StoreError
        The store could not complete the transaction. Nothing was written.
    AuditError
        The entry was not written. If `applied` is set, the plan is applied without its entry (an
        `audit` elsewhere): emit the entry again, do not apply again. Otherwise nothing was written.
    OutcomeUnknown
        The database server was lost during the commit.

    Examples
    --------
    >>> from uuid import UUID
    >>> from ttplan import MemoryStore, StoreChain, System, apply_plan
    >>> from ttplan.audit.keys.key_files import key_from_hex
    >>> store = MemoryStore()
    >>> result = store.seed_projected(UUID(int=7))
    >>> chain = StoreChain(store, key_from_hex("11" * 32))
    >>> entry = apply_plan(store, chain, result, System())
    >>> entry.seq, entry.event
    (0, 'plan.applied')
    >>> store.status(result.plan_id)
    'applied'
    """
    applied_at = clock()
    change = _StatusChange(result.plan_id, APPLIED, "applied", "apply the plan")
    options = _ApplyOptions(allow_stale, override, audit if _is_own(audit, store) else None)
    return _write(
        store, audit, change, actor, lambda tx: _mark_applied(tx, result, applied_at, options)
    )


def revert_plan(
    store: Store,
    audit: AuditWriter,
    plan: PlanResult | UUID,
    actor: Actor,
    *,
    clock: Clock = utc_now,
) -> AuditEntry:
    """Restore the routes that an applied plan replaced.

    The plan's routes stop being live, the routes that they replaced become live again, the status
    becomes `reverted`, and `plan.reverted` is appended to the audit chain: in one transaction if
    `audit` is the `StoreChain` of `store`.

    Parameters
    ----------
    store : Store
        The store of the plan and of the live routes.
    audit : AuditWriter
        Appends the audit entry, as for `apply_plan`.
    plan : PlanResult or UUID
        The plan, or its id.
    actor : Actor
        Who reverts the plan.
    clock : callable, optional
        Returns the time of the revert. Default: the current time in UTC.

    Returns
    -------
    AuditEntry
        The entry `plan.reverted`.

    Raises
    ------
    PlanNotFound, InvalidState
        There is no such plan, or it is not applied.
    SupersededPlan
        A later plan has changed the routes of this one: revert that plan first.
    DriftError
        The live routes are not what the plan wrote, or the chain does not verify.
    StoreError, AuditError, OutcomeUnknown
        As for `apply_plan`.

    Examples
    --------
    >>> from uuid import UUID
    >>> from ttplan import MemoryStore, StoreChain, System, apply_plan, revert_plan
    >>> from ttplan.audit.keys.key_files import key_from_hex
    >>> store = MemoryStore()
    >>> result = store.seed_projected(UUID(int=7))
    >>> chain = StoreChain(store, key_from_hex("11" * 32))
    >>> _ = apply_plan(store, chain, result, System())
    >>> revert_plan(store, chain, result, System()).event
    'plan.reverted'
    >>> store.status(result.plan_id)
    'reverted'
    """
    plan_id = plan if isinstance(plan, UUID) else plan.plan_id
    reverted_at = clock()
    change = _StatusChange(plan_id, REVERTED, "reverted", "revert it")
    chain = audit if _is_own(audit, store) else None
    return _write(
        store, audit, change, actor, lambda tx: _mark_reverted(tx, plan, reverted_at, chain)
    )


class _StatusChange(NamedTuple):
    """A change of a plan's status: its event, and how messages name it."""

    plan_id: UUID
    event: str
    done: str
    repeat: str


class _ApplyOptions(NamedTuple):
    """How a plan is applied. `chain` is the store's own, if the entry goes there."""

    allow_stale: bool
    override: Override | None
    chain: StoreChain | None


class _Written(NamedTuple):
    """What the store wrote: whose chain the entry belongs to, and its payload."""

    org_id: UUID
    payload: dict[str, Any]


def _is_own(audit: AuditWriter, store: Store) -> TypeGuard[StoreChain]:
    """Whether the chain is in this store, so that both share a transaction."""
    return isinstance(audit, StoreChain) and audit.store == store


def _write(
    store: Store,
    audit: AuditWriter,
    change: _StatusChange,
    actor: Actor,
    mark: Callable[[Transaction], _Written],
) -> AuditEntry:
    """Run `mark` in a transaction and append the entry, within it if the chain is in the store."""
    own_chain = audit if _is_own(audit, store) else None
    failure_message = (
        f"plan {change.plan_id} was not {change.done}, its audit entry could not be written"
    )

    def work(tx: Transaction) -> tuple[_Written, AuditEntry | None]:
        written = mark(tx)
        if own_chain is None:
            return written, None
        entry = own_chain.append_required(
            tx,
            written.org_id,
            actor,
            change.event,
            written.payload,
            failure_message=failure_message,
        )
        return written, entry

    try:
        written, entry = run_in_transaction(store, work)
    except TtplanError:
        raise
    except Exception as error:
        raise StoreError(
            f"plan {change.plan_id} could not be {change.done}, nothing was written: {error}"
        ) from error
    if own_chain is not None and entry is not None:
        own_chain.publish(entry)
        return entry
    try:
        return audit.emit(written.org_id, actor, change.event, written.payload)
    except Exception as error:
        raise AuditError(
            f"plan {change.plan_id} IS {change.done}, but its audit entry was not written "
            f"({error}): re-emit the entry, "
            f"do not {change.repeat} again",
            applied=True,
        ) from error


def _mark_applied(
    tx: Transaction, result: PlanResult, applied_at: datetime, options: _ApplyOptions
) -> _Written:
    """Change the status to `applied`, write the routes, and check staleness and policy."""
    plan_id, routes, aggregates = result.plan_id, result.proposed_routes, result.aggregates
    live = tx.live_routes(result.org_id)
    previous = tx.mark_applied(plan_id, applied_at, routes)
    run = tx.plan(plan_id)
    if previous is None or run is None:
        raise PlanNotFound(plan_id)
    if previous != "projected":
        raise InvalidState(plan_id, previous)
    _check_org(run, result)
    stale = changes_since_plan(run, live, tx)
    if stale and not options.allow_stale:
        raise StalePlan(plan_id, stale)
    policy_record = _check_policy(tx, run, options)
    try:
        payload = {
            "plan_id": str(plan_id),
            "applied_at": format_timestamp(applied_at),
            "sample_size": result.sample_size,
            "projected_savings_usd": payload_money(aggregates.projected_savings_usd),
            "change_vs_actual_usd": payload_money(aggregates.change_vs_actual_usd),
            "routes_commitment": applied_commitment(run.nonce, routes),
        }
    except TtplanError as error:
        raise AuditError(
            f"plan {plan_id} was not applied, its audit entry cannot be written: {error}"
        ) from error
    renamed = len(find_previous_names(live, routes))
    if renamed:
        payload[RENAMED] = renamed
    if stale:
        payload["allowed_stale"] = True
    return _Written(run.org_id, payload | policy_record)


def _check_policy(tx: Transaction, run: StoredPlan, options: _ApplyOptions) -> dict[str, Any]:
    """What the entry records of the policy; empty if there is none. Raises PolicyBlocked."""
    check = check_policy(tx, run, _verifying_key(options.chain, tx, run))
    override = options.override
    if check is None:
        return {}
    if check.blocking and override is None:
        raise PolicyBlocked(run.plan_id, [(rule.rule, rule.found) for rule in check.blocking])
    record: dict[str, Any] = {
        "policy_digest": check.policy_digest,
        "approvals": list(check.approved_by),
    }
    if check.blocking and override is not None:
        record["override"] = {
            "by": override.name,
            "reason": override.reason,
            "rules": [rule.rule for rule in check.blocking],
        }
    return record


def _mark_reverted(
    tx: Transaction, plan: PlanResult | UUID, reverted_at: datetime, chain: StoreChain | None
) -> _Written:
    """Change the status to `reverted` and restore what the plan had replaced."""
    plan_id = plan if isinstance(plan, UUID) else plan.plan_id
    run = tx.plan(plan_id)
    if run is None:
        raise PlanNotFound(plan_id)
    if isinstance(plan, PlanResult):
        _check_org(run, plan)
    restored = restorable(tx, run, _verifying_key(chain, tx, run))
    tx.mark_reverted(plan_id, reverted_at, restored)
    try:
        payload = {
            "plan_id": str(plan_id),
            "reverted_at": format_timestamp(reverted_at),
            "routes_commitment": restored_commitment(run.nonce, restored),
        }
    except TtplanError as error:
        raise AuditError(
            f"plan {plan_id} was not reverted, its audit entry cannot be written: {error}"
        ) from error
    return _Written(run.org_id, payload)


def _check_org(run: StoredPlan, result: PlanResult) -> None:
    if run.org_id != result.org_id:
        raise ApplyError(
            f"plan {run.plan_id} belongs to organisation {run.org_id}, but the result names "
            f"{result.org_id}"
        )


def _verifying_key(
    chain: StoreChain | None, tx: Transaction, run: StoredPlan
) -> VerifyingKey | None:
    """The key that verifies the store's own chain; None if the chain needs another key."""
    tip = None if chain is None else tx.tip(run.org_id)
    if chain is None or tip is None or not chain.continues(tx, run.org_id, tip):
        return None
    return chain.public_key
