"""A long chain's file on all cores: workers find its good segments ahead of the walker."""

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

PARALLEL_BYTES = 4 * BLOCK_BYTES
"""A file of more bytes starts worker processes, which takes some 0.1 s."""


def read_segments(
    items: Iterable[StoredEntry | LineBlock], key: VerifyingKey, *, signed: bool
) -> Generator[StoredEntry | Segment, None, None]:
    """Yield the entries that `read_blocks` reads, in order; those that workers find as segments.

    With `signed` the signatures of a segment are checked, too: with `key`, and after a rotation
    with the key that it names. Raises the errors of reading the entries.
    """
    threads, keys, bytes_read = os.cpu_count() or 1, [key], 0
    workers: WorkerPool | None = None
    pending: deque[tuple[LineBlock, Future[Segment | None]]] = deque()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(threads))
        for item in items:
            if isinstance(item, StoredEntry):
                yield from _collect_keys([item], keys)
                continue
            before, bytes_read = bytes_read, bytes_read + len(item.data)
            if before < PARALLEL_BYTES <= bytes_read:
                workers = start_workers()
                if workers is not None:
                    stack.enter_context(workers)
                    stack.callback(lambda: [future.cancel() for _, future in pending])
            if workers is None:
                yield from _collect_keys(item.records(), keys)
                continue
            signer = keys[-1] if signed else None
            pending.append((item, pool.submit(_find_segment, workers, item, signer)))
            if len(pending) > 2 * threads:
                yield from _resolve(*pending.popleft(), keys)
        while pending:
            yield from _resolve(*pending.popleft(), keys)


def _resolve(
    block: LineBlock, future: Future[Segment | None], keys: list[VerifyingKey]
) -> Iterator[StoredEntry | Segment]:
    segment = future.result()
    if segment is None:
        yield from _collect_keys(block.records(), keys)
    else:
        yield segment


def _collect_keys(
    records: Iterable[StoredEntry], keys: list[VerifyingKey]
) -> Iterator[StoredEntry]:
    """Yield the records, and append the keys that their rotations name to `keys`."""
    for record in records:
        new_key = claimed_new_key(record)
        if new_key is not None:
            keys.append(new_key)
        yield record


def _find_segment(
    workers: WorkerPool, block: LineBlock, key: VerifyingKey | None
) -> Segment | None:
    """Have a worker scan a block. Returns None if it is no segment, or the worker was killed."""
    try:
        bounds = workers.scan_segment(block.data, key)
    except OSError:
        return None
    if bounds is None:
        return None
    last = parse_canonical_line(block.data[bounds.last_line_offset :].removesuffix(b"\n"))
    if last is None:
        return None
    return Segment(
        bounds.org_id.decode(),
        bounds.seq,
        bounds.entries,
        bounds.prev_hash.decode(),
        last,
        None if key is None else key.hex,
        block.records,
        bounds.first_time,
    )
