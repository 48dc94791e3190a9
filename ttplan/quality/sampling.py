"""Draw a seeded sample of requests, stratified by tag and size and proportional.

Strata are the pairs of a tag and a size: no tag first, then tags by their UTF-8 bytes, and sizes
from small to large. Of N requests n are drawn. C is the number of requests in a stratum and all
strata before it, and s a seeded start in 0..N-1. Up to and including this stratum, the sample has

    (C * n + s) // N

requests. So a stratum, and a tag with all its sizes, gets its share of n rounded down or up at
random, and every request is drawn with the same probability n/N (systematic sampling: W. G. Madow
and L. H. Madow, On the Theory of Systematic Sampling, 1944). The method of largest remainders would
omit the same small strata for every seed, and one request of each stratum would over-represent rare
requests; both bias the share. Within a stratum, the requests with the smallest ranks are drawn; a
rank is a hash of seed and id. The order of the rows does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from ttplan.model.errors import InputError

SIZES = ("up to 500", "up to 4,000", "above 4,000")
"""The sizes of a request, in input tokens."""
_BOUNDS = (500, 4_000)
MAX_SAMPLE = 1_000_000
_BLOCK = 1 << 20

Words = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.int64]


class SampleRow(NamedTuple):
    """The fields of a request that sampling uses."""

    id: UUID
    tag: str | None
    input_tokens: int


class Stratum(NamedTuple):
    """A tag and a size (of `SIZES`), with the number of its requests and of the drawn ones."""

    tag: str | None
    size: str
    requests: int
    drawn: int


class Sample(NamedTuple):
    """The requests to judge.

    `drawn` is the random sample in random order, so that a run that ends early has judged a random
    sample, too. `forced` are the requests to include in any case, by id; they may also be drawn.
    `strata` are those with requests, in order; `population` is the number of requests.
    """

    drawn: tuple[UUID, ...]
    forced: tuple[UUID, ...]
    strata: tuple[Stratum, ...]
    population: int
    seed: int

    @property
    def ids(self) -> tuple[UUID, ...]:
        """All ids, each once: first the drawn, then the forced that were not drawn."""
        drawn = set(self.drawn)
        return (*self.drawn, *(key for key in self.forced if key not in drawn))


def draw_sample(
    rows: pa.Table | Iterable[SampleRow], size: int, *, seed: int, forced: Iterable[UUID] = ()
) -> Sample:
    """Draw `size` of `rows` (all if there are fewer), and add the `forced` ids.

    `rows` is a table with unique `id` (UUIDs as text, 16 bytes or Arrow's type), `tag` and
    `input_tokens`, or a sequence of rows. Forced ids do not count towards `size` and need not be
    among `rows`. Raises InputError if the rows or the numbers cannot be used.
    """
    if not 0 <= size <= MAX_SAMPLE:
        raise InputError(
            f"the sample's size is {size:,}; expected a whole number from 0 to {MAX_SAMPLE:,}"
        )
    if not 0 <= seed < 2**64:
        raise InputError(f"seed is {seed}; expected a whole number from 0 to 2^64 - 1")
    table = rows if isinstance(rows, pa.Table) else _to_table(rows)
    high, low = _ids(table["id"])
    tags, codes = _tags(table["tag"])
    stratum = codes * len(SIZES) + _sizes(table["input_tokens"])
    counts = np.bincount(stratum, minlength=len(tags) * len(SIZES))
    start_key, *keys = _keys(seed)
    share = _allocate(counts, size, start_key)
    selected = _smallest(stratum, counts, share, _ranks(high, low, keys), high, low)
    drawn = tuple(
        UUID(int=(int(h) << 64) | int(w))
        for h, w in zip(high[selected], low[selected], strict=True)
    )
    for before, after in pairwise(drawn):
        if before == after:
            raise InputError(
                f"the request {after} is among the rows more than once; expected every id once"
            )
    strata = tuple(
        Stratum(tags[i // len(SIZES)], SIZES[i % len(SIZES)], int(counts[i]), int(share[i]))
        for i in np.flatnonzero(counts)
    )
    return Sample(drawn, tuple(sorted(set(forced))), strata, table.num_rows, seed)


def _to_table(rows: Iterable[SampleRow]) -> pa.Table:
    rows = list(rows)
    return pa.table(
        {
            "id": pa.array([row.id.bytes for row in rows], pa.binary(16)),
            "tag": pa.array([row.tag for row in rows], pa.string()),
            "input_tokens": pa.array([row.input_tokens for row in rows], pa.int64()),
        }
    )


def _keys(seed: int) -> tuple[int, int, int]:
    """Return three 64-bit numbers that depend only on the seed."""
    digest = blake3(b"ttplan quality sample\0" + seed.to_bytes(8, "big")).digest(length=24)
    return (
        int.from_bytes(digest[:8], "big"),
        int.from_bytes(digest[8:16], "big"),
        int.from_bytes(digest[16:], "big"),
    )


def _allocate(counts: Codes, size: int, start_key: int) -> Codes:
    """Return the number of requests to draw from each stratum."""
    population = int(counts.sum())
    if population == 0:
        return np.zeros_like(counts)
    start = (start_key * population) >> 64
    cumulative = (np.cumsum(counts) * min(size, population) + start) // population
    return np.diff(cumulative, prepend=0)


def _mix(x: Words) -> Words:
    """Mix 64-bit words, bijectively: the finaliser of SplitMix64.

    G. L. Steele, D. Lea, C. H. Flood, Fast Splittable Pseudorandom Number Generators (2014).
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _ranks(high: Words, low: Words, keys: list[int]) -> Words:
    first, second = (np.uint64(key) for key in keys)
    return _mix(_mix(_mix(high ^ first) ^ low) ^ second)


def _smallest(
    stratum: Codes, counts: Codes, share: Codes, rank: Words, high: Words, low: Words
) -> Codes:
    """Return the positions of the `share` smallest ranks of each stratum, by rank, then id."""
    by_stratum = np.argsort(stratum, kind="stable")
    ends = np.cumsum(counts)
    positions = []
    for i in np.flatnonzero(share):
        rows, size = by_stratum[ends[i] - counts[i] : ends[i]], share[i]
        ranks = rank[rows]
        rows = rows[ranks <= np.partition(ranks, size - 1)[size - 1]]
        positions.append(rows[np.lexsort((low[rows], high[rows], rank[rows]))[:size]])
    if not positions:
        return np.zeros(0, np.int64)
    rows = np.concatenate(positions)
    return rows[np.lexsort((low[rows], high[rows], rank[rows]))]


# --- columns ----------------------------------------------------------------------------------


def _sizes(tokens: pa.ChunkedArray) -> Codes:
    if tokens.null_count:
        raise InputError("a request has no input_tokens; expected a whole number in every row")
    sizes: Codes = np.searchsorted(np.array(_BOUNDS), tokens.to_numpy(), side="left").astype(
        np.int64
    )
    return sizes


def _tags(column: pa.ChunkedArray) -> tuple[list[str | None], Codes]:
    """Return the tags in order, no tag first, and the index of each row's tag."""
    column = pc.cast(column, pa.string())
    tags: list[str | None] = [
        None,
        *sorted(pc.unique(column.drop_null()).to_pylist(), key=lambda tag: tag.encode()),
    ]
    codes = pc.fill_null(pc.index_in(column, value_set=pa.array(tags[1:], pa.string())), -1)
    return tags, codes.to_numpy().astype(np.int64) + 1


def _ids(column: pa.ChunkedArray) -> tuple[Words, Words]:
    """Return the upper and lower 64 bits of each id."""
    if column.null_count:
        raise InputError("a request has no id; expected a UUID in every row")
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    words = np.zeros((len(column), 2), ">u8")
    at = 0
    for chunk in column.chunks:
        for begin in range(0, len(chunk), _BLOCK):
            block = chunk.slice(begin, _BLOCK)
            words[at : at + len(block)] = _bytes(block).view(">u8")
            at += len(block)
    return words[:, 0].astype(np.uint64), words[:, 1].astype(np.uint64)


def _bytes(block: pa.Array) -> npt.NDArray[np.uint8]:
    """Return the 16 bytes of each id."""
    if block.type == pa.binary(16):
        return np.frombuffer(block.buffers()[1], np.uint8)[block.offset * 16 :][
            : len(block) * 16
        ].reshape(-1, 16)
    text = pc.replace_substring(pc.cast(block, pa.large_string()), "-", "")
    lengths = pc.binary_length(text).to_numpy(zero_copy_only=False)
    if (lengths != 32).any():
        raise _not_uuid(block, np.asarray(lengths != 32))
    offsets = np.frombuffer(text.buffers()[1], np.int64)
    digits = _HEX[
        np.frombuffer(text.buffers()[2], np.uint8)[offsets[text.offset] :][
            : len(text) * 32
        ].reshape(-1, 32)
    ]
    if (digits > 15).any():
        raise _not_uuid(block, np.asarray((digits > 15).any(axis=1)))
    return np.ascontiguousarray(digits[:, ::2] << 4 | digits[:, 1::2])


def _not_uuid(block: pa.Array, wrong: npt.NDArray[np.bool_]) -> InputError:
    return InputError(
        f"{str(block[int(np.argmax(wrong))])[:80]!r} is not a UUID; "
        "expected the id of a logged request"
    )


_HEX = np.full(256, 255, np.uint8)
_HEX[list(b"0123456789abcdef")] = np.arange(16)
_HEX[list(b"ABCDEF")] = np.arange(10, 16)
