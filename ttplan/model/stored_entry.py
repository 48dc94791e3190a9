"""An audit entry as the bytes that are hashed. Helper processes load this and little else, so that they start at once."""

from __future__ import annotations

from typing import NamedTuple

KEY_ROTATED = "audit.key_rotated"
"""The event of the entry that hands a chain over to another key."""


class StoredEntry(NamedTuple):
    """An entry as it is stored and streamed: what is hashed stays the bytes that it was.

    `body` is the canonical JSON of `actor, event, id, org_id, payload, seq, timestamp`; the hashes are lower-case hex.
    """

    org_id: str
    seq: int
    prev_hash: str
    hash: str
    signature: str
    body: bytes
