"""Seeded row numbers, as the reference engine draws them: ChaCha8, seeded and sampled as in rand
0.8."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from randomgen import ChaCha

_MASK32, _MASK64 = 2**32 - 1, 2**64 - 1
_CHUNK = 2**20


def key_from_seed(seed: int) -> bytes:
    """The 32-byte key that `seed_from_u64` derives: eight outputs of a PCG32, little-endian."""
    state, key = seed & _MASK64, b""
    for _ in range(8):
        state = (state * 6364136223846793005 + 11634580027462260723) & _MASK64
        word = ((state >> 18) ^ state) >> 27 & _MASK32
        turn = state >> 59
        key += ((word >> turn | word << (32 - turn)) & _MASK32).to_bytes(4, "little")
    return key


def words(seed: int) -> ChaCha:
    """The generator; its `random_raw` gives 64-bit words."""
    key = int.from_bytes(key_from_seed(seed), "little")
    return ChaCha(key=key, counter=0, rounds=8)


def accept(raw: npt.NDArray[np.uint64], n: int) -> npt.NDArray[np.int64]:
    """Row numbers below `n` from 64-bit words: the high half of `word * n`, if its low half is
    within the zone."""
    if not 0 < n <= _MASK32:
        raise ValueError(f"{n} rows cannot be drawn from; expected 1 to {_MASK32}")
    zone = np.uint64((n << (64 - n.bit_length())) - 1)
    factor, shift, low_mask = np.uint64(n), np.uint64(32), np.uint64(_MASK32)
    low = raw * factor
    # n fits 32 bits, so two partial products give the high half of the 96-bit product without
    # overflow.
    high = ((raw >> shift) * factor + (((raw & low_mask) * factor) >> shift)) >> shift
    return high[low <= zone].astype(np.int64)


def draws(seed: int, n: int, resamples: int) -> Iterator[npt.NDArray[np.int64]]:
    """The row numbers of `resamples` resamples of `n` rows, in blocks of shape (resamples, n), in
    order."""
    source = words(seed)
    pending = np.zeros(0, dtype=np.int64)
    per_block = max(1, _CHUNK // n)
    done = 0
    while done < resamples:
        count = min(per_block, resamples - done)
        parts, have = [pending], len(pending)
        while have < count * n:
            # At least as many words as needed; the rest belongs to the next block.
            fresh = accept(source.random_raw(max(count * n - have, 1024)), n)
            parts.append(fresh)
            have += len(fresh)
        stream = np.concatenate(parts)
        pending = stream[count * n :]
        yield stream[: count * n].reshape(count, n)
        done += count
