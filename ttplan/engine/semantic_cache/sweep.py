"""Semantic (L2) cache hits of each request, for each threshold of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ttplan.engine.semantic_cache.cosine import (
    Floats32,
    Vectors,
    approximate,
    exact,
    scaled,
    tolerance,
)
from ttplan.engine.semantic_cache.hits import (
    MOST_LISTED,
    CacheEntry,
    Differs,
    PoisonCandidate,
    ServedPair,
    Sweep,
    diverged,
)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

BLOCK = 512
"""Requests that are looked up together."""
CHUNK = 8_192
"""Entries that they are compared with at once, so that a block's similarities take 16 MB."""


class LookupBatch(NamedTuple):
    """Requests of one (provider, model) in (ts, id) order. `ts` in µs; `vectors` are embeddings of
    any length."""

    ids: Sequence[str]
    ts: Ints
    finish_reason: Sequence[str | None]
    output_tokens: Ints
    vectors: Sequence[Floats32]
    answer_hash: Sequence[str | None]

    def slice(self, start: int, stop: int) -> LookupBatch:
        """The requests from `start` to before `stop`."""
        return LookupBatch(
            self.ids[start:stop],
            self.ts[start:stop],
            self.finish_reason[start:stop],
            self.output_tokens[start:stop],
            self.vectors[start:stop],
            self.answer_hash[start:stop],
        )


def sweep_thresholds(
    buckets: Iterable[Iterable[LookupBatch]],
    thresholds: Sequence[float],
    ttl_seconds: int,
    *,
    block: int = BLOCK,
    progress: Callable[[int], None] = lambda rows: None,
    differs: Differs | None = None,
    pairs: list[ServedPair] | None = None,
) -> Sweep:
    """Look up every request among the entries of its bucket, in a separate pass for each threshold.

    A request is a hit if its nearest entry within the TTL has a cosine of at least the threshold;
    the first entry wins a tie. A miss becomes an entry. The passes share the similarities, as
    matrix products of a block of requests and a chunk of entries; values within the error bound are
    computed exactly, so block sizes do not change the result. `progress` receives the number of
    requests so far, and `pairs` all hits. `differs` tells candidates for poisoning; by default,
    `diverged` does.
    """
    sweep = Sweep(tuple(thresholds), differs=differs or diverged, pairs=pairs)
    for bucket in buckets:
        entries = _Entries(len(sweep.thresholds))
        for part in bucket:
            for start in range(0, len(part.ids), block):
                _look_up(part.slice(start, start + block), entries, ttl_seconds * 1_000_000, sweep)
                progress(sweep.total)
    return sweep


class _Matrix:
    """Vectors of one length and the positions of their entries, in arrays that grow by doubling."""

    def __init__(self, length: int) -> None:
        self.count = 0
        self._positions: Ints = np.empty(64, dtype=np.int64)
        self._values: Floats32 = np.empty((64, length), dtype=np.float32)
        self._inverse: Floats32 = np.empty(64, dtype=np.float32)

    def append(self, positions: Ints, vectors: Vectors) -> None:
        need = self.count + len(positions)
        if need > len(self._positions):
            capacity = max(need, 2 * len(self._positions))
            self._positions = _grown(self._positions, self.count, capacity)
            self._values = _grown(self._values, self.count, capacity)
            self._inverse = _grown(self._inverse, self.count, capacity)
        self._positions[self.count : need] = positions
        self._values[self.count : need] = vectors.values
        self._inverse[self.count : need] = vectors.inverse_norm
        self.count = need

    def part(self, start: int, stop: int) -> tuple[Ints, Vectors]:
        return self._positions[start:stop], Vectors(
            self._values[start:stop], self._inverse[start:stop]
        )

    def first_at(self, position: int) -> int:
        return int(np.searchsorted(self._positions[: self.count], position))

    def values_at(self, positions: Ints) -> Floats32:
        rows = np.searchsorted(self._positions[: self.count], positions)
        return self._values[rows]

    def drop(self, rows: int) -> None:
        kept = self.count - rows
        for array in (self._positions, self._values, self._inverse):
            array[:kept] = array[rows : self.count]
        self.count = kept


class _Entries:
    """The live entries of one bucket, in order, and the thresholds at which each was a miss."""

    def __init__(self, thresholds: int) -> None:
        self.dropped = 0
        self.ts = np.empty(0, dtype=np.int64)
        self.length = np.empty(0, dtype=np.int64)
        self.member = np.empty((0, thresholds), dtype=np.bool_)
        self.sources: list[CacheEntry] = []
        self.by_length: dict[int, _Matrix] = {}

    def expire(self, cutoff: int) -> None:
        """Drop entries older than `cutoff`, once they are half of all."""
        gone = int(np.searchsorted(self.ts, cutoff))
        if gone * 2 < len(self.ts) or gone == 0:
            return
        self.dropped += gone
        self.ts, self.length, self.member = self.ts[gone:], self.length[gone:], self.member[gone:]
        del self.sources[:gone]
        for matrix in self.by_length.values():
            matrix.drop(matrix.first_at(self.dropped))

    def append(self, rows: _Block, missed: Bools) -> None:
        """Add the rows of a block that missed at some threshold."""
        new = np.flatnonzero(missed.any(axis=1))
        positions = self.dropped + len(self.ts) + np.arange(len(new))
        self.ts = np.concatenate([self.ts, rows.ts[new]])
        self.length = np.concatenate([self.length, rows.length[new]])
        self.member = np.concatenate([self.member, missed[new]])
        self.sources += [rows.sources[i] for i in new.tolist()]
        for length, (of_length, vectors) in rows.by_length.items():
            kept = missed[of_length].any(axis=1)
            here = positions[np.searchsorted(new, of_length[kept])]
            missed_vectors = Vectors(vectors.values[kept], vectors.inverse_norm[kept])
            self.by_length.setdefault(length, _Matrix(length)).append(here, missed_vectors)


