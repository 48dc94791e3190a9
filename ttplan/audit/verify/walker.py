"""Walk along a chain: the checks that need the entry before, and the key that signs next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple
from uuid import UUID

from blake3 import blake3

from ttplan.audit.canonical_line import signed_time
from ttplan.audit.entries import GENESIS
from ttplan.audit.entry_checks import (
    HEX64,
    HEX128,
    check_hash,
    check_hex,
    check_matches_body,
    foreign_org_error,
    matches_body,
    signature_error,
)
from ttplan.audit.equivocation import equivocation_error, is_equivocation
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.lost_digit import find_lost_digit
from ttplan.audit.rotation import is_rotation, is_rotation_from, verify_rotation
from ttplan.audit.verify.segment import Segment, count_entries
from ttplan.model.audit import StoredEntry, TipAnchor
from ttplan.model.errors import BrokenChain, DistrustedKey, HashMismatch, SeqGap, TruncatedChain

MAX_BACKDATED = 1_000
"""How many entries that are dated against the chain's order are kept."""


class KeySpan(NamedTuple):
    """A key of a chain, and the seq of the first entry that it signs."""

    since: int
    key: str


class Dated(NamedTuple):
    """An entry's seq, and the time that it states."""

    seq: int
    time: str


class Verification(NamedTuple):
    """What was verified: how many entries and signatures, whose chain, its end, and its keys.

    `latest` is the entry with the latest time; `backdated` are entries, at most `MAX_BACKDATED`,
    that state an earlier time than an entry before them.
    """

    entries: int
    org_id: UUID | None
    tip: TipAnchor | None
    signatures_checked: int
    keys: tuple[KeySpan, ...]
    latest: Dated | None = None
    backdated: tuple[Dated, ...] = ()


