"""Make a plan live, and take it back: status, routes and audit entry together.

`apply_plan` and `revert_plan` are the only ways to flip a status, so nobody gets an applied plan without a chain entry.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, TypeGuard
from uuid import UUID, uuid4

from ttplan.audit.canonical import payload_money
from ttplan.audit.entries import format_timestamp, next_entry, to_record
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.keys.signer import Signer
from ttplan.audit.rotation import is_continued_by
from ttplan.history.revert import restorable
from ttplan.history.staleness import changes_since_plan
from ttplan.history.timeline import APPLIED, RENAMED, REVERTED, restored_commitment
from ttplan.history.timeline import routes_commitment as routes_commitment
from ttplan.model.audit import Actor, AuditEntry, TipAnchor
from ttplan.model.errors import (
    ApplyError,
    AuditError,
    Cancelled,
    InvalidState,
    PlanNotFound,
    PolicyBlocked,
    StalePlan,
    StoreConflict,
    StoreError,
    TtplanError,
)
from ttplan.model.plan import PlanResult
from ttplan.model.policy import Override
from ttplan.model.stored_plan import StoredPlan, find_previous_names
from ttplan.policy.check import check_policy
from ttplan.store.protocol import Store, Transaction
from ttplan.store.transactions import run_in_transaction

TIP_LOGGER = logging.getLogger("ttplan.audit.tip")
"""Each new tip, as `<seq>:<hash>`, once its transaction has committed."""

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The current moment, UTC."""
    return datetime.now(UTC)


class AuditWriter(Protocol):
    """Anything that can append an entry to an organisation's chain."""

    def emit(
        self, org_id: UUID, actor: Actor, event: str, payload: Mapping[str, Any]
    ) -> AuditEntry:
        """Append an entry and return it. Whatever it raises means that there is no entry."""


class StoreChain:
    """The audit chain in a store, signed with one key: its entries are part of the store's own transactions."""

    def __init__(
        self,
        store: Store,
        key: Signer,
        *,
        clock: Clock = utc_now,
        new_id: Callable[[], UUID] = uuid4,
        on_tip: Callable[[TipAnchor, datetime], None] | None = None,
    ) -> None:
        """`on_tip` is handed each new tip with the moment, once its transaction has committed; where it fails, that is logged."""
        self.store = store
        self._key = key
        self._on_tip = on_tip
        self._clock = clock
        self._new_id = new_id

    @property
    def public_key(self) -> VerifyingKey:
        """What verifies the entries that this chain appends."""
        return self._key.public_key

    def append(
        self, tx: Transaction, org_id: UUID, actor: Actor, event: str, payload: Mapping[str, Any]
    ) -> AuditEntry:
        """Append within a transaction: `seq` and `prev_hash` are read inside it.

        Raises AuditError where the chain's last entry was signed with another key, and CanonicalError for a payload that cannot
        be signed.
        """
        tip = tx.tip(org_id)
        if tip is not None:
            self._check_key(tx, org_id, tip.seq)
        entry = next_entry(
            tip,
            key=self._key,
            id=self._new_id(),
            org_id=org_id,
            timestamp=self._clock(),
            actor=actor,
            event=event,
            payload=payload,
        )
        tx.append_entry(to_record(entry))
        return entry

    def append_required(
        self,
        tx: Transaction,
        org_id: UUID,
        actor: Actor,
        event: str,
        payload: Mapping[str, Any],
        *,
        failure_message: str,
    ) -> AuditEntry:
        """`append` to a transaction that is nothing without the entry.

        Raises StoreConflict as it is, for the transaction to be tried again, and AuditError, which begins with `failure_message`, for
        anything else that keeps the entry from being written.
        """
        try:
            return self.append(tx, org_id, actor, event, payload)
        except StoreConflict:
            raise
        except Exception as error:
            raise AuditError(f"{failure_message}: {error}") from error

    def emit(
        self, org_id: UUID, actor: Actor, event: str, payload: Mapping[str, Any]
    ) -> AuditEntry:
        """Append in a transaction of its own."""
        entry = run_in_transaction(
            self.store, lambda tx: self.append(tx, org_id, actor, event, payload)
        )
        self.publish(entry)
        return entry

    def publish(self, entry: AuditEntry) -> None:
        """Say where the chain ends now. Only after the entry's transaction has committed, and what was stored is what was signed.

        Raises AuditError, with `applied`, where the store gives back something else, or nothing: its tip is not published then.
        """
        try:
            with self.store.read() as snapshot:
                stored = next(iter(snapshot.entries(entry.org_id, since=entry.seq)), None)
        except (
            StoreError,
            Cancelled,
        ) as error:  # which by itself would mean that nothing was written
            raise AuditError(
                f"entry {entry.seq} was committed, but could not be read back, so its tip was not published. Do not do it again; "
                f"run `ttplan verify` once the store can be opened. Reading it: {error}",
                applied=True,
            ) from error
        if stored != to_record(entry):
            raise AuditError(
                f"entry {entry.seq} was committed, but the store gives back something else; its tip was not published. "
                "Verify the chain, and do not go on with this store",
                applied=True,
            )
        publish_tip(entry)
        if self._on_tip is not None:
            try:
                self._on_tip(TipAnchor(entry.seq, entry.hash), self._clock())
            except (
                Exception
            ) as error:  # what was committed stays so, whatever becomes of its anchor
                TIP_LOGGER.warning(
                    "the anchor %d:%s was not handed on: %s", entry.seq, entry.hash, error
                )

    def _check_key(self, tx: Transaction, org_id: UUID, seq: int) -> None:
        last = next(iter(tx.entries(org_id, since=seq)))
        if not is_continued_by(last, self._key.public_key):
            raise AuditError(
                f"the chain's last entry ({seq}) was not signed with this key ({self._key.public_key.hex}), nor does it "
                "hand over to it; load the key that the chain goes on with"
            )


