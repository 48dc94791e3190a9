"""Verify a chain, streaming: seq, prev_hash, hash and signature of each entry, in this order, the first bad entry named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Literal, NamedTuple
from uuid import UUID

from ttplan.audit.chain import GENESIS, to_record
from ttplan.audit.entry import HEX64, HEX128, check_hash, check_label, foreign, need_hex, signature_error
from ttplan.audit.fork import equivocation, proves_two_histories
from ttplan.audit.keys import VerifyingKey
from ttplan.audit.rotation import is_rotation, new_key_of
from ttplan.model.audit import AuditEntry, Record, TipAnchor
from ttplan.model.errors import (
    BadRotation,
    BrokenChain,
    ChainError,
    DistrustedKey,
    SeqGap,
    TruncatedChain,
    TruncationReason,
    TtplanError,
)

Strength = Literal["all", "tip"]
_BATCH = 2_000


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


def verify_chain(
    entries: Iterable[AuditEntry | Record],
    public_key: VerifyingKey | str,
    *,
    signatures: Strength = "all",
    passes_through: Iterable[TipAnchor] = (),
    distrust_after: TipAnchor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Check every entry of one organisation's chain against `public_key` (a key or its 64 hex digits), its first one.

    Where a valid `audit.key_rotated` entry hands over to another key, that one signs from there on. `signatures="all"` checks
    every signature, on all cores. `"tip"` recomputes every hash and checks the last signature of each key, which vouches for the
    content of all entries, since each hash covers the one before; not for the single signatures. The chain has to have each
    anchor's entry of `passes_through`. After that of `distrust_after` nothing is trusted that the same key signed, not even a
    rotation. `progress` is told how many entries were read so far. Memory stays bounded whatever the chain's length.

    Raises the first bad entry's SeqGap, BrokenChain, HashMismatch, BadSignature, HexError, ForeignOrg, BadRotation, DistrustedKey
    or Equivocation; where all are good, TruncatedChain for the first anchor that does not fit; and KeyFileError for a key that
    nobody should trust. An empty chain verifies, as empty.
    """
    through = sorted(passes_through, key=lambda anchor: anchor.seq)
    walk, checked = _verify(entries, public_key, signatures, through, distrust_after, progress)
    verified = walk.done(checked)
    for anchor in through if distrust_after is None else [*through, distrust_after]:
        _check_anchor(verified, walk.seen.get(anchor.seq), anchor)
    return verified


