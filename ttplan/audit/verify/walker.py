"""The walk along a chain: the checks of an entry that need the one before it, and which key signs from where on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple
from uuid import UUID

from blake3 import blake3

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


class KeySpan(NamedTuple):
    """A key of a chain, and the seq of the first entry that it signs."""

    since: int
    key: str


class Verification(NamedTuple):
    """What was verified: how many entries, whose, where they end, how many signatures were checked, and which keys made them."""

    entries: int
    org_id: UUID | None
    tip: TipAnchor | None
    signatures_checked: int
    keys: tuple[KeySpan, ...]


class ChainWalker:
    """Where a verification is: the entry that comes next, what it has to follow on, and who has to have signed it."""

    def __init__(
        self,
        key: VerifyingKey,
        *,
        since: TipAnchor | None = None,
        anchors: Iterable[TipAnchor] = (),
        distrust_after: TipAnchor | None = None,
    ) -> None:
        self.key = key
        self.start = 0 if since is None else since.seq + 1
        self.index = self.start
        self.last: StoredEntry | None = None
        self.seen: dict[int, str] = {} if since is None else {since.seq: since.hash}
        self.rotations = 0
        self.ends_with_rotation = False
        self._org_id: str | None = None
        self._hash = GENESIS if since is None else since.hash
        self._raw = bytes.fromhex(self._hash)
        self._signer_of_last = key
        self._keys = {key: self.start}
        self.agrees = True
        self._anchored: dict[int, set[str]] = {}
        for anchor in anchors:
            self._anchored.setdefault(anchor.seq, set()).add(anchor.hash)
        self._distrust_after = distrust_after
        self._distrusted: VerifyingKey | None = None

    @property
    def tip(self) -> TipAnchor | None:
        """The entry that was reached; None where there is none yet."""
        return TipAnchor(self.index - 1, self._hash) if self.index else None

    def begin(
        self, entries: Iterator[StoredEntry | Segment], since: TipAnchor
    ) -> Iterator[StoredEntry | Segment]:
        """The records after a trusted entry. Those before it are passed over.

        Raises TruncatedChain where the chain has it not, and HashMismatch where its content is not that of its hash.
        """
        before = 0
        for entry in entries:
            end = entry.seq + count_entries(entry)
            if end <= since.seq:
                before = end
                continue
            if isinstance(entry, Segment):
                return self.begin(chain(entry.records(), entries), since)
            if entry.seq > since.seq:  # it has to follow on the entry, as `step` will see
                return chain((entry,), entries)
            self._begin_with(entry, since)
            return entries
        raise TruncatedChain(
            since.seq + 1,
            before,
            f"it has no entry {since.seq}, and was to be verified from {since} on",
        )

    def _begin_with(self, record: StoredEntry, since: TipAnchor) -> None:
        index = since.seq
        if record.hash != since.hash:
            detail = f"it has {index}:{record.hash}, and was to be verified from {since} on"
            raise TruncatedChain(index + 1, index + 1, detail, reason="rewritten")
        check_hex(HEX64, record.prev_hash, index, "prev_hash", 64)
        _check_hash(record, index)
        check_matches_body(record, index)
        self.last, self._org_id = record, record.org_id
        by_this_key = is_rotation_from(record, self.key)
        if self._distrust_after == since and (by_this_key or not is_rotation(record)):
            self._distrusted = self.key
        # The anchor vouches for what the entry says; whoever knows only the key before it goes on with the one after it.
        if by_this_key:
            self._keys = {self.key: index}
            self.key = verify_rotation(record, index, self.key, self._keys)
            self._keys[self.key] = self.start

    def step(self, record: StoredEntry) -> None:
        """Check the next entry's place and content. Raises the ChainError that names it."""
        index = self.index
        raw = blake3(self._raw + record.body).digest()
        if not (
            record.seq == index
            and record.org_id == self._org_id
            and record.prev_hash == self._hash
            and raw.hex() == record.hash
            and matches_body(record)
            and HEX128.fullmatch(record.signature)
        ):
            self._check(record)
            raw = bytes.fromhex(record.hash)
        if self._distrusted is not None and self.key == self._distrusted:
            raise DistrustedKey(index, self.key.hex, index - 1)
        signer, self.ends_with_rotation = self.key, is_rotation(record)
        if self.ends_with_rotation:
            self._rotate(record, index)  # before anything is said to be reached
        self.index, self.last = index + 1, record
        self._hash, self._raw, self._org_id = record.hash, raw, record.org_id
        self._signer_of_last = signer
        if index in self._anchored:
            self.seen[index] = record.hash
            self.agrees = self.agrees and self._anchored[index] == {record.hash}
        after = self._distrust_after
        if after is not None and after.seq == index and after.hash == record.hash:
            self._distrusted = signer

    def follows(self, stretch: Segment, *, signed: bool) -> bool:
        """Whether good entries are the next ones here, with none among them that something hangs on; `signed` by the key that
        signs here."""
        return (
            stretch.seq == self.index
            and stretch.prev_hash == self._hash
            and self._org_id in (None, stretch.org_id)
            and (not signed or stretch.signer == self.key.hex)
            and self.key != self._distrusted
            and not any(
                stretch.seq <= seq < stretch.seq + stretch.entries for seq in self._anchored
            )
        )

    def leap(self, stretch: Segment) -> None:
        """Go over entries that follow here."""
        self.index, self.last = self.index + stretch.entries, stretch.last
        self._hash, self._raw, self._org_id = (
            stretch.last.hash,
            bytes.fromhex(stretch.last.hash),
            stretch.org_id,
        )
        self._signer_of_last, self.ends_with_rotation = self.key, False

    def _check(self, record: StoredEntry) -> None:
        """The same checks one by one, in the order in which they are reported, and in both spellings of large floats."""
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
        """Follow a rotation. Its signature is checked here and now: the key for all that follows hangs on it."""
        error = signature_error(record, index, self.key)
        if error is not None:
            raise error
        self.key = verify_rotation(record, index, self.key, self._keys)
        self._keys[self.key] = index + 1
        self.rotations += 1

    def done(self, checked: int) -> Verification:
        """What was verified, `checked` signatures among it."""
        spans = tuple(KeySpan(since, key.hex) for key, since in self._keys.items())
        org_id = None if self._org_id is None else UUID(self._org_id)
        return Verification(self.index - self.start, org_id, self.tip, checked, spans)


def _check_hash(record: StoredEntry, index: int) -> None:
    """`check_hash`, whose error says so where a lost digit explains it."""
    try:
        check_hash(record, index)
    except HashMismatch as error:
        lost = find_lost_digit(record)
        raise HashMismatch(
            index, error.expected, error.got, hint=None if lost is None else str(lost)
        ) from None
