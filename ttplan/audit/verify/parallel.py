"""A long chain's file on all cores: helpers find the good stretches of it, ahead of the walk along it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from ttplan.audit.canonical_line import parse_canonical_line
from ttplan.audit.jsonl import BLOCK_BYTES, LineBlock
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.rotation import claimed_new_key
from ttplan.audit.verify.segment import Segment
from ttplan.audit.verify.workers import WorkerPool, start_workers
from ttplan.model.audit import StoredEntry

LONG = 4 * BLOCK_BYTES
"""A file of more bytes is worth helpers: they take some tenths of a second to start."""


def read_segments(
    items: Iterable[StoredEntry | LineBlock], key: VerifyingKey, *, signed: bool
) -> Generator[StoredEntry | Segment, None, None]:
    """The entries of a file that `read_pieces` reads, in its order: in stretches where helpers find such, else one by one.

    With `signed` the signatures of a stretch are checked as well, by `key`, after a rotation by the key that it names. Raises
    what reading the entries raises.
    """
    workers, keys, seen = os.cpu_count() or 1, [key], 0
    helpers: WorkerPool | None = None
    asked: deque[tuple[LineBlock, Future[Segment | None]]] = deque()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        for item in items:
            if isinstance(item, StoredEntry):
                yield from _noting([item], keys)
                continue
            before, seen = seen, seen + len(item.data)
            if before < LONG <= seen:
                helpers = start_workers()
                if helpers is not None:
                    stack.enter_context(helpers)
                    stack.callback(lambda: [answer.cancel() for _, answer in asked])
            if helpers is None:
                yield from _noting(item.records(), keys)
                continue
            asked.append((item, pool.submit(_find, helpers, item, keys[-1] if signed else None)))
            if len(asked) > 2 * workers:
                yield from _settled(*asked.popleft(), keys)
        while asked:
            yield from _settled(*asked.popleft(), keys)


def _settled(
    piece: LineBlock, answer: Future[Segment | None], keys: list[VerifyingKey]
) -> Iterator[StoredEntry | Segment]:
    stretch = answer.result()
    if stretch is None:
        yield from _noting(piece.records(), keys)
    else:
        yield stretch


def _noting(records: Iterable[StoredEntry], keys: list[VerifyingKey]) -> Iterator[StoredEntry]:
    """The records, and to `keys` those that they hand over to."""
    for record in records:
        named = claimed_new_key(record)
        if named is not None:
            keys.append(named)
        yield record


def _find(helpers: WorkerPool, piece: LineBlock, key: VerifyingKey | None) -> Segment | None:
    """What a helper says of a piece; None as well where it is not there any more."""
    try:
        found = helpers.scan_segment(piece.data, key)
    except OSError:
        return None
    last = (
        None
        if found is None
        else parse_canonical_line(piece.data[found.last_at :].removesuffix(b"\n"))
    )
    if found is None or last is None:
        return None
    return Segment(
        found.org_id.decode(),
        found.seq,
        found.entries,
        found.prev_hash.decode(),
        last,
        None if key is None else key.hex,
        piece.records,
    )