def verify_chain_with_anchor(
    entries: Iterable[AuditEntry | Record],
    public_key: VerifyingKey | str,
    anchor: TipAnchor,
    *,
    signatures: Strength = "all",
    passes_through: Iterable[TipAnchor] = (),
    distrust_after: TipAnchor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """`verify_chain`, and that the chain still ends exactly at `anchor`. Raises TruncatedChain where it does not."""
    verified = verify_chain(
        entries,
        public_key,
        signatures=signatures,
        passes_through=[*passes_through, anchor],
        distrust_after=distrust_after,
        progress=progress,
    )
    if verified.tip != anchor:
        raise _truncated(verified, anchor, "longer")
    return verified


def _check_anchor(verified: Verification, found: str | None, anchor: TipAnchor) -> None:
    """Raise TruncatedChain where the chain has not the anchor's entry; `found` is the hash that it has at its seq."""
    if found != anchor.hash:
        tip = verified.tip
        reason: TruncationReason = "short"
        if tip is not None and tip.seq >= anchor.seq:
            reason = "tip_differs" if tip.seq == anchor.seq else "rewritten"
        raise _truncated(verified, anchor, reason, found)


def _truncated(verified: Verification, anchor: TipAnchor, reason: TruncationReason, found: str | None = None) -> TruncatedChain:
    where = "it is empty" if verified.tip is None else f"it ends at {verified.tip}"
    if reason == "rewritten":
        where = f"it has {anchor.seq}:{found}"
    return TruncatedChain(anchor.seq + 1, verified.entries, f"{where}, the anchor is {anchor}", reason=reason)


class _Walk:
    """The checks that need the entry before: organisation, seq, prev_hash and hash, and which key signs."""

    def __init__(self, key: VerifyingKey, anchors: Iterable[TipAnchor], distrust_after: TipAnchor | None) -> None:
        self.key = key
        self.index = 0
        self.last: Record | None = None
        self.seen: dict[int, str] = {}
        self.rotations = 0
        self.ends_with_rotation = False
        self._signer_of_last = key
        self._keys = {key: 0}
        self._anchored = {anchor.seq for anchor in anchors}
        self._distrust_after = distrust_after
        self._distrusted: VerifyingKey | None = None

    def step(self, record: Record) -> None:
        """Check the next entry's place and content. Raises the ChainError that names it."""
        index, last = self.index, self.last
        if last is not None and record.org_id != last.org_id:
            raise foreign(index, last.org_id, record.org_id)
        if record.seq != index:
            if last is not None and proves_two_histories(last, record, self._signer_of_last):
                raise equivocation(index, last, record, self._signer_of_last)
            raise SeqGap(index, index, record.seq)
        expected = GENESIS if last is None else last.hash
        need_hex(HEX64, record.prev_hash, index, "prev_hash", 64)
        if record.prev_hash != expected:
            raise BrokenChain(index, expected, record.prev_hash)
        need_hex(HEX64, record.hash, index, "hash", 64)
        check_hash(record, index)
        check_label(record, index)
        need_hex(HEX128, record.signature, index, "signature", 128)
        if self.key == self._distrusted:
            raise DistrustedKey(index, self.key.hex, index - 1)
        self.index, self.last = index + 1, record
        self._signer_of_last = self.key
        if index in self._anchored:
            self.seen[index] = record.hash
        after = self._distrust_after
        if after is not None and after == TipAnchor(index, record.hash):
            self._distrusted = self.key
        self.ends_with_rotation = is_rotation(record)
        if self.ends_with_rotation:
            self._rotate(record, index)

    def _rotate(self, record: Record, index: int) -> None:
        """Follow a rotation. Its signature is checked here and now: the key for all that follows hangs on it."""
        error = signature_error(record, index, self.key)
        if error is None:
            try:
                self.key = new_key_of(record, index, self.key, self._keys)
            except BadRotation as bad:
                error = bad
        if error is not None:
            self.index = index
            raise error
        self._keys[self.key] = index + 1
        self.rotations += 1

    def done(self, checked: int) -> Verification:
        last = self.last
        spans = tuple(KeySpan(since, key.hex) for key, since in self._keys.items())
        if last is None:
            return Verification(0, None, None, checked, spans)
        return Verification(self.index, UUID(last.org_id), TipAnchor(last.seq, last.hash), checked, spans)


def _verify(
    entries: Iterable[AuditEntry | Record],
    public_key: VerifyingKey | str,
    signatures: Strength,
    through: list[TipAnchor],
    distrust_after: TipAnchor | None,
    progress: Callable[[int], None] | None,
) -> tuple[_Walk, int]:
    """Walk all entries, and count the signatures that were checked."""
    key = VerifyingKey.from_hex(public_key) if isinstance(public_key, str) else public_key
    records = (to_record(e) if isinstance(e, AuditEntry) else e for e in entries)
    walk = _Walk(key, through if distrust_after is None else [*through, distrust_after], distrust_after)
    return walk, (_verify_all if signatures == "all" else _verify_tip)(walk, records, progress)


def _verify_tip(walk: _Walk, records: Iterable[Record], progress: Callable[[int], None] | None) -> int:
    for record in records:
        walk.step(record)
        if progress is not None and walk.index % _BATCH == 0:
            progress(walk.index)
    if progress is not None:
        progress(walk.index)
    if walk.last is None or walk.ends_with_rotation:
        return walk.rotations
    error = signature_error(walk.last, walk.index - 1, walk.key)
    if error is not None:
        raise error
    return walk.rotations + 1


def _verify_all(walk: _Walk, records: Iterable[Record], progress: Callable[[int], None] | None) -> int:
    """Places and hashes here, signatures behind on all cores; an error here waits for the verdicts on the entries before it."""
    workers = os.cpu_count() or 1
    stream = iter(records)
    with ThreadPoolExecutor(workers) as pool:
        pending: list[Future[ChainError | None]] = []
        while True:
            start, key = walk.index, walk.key
            batch, error = _take(walk, stream)
            if batch:
                pending.append(pool.submit(_first_bad, batch, start, key))
            if len(pending) > 2 * workers or error is not None or not batch:
                keep = 0 if error is not None or not batch else 2 * workers
                while len(pending) > keep:
                    bad = pending.pop(0).result()
                    if bad is not None:
                        for future in pending:
                            future.cancel()
                        raise bad
            if error is not None:
                raise error
            if progress is not None:
                progress(walk.index)
            if not batch:
                return walk.index


def _take(walk: _Walk, stream: Iterator[Record]) -> tuple[list[Record], TtplanError | None]:
    """The next entries of one key whose place and hash are good, and the error of the one that ended them, or of reading it."""
    batch: list[Record] = []
    try:
        for record in islice(stream, _BATCH):
            walk.step(record)
            batch.append(record)
            if walk.ends_with_rotation:
                break
    except TtplanError as error:
        return batch, error
    return batch, None


def _first_bad(batch: list[Record], start: int, key: VerifyingKey) -> ChainError | None:
    for offset, record in enumerate(batch):
        error = signature_error(record, start + offset, key)
        if error is not None:
            return error
    return None
