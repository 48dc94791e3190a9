"""Verify a chain as a stream: seq, prev_hash, hash and signature of each entry, in this order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import islice
from typing import NamedTuple

from ttplan.audit.entries import to_record
from ttplan.audit.entry_checks import signature_error
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.options import EMPTY_CHAIN, SignatureScope, VerifyOptions
from ttplan.audit.verify.segment import Segment
from ttplan.audit.verify.walker import ChainWalker, Verification
from ttplan.audit.verify.workers import WorkerPool, start_workers
from ttplan.model.audit import AuditEntry, StoredEntry, TipAnchor
from ttplan.model.errors import ChainError, TruncatedChain, TruncationReason, TtplanError

_BATCH = 2_000
_PARALLEL_THRESHOLD = 20_000
"""A chain with more entries than this starts worker processes, which takes some 0.1 s."""

Entries = Iterable[AuditEntry | StoredEntry | Segment]


class VerifiedPrefix(NamedTuple):
    """How far a verification is: all entries up to `anchor` are good, and `key` (hex) signs next.

    The required anchors up to there are found, too.
    """

    anchor: TipAnchor
    key: str


def verify_chain(
    entries: Entries,
    public_key: VerifyingKey | str,
    *,
    signatures: SignatureScope = "all",
    since: TipAnchor | None = None,
    passes_through: Iterable[TipAnchor] = (),
    distrust_after: TipAnchor | None = None,
    progress: Callable[[int], None] | None = None,
    reached: Callable[[VerifiedPrefix], None] | None = None,
) -> Verification:
    """Check every entry of one organisation's chain, and raise the error of the first bad one.

    Memory stays bounded, whatever the chain's length.

    Parameters
    ----------
    entries
        The chain's entries, in order. An empty chain verifies, as empty.
    public_key
        The chain's first key, or its 64 hex digits. After a valid `audit.key_rotated` entry the
        key that it names signs.
    signatures
        "all" checks every signature, on all cores. "tip" recomputes every hash and checks the last
        signature of each key. That vouches for the content of all entries, since each hash covers
        the one before, but not for the other signatures.
    since
        A trusted entry. Only the entries after it are checked, and `public_key` is the key that
        signs there. `entries` may begin anywhere up to the entry after it.
    passes_through
        Entries that the chain must contain; none may be before `since`.
    distrust_after
        An entry after which nothing is trusted that the same key signed, not even a rotation.
    progress
        Called with the number of entries read so far.
    reached
        Called now and then with the prefix that is verified so far.

    Returns
    -------
    Verification
        How many entries and signatures were checked, whose chain it is, and where it ends.

    Raises
    ------
    ChainError
        Of the first bad entry: SeqGap, BrokenChain, HashMismatch, BadSignature, HexError,
        ForeignOrg, BadRotation, DistrustedKey or Equivocation. If all entries are good,
        TruncatedChain for the first anchor that does not match.
    KeyFileError
        If the key must not be trusted.
    InputError
        If an anchor is before `since`.

    Examples
    --------
    >>> from ttplan.audit.keys.key_files import create_key
    >>> verify_chain([], create_key().public_key).entries
    0
    """
    options = VerifyOptions.parse(
        signatures=signatures,
        since=since,
        passes_through=passes_through,
        distrust_after=distrust_after,
    )
    return verify_entries(entries, public_key, options, progress=progress, reached=reached)


def verify_chain_with_anchor(
    entries: Entries,
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
    """Verify as `verify_chain` does, and check that the chain still ends exactly at `anchor`.

    Parameters
    ----------
    entries, public_key, signatures, since, passes_through, distrust_after, progress, reached
        As in `verify_chain`.
    anchor
        The entry at which the chain must end, as it was noted elsewhere.

    Returns
    -------
    Verification
        As `verify_chain` returns.

    Raises
    ------
    TruncatedChain
        If the chain does not end at `anchor`.
    ChainError, KeyFileError, InputError
        As `verify_chain` raises.

    Examples
    --------
    >>> from ttplan import TipAnchor, TruncatedChain
    >>> from ttplan.audit.keys.key_files import create_key
    >>> try:
    ...     verify_chain_with_anchor([], create_key().public_key, TipAnchor(0, "0" * 64))
    ... except TruncatedChain as error:
    ...     error.reason
    'short'
    """
    options = VerifyOptions.parse(
        signatures=signatures,
        since=since,
        anchor=anchor,
        passes_through=passes_through,
        distrust_after=distrust_after,
    )
    return verify_entries(entries, public_key, options, progress=progress, reached=reached)


def verify_entries(
    entries: Entries,
    key: VerifyingKey | str,
    options: VerifyOptions,
    *,
    progress: Callable[[int], None] | None = None,
    reached: Callable[[VerifiedPrefix], None] | None = None,
) -> Verification:
    """Verify as `verify_chain` does, with `key` as the first one, and check `options.anchor`."""
    anchors = options.required_anchors
    walker = ChainWalker(
        VerifyingKey.from_hex(key) if isinstance(key, str) else key,
        since=options.since,
        anchors=anchors,
        org_id=options.org_id,
        distrust_after=options.distrust_after,
    )
    records: Iterator[StoredEntry | Segment] = (
        to_record(e) if isinstance(e, AuditEntry) else e for e in entries
    )
    if options.since is not None:
        records = walker.start_after(options.since, records)
    steps = _expand_segments(walker, records, signed=options.all_signatures)
    verify = _verify_all if options.all_signatures else _verify_tip
    count = verify(walker, steps, progress or (lambda _: None), reached or (lambda _: None))
    verified = walker.result(count)
    for anchor in anchors:
        _check_anchor(verified, walker.anchored_hashes.get(anchor.seq), anchor)
    if options.expect_empty and verified.tip is not None:
        detail = f"it ends at {verified.tip}, the anchor is {EMPTY_CHAIN}"
        raise TruncatedChain(0, verified.tip.seq + 1, detail, reason="longer")
    if options.anchor is not None and verified.tip != options.anchor:
        raise _truncated(verified, options.anchor, "longer")
    return verified


def _check_anchor(verified: Verification, actual: str | None, anchor: TipAnchor) -> None:
    """Raise TruncatedChain unless `actual`, the chain's hash at that seq, is the anchor's."""
    if actual == anchor.hash:
        return
    tip = verified.tip
    reason: TruncationReason = "short"
    if tip is not None and tip.seq >= anchor.seq:
        reason = "tip_differs" if tip.seq == anchor.seq else "rewritten"
    raise _truncated(verified, anchor, reason, actual)


def _truncated(
    verified: Verification, anchor: TipAnchor, reason: TruncationReason, actual: str | None = None
) -> TruncatedChain:
    where = "it is empty" if verified.tip is None else f"it ends at {verified.tip}"
    if reason == "rewritten":
        where = f"it has {anchor.seq}:{actual}"
    length = 0 if verified.tip is None else verified.tip.seq + 1
    return TruncatedChain(anchor.seq + 1, length, f"{where}, the anchor is {anchor}", reason=reason)


def _expand_segments(
    walker: ChainWalker, entries: Iterable[StoredEntry | Segment], *, signed: bool
) -> Iterator[StoredEntry | Segment]:
    """Yield entries, and a segment as its entries unless the walker can skip it."""
    for entry in entries:
        if isinstance(entry, Segment) and not walker.can_skip(entry, signed=signed):
            yield from entry.records()
        else:
            yield entry


def _verify_tip(
    walker: ChainWalker,
    entries: Iterator[StoredEntry | Segment],
    progress: Callable[[int], None],
    reached: Callable[[VerifiedPrefix], None],
) -> int:
    """Check all hashes and the last signature of each key. Return how many signatures that is."""
    for entry in entries:
        walker.advance(entry)
        if isinstance(entry, Segment) or walker.index % _BATCH == 0:
            prefix = _verified_prefix(walker)
            if prefix is not None:
                reached(prefix)
            progress(walker.index)
    progress(walker.index)
    if walker.index == walker.start or walker.last is None or walker.ends_with_rotation:
        return walker.rotations
    error = signature_error(walker.last, walker.index - 1, walker.key)
    if error is not None:
        raise error
    return walker.rotations + 1


def _verify_all(
    walker: ChainWalker,
    entries: Iterator[StoredEntry | Segment],
    progress: Callable[[int], None],
    reached: Callable[[VerifiedPrefix], None],
) -> int:
    """Check hashes in this thread and signatures behind it, on all cores; return their number."""
    threads = os.cpu_count() or 1
    workers: WorkerPool | None = None
    checked_singly, workers_requested = 0, False
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(threads))
        pending: deque[tuple[Future[ChainError | None], VerifiedPrefix | None]] = deque()
        while True:
            start, key = walker.index, walker.key
            if checked_singly >= _PARALLEL_THRESHOLD and not workers_requested:
                workers, workers_requested = start_workers(), True
                if workers is not None:
                    stack.enter_context(workers)
            batch, error = _next_batch(walker, entries)
            checked_singly += len(batch)
            if walker.index > start:
                future = pool.submit(_first_bad_signature, batch, start, key, workers)
                pending.append((future, _verified_prefix(walker)))
            # An error waits for the verdicts on the entries before it: the first bad entry counts.
            keep = 0 if error is not None or walker.index == start else 2 * threads
            while len(pending) > keep:
                verdict, prefix = pending.popleft()
                bad = verdict.result()
                if bad is not None:
                    for other, _ in pending:
                        other.cancel()
                    raise bad
                if prefix is not None:
                    reached(prefix)
            if error is not None:
                raise error
            progress(walker.index)
            if walker.index == start:
                return walker.index - walker.start


def _verified_prefix(walker: ChainWalker) -> VerifiedPrefix | None:
    """Return how far the walker is; None if an anchor does not match."""
    if not walker.anchors_match or walker.tip is None:
        return None
    return VerifiedPrefix(walker.tip, walker.key.hex)


def _next_batch(
    walker: ChainWalker, entries: Iterator[StoredEntry | Segment]
) -> tuple[list[StoredEntry], TtplanError | None]:
    """Take the next entries that one key signs, checked but for that, and the error after them."""
    batch: list[StoredEntry] = []
    try:
        for entry in islice(entries, _BATCH):
            walker.advance(entry)
            if isinstance(entry, Segment):  # its signatures are checked already
                break
            batch.append(entry)
            if walker.ends_with_rotation:
                break
    except TtplanError as error:
        return batch, error
    return batch, None


def _first_bad_signature(
    batch: list[StoredEntry], start: int, key: VerifyingKey, workers: WorkerPool | None
) -> ChainError | None:
    if workers is not None and batch:
        with suppress(OSError):  # the worker was killed: its batch is checked here
            if workers.first_bad(batch, key) is None:
                return None
    for index, record in enumerate(batch, start):
        error = signature_error(record, index, key)
        if error is not None:
            return error
    return None
