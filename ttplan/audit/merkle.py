"""Merkle trees over a chain, as RFC 6962 builds them: inclusion and consistency proofs, with the hash as a parameter.

A proof brings hashes alone. Where they stand follows from the index and the sizes, never from what a file says, and a path that
is longer or shorter than it has to be is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

import blake3

from ttplan.model.errors import ProofError

HashFunction = Callable[[bytes], bytes]
"""From bytes to 32 bytes."""


def sha256(data: bytes) -> bytes:
    """What public logs, witnesses and tools use."""
    return hashlib.sha256(data).digest()


def blake3_256(data: bytes) -> bytes:
    """What the ecosystem's own proofs use."""
    return blake3.blake3(data).digest()


def leaf_hash(h: HashFunction, entry: bytes) -> bytes:
    """The hash of a leaf: of a chain, the entry's 32 raw hash bytes are what it holds."""
    return h(b"\0" + entry)


def node_hash(h: HashFunction, left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return h(b"\1" + left + right)


def hash_leaves(h: HashFunction, hashes: Iterable[str]) -> list[bytes]:
    """The leaves over entries' hashes, as they stand in a chain (hex)."""
    return [leaf_hash(h, bytes.fromhex(one)) for one in hashes]


def root(h: HashFunction, leaves: Sequence[bytes]) -> bytes:
    """The root over hashed leaves; that of no leaves is the hash of nothing."""
    level = list(leaves)
    if not level:
        return h(b"")
    while len(level) > 1:
        level = _parents(h, level)
    return level[0]


def inclusion_path(h: HashFunction, leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings of leaf `index`, leaf to root. Raises ProofError where there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise ProofError(f"there is no leaf {index} in a tree of {len(leaves)}")
    path = []
    level = list(leaves)
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        level, index = _parents(h, level), index >> 1
    return path


def consistency_path(h: HashFunction, leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """What proves that the first `old_size` leaves are still those of the older tree; empty where that is 0 or the whole.

    Raises ProofError where there are not so many.
    """
    if not 0 <= old_size <= len(leaves):
        raise ProofError(f"there is no older tree of {old_size} leaves in one of {len(leaves)}")
    if old_size in (0, len(leaves)):
        return []
    path = []
    start, stop, whole = 0, len(leaves), True
    while old_size != stop:
        middle = start + _largest_power_below(stop - start)
        if old_size <= middle:
            path.append(root(h, leaves[middle:stop]))
            stop = middle
        else:
            path.append(root(h, leaves[start:middle]))
            start, whole = middle, False
    if not whole:
        path.append(root(h, leaves[start:stop]))
    return path[::-1]


def sibling_sides(index: int, size: int) -> list[bool]:
    """For each sibling of a leaf's path, leaf to root, whether it stands on the left. ProofError where there is no such leaf."""
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index} in a tree of {size}")
    found, last = [], size - 1
    while last:
        if index & 1 or index < last:
            found.append(bool(index & 1))
        index, last = index >> 1, last >> 1
    return found


def root_from_path(
    h: HashFunction, leaf: bytes, index: int, size: int, path: Sequence[bytes]
) -> bytes:
    """The root that a leaf and its path give. Raises ProofError where the path has not the one length that it can have."""
    places = sibling_sides(index, size)
    if len(path) != len(places):
        raise ProofError(
            f"the path of leaf {index} in a tree of {size} has {len(path)} hashes; expected {len(places)}"
        )
    _need_hashes([leaf, *path])
    for sibling, left in zip(path, places, strict=True):
        leaf = node_hash(h, sibling, leaf) if left else node_hash(h, leaf, sibling)
    return leaf


def check_consistency(
    h: HashFunction,
    old_size: int,
    new_size: int,
    old_root: bytes,
    new_root: bytes,
    path: Sequence[bytes],
) -> None:
    """Check that the newer tree begins with the older one, as RFC 9162 does in 2.1.4.2.

    Raises ProofError where it does not, or the path has not the one length that it can have. An older tree without leaves is the
    beginning of each, whatever its root: who keeps roots of empty trees compares them.
    """
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {new_size} leaves cannot begin with one of {old_size}")
    _need_hashes([old_root, new_root, *path])
    if old_size in (0, new_size):
        if path:
            raise ProofError(
                f"from {old_size} to {new_size} leaves there is nothing to prove, but the path has {len(path)} hashes"
            )
        if old_size == new_size and old_root != new_root:
            raise ProofError(
                f"two trees of {old_size} leaves have different roots: one of them was rewritten"
            )
        return
    # A power of two is one whole node of the newer tree: its hash is the older root, and is left out of the path.
    rest = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    old, new = old_size - 1, new_size - 1
    while old & 1:
        old, new = old >> 1, new >> 1
    if not rest:
        raise ProofError(f"the path from {old_size} to {new_size} leaves is empty")
    older = newer = rest[0]
    for sibling in rest[1:]:
        if new == 0:
            raise ProofError(f"the path from {old_size} to {new_size} leaves is too long")
        if old & 1 or old == new:
            older, newer = node_hash(h, sibling, older), node_hash(h, sibling, newer)
            while old and not old & 1:
                old, new = old >> 1, new >> 1
        else:
            newer = node_hash(h, newer, sibling)
        old, new = old >> 1, new >> 1
    if new:
        raise ProofError(f"the path from {old_size} to {new_size} leaves is too short")
    if older != old_root:
        raise ProofError(
            f"the path from {old_size} to {new_size} leaves does not give the older root"
        )
    if newer != new_root:
        raise ProofError(
            f"the path from {old_size} to {new_size} leaves does not give the newer root: history was rewritten"
        )


def _parents(h: HashFunction, level: list[bytes]) -> list[bytes]:
    """The nodes above; a last one without a sibling goes up as it is, which is RFC 6962's split at a power of two."""
    above = [node_hash(h, level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return above if len(level) % 2 == 0 else [*above, level[-1]]


def _largest_power_below(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _need_hashes(hashes: Iterable[bytes]) -> None:
    for one in hashes:
        if len(one) != 32:
            raise ProofError(f"a hash of the proof has {len(one)} bytes; expected 32")
