"""Hand a store's chain over to another key."""

from __future__ import annotations

from ttplan.apply import StoreChain
from ttplan.audit.keys.signer import Signer
from ttplan.audit.rotation import list_keys, rotation_payload
from ttplan.model.audit import Actor, AuditEntry
from ttplan.model.errors import InputError, KeyFileError
from ttplan.model.stored_entry import KEY_ROTATED
from ttplan.store.protocol import Transaction
from ttplan.store.transactions import run_in_transaction


def rotate_key(chain: StoreChain, new: Signer, actor: Actor) -> AuditEntry:
    """Append the entry that hands over from the chain's key to `new`, signed by both, and return it.

    Raises InputError where the chain has no entries yet: it simply begins with another key then. Raises KeyFileError where `new`
    is, or was, one of the chain's keys, or does not sign.
    """

    def work(tx: Transaction) -> AuditEntry:
        org_id = tx.org_id()
        tip = None if org_id is None else tx.tip(org_id)
        if org_id is None or tip is None:
            raise InputError(
                "the chain has no entries yet, so there is nothing to hand over; use the new key from the start"
            )
        if new.public_key in list_keys(tx.entries(org_id), chain.public_key):
            raise KeyFileError(
                f"{new.public_key.hex} is, or was, a key of this chain; rotate to a new one"
            )
        payload = rotation_payload(
            chain.public_key, new, org_id=org_id, seq=tip.seq + 1, prev_hash=tip.hash
        )
        return chain.append(tx, org_id, actor, KEY_ROTATED, payload)

    entry = run_in_transaction(chain.store, work)
    chain.publish(entry)
    return entry
