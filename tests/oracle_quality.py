"""The sampling rule once more, slow and plain: points on a line, fractions, one row at a time."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from uuid import UUID

from blake3 import blake3

from ttplan.quality.sampling import SampleRow

WORD = 2**64


def size_of(input_tokens: int) -> int:
    """0 up to 500 input tokens, 1 up to 4,000, 2 above."""
    if input_tokens <= 500:
        return 0
    return 1 if input_tokens <= 4_000 else 2


def mixed(x: int) -> int:
    """SplitMix64's finaliser."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % WORD
    return x ^ (x >> 31)


def seeded(seed: int) -> tuple[int, int, int]:
    """The three words that a seed stands for."""
    digest = blake3(b"ttplan quality sample\0" + seed.to_bytes(8, "big")).digest(length=24)
    words = [int.from_bytes(digest[i : i + 8], "big") for i in (0, 8, 16)]
    return words[0], words[1], words[2]


def rank(seed: int, request_id: UUID) -> tuple[int, UUID]:
    """What a stratum's rows are ordered by."""
    _, first, second = seeded(seed)
    high, low = divmod(request_id.int, WORD)
    return mixed(mixed(mixed(high ^ first) ^ low) ^ second), request_id


def order_of(row: SampleRow) -> tuple[bool, bytes, int]:
    """Where a row's stratum stands: no tag first, then by the tag's bytes, then by size."""
    return row.tag is not None, (row.tag or "").encode(), size_of(row.input_tokens)


def drawn(rows: Sequence[SampleRow], size: int, seed: int) -> tuple[UUID, ...]:
    """`size` points at even distances along the requests, stratum by stratum; each draws the next
    best of the stratum it hits."""
    population, size = len(rows), min(size, len(rows))
    start = seeded(seed)[0] * population // WORD
    strata: dict[tuple[bool, bytes, int], list[UUID]] = {}
    for row in rows:
        strata.setdefault(order_of(row), []).append(row.id)
    points = [Fraction(j * population - start, size) for j in range(1, size + 1)]
    selected: list[UUID] = []
    begin = 0
    for key in sorted(strata):
        ids = sorted(strata[key], key=lambda request_id: rank(seed, request_id))
        end = begin + len(ids)
        selected += ids[: sum(begin < point <= end for point in points)]
        begin = end
    return tuple(sorted(selected, key=lambda request_id: rank(seed, request_id)))
