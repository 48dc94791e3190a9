"""The audit chain of a store: signed entries that are part of the store's own transactions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

from ttplan.audit.entries import next_entry, to_record
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.keys.signer import Signer
from ttplan.audit.rotation import is_continued_by
from ttplan.model.audit import Actor, AuditEntry, TipAnchor
from ttplan.model.errors import AuditError, Cancelled, InputError, StoreConflict, StoreError
from ttplan.model.stored_entry import StoredEntry
from ttplan.store.protocol import EntryFilter, Snapshot, Store, Transaction
from ttplan.store.transactions import run_in_transaction

TIP_LOGGER = logging.getLogger("ttplan.audit.tip")
"""Logs each new tip as `<seq>:<hash>` once its transaction has committed."""

Clock = Callable[[], datetime]
KeptAnchors = Callable[[], tuple[str, list[TipAnchor]]]
"""Returns where anchors of a chain are kept, and the last ones there."""


class MissedAnchor(NamedTuple):
    """An anchor that a chain does not have, and its entry at that place, if any."""

    anchor: TipAnchor
    found: StoredEntry | None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.anchor}; the chain has no entry {self.anchor.seq}"
        return f"{self.anchor}; the chain has {self.found.seq}:{self.found.hash}"


def find_missed_anchor(
    snapshot: Snapshot, org_id: UUID, anchors: Iterable[TipAnchor]
) -> MissedAnchor | None:
    """The first of these anchors whose entry the chain does not have; None if it has all."""
    for anchor in anchors:
        at_place = EntryFilter(after=anchor.seq - 1, limit=1)
        entry = next(iter(snapshot.find_entries(org_id, at_place)), None)
        if entry is None or entry.seq != anchor.seq:
            return MissedAnchor(anchor, None)
        if entry.hash != anchor.hash:
            return MissedAnchor(anchor, entry)
    return None


def utc_now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


class AuditWriter(Protocol):
    """Anything that can append an entry to an organisation's chain."""

    def emit(
        self, org_id: UUID, actor: Actor, event: str, payload: Mapping[str, Any]
    ) -> AuditEntry:
        """Append an entry and return it. If it raises, no entry was written."""


