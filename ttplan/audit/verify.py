"""Verify a chain, streaming: seq, prev_hash, hash and signature of each entry, in this order, the first bad entry named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Literal, NamedTuple
from uuid import UUID

from ttplan.audit.canonical import older_float_spelling
from ttplan.audit.chain import GENESIS, entry_hash, to_record
from ttplan.audit.keys import VerifyingKey
from ttplan.model.audit import AuditEntry, Record, TipAnchor
from ttplan.model.errors import (
    BadSignature,
    BrokenChain,
    ChainError,
    Equivocation,
    ForeignOrg,
    HashMismatch,
    HexError,
    SeqGap,
    TruncatedChain,
    TtplanError,
)

Strength = Literal["all", "tip"]
_BATCH = 2_000
_ORG = b',"org_id":"'
_TAIL = re.compile(rb',"seq":(\d{1,19}),"timestamp":"[^"\\]{1,40}"\}\Z')
_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEX128 = re.compile(r"[0-9a-f]{128}", re.ASCII)


class Verification(NamedTuple):
    """What was verified: how many entries, whose, where they end, and how many signatures were checked."""

    entries: int
    org_id: UUID | None
    tip: TipAnchor | None
    signatures_checked: int


def verify_chain(
    entries: Iterable[AuditEntry | Record],
    public_key: VerifyingKey | str,
    *,
    signatures: Strength = "all",
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Check every entry of one organisation's chain against `public_key` (a key or its 64 hex digits).

    `signatures="all"` checks every signature, on all cores. `"tip"` recomputes every hash and checks the last signature, which
    vouches for the content of all entries, since each hash covers the one before; not for the single signatures.
    `progress` is told how many entries were read so far. Memory stays bounded whatever the chain's length.

    Raises the first bad entry's SeqGap, BrokenChain, HashMismatch, BadSignature, HexError, ForeignOrg or Equivocation, and
    KeyFileError for a key that nobody should trust. An empty chain verifies, as empty.
    """
    key = VerifyingKey.from_hex(public_key) if isinstance(public_key, str) else public_key
    records = (to_record(e) if isinstance(e, AuditEntry) else e for e in entries)
    return _verify_all(records, key, progress) if signatures == "all" else _verify_tip(records, key, progress)


