"""Verify a chain, streaming: seq, prev_hash, hash and signature of each entry, in this order, the first bad entry named."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import islice
from typing import Literal, NamedTuple

from ttplan.audit.entries import to_record
from ttplan.audit.entry_checks import signature_error
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.segment import Segment
from ttplan.audit.verify.walker import ChainWalker, Verification
from ttplan.audit.verify.workers import WorkerPool, start_workers
from ttplan.model.audit import AuditEntry, StoredEntry, TipAnchor
from ttplan.model.errors import (
    ChainError,
    InputError,
    TruncatedChain,
    TruncationReason,
    TtplanError,
)

SignatureScope = Literal["all", "tip"]
_BATCH = 2_000
_LONG = 20_000
"""A chain with more entries is worth helpers: they take some tenths of a second to start."""


class VerifiedPrefix(NamedTuple):
    """How far a verification has come: all entries up to `anchor` are good, as are the anchors asked for until there, and `key`
    (hex) signs the next one."""

    anchor: TipAnchor
    key: str


def verify_chain(
    entries: Iterable[AuditEntry | StoredEntry | Segment],
    public_key: VerifyingKey | str,
    *,
    signatures: SignatureScope = "all",
    since: TipAnchor | None = None,
    passes_through: Iterable[TipAnchor] = (),
    distrust_after: TipAnchor | None = None,
    progress: Callable[[int], None] | None = None,
    reached: Callable[[VerifiedPrefix], None] | None = None,
) -> Verification:
    """Check every entry of one organisation's chain against `public_key` (a key or its 64 hex digits), its first one.

    Where a valid `audit.key_rotated` entry hands over to another key, that one signs from there on. `signatures="all"` checks
    every signature, on all cores. `"tip"` recomputes every hash and checks the last signature of each key, which vouches for the
    content of all entries, since each hash covers the one before; not for the single signatures. The chain has to have each
    anchor's entry of `passes_through`. After that of `distrust_after` nothing is trusted that the same key signed, not even a
    rotation. Memory stays bounded whatever the chain's length.

    With `since`, an entry that is trusted, only those after it are checked; `public_key` is then the one that signs there, and
    the entries may be all of the chain, or those from that one or from the next on. An anchor before it cannot be looked for.

    `progress` is told how many entries of the chain were read so far, `reached` every so often how far all was good.

    Raises the first bad entry's SeqGap, BrokenChain, HashMismatch, BadSignature, HexError, ForeignOrg, BadRotation, DistrustedKey
    or Equivocation; where all are good, TruncatedChain for the first anchor that does not fit; KeyFileError for a key that
    nobody should trust, and InputError for an anchor before `since`. An empty chain verifies, as empty.
    """
    through = sorted(passes_through, key=lambda anchor: anchor.seq)
    anchors = through if distrust_after is None else [*through, distrust_after]
    for anchor in anchors:
        if since is not None and anchor.seq < since.seq:
            raise InputError(
                f"the anchor {anchor} is before {since}, from where on the chain is verified; leave out one of them"
            )
    key = VerifyingKey.from_hex(public_key) if isinstance(public_key, str) else public_key
    walk = ChainWalker(key, since=since, anchors=anchors, distrust_after=distrust_after)
    verified = walk.done(_verify(walk, entries, signatures, since, progress, reached))
    for anchor in anchors:
        _check_anchor(verified, walk.seen.get(anchor.seq), anchor)
    return verified


def verify_chain_with_anchor(
    entries: Iterable[AuditEntry | StoredEntry | Segment],
    public_key: VerifyingKey | str,
    anchor: TipAnchor,
    *,
    signatures: SignatureScope = "all",
    since: TipAnchor | None = None,
    passes_through: Iterable[TipAnchor] = (),
    distrust_after: TipAnchor | None = None,
    progress: Callable[[int], None] | None = None,
    reached: Callable[[VerifiedPrefix], None] | None = None,
) -> Verification:
    """`verify_chain`, and that the chain still ends exactly at `anchor`. Raises TruncatedChain where it does not."""
    verified = verify_chain(
        entries,
        public_key,
        signatures=signatures,
        since=since,
        passes_through=[*passes_through, anchor],
        distrust_after=distrust_after,
        progress=progress,
        reached=reached,
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


def _truncated(
    verified: Verification, anchor: TipAnchor, reason: TruncationReason, found: str | None = None
) -> TruncatedChain:
    where = "it is empty" if verified.tip is None else f"it ends at {verified.tip}"
    if reason == "rewritten":
        where = f"it has {anchor.seq}:{found}"
    length = 0 if verified.tip is None else verified.tip.seq + 1
    return TruncatedChain(anchor.seq + 1, length, f"{where}, the anchor is {anchor}", reason=reason)


def _verify(
    walk: ChainWalker,
    entries: Iterable[AuditEntry | StoredEntry | Segment],
    signatures: SignatureScope,
    since: TipAnchor | None,
    progress: Callable[[int], None] | None,
    reached: Callable[[VerifiedPrefix], None] | None,
) -> int:
    """Walk all entries, and count the signatures that were checked."""
    each = (to_record(e) if isinstance(e, AuditEntry) else e for e in entries)
    following = each if since is None else walk.begin(each, since)
    signed = signatures == "all"
    return (_verify_all if signed else _verify_tip)(
        walk, _next_ones(walk, following, signed=signed), progress, reached or (lambda _: None)
    )


def _next_ones(
    walk: ChainWalker, entries: Iterator[StoredEntry | Segment], *, signed: bool
) -> Iterator[StoredEntry | Segment]:
    """The entries; a stretch of them one by one, unless the walk can leap over it from where it is then."""
    for entry in entries:
        if isinstance(entry, Segment) and not walk.follows(entry, signed=signed):
            yield from entry.records()
        else:
            yield entry


def _verify_tip(
    walk: ChainWalker,
    entries: Iterator[StoredEntry | Segment],
    progress: Callable[[int], None] | None,
    reached: Callable[[VerifiedPrefix], None],
) -> int:
    for entry in entries:
        if isinstance(entry, Segment):
            walk.leap(entry)
        else:
            walk.step(entry)
        if isinstance(entry, Segment) or walk.index % _BATCH == 0:
            so_far = _so_far(walk)
            if so_far is not None:
                reached(so_far)
            if progress is not None:
                progress(walk.index)
    if progress is not None:
        progress(walk.index)
    if walk.index == walk.start or walk.last is None or walk.ends_with_rotation:
        return walk.rotations
    error = signature_error(walk.last, walk.index - 1, walk.key)
    if error is not None:
        raise error
    return walk.rotations + 1


def _verify_all(
    walk: ChainWalker,
    entries: Iterator[StoredEntry | Segment],
    progress: Callable[[int], None] | None,
    reached: Callable[[VerifiedPrefix], None],
) -> int:
    """Places and hashes here, signatures behind on all cores; an error here waits for the verdicts on the entries before it."""
    workers = os.cpu_count() or 1
    helpers: WorkerPool | None = None
    single, tried = 0, False
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        pending: deque[tuple[Future[ChainError | None], VerifiedPrefix | None]] = deque()
        while True:
            start, key = walk.index, walk.key
            if helpers is None and single >= _LONG and not tried:
                helpers, tried = start_workers(), True
                if helpers is not None:
                    stack.enter_context(helpers)
            batch, error = _take(walk, entries)
            single += len(batch)
            if walk.index > start:
                pending.append((pool.submit(_first_bad, batch, start, key, helpers), _so_far(walk)))
            keep = 0 if error is not None or walk.index == start else 2 * workers
            while len(pending) > keep:
                verdict, so_far = pending.popleft()
                bad = verdict.result()
                if bad is not None:
                    for other, _ in pending:
                        other.cancel()
                    raise bad
                if so_far is not None:
                    reached(so_far)
            if error is not None:
                raise error
            if progress is not None:
                progress(walk.index)
            if walk.index == start:
                return walk.index - walk.start


def _so_far(walk: ChainWalker) -> VerifiedPrefix | None:
    """How far all is good; None where an anchor does not fit."""
    return VerifiedPrefix(walk.tip, walk.key.hex) if walk.agrees and walk.tip is not None else None


def _take(
    walk: ChainWalker, stream: Iterator[StoredEntry | Segment]
) -> tuple[list[StoredEntry], TtplanError | None]:
    """The next entries of one key whose place and hash are good, and the error of the one that ended them, or of reading it. A
    stretch, whose signatures are checked, ends them as well, and is not among them."""
    batch: list[StoredEntry] = []
    try:
        for entry in islice(stream, _BATCH):
            if isinstance(entry, Segment):
                walk.leap(entry)
                break
            walk.step(entry)
            batch.append(entry)
            if walk.ends_with_rotation:
                break
    except TtplanError as error:
        return batch, error
    return batch, None


def _first_bad(
    batch: list[StoredEntry], start: int, key: VerifyingKey, helpers: WorkerPool | None
) -> ChainError | None:
    if helpers is not None and batch:
        with suppress(OSError):  # a helper that was ended from outside: its batch is checked here
            if helpers.first_bad(batch, key) is None:
                return None
    for offset, record in enumerate(batch):
        error = signature_error(record, start + offset, key)
        if error is not None:
            return error
    return None
