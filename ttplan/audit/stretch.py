"""Many lines of a chain at once: entries as they are mostly written, each with its content's hash, and one after the other.

Of lines among which is anything else, be it good or bad, nothing is said: those are looked at one by one.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Callable, Iterator
from typing import NamedTuple

from blake3 import blake3

from ttplan.audit import ed25519
from ttplan.audit.canonical_line import has_tail, read_canonical_line, read_content
from ttplan.audit.rotation import EVENT
from ttplan.model.audit import Record

_ROTATION = f'"{EVENT}"'.encode()


class Found(NamedTuple):
    """What some lines are: so many entries from `seq` on, of one organisation, that follow on `prev_hash` (hex)."""

    entries: int
    seq: int
    org_id: bytes
    prev_hash: bytes
    last_at: int
    """Where the last line begins, in bytes."""


class Stretch(NamedTuple):
    """Entries that were found good by themselves; whether they are the chain's next ones is for the walk along it to say."""

    org_id: str
    seq: int
    entries: int
    prev_hash: str
    last: Record
    signer: str | None
    """The key (hex) that signed each of them; None where no signature was checked."""
    records: Callable[[], Iterator[Record]]
    """The same entries one by one."""


def entries_of(item: object) -> int:
    """How many entries something in a chain is: a stretch of them, or one."""
    return item.entries if isinstance(item, Stretch) else 1


def find_stretch(lines: bytes, key: bytes | None) -> Found | None:
    """What whole lines are, a rotation not among them; with `key` also each signature is checked. None for anything else.

    `key` has passed `check_point`.
    """
    first = read_canonical_line(lines[: lines.find(b"\n")] if b"\n" in lines else lines)
    if first is None:
        return None
    org_id, prev_hash = first.org_id.encode(), first.prev_hash.encode()
    seq, digest, before = first.seq, unhexlify(prev_hash), prev_hash
    texts = lines.removesuffix(b"\n").split(b"\n")
    for text in texts:
        content = read_content(text)
        if content is None:
            return None
        whose, place, event, body = content
        if whose != org_id or int(place) != seq or event == _ROTATION:
            return None
        hashed = blake3(digest + body)
        digest, after = hashed.digest(), hashed.hexdigest().encode()
        signature = has_tail(text, before, after)
        if signature is None or (key is not None and not ed25519.is_signed(unhexlify(signature) + digest, key)):
            return None
        before = after
        seq += 1
    return Found(len(texts), first.seq, org_id, prev_hash, len(lines) - len(texts[-1]) - lines.endswith(b"\n"))