class _Block:
    """Requests that are looked up together, with their vectors by length."""

    def __init__(self, part: LookupBatch) -> None:
        self.ids, self.ts = part.ids, part.ts
        tokens = part.output_tokens.tolist()
        outcomes = zip(part.ids, part.finish_reason, tokens, part.answer_hash, strict=True)
        self.sources = [CacheEntry(*outcome) for outcome in outcomes]
        self.length = np.array([len(vector) for vector in part.vectors], dtype=np.int64)
        self.by_length: dict[int, tuple[Ints, Vectors]] = {}
        for length in np.unique(self.length).tolist():
            rows = np.flatnonzero(self.length == length)
            self.by_length[length] = (
                rows,
                scaled(np.stack([part.vectors[i] for i in rows.tolist()])),
            )

    def vector(self, row: int) -> Floats32:
        rows, vectors = self.by_length[int(self.length[row])]
        vector: Floats32 = vectors.values[np.searchsorted(rows, row)]
        return vector

    def inner(self) -> Floats32:
        """The cosines between the block's rows; 0 if lengths differ."""
        cosines = np.zeros((len(self.ts), len(self.ts)), dtype=np.float32)
        for rows, vectors in self.by_length.values():
            cosines[np.ix_(rows, rows)] = approximate(vectors, vectors)
        return cosines


Near = dict[int, list[tuple[int, float]]]
"""For a threshold: rows of a block with positions and approximate cosines of possible nearest
entries."""


def _look_up(part: LookupBatch, entries: _Entries, ttl: int, sweep: Sweep) -> None:
    rows = _Block(part)
    entries.expire(int(rows.ts[0]) - ttl)
    oldest = entries.dropped + np.searchsorted(entries.ts, rows.ts - ttl)
    slack = {length: tolerance(length) for length in rows.by_length}
    near = _near_entries(rows, entries, oldest, sweep.thresholds)
    inner = _inner_candidates(rows, ttl)
    missed = np.ones((len(rows.ids), len(sweep.thresholds)), dtype=np.bool_)
    lowest = min(sweep.thresholds, default=2.0)
    hopeful: Bools = np.any(inner >= lowest - max(slack.values()), axis=1)
    for by_row in near:
        hopeful[list(by_row)] = True
    sweep.total += len(rows.ids)
    for row in np.flatnonzero(hopeful).tolist():
        _decide(row, rows, entries, near, inner[row], missed, slack[int(rows.length[row])], sweep)
    entries.append(rows, missed)


def _inner_candidates(rows: _Block, ttl: int) -> Floats32:
    """Approximate cosines of each row with earlier rows of its block within the TTL; -2
    elsewhere."""
    positions = np.arange(len(rows.ids))
    before = (positions[None, :] < positions[:, None]) & (
        rows.ts[None, :] >= rows.ts[:, None] - ttl
    )
    return np.where(before, rows.inner(), np.float32(-2))


def _near_entries(
    rows: _Block, entries: _Entries, oldest: Ints, thresholds: Sequence[float]
) -> list[Near]:
    """For each threshold, the entries of its pass that may be nearest to a row, of all lengths."""
    near: list[Near] = [{} for _ in thresholds]
    for length, (of_length, vectors) in rows.by_length.items():
        matrix = entries.by_length.get(length)
        slack = tolerance(length)
        if matrix is not None:
            for start in range(matrix.first_at(int(oldest[0])), matrix.count, CHUNK):
                positions, chunk = matrix.part(start, min(start + CHUNK, matrix.count))
                cosines = approximate(vectors, chunk)
                cosines[positions[None, :] < oldest[of_length, None]] = -2
                _collect(near, cosines, of_length, positions, entries, thresholds, slack)
        if min(thresholds, default=2.0) <= 0:
            _collect_strangers(near, of_length, length, entries, oldest, thresholds)
    return near


def _collect(
    near: list[Near],
    cosines: Floats32,
    of_length: Ints,
    positions: Ints,
    entries: _Entries,
    thresholds: Sequence[float],
    slack: float,
) -> None:
    best = cosines.max(axis=1)
    for t, threshold in enumerate(thresholds):
        candidate_rows = np.flatnonzero(best >= threshold - slack)
        member = entries.member[positions - entries.dropped, t]
        if len(candidate_rows) == 0 or not member.any():
            continue
        own = np.where(member[None, :], cosines[candidate_rows], np.float32(-2))
        floor = np.maximum(np.float32(threshold - slack), own.max(axis=1) - np.float32(2 * slack))
        row, column = np.nonzero(own >= floor[:, None])
        for i, position, cosine in zip(
            of_length[candidate_rows[row]].tolist(),
            positions[column].tolist(),
            own[row, column].tolist(),
            strict=True,
        ):
            near[t].setdefault(i, []).append((position, cosine))


