"""Merkle trees over a chain, as in RFC 6962: inclusion and consistency proofs, for any hash.

A proof contains only hashes. Their positions follow from the index and the sizes, never from a
file, and a path that is longer or shorter than required is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

import blake3

from ttplan.model.errors import ProofError

HashFunction = Callable[[bytes], bytes]
"""Maps bytes to a digest of 32 bytes."""


def sha256(data: bytes) -> bytes:
    """Hash as public logs, witnesses and tools do."""
    return hashlib.sha256(data).digest()


def blake3_256(data: bytes) -> bytes:
    """Hash as the ecosystem's own proofs do."""
    return blake3.blake3(data).digest()


def leaf_hash(h: HashFunction, entry: bytes) -> bytes:
    """Hash a leaf. In a chain's tree, `entry` is the entry's hash: 32 raw bytes."""
    return h(b"\0" + entry)


def node_hash(h: HashFunction, left: bytes, right: bytes) -> bytes:
    """Hash an inner node."""
    return h(b"\1" + left + right)


def hash_leaves(h: HashFunction, hashes: Iterable[str]) -> list[bytes]:
    """Hash the leaves of entries' hashes (hex), as a chain holds them."""
    return [leaf_hash(h, bytes.fromhex(digest)) for digest in hashes]


def root(h: HashFunction, leaves: Sequence[bytes]) -> bytes:
    """Return the root over hashed leaves; without leaves, the hash of no bytes."""
    level = list(leaves)
    if not level:
        return h(b"")
    while len(level) > 1:
        level = _parents(h, level)
    return level[0]


def inclusion_path(h: HashFunction, leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the siblings of leaf `index`, leaf to root. Raises ProofError if it does not exist."""
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
    """Return the proof that the first `old_size` leaves are those of the older tree.

    It is empty for an older tree of no leaves or all of them. Raises ProofError if there are not
    that many leaves.
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
    """Return whether each sibling of a leaf's path, leaf to root, is on the left.

    Raises ProofError if the leaf does not exist.
    """
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index} in a tree of {size}")
    left_sides, last = [], size - 1
    while last:
        if index & 1 or index < last:
            left_sides.append(bool(index & 1))
        index, last = index >> 1, last >> 1
    return left_sides


def root_from_path(
    h: HashFunction, leaf: bytes, index: int, size: int, path: Sequence[bytes]
) -> bytes:
    """Return the root that a leaf and its path give. Raises ProofError if the length is wrong."""
    left_sides = sibling_sides(index, size)
    if len(path) != len(left_sides):
        raise ProofError(
            f"the path of leaf {index} in a tree of {size} has {len(path)} hashes; "
            f"expected {len(left_sides)}"
        )
    _check_lengths([leaf, *path])
    for sibling, is_left in zip(path, left_sides, strict=True):
        leaf = node_hash(h, sibling, leaf) if is_left else node_hash(h, leaf, sibling)
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

    Raises ProofError if it does not, or the path has the wrong length. An older tree without leaves
    is the beginning of every tree, whatever its root: a caller that keeps such roots compares them.
    """
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {new_size} leaves cannot begin with one of {old_size}")
    _check_lengths([old_root, new_root, *path])
    if old_size in (0, new_size):
        if path:
            raise ProofError(
                f"from {old_size} to {new_size} leaves there is nothing to prove, but the path has "
                f"{len(path)} hashes"
            )
        if old_size == new_size and old_root != new_root:
            raise ProofError(
                f"two trees of {old_size} leaves have different roots: one of them was rewritten"
            )
        return
    # A size that is a power of two is a single node of the newer tree. Its hash is the older root,
    # which the path leaves out.
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
            f"the path from {old_size} to {new_size} leaves does not give the newer root: history "
            "was rewritten"
        )


def _parents(h: HashFunction, level: list[bytes]) -> list[bytes]:
    """Return the level above. A last node without a sibling moves up as it is, as in RFC 6962."""
    above = [node_hash(h, level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return above if len(level) % 2 == 0 else [*above, level[-1]]


def _largest_power_below(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _check_lengths(hashes: Iterable[bytes]) -> None:
    for digest in hashes:
        if len(digest) != 32:
            raise ProofError(f"a hash of the proof has {len(digest)} bytes; expected 32")
