"""Many lines of a chain at once: entries as they are mostly written, each with its content's hash, and one after the other.

Of lines among which is anything else, be it good or bad, nothing is said: those are looked at one by one.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Callable, Iterator
from typing import NamedTuple

from blake3 import blake3

from ttplan.audit.canonical_line import extract_signatures, parse_body, parse_canonical_line
from ttplan.audit.keys import ed25519
from ttplan.model.stored_entry import KEY_ROTATED, StoredEntry

_SIGNATURE = 64
_ROTATION = f'"{KEY_ROTATED}"'.encode()


class SegmentBounds(NamedTuple):
    """What some lines are: so many entries from `seq` on, of one organisation, that follow on `prev_hash` (hex)."""

    entries: int
    seq: int
    org_id: bytes
    prev_hash: bytes
    last_at: int
    """Where the last line begins, in bytes."""


class Segment(NamedTuple):
    """Entries that were found good by themselves; whether they are the chain's next ones is for the walk along it to say."""

    org_id: str
    seq: int
    entries: int
    prev_hash: str
    last: StoredEntry
    signer: str | None
    """The key (hex) that signed each of them; None where no signature was checked."""
    records: Callable[[], Iterator[StoredEntry]]
    """The same entries one by one."""


def count_entries(item: object) -> int:
    """How many entries something in a chain is: a stretch of them, or one."""
    return item.entries if isinstance(item, Segment) else 1


def scan_segment(lines: bytes, key: bytes | None) -> SegmentBounds | None:
    """What whole lines are, a rotation not among them; with `key` also each signature is checked. None for anything else.

    `key` has passed `check_point`.
    """
    texts = lines.removesuffix(b"\n").split(b"\n")
    first = parse_canonical_line(texts[0])
    if first is None:
        return None
    org_id, prev_hash = first.org_id.encode(), first.prev_hash.encode()
    digests = [unhexlify(prev_hash)]
    for seq, text in enumerate(texts, first.seq):
        content = parse_body(text)
        if content is None:
            return None
        whose, place, event, body = content
        if whose != org_id or int(place) != seq or event == _ROTATION:
            return None
        digests.append(blake3(digests[-1] + body).digest())
    signatures = extract_signatures(texts, digests)
    if signatures is None or (key is not None and not _are_signed(signatures, digests[1:], key)):
        return None
    return SegmentBounds(
        len(texts),
        first.seq,
        org_id,
        prev_hash,
        len(lines) - len(texts[-1]) - lines.endswith(b"\n"),
    )


def _are_signed(signatures: bytes, digests: list[bytes], key: bytes) -> bool:
    return all(
        ed25519.is_valid_signature(signatures[at : at + _SIGNATURE] + digest, key)
        for at, digest in zip(range(0, len(signatures), _SIGNATURE), digests, strict=True)
    )