def publish_tip(entry: AuditEntry) -> None:
    """Say where the chain ends now. Only after the entry's transaction has committed."""
    TIP_LOGGER.info("%d:%s", entry.seq, entry.hash)


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
    """Make a projected plan live and return its audit entry.

    In this order: the store flips the status and writes the routes, both or neither; then `plan.applied` is appended. Where
    `audit` is the `StoreChain` of `store`, all of it is one transaction. With `allow_stale` a plan that was computed against
    other live routes is applied all the same, and its entry says so. A plan that does not meet the store's policy is applied only
    with an `override`, which the entry then says, too.

    Raises PlanNotFound, InvalidState, StalePlan, PolicyBlocked, DriftError (the policy is not the one signed for, or what the
    chain says of it and of approvals does not verify) and StoreError, after which nothing was written; OutcomeUnknown (a server
    was lost in the commit); and AuditError, whose `applied` says whether the plan is live without its entry (a foreign audit
    writer) or nothing was written (the store's own chain).
    """
    applied_at = clock()
    change = _Change(result.plan_id, APPLIED, "applied", "apply the plan")
    options = _Options(allow_stale, override, audit if _is_own(audit, store) else None)
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
    """Put back what an applied plan replaced, and return the audit entry, `plan.reverted`.

    Its routes are not live any more, and those that they took the place of are again, in one transaction with the entry where
    `audit` is the `StoreChain` of `store`.

    Raises PlanNotFound, InvalidState (the plan is not applied), TouchedSince (a later plan has touched its routes: revert that
    one first), DriftError (the live routes are not what it put there, or the chain does not verify), StoreError and AuditError,
    as `apply_plan` does.
    """
    plan_id = plan if isinstance(plan, UUID) else plan.plan_id
    reverted_at = clock()
    change = _Change(plan_id, REVERTED, "reverted", "revert it")
    chain = audit if _is_own(audit, store) else None
    return _write(
        store,
        audit,
        change,
        actor,
        lambda tx: _mark_reverted(tx, plan, plan_id, reverted_at, chain),
    )


class _Change(NamedTuple):
    """A flip of a status: of which plan, by which event, and as words."""

    plan_id: UUID
    event: str
    done: str
    again: str


class _Options(NamedTuple):
    """How a plan is applied; `chain` is the store's own, where the entry goes there."""

    allow_stale: bool
    override: Override | None
    chain: StoreChain | None


class _Marked(NamedTuple):
    """What was written: in whose chain its entry belongs, and what the entry says of it."""

    org_id: UUID
    payload: dict[str, Any]


def _write(
    store: Store,
    audit: AuditWriter,
    change: _Change,
    actor: Actor,
    mark: Callable[[Transaction], _Marked],
) -> AuditEntry:
    """`mark` in a transaction, and then the entry of what it wrote: in the same one where the chain is the store's own."""
    own_chain = audit if _is_own(audit, store) else None

    def work(tx: Transaction) -> tuple[_Marked, AuditEntry | None]:
        marked = mark(tx)
        return marked, None if own_chain is None else _append(own_chain, tx, change, actor, marked)

    try:
        marked, entry = run_in_transaction(store, work)
    except TtplanError:
        raise
    except Exception as error:
        raise StoreError(
            f"plan {change.plan_id} could not be {change.done}, nothing was written: {error}"
        ) from error
    if own_chain is None or entry is None:
        return _emit(audit, change, actor, marked)
    own_chain.publish(entry)
    return entry


