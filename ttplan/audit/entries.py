"""Entries: how one is made, hashed, signed, stored and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import blake3
import orjson

from ttplan.audit.canonical import canonical_json, check_payload
from ttplan.audit.keys.signer import Signer, sign_and_verify
from ttplan.model.audit import Actor, AuditEntry, StoredEntry, TipAnchor
from ttplan.model.errors import CanonicalError

GENESIS = "0" * 64
"""The `prev_hash` of a chain's first entry."""
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{3}|\d{6}|\d{9}))?(?:Z|\+00:00)", re.ASCII
)


def format_timestamp(at: datetime) -> str:
    """Write a time as it is hashed: UTC with `+00:00`, and no fraction if it is zero, else 3 or 6
    digits. Raises CanonicalError if it has no time zone."""
    if at.tzinfo is None:
        raise CanonicalError(f"{at.isoformat()} has no time zone; expected a time in UTC")
    at = at.astimezone(UTC)
    if at.microsecond == 0:
        return at.isoformat(timespec="seconds")
    return at.isoformat(timespec="microseconds" if at.microsecond % 1000 else "milliseconds")


def normalize_timestamp(text: str) -> str | None:
    """Write a timestamp from a file (`Z` or `+00:00`; 0, 3, 6 or 9 digits) as it is hashed.

    Returns None if it is not a timestamp.
    """
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    try:
        datetime.fromisoformat(match[1])
    except ValueError:
        return None
    fraction = match[2] or ""
    while fraction.endswith("000"):
        fraction = fraction[:-3]
    return f"{match[1]}{'.' if fraction else ''}{fraction}+00:00"


def entry_hash(prev_hash: str, body: bytes) -> str:
    """Return `BLAKE3(prev_hash ‖ body)`, hex."""
    return blake3.blake3(bytes.fromhex(prev_hash) + body).hexdigest()


def canonical_body(
    *,
    actor: Mapping[str, Any],
    event: str,
    id: str,
    org_id: str,
    payload: Mapping[str, Any],
    seq: int,
    timestamp: str,
) -> bytes:
    """Return the canonical bytes that an entry's hash covers."""
    ids = {"id": id, "org_id": org_id, "seq": seq, "timestamp": timestamp, "event": event}
    return canonical_json(ids | {"actor": dict(actor), "payload": dict(payload)})


def next_entry(
    tip: TipAnchor | None,
    *,
    key: Signer,
    id: UUID,
    org_id: UUID,
    timestamp: datetime,
    actor: Actor,
    event: str,
    payload: Mapping[str, Any],
) -> AuditEntry:
    """Make the entry that follows `tip` (None: the first), hashed and signed.

    Raises CanonicalError if some reader could not read the payload back exactly, or the time has
    no zone, and KeyFileError if the key's signature does not verify.
    """
    check_payload(payload)
    seq, prev_hash = (0, GENESIS) if tip is None else (tip.seq + 1, tip.hash)
    formatted = format_timestamp(timestamp)
    body = canonical_body(
        actor=actor.to_dict(),
        event=event,
        id=str(id),
        org_id=str(org_id),
        payload=payload,
        seq=seq,
        timestamp=formatted,
    )
    digest = entry_hash(prev_hash, body)
    return AuditEntry(
        id=id,
        org_id=org_id,
        seq=seq,
        timestamp=formatted,
        actor=actor,
        event=event,
        payload=dict(payload),
        prev_hash=prev_hash,
        hash=digest,
        signature=sign_and_verify(key, bytes.fromhex(digest)).hex(),
    )


def to_record(entry: AuditEntry) -> StoredEntry:
    """Convert an entry to the form that is stored and streamed."""
    fields = entry.to_dict()
    for name in ("prev_hash", "hash", "signature"):
        del fields[name]
    body = canonical_json(fields)
    return StoredEntry(
        fields["org_id"], entry.seq, entry.prev_hash, entry.hash, entry.signature, body
    )


def to_entry(record: StoredEntry) -> AuditEntry:
    """Convert a stored entry to one with readable fields."""
    fields = orjson.loads(record.body)
    return AuditEntry(
        **fields, prev_hash=record.prev_hash, hash=record.hash, signature=record.signature
    )