def verify_chain_with_anchor(
    entries: Iterable[AuditEntry | Record],
    public_key: VerifyingKey | str,
    anchor: TipAnchor,
    *,
    signatures: Strength = "all",
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """`verify_chain`, and that the chain still ends exactly at `anchor`. Raises TruncatedChain where it does not."""
    verified = verify_chain(entries, public_key, signatures=signatures, progress=progress)
    if verified.tip != anchor:
        found = "it is empty" if verified.tip is None else f"it ends at {verified.tip}"
        raise TruncatedChain(anchor.seq + 1, verified.entries, f"{found}, the anchor is {anchor}")
    return verified


def find_equivocation(
    one: Iterable[AuditEntry | Record], other: Iterable[AuditEntry | Record], public_key: VerifyingKey
) -> Equivocation | None:
    """The first seq at which two chains of one organisation have well-signed entries with different hashes; None where none."""
    for index, pair in enumerate(zip(one, other, strict=False)):
        a, b = (to_record(e) if isinstance(e, AuditEntry) else e for e in pair)
        if _proves_two_histories(a, b, public_key):
            return Equivocation(index, a.seq, (a.hash, b.hash))
    return None


class _Walk:
    """The checks that need the entry before: organisation, seq, prev_hash and hash."""

    def __init__(self, key: VerifyingKey) -> None:
        self.key = key
        self.index = 0
        self.last: Record | None = None

    def step(self, record: Record) -> None:
        """Check the next entry's place and content. Raises the ChainError that names it."""
        index, last = self.index, self.last
        if last is not None and record.org_id != last.org_id:
            raise _foreign(index, last.org_id, record.org_id)
        if record.seq != index:
            if last is not None and _proves_two_histories(last, record, self.key):
                raise Equivocation(index, record.seq, (last.hash, record.hash))
            raise SeqGap(index, index, record.seq)
        expected = GENESIS if last is None else last.hash
        _need_hex(_HEX64, record.prev_hash, index, "prev_hash", 64)
        if record.prev_hash != expected:
            raise BrokenChain(index, expected, record.prev_hash)
        _need_hex(_HEX64, record.hash, index, "hash", 64)
        check_hash(record, index)
        _check_label(record, index)
        _need_hex(_HEX128, record.signature, index, "signature", 128)
        self.index, self.last = index + 1, record

    def done(self, checked: int) -> Verification:
        last = self.last
        if last is None:
            return Verification(0, None, None, checked)
        return Verification(self.index, UUID(last.org_id), TipAnchor(last.seq, last.hash), checked)


def check_hash(record: Record, index: int) -> None:
    """Raise HashMismatch where the content does not give the hash, in neither spelling of large floats."""
    found = entry_hash(record.prev_hash, record.body)
    if found != record.hash:
        older = older_float_spelling(record.body)
        if older is None or entry_hash(record.prev_hash, older) != record.hash:
            raise HashMismatch(index, found, record.hash)


def _check_label(record: Record, index: int) -> None:
    """Raise where a record is filed under another organisation or seq than the one that was hashed: in a store, those are
    columns of their own, which nothing else vouches for."""
    # Inside a text a quote is escaped, so the first of these bytes begin the body's own org_id, and the last its own seq.
    start = record.body.find(_ORG) + len(_ORG)
    org_id, tail = record.body[start : start + 36].decode(errors="replace"), _TAIL.search(record.body)
    if org_id != record.org_id:
        raise _foreign(index, record.org_id, org_id)
    if tail is None or int(tail[1]) != record.seq:
        raise SeqGap(index, record.seq, -1 if tail is None else int(tail[1]))


def _foreign(index: int, expected: str, got: str) -> ForeignOrg | HexError:
    """The error of an entry that belongs to another organisation, or to what is none."""
    try:
        return ForeignOrg(index, UUID(expected), UUID(got))
    except ValueError:
        return HexError(index, f"org_id is {got[:60]!r}, no UUID; expected {expected[:60]}")


def _proves_two_histories(a: Record, b: Record, key: VerifyingKey) -> bool:
    """Whether two entries of one organisation and seq differ, both with the key's own signature."""
    return a.org_id == b.org_id and a.seq == b.seq and a.hash != b.hash and _well_signed(a, key) and _well_signed(b, key)


def _need_hex(pattern: re.Pattern[str], text: str, index: int, name: str, digits: int) -> None:
    if pattern.fullmatch(text) is None:
        raise HexError(index, f"{name} is {text[:140]!r}; expected {digits} lower-case hex digits")


def _well_signed(record: Record, key: VerifyingKey) -> bool:
    """Whether an entry, wherever it stands, has the hash of its content, this key's signature over it, and the organisation and
    seq that it is filed under: labels that nobody signed accuse nobody."""
    if not (_HEX64.fullmatch(record.prev_hash) and _HEX64.fullmatch(record.hash) and _HEX128.fullmatch(record.signature)):
        return False
    try:
        check_hash(record, 0)
        _check_label(record, 0)
    except ChainError:
        return False
    return key.fault(bytes.fromhex(record.signature), bytes.fromhex(record.hash)) is None


def _signature_error(record: Record, index: int, key: VerifyingKey) -> BadSignature | None:
    fault = key.fault(bytes.fromhex(record.signature), bytes.fromhex(record.hash))
    return None if fault is None else BadSignature(index, fault)


def _verify_tip(records: Iterable[Record], key: VerifyingKey, progress: Callable[[int], None] | None) -> Verification:
    walk = _Walk(key)
    for record in records:
        walk.step(record)
        if progress is not None and walk.index % _BATCH == 0:
            progress(walk.index)
    if progress is not None:
        progress(walk.index)
    if walk.last is None:
        return walk.done(0)
    error = _signature_error(walk.last, walk.index - 1, key)
    if error is not None:
        raise error
    return walk.done(1)


def _verify_all(records: Iterable[Record], key: VerifyingKey, progress: Callable[[int], None] | None) -> Verification:
    """Places and hashes here, signatures behind on all cores; an error here waits for the verdicts on the entries before it."""
    walk = _Walk(key)
    workers = os.cpu_count() or 1
    stream = iter(records)
    with ThreadPoolExecutor(workers) as pool:
        pending: list[Future[BadSignature | None]] = []
        while True:
            start = walk.index
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
                return walk.done(walk.index)


def _take(walk: _Walk, stream: Iterator[Record]) -> tuple[list[Record], TtplanError | None]:
    """The next entries whose place and hash are good, and the error of the one that ended them, or of reading it."""
    batch: list[Record] = []
    try:
        for record in islice(stream, _BATCH):
            walk.step(record)
            batch.append(record)
    except TtplanError as error:
        return batch, error
    return batch, None


def _first_bad(batch: list[Record], start: int, key: VerifyingKey) -> BadSignature | None:
    for offset, record in enumerate(batch):
        error = _signature_error(record, start + offset, key)
        if error is not None:
            return error
    return None