def _is_own(audit: AuditWriter, store: Store) -> TypeGuard[StoreChain]:
    return isinstance(audit, StoreChain) and audit.store == store


def _mark_applied(
    tx: Transaction, result: PlanResult, applied_at: datetime, options: _Options
) -> _Marked:
    """Flip the status and write the routes."""
    live = tx.live_routes(result.org_id)
    previous = tx.mark_applied(result.plan_id, applied_at, result.proposed_routes)
    if previous is None:
        raise PlanNotFound(result.plan_id)
    if previous != "projected":
        raise InvalidState(result.plan_id, previous)
    run = tx.plan(result.plan_id)
    if run is None:
        raise PlanNotFound(result.plan_id)
    if run.org_id != result.org_id:
        raise ApplyError(
            f"plan {run.plan_id} belongs to {run.org_id}, but the result to apply speaks of {result.org_id}"
        )
    stale = changes_since_plan(run, live, tx)
    if stale and not options.allow_stale:
        raise StalePlan(run.plan_id, stale)
    held = _held_to_policy(tx, run, options)
    try:
        payload = {
            "plan_id": str(result.plan_id),
            "applied_at": format_timestamp(applied_at),
            "sample_size": result.sample_size,
            "projected_savings_usd": payload_money(result.aggregates.projected_savings_usd),
            "routes_commitment": routes_commitment(run.nonce, result.proposed_routes),
        }
    except TtplanError as error:
        raise AuditError(
            f"plan {result.plan_id} was not applied, its audit entry cannot be written: {error}"
        ) from error
    renamed = len(find_previous_names(live, result.proposed_routes))
    said = ({RENAMED: renamed} if renamed else {}) | ({"allowed_stale": True} if stale else {})
    return _Marked(run.org_id, payload | said | held)


def _held_to_policy(tx: Transaction, run: StoredPlan, options: _Options) -> dict[str, Any]:
    """What the entry says of the store's policy: nothing where there is none. Raises PolicyBlocked."""
    found, override = check_policy(tx, run, _vouching(options.chain, tx, run)), options.override
    if found is None:
        return {}
    if found.blocking and override is None:
        raise PolicyBlocked(run.plan_id, [(one.rule, one.found) for one in found.blocking])
    said: dict[str, Any] = {
        "policy_digest": found.policy_digest,
        "approvals": list(found.approved_by),
    }
    if found.blocking and override is not None:
        said["override"] = {
            "by": override.name,
            "reason": override.reason,
            "rules": [one.rule for one in found.blocking],
        }
    return said


def _vouching(chain: StoreChain | None, tx: Transaction, run: StoredPlan) -> VerifyingKey | None:
    """What verifies the store's own chain; None where it does not go on with that key, so that appending to it refuses."""
    tip = None if chain is None else tx.tip(run.org_id)
    if chain is None or tip is None:
        return None
    last = next(iter(tx.entries(run.org_id, since=tip.seq)))
    return chain.public_key if is_continued_by(last, chain.public_key) else None


def _mark_reverted(
    tx: Transaction,
    plan: PlanResult | UUID,
    plan_id: UUID,
    reverted_at: datetime,
    chain: StoreChain | None,
) -> _Marked:
    """Flip the status and put back what the plan had replaced."""
    run = tx.plan(plan_id)
    if run is None:
        raise PlanNotFound(plan_id)
    if isinstance(plan, PlanResult) and plan.org_id != run.org_id:
        raise ApplyError(
            f"plan {plan_id} belongs to {run.org_id}, but the result to revert speaks of {plan.org_id}"
        )
    restored = restorable(tx, run, _vouching(chain, tx, run))
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
    return _Marked(run.org_id, payload)


def _append(
    chain: StoreChain, tx: Transaction, change: _Change, actor: Actor, marked: _Marked
) -> AuditEntry:
    failure_message = (
        f"plan {change.plan_id} was not {change.done}, its audit entry could not be written"
    )
    return chain.append_required(
        tx, marked.org_id, actor, change.event, marked.payload, failure_message=failure_message
    )


def _emit(audit: AuditWriter, change: _Change, actor: Actor, marked: _Marked) -> AuditEntry:
    try:
        return audit.emit(marked.org_id, actor, change.event, marked.payload)
    except Exception as error:
        raise AuditError(
            f"plan {change.plan_id} IS {change.done}, but its audit entry was not written ({error}): re-emit the entry, "
            f"do not {change.again} again",
            applied=True,
        ) from error
