"""An audit entry as stored bytes. Worker processes import this and little else, to start fast."""

from __future__ import annotations

from typing import NamedTuple

KEY_ROTATED = "audit.key_rotated"
"""The event of an entry that hands a chain over to another key."""


class StoredEntry(NamedTuple):
    """An audit entry as it is stored and streamed, with the hashed bytes unchanged.

    `body` is the canonical JSON of `actor, event, id, org_id, payload, seq, timestamp`. The hashes
    and the signature are lower-case hex.
    """

    org_id: str
    seq: int
    prev_hash: str
    hash: str
    signature: str
    body: bytes
