"""Make a plan live: status, routes and audit entry together.

`apply_plan` is the only way to flip a status, so nobody gets an applied plan without a chain entry.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID, uuid4

import blake3

from ttplan.audit.canonical import canonical_json, payload_money
from ttplan.audit.chain import hashed_timestamp, next_entry, to_record
from ttplan.audit.keys import VerifyingKey
from ttplan.audit.rotation import goes_on_with
from ttplan.audit.signer import Signer
from ttplan.model.audit import Actor, AuditEntry, TipAnchor
from ttplan.model.errors import ApplyError, AuditError, InvalidState, PlanNotFound, StoreError, TtplanError
from ttplan.model.plan import PlanResult
from ttplan.model.route import ProposedRoute
from ttplan.store.protocol import Store, Transaction

TIP_LOGGER = logging.getLogger("ttplan.audit.tip")
"""Each new tip, as `<seq>:<hash>`, once its transaction has committed."""

Clock = Callable[[], datetime]


def now() -> datetime:
    """The current moment, UTC."""
    return datetime.now(UTC)


class AuditWriter(Protocol):
    """Anything that can append an entry to an organisation's chain."""

    def emit(self, org_id: UUID, actor: Actor, event: str, payload: Mapping[str, Any]) -> AuditEntry:
        """Append an entry and return it. Whatever it raises means that there is no entry."""


class StoreChain:
    """The audit chain in a store, signed with one key: its entries are part of the store's own transactions."""

    def __init__(
        self,
        store: Store,
        key: Signer,
        *,
        clock: Clock = now,
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
        """The key that verifies what this one appends."""
        return self._key.public_key

    def append(self, tx: Transaction, org_id: UUID, actor: Actor, event: str, payload: Mapping[str, Any]) -> AuditEntry:
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

    def emit(self, org_id: UUID, actor: Actor, event: str, payload: Mapping[str, Any]) -> AuditEntry:
        """Append in a transaction of its own."""
        with self.store.transaction() as tx:
            entry = self.append(tx, org_id, actor, event, payload)
        self.publish(entry)
        return entry

    def publish(self, entry: AuditEntry) -> None:
        """Say where the chain ends now. Only after the entry's transaction has committed, and what was stored is what was signed.

        Raises AuditError, with `applied`, where the store gives back something else: its tip is not published then.
        """
        with self.store.read() as snapshot:
            stored = next(iter(snapshot.entries(entry.org_id, since=entry.seq)), None)
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
            except Exception as error:  # what was committed stays so, whatever becomes of its anchor
                TIP_LOGGER.warning("the anchor %d:%s was not handed on: %s", entry.seq, entry.hash, error)

    def _check_key(self, tx: Transaction, org_id: UUID, seq: int) -> None:
        last = next(iter(tx.entries(org_id, since=seq)))
        if not goes_on_with(last, self._key.public_key):
            raise AuditError(
                f"the chain's last entry ({seq}) was not signed with this key ({self._key.public_key.hex}), nor does it "
                "hand over to it; load the key that the chain goes on with"
            )


def publish_tip(entry: AuditEntry) -> None:
    """Say where the chain ends now. Only after the entry's transaction has committed."""
    TIP_LOGGER.info("%d:%s", entry.seq, entry.hash)


def routes_commitment(nonce: str, routes: Iterable[ProposedRoute]) -> str:
    """`BLAKE3(nonce ‖ canonical JSON of the routes)`, hex: what the chain says of routes without showing them."""
    listed = [route.model_dump(mode="json") for route in routes]
    return blake3.blake3(bytes.fromhex(nonce) + canonical_json(listed)).hexdigest()


def apply_plan(store: Store, audit: AuditWriter, result: PlanResult, actor: Actor, *, clock: Clock = now) -> AuditEntry:
    """Make a projected plan live and return its audit entry.

    In this order: the store flips the status and writes the routes, both or neither; then `plan.applied` is appended. Where
    `audit` is the `StoreChain` of `store`, all of it is one transaction.

    Raises PlanNotFound, InvalidState and StoreError, after which nothing was written, and AuditError, whose `applied` says
    whether the plan is live without its entry (a foreign audit writer) or nothing was written (the store's own chain).
    """
    own_chain = audit if isinstance(audit, StoreChain) and audit.store == store else None
    applied_at = clock()
    try:
        with store.transaction() as tx:
            payload = _mark(tx, result, applied_at)
            if own_chain is not None:
                entry = _append(own_chain, tx, result, actor, payload)
    except TtplanError:
        raise
    except Exception as error:
        raise StoreError(f"plan {result.plan_id} could not be applied, nothing was written: {error}") from error
    if own_chain is None:
        return _emit(audit, result, actor, payload)
    own_chain.publish(entry)
    return entry


def _mark(tx: Transaction, result: PlanResult, applied_at: datetime) -> dict[str, Any]:
    """Flip the status, write the routes, and return what the entry says of it."""
    previous = tx.mark_applied(result.plan_id, applied_at, result.proposed_routes)
    if previous is None:
        raise PlanNotFound(result.plan_id)
    if previous != "projected":
        raise InvalidState(result.plan_id, previous)
    run = tx.plan(result.plan_id)
    if run is None:
        raise PlanNotFound(result.plan_id)
    if run.org_id != result.org_id:
        raise ApplyError(f"plan {run.plan_id} belongs to {run.org_id}, but the result to apply speaks of {result.org_id}")
    try:
        return {
            "plan_id": str(result.plan_id),
            "applied_at": hashed_timestamp(applied_at),
            "sample_size": result.sample_size,
            "projected_savings_usd": payload_money(result.aggregates.projected_savings_usd),
            "routes_commitment": routes_commitment(run.nonce, result.proposed_routes),
        }
    except TtplanError as error:
        raise AuditError(f"plan {result.plan_id} was not applied, its audit entry cannot be written: {error}") from error


def _append(chain: StoreChain, tx: Transaction, result: PlanResult, actor: Actor, payload: Mapping[str, Any]) -> AuditEntry:
    try:
        return chain.append(tx, result.org_id, actor, "plan.applied", payload)
    except Exception as error:
        raise AuditError(f"plan {result.plan_id} was not applied, its audit entry could not be written: {error}") from error


def _emit(audit: AuditWriter, result: PlanResult, actor: Actor, payload: Mapping[str, Any]) -> AuditEntry:
    try:
        return audit.emit(result.org_id, actor, "plan.applied", payload)
    except Exception as error:
        raise AuditError(
            f"plan {result.plan_id} IS applied, but its audit entry was not written ({error}): re-emit the entry, "
            "do not apply the plan again",
            applied=True,
        ) from error