class StoreChain:
    """The audit chain in a store, signed with one key.

    Its entries are written in the store's own transactions, so a change and its entry commit
    together or not at all.

    Parameters
    ----------
    store : Store
        The store that holds the chain.
    key : Signer
        Signs new entries. It must be the key of the chain's last entry, or the one which that entry
        hands over to.
    clock : callable, optional
        Returns the timestamp of a new entry. Default: the current time in UTC.
    new_id : callable, optional
        Returns the id of a new entry. Default: a random UUID.
    on_tip : callable, optional
        Called with each new tip and the current time, once the tip's transaction has committed. If
        it raises, the error is logged: the entry stays committed.
    kept_anchors : callable, optional
        Returns the name of a file of anchors, and the last anchors in it. Nothing is appended to a
        chain that does not have them.

    Examples
    --------
    >>> from uuid import UUID
    >>> from ttplan import MemoryStore, StoreChain, System, verify_chain
    >>> from ttplan.audit.keys.key_files import key_from_hex
    >>> store = MemoryStore()
    >>> chain = StoreChain(store, key_from_hex("11" * 32))
    >>> entry = chain.emit(UUID(int=1), System(), "note.added", {"text": "hello"})
    >>> entry.seq, entry.event
    (0, 'note.added')
    >>> with store.read() as snapshot:
    ...     verified = verify_chain(snapshot.entries(UUID(int=1)), chain.public_key)
    """

    def __init__(
        self,
        store: Store,
        key: Signer,
        *,
        clock: Clock = utc_now,
        new_id: Callable[[], UUID] = uuid4,
        on_tip: Callable[[TipAnchor, datetime], None] | None = None,
        kept_anchors: KeptAnchors | None = None,
    ) -> None:
        self.store = store
        self._key = key
        self._clock = clock
        self._new_id = new_id
        self._on_tip = on_tip
        self._kept_anchors = kept_anchors

    @property
    def public_key(self) -> VerifyingKey:
        """The key that verifies the entries that this chain appends."""
        return self._key.public_key

    def continues(self, snapshot: Snapshot, org_id: UUID, tip: TipAnchor) -> bool:
        """Whether this key may sign the entry that follows `tip`."""
        last = next(iter(snapshot.entries(org_id, since=tip.seq)))
        return is_continued_by(last, self.public_key)

    def append(
        self, tx: Transaction, org_id: UUID, actor: Actor, event: str, payload: Mapping[str, Any]
    ) -> AuditEntry:
        """Append an entry within a transaction, which also reads its `seq` and `prev_hash`.

        Raises AuditError if the chain's last entry was signed with another key or the chain lacks
        the anchors that are kept elsewhere, and CanonicalError if the payload cannot be signed.
        """
        self._check_kept_anchors(tx, org_id)
        tip = tx.tip(org_id)
        if tip is not None and not self.continues(tx, org_id, tip):
            raise AuditError(
                f"the chain's last entry ({tip.seq}) was not signed with this key "
                f"({self.public_key.hex}), and does not "
                "hand over to it; load the key that continues the chain"
            )
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

    def _check_kept_anchors(self, tx: Transaction, org_id: UUID) -> None:
        if self._kept_anchors is None:
            return
        try:
            file, anchors = self._kept_anchors()
        except InputError as error:
            raise AuditError(
                f"the chain's anchors cannot be compared, so nothing was written: {error}"
            ) from error
        missed = find_missed_anchor(tx, org_id, anchors)
        if missed is not None:
            raise AuditError(
                f"nothing was written: {file} has the anchor {missed}. The store was rolled back "
                "or rewritten, and another entry would be a second history: restore the newest "
                "backup, and see `ttplan verify --anchors`. If the file is of another store, give "
                "each store a file of its own"
            )

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
        """As `append`, for a transaction that must not commit without the entry.

        Raises StoreConflict unchanged, so that the transaction is retried. Any other failure
        becomes an AuditError that begins with `failure_message`.
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
        """Append an entry in its own transaction and publish the new tip."""
        entry = run_in_transaction(
            self.store, lambda tx: self.append(tx, org_id, actor, event, payload)
        )
        self.publish(entry)
        return entry

    def publish(self, entry: AuditEntry) -> None:
        """Publish the new tip, after its transaction has committed and the stored entry equals the
        signed one.

        Raises AuditError with `applied` set if the store returns another entry, or none; the tip is
        not published.
        """
        try:
            with self.store.read() as snapshot:
                stored = next(iter(snapshot.entries(entry.org_id, since=entry.seq)), None)
        except (StoreError, Cancelled) as error:  # on its own it would mean: nothing was written
            raise AuditError(
                f"entry {entry.seq} was committed, but could not be read back, so its tip was not "
                "published. Do not repeat "
                f"the operation; run `ttplan verify` once the store can be opened. Reading it "
                f"failed: {error}",
                applied=True,
            ) from error
        if stored != to_record(entry):
            raise AuditError(
                f"entry {entry.seq} was committed, but the store returns a different one; its tip "
                "was not published. "
                "Verify the chain, and do not continue with this store",
                applied=True,
            )
        publish_tip(entry)
        if self._on_tip is not None:
            try:
                self._on_tip(TipAnchor(entry.seq, entry.hash), self._clock())
            except Exception as error:  # the entry stays committed without its anchor
                TIP_LOGGER.warning(
                    "the anchor %d:%s was not delivered: %s", entry.seq, entry.hash, error
                )


def publish_tip(entry: AuditEntry) -> None:
    """Log where the chain ends. Only after the entry's transaction has committed."""
    TIP_LOGGER.info("%d:%s", entry.seq, entry.hash)