class ChainWalker:
    """The position of a verification: which entry comes next, what it must follow, who signs it."""

    def __init__(
        self,
        key: VerifyingKey,
        *,
        since: TipAnchor | None = None,
        anchors: Iterable[TipAnchor] = (),
        org_id: UUID | None = None,
        distrust_after: TipAnchor | None = None,
    ) -> None:
        self.key = key
        self.start = 0 if since is None else since.seq + 1
        self.index = self.start
        self.last: StoredEntry | None = None
        self.rotations = 0
        self.ends_with_rotation = False
        self.anchors_match = True
        self.anchored_hashes: dict[int, str] = {} if since is None else {since.seq: since.hash}
        """The chain's hashes at the seqs of the anchors, as far as the walk is."""
        self._org_id = None if org_id is None else str(org_id)
        self._hash = GENESIS if since is None else since.hash
        self._raw_hash = bytes.fromhex(self._hash)
        self._signer_of_last = key
        self._latest: tuple[bytes, int] = (b"", -1)
        self._backdated: list[Dated] = []
        self._keys = {key: self.start}
        self._anchors: dict[int, set[str]] = {}
        for anchor in anchors:
            self._anchors.setdefault(anchor.seq, set()).add(anchor.hash)
        self._distrust_after = distrust_after
        self._distrusted: VerifyingKey | None = None

    @property
    def tip(self) -> TipAnchor | None:
        """The last entry of the walk so far; None before the first."""
        return TipAnchor(self.index - 1, self._hash) if self.index else None

    def start_after(
        self, since: TipAnchor, entries: Iterator[StoredEntry | Segment]
    ) -> Iterator[StoredEntry | Segment]:
        """Pass over the entries up to a trusted one, and return the rest.

        Raises TruncatedChain if the chain does not have the trusted entry, and HashMismatch if its
        content does not match its hash.
        """
        length = 0
        for entry in entries:
            end = entry.seq + count_entries(entry)
            if end <= since.seq:
                length = end
                continue
            if isinstance(entry, Segment):
                return self.start_after(since, chain(entry.records(), entries))
            if entry.seq > since.seq:  # `check_next` checks that it follows the trusted entry
                return chain((entry,), entries)
            self._trust(entry, since)
            return entries
        detail = f"it has no entry {since.seq}, and was to be verified from {since} on"
        raise TruncatedChain(since.seq + 1, length, detail)

    def _trust(self, record: StoredEntry, since: TipAnchor) -> None:
        index = since.seq
        if record.hash != since.hash:
            detail = f"it has {index}:{record.hash}, and was to be verified from {since} on"
            raise TruncatedChain(index + 1, index + 1, detail, reason="rewritten")
        check_hex(HEX64, record.prev_hash, index, "prev_hash", 64)
        _check_hash(record, index)
        check_matches_body(record, index)
        if self._org_id not in (None, record.org_id):
            raise foreign_org_error(index, str(self._org_id), record.org_id)
        self.last, self._org_id = record, record.org_id
        self._note_time(record)
        by_this_key = is_rotation_from(record, self.key)
        if self._distrust_after == since and (by_this_key or not is_rotation(record)):
            self._distrusted = self.key
        # The anchor vouches for what the entry says. A caller that knows only the key before the
        # rotation continues with the key after it.
        if by_this_key:
            self._keys = {self.key: index}
            self.key = verify_rotation(record, index, self.key, self._keys)
            self._keys[self.key] = self.start

    def advance(self, entry: StoredEntry | Segment) -> None:
        """Check the next entry, or skip a segment that follows here."""
        if isinstance(entry, Segment):
            self.skip(entry)
        else:
            self.check_next(entry)

    def check_next(self, record: StoredEntry) -> None:
        """Check the next entry's place and content. Raises the ChainError that names it."""
        index = self.index
        raw_hash = blake3(self._raw_hash + record.body).digest()
        if not (
            record.seq == index
            and record.org_id == self._org_id
            and record.prev_hash == self._hash
            and raw_hash.hex() == record.hash
            and matches_body(record)
            and HEX128.fullmatch(record.signature)
        ):
            self._check_each(record)
            raw_hash = bytes.fromhex(record.hash)
        if self._distrusted is not None and self.key == self._distrusted:
            raise DistrustedKey(index, self.key.hex, index - 1)
        signer, self.ends_with_rotation = self.key, is_rotation(record)
        if self.ends_with_rotation:
            self._rotate(record, index)  # before the walk reports this entry as verified
        self.index, self.last = index + 1, record
        self._hash, self._raw_hash, self._org_id = record.hash, raw_hash, record.org_id
        self._signer_of_last = signer
        self._note_time(record)
        if index in self._anchors:
            self.anchored_hashes[index] = record.hash
            self.anchors_match = self.anchors_match and self._anchors[index] == {record.hash}
        after = self._distrust_after
        if after is not None and after.seq == index and after.hash == record.hash:
            self._distrusted = signer

    def can_skip(self, segment: Segment, *, signed: bool) -> bool:
        """Whether a good segment follows here and no anchor is in it.

        With `signed` its signatures must have been checked with the key that signs here.
        """
        return (
            segment.seq == self.index
            and segment.prev_hash == self._hash
            and self._org_id in (None, segment.org_id)
            and (not signed or segment.signer == self.key.hex)
            and self.key != self._distrusted
            and segment.first_time >= self._latest[0]
            and not any(segment.seq <= seq < segment.seq + segment.entries for seq in self._anchors)
        )

    def skip(self, segment: Segment) -> None:
        """Move past a segment for which `can_skip` is true."""
        self.index, self.last = self.index + segment.entries, segment.last
        self._hash, self._org_id = segment.last.hash, segment.org_id
        self._raw_hash = bytes.fromhex(self._hash)
        self._signer_of_last, self.ends_with_rotation = self.key, False
        self._note_time(segment.last)

    def _note_time(self, record: StoredEntry) -> None:
        time = signed_time(record.body)
        if time >= self._latest[0]:
            self._latest = (time, record.seq)
        elif len(self._backdated) < MAX_BACKDATED:
            self._backdated.append(Dated(record.seq, time.decode(errors="replace")))

    def _check_each(self, record: StoredEntry) -> None:
        """Run the same checks one by one, in order, with either exponent form of large floats."""
        index, last = self.index, self.last
        if self._org_id is not None and record.org_id != self._org_id:
            raise foreign_org_error(index, self._org_id, record.org_id)
        if record.seq != index:
            if last is not None and is_equivocation(last, record, self._signer_of_last):
                raise equivocation_error(index, last, record, self._signer_of_last)
            raise SeqGap(index, index, record.seq)
        check_hex(HEX64, record.prev_hash, index, "prev_hash", 64)
        if record.prev_hash != self._hash:
            raise BrokenChain(index, self._hash, record.prev_hash)
        check_hex(HEX64, record.hash, index, "hash", 64)
        _check_hash(record, index)
        check_matches_body(record, index)
        check_hex(HEX128, record.signature, index, "signature", 128)

    def _rotate(self, record: StoredEntry, index: int) -> None:
        """Follow a rotation. Its signature is checked at once, since it decides the next key."""
        error = signature_error(record, index, self.key)
        if error is not None:
            raise error
        self.key = verify_rotation(record, index, self.key, self._keys)
        self._keys[self.key] = index + 1
        self.rotations += 1

    def result(self, signatures_checked: int) -> Verification:
        """Return what was verified."""
        spans = tuple(KeySpan(since, key.hex) for key, since in self._keys.items())
        org_id = None if self._org_id is None or self.last is None else UUID(self._org_id)
        time, seq = self._latest
        return Verification(
            self.index - self.start,
            org_id,
            self.tip,
            signatures_checked,
            spans,
            latest=Dated(seq, time.decode(errors="replace")) if time else None,
            backdated=tuple(self._backdated),
        )


def _check_hash(record: StoredEntry, index: int) -> None:
    """Run `check_hash`, and add a hint to its error if a lost digit explains it."""
    try:
        check_hash(record, index)
    except HashMismatch as error:
        lost = find_lost_digit(record)
        hint = None if lost is None else str(lost)
        raise HashMismatch(index, error.expected, error.got, hint=hint) from None
