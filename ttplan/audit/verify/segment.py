"""Many lines of a chain at once: canonical entries that follow each other, hashes checked.

A segment holds valid, canonical entries and no rotation. If any line is something else, there is
no segment, and the caller checks line by line.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Callable, Iterator
from typing import NamedTuple

from blake3 import blake3

from ttplan.audit.canonical_line import (
    extract_signatures,
    parse_body,
    parse_canonical_line,
    signed_time,
)
from ttplan.audit.keys import ed25519
from ttplan.model.stored_entry import KEY_ROTATED, StoredEntry

_SIGNATURE_BYTES = 64
_ROTATION_EVENT = f'"{KEY_ROTATED}"'.encode()


class SegmentBounds(NamedTuple):
    """What some lines hold: entries of one organisation, from `seq` on, that follow `prev_hash`."""

    entries: int
    seq: int
    org_id: bytes
    prev_hash: bytes
    """Hex."""
    last_line_offset: int
    """Where the last line begins, in bytes."""
    first_time: bytes
    """When the first entry is dated; the others are not dated before the one before."""


class Segment(NamedTuple):
    """Entries that are good in themselves. The walker decides whether they follow in the chain."""

    org_id: str
    seq: int
    entries: int
    prev_hash: str
    last: StoredEntry
    signer: str | None
    """The key (hex) that signed each entry; None if no signature was checked."""
    records: Callable[[], Iterator[StoredEntry]]
    """Reads the same entries one by one."""
    first_time: bytes


def count_entries(item: object) -> int:
    """Count the entries in an item of a chain: a segment or a single entry."""
    return item.entries if isinstance(item, Segment) else 1


def scan_segment(lines: bytes, key: bytes | None) -> SegmentBounds | None:
    """Check whole lines, with `key` their signatures, too. Returns None if they are no segment.

    `key` must have passed `check_point`.
    """
    texts = lines.removesuffix(b"\n").split(b"\n")
    first = parse_canonical_line(texts[0])
    if first is None:
        return None
    first_org_id, prev_hash = first.org_id.encode(), first.prev_hash.encode()
    digests, times = [unhexlify(prev_hash)], [signed_time(first.body)]
    for expected_seq, text in enumerate(texts, first.seq):
        fields = parse_body(text)
        if fields is None:
            return None
        org_id, seq, event, body = fields
        if org_id != first_org_id or int(seq) != expected_seq or event == _ROTATION_EVENT:
            return None
        digests.append(blake3(digests[-1] + body).digest())
        times.append(signed_time(body))
        if times[-1] < times[-2]:  # the caller says which one
            return None
    signatures = extract_signatures(texts, digests)
    if signatures is None or (key is not None and not _all_valid(signatures, digests[1:], key)):
        return None
    last_line_offset = len(lines) - len(texts[-1]) - lines.endswith(b"\n")
    return SegmentBounds(len(texts), first.seq, first_org_id, prev_hash, last_line_offset, times[0])


def _all_valid(signatures: bytes, digests: list[bytes], key: bytes) -> bool:
    return all(
        ed25519.is_valid_signature(signatures[at : at + _SIGNATURE_BYTES] + digest, key)
        for at, digest in zip(range(0, len(signatures), _SIGNATURE_BYTES), digests, strict=True)
    )