def _collect_strangers(
    near: list[Near],
    of_length: Ints,
    length: int,
    entries: _Entries,
    oldest: Ints,
    thresholds: Sequence[float],
) -> None:
    """Entries of another length have a cosine of 0. At thresholds of 0 or less, the first one
    represents all."""
    for t in [t for t, threshold in enumerate(thresholds) if threshold <= 0]:
        strangers = entries.dropped + np.flatnonzero(
            entries.member[:, t] & (entries.length != length)
        )
        for row in of_length.tolist():
            first = int(np.searchsorted(strangers, oldest[row]))
            if first < len(strangers):
                near[t].setdefault(row, []).append((int(strangers[first]), 0.0))


def _decide(
    row: int,
    rows: _Block,
    entries: _Entries,
    near: list[Near],
    inner: Floats32,
    missed: Bools,
    slack: float,
    sweep: Sweep,
) -> None:
    """Decide the hits of a row at each threshold; earlier rows of the block are decided."""
    known: dict[int, float] = {}
    mask = 0
    poisoned: dict[int, list[int]] = {}
    served: dict[int, int] = {}
    following = entries.dropped + len(entries.ts)
    for t, threshold in enumerate(sweep.thresholds):
        candidates = list(near[t].get(row, ()))
        close = np.flatnonzero((inner >= threshold - slack) & missed[:, t])
        candidates += [(following + i, float(inner[i])) for i in close.tolist()]
        source = _nearest(candidates, row, rows, entries, threshold, slack, known)
        if source is None:
            continue
        missed[row, t] = False
        mask |= 1 << t
        served[source] = served.get(source, 0) | 1 << t
        sweep.hits[t] += 1
        if sweep.differs(_source(source, rows, entries), rows.sources[row]):
            sweep.poisoned[t] += 1
            poisoned.setdefault(source, []).append(t)
    if mask:
        sweep.ids.append(rows.ids[row])
        sweep.masks.append(mask)
    if sweep.pairs is not None:
        sweep.pairs += [
            ServedPair(rows.ids[row], _source(source, rows, entries).id, at)
            for source, at in served.items()
        ]
    sweep.suspects += len(poisoned)
    sweep.poisoned_requests += bool(poisoned)
    for source, at in list(poisoned.items())[: MOST_LISTED - len(sweep.candidates)]:
        cosine = float(_exact(row, [source], rows, entries, known)[source])
        sweep.candidates.append(
            PoisonCandidate(rows.sources[row], _source(source, rows, entries), cosine, tuple(at))
        )


def _nearest(
    candidates: list[tuple[int, float]],
    row: int,
    rows: _Block,
    entries: _Entries,
    threshold: float,
    slack: float,
    known: dict[int, float],
) -> int | None:
    """The position of the nearest entry, if it reaches the threshold; the block's entries come
    last."""
    if not candidates:
        return None
    best = max(cosine for _, cosine in candidates)
    contenders = [position for position, cosine in candidates if cosine >= best - 2 * slack]
    if len(contenders) == 1 and best > threshold + slack + 1e-6:
        return contenders[0]
    cosines = _exact(row, contenders, rows, entries, known)
    nearest = min(contenders, key=lambda position: (-cosines[position], position))
    return nearest if cosines[nearest] >= np.float32(threshold) else None


def _exact(
    row: int, positions: list[int], rows: _Block, entries: _Entries, known: dict[int, float]
) -> dict[int, float]:
    """Exact cosines of a row with entries, by position; each is computed once."""
    following = entries.dropped + len(entries.ts)
    length = int(rows.length[row])
    vector = rows.vector(row)
    earlier: list[int] = []
    inside: list[int] = []
    for position in positions:
        if position in known:
            continue
        stranger = (
            rows.length[position - following]
            if position >= following
            else entries.length[position - entries.dropped]
        )
        if int(stranger) != length:
            known[position] = 0.0
        else:
            (inside if position >= following else earlier).append(position)
    if earlier:
        others = entries.by_length[length].values_at(np.array(earlier))
        known.update(zip(earlier, exact(vector, others).tolist(), strict=True))
    if inside:
        others = np.stack([rows.vector(position - following) for position in inside])
        known.update(zip(inside, exact(vector, others).tolist(), strict=True))
    return known


def _source(position: int, rows: _Block, entries: _Entries) -> CacheEntry:
    following = entries.dropped + len(entries.ts)
    return (
        rows.sources[position - following]
        if position >= following
        else entries.sources[position - entries.dropped]
    )


def _grown(array: npt.NDArray[T], used: int, capacity: int) -> npt.NDArray[T]:
    larger = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    larger[:used] = array[:used]
    return larger
