"""Merkle trees: public vectors of transparency-dev/merkle, and all proofs of 0 to 40 leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales.tlog import (
    ConsistencyProof,
    ConsistencyProofInvalid,
    InclusionProof,
    InclusionProofInvalid,
)

from tests.paths import VECTORS
from ttplan.audit import merkle
from ttplan.audit.merkle import (
    HashFunction,
    blake3_256,
    check_consistency,
    root_from_path,
    sha256,
    sibling_sides,
)
from ttplan.model.errors import ProofError

VECTORS = json.loads((VECTORS / "merkle" / "transparency-dev.json").read_text())
LEAVES = [bytes.fromhex(text) for text in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(text) for text in VECTORS["roots"]]
SOME, EMPTY = (bytes.fromhex(VECTORS[name]) for name in ("some_hash", "empty_root"))
HASHES = [sha256, blake3_256]
TREE = 40


def hashed(h: HashFunction, count: int) -> list[bytes]:
    return [merkle.leaf_hash(h, bytes([i])) for i in range(count)]


def recursive_root(h: HashFunction, leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, as it is written there."""
    if len(leaves) < 2:
        return leaves[0] if leaves else h(b"")
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return h(b"\1" + recursive_root(h, leaves[:k]) + recursive_root(h, leaves[k:]))


def recursive_path(h: HashFunction, m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*recursive_path(h, m, leaves[:k]), recursive_root(h, leaves[k:])]
    return [*recursive_path(h, m - k, leaves[k:]), recursive_root(h, leaves[:k])]


def recursive_proof(
    h: HashFunction, m: int, leaves: list[bytes], whole: bool = True
) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if whole else [recursive_root(h, leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*recursive_proof(h, m, leaves[:k], whole), recursive_root(h, leaves[k:])]
    return [*recursive_proof(h, m - k, leaves[k:], False), recursive_root(h, leaves[:k])]


def included(index: int, size: int, leaf: bytes, path: list[bytes], root: bytes) -> bool:
    try:
        return root_from_path(sha256, leaf, index, size, path) == root
    except ProofError:
        return False


def consistent(
    old: int,
    new: int,
    old_root: bytes,
    new_root: bytes,
    path: list[bytes],
    h: HashFunction = sha256,
) -> bool:
    try:
        check_consistency(h, old, new, old_root, new_root, path)
    except ProofError:
        return False
    return True


def test_public_roots() -> None:
    leaves = [merkle.leaf_hash(sha256, leaf) for leaf in LEAVES]
    assert merkle.root(sha256, []) == EMPTY
    for size, root in enumerate(ROOTS, 1):
        assert merkle.root(sha256, leaves[:size]) == root


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda c: f"{c['leaf']} of {c['size']}")
def test_public_inclusion_proofs_and_their_corruptions(case: dict[str, Any]) -> None:
    index, size, path = (
        case["leaf"] - 1,
        case["size"],
        [bytes.fromhex(item) for item in case["proof"]],
    )
    leaf, root = merkle.leaf_hash(sha256, LEAVES[index]), ROOTS[size - 1]
    assert included(index, size, leaf, path, root)
    assert (
        merkle.inclusion_path(
            sha256, [merkle.leaf_hash(sha256, item) for item in LEAVES[:size]], index
        )
        == path
    )
    wrong = [(index + d, size, leaf, path, root) for d in (-1, 1)]
    wrong += [
        (index ^ 2, size, leaf, path, root),
        (index, size * 2, leaf, path, root),
        (index, size // 2, leaf, path, root),
    ]
    wrong += [
        (index, size, b"WrongLeaf", path, root),
        (index, size, leaf, path, EMPTY),
        (index, size, leaf, path, SOME),
    ]
    wrong += [
        (index, size, leaf, other, root)
        for other in ([*path, b""], [*path, root], [b"", *path], [root, *path])
    ]
    wrong += [
        (
            index,
            size,
            leaf,
            [*path[:i], bytes([path[i][0] ^ 8]) + path[i][1:], *path[i + 1 :]],
            root,
        )
        for i in range(len(path))
    ]
    if path:
        wrong += [
            (index, size, leaf, path[:-1], root),
            (index, size, leaf, [path[0], SOME, *path[1:]], root),
        ]
    assert [item for item in wrong if included(*item)] == []


@pytest.mark.parametrize(
    "case", VECTORS["consistency"], ids=lambda c: f"{c['size1']} to {c['size2']}"
)
def test_public_consistency_proofs_and_their_corruptions(case: dict[str, Any]) -> None:
    old, new, path = (
        case["size1"],
        case["size2"],
        [bytes.fromhex(old_root) for old_root in case["proof"]],
    )
    old_root, new_root = ROOTS[old - 1], ROOTS[new - 1]
    assert consistent(old, new, old_root, new_root, path)
    assert (
        merkle.consistency_path(
            sha256, [merkle.leaf_hash(sha256, leaf) for leaf in LEAVES[:new]], old
        )
        == path
    )
    if not path:
        return
    wrong = [(old + d, new, old_root, new_root, path) for d in (-1, 1)]
    wrong += [
        (old ^ 2, new, old_root, new_root, path),
        (old, new * 2, old_root, new_root, path),
        (old, new // 2, old_root, new_root, path),
    ]
    wrong += [
        (old, new, b"WrongRoot", new_root, path),
        (old, new, old_root, b"WrongRoot", path),
        (old, new, new_root, old_root, path),
    ]
    extra: tuple[list[bytes], ...] = (
        [],
        [*path, b""],
        [*path, old_root],
        [*path, new_root],
        [b"", *path],
        [old_root, *path],
        [new_root, *path],
        [path[0], *path],
        path[:-1],
    )
    wrong += [(old, new, old_root, new_root, other) for other in extra]
    wrong += [
        (
            old,
            new,
            old_root,
            new_root,
            [*path[:i], bytes([path[i][0] ^ 16]) + path[i][1:], *path[i + 1 :]],
        )
        for i in range(len(path))
    ]
    assert [case for case in wrong if consistent(*case)] == []


@pytest.mark.parametrize(
    ("old", "new", "old_root", "new_root", "path", "good"),
    [
        (0, 0, SOME, SOME, [], True),
        (0, 1, SOME, ROOTS[0], [], True),
        (1, 1, SOME, SOME, [], True),
        (0, 0, SOME, ROOTS[0], [], False),
        (1, 1, SOME, ROOTS[0], [], False),
        (1, 0, SOME, ROOTS[0], [], False),
        (2, 1, SOME, ROOTS[0], [], False),
        (1, 2, SOME, ROOTS[0], [], False),
        (3, 5, SOME, ROOTS[0], [], False),
        (0, 0, EMPTY, EMPTY, [EMPTY], False),
        (0, 1, EMPTY, EMPTY, [EMPTY], False),
        (1, 1, EMPTY, EMPTY, [EMPTY], False),
        (-1, 1, EMPTY, EMPTY, [], False),
    ],
)
def test_public_edge_cases_of_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes], good: bool
) -> None:
    assert consistent(old, new, old_root, new_root, path) is good


def test_single_leaf_is_its_root() -> None:
    leaf = merkle.leaf_hash(sha256, b"data")
    assert included(0, 1, leaf, [], leaf)
    for index, size in ((0, 0), (1, 0), (2, 1), (-1, 1)):
        assert not included(index, size, leaf, [], leaf)
    with pytest.raises(ProofError, match="no leaf 1 in a tree of 1"):
        merkle.inclusion_path(sha256, [leaf], 1)
    with pytest.raises(ProofError, match="no older tree of 2 leaves in one of 1"):
        merkle.consistency_path(sha256, [leaf], 2)


@pytest.mark.parametrize("h", HASHES)
def test_trees_of_0_to_40_leaves_match_the_rfc(h: HashFunction) -> None:
    for size in range(TREE + 1):
        leaves = hashed(h, size)
        root = merkle.root(h, leaves)
        assert root == recursive_root(h, leaves)
        for index in range(size):
            path = merkle.inclusion_path(h, leaves, index)
            assert path == recursive_path(h, index, leaves)
            assert len(sibling_sides(index, size)) == len(path)
            assert root_from_path(h, leaves[index], index, size, path) == root
        for old in range(size + 1):
            path = merkle.consistency_path(h, leaves, old)
            assert path == ([] if old == 0 else recursive_proof(h, old, leaves))
            check_consistency(h, old, size, merkle.root(h, leaves[:old]), root, path)


def test_proof_holds_only_at_its_own_position() -> None:
    for size in range(1, 18):
        leaves = hashed(sha256, size)
        root = merkle.root(sha256, leaves)
        for index in range(size):
            path = merkle.inclusion_path(sha256, leaves, index)
            good = {
                (i, n)
                for n in range(20)
                for i in range(n)
                if included(i, n, leaves[index], path, root)
            }
            # A path does not always determine the number of leaves: a signed size does.
            assert (index, size) in good
            assert all(sibling_sides(i, n) == sibling_sides(index, size) for i, n in good)


def test_every_flipped_bit_of_a_path_is_detected() -> None:
    leaves = hashed(sha256, 11)
    root, old_root = merkle.root(sha256, leaves), merkle.root(sha256, leaves[:6])
    path, proof = (
        merkle.inclusion_path(sha256, leaves, 5),
        merkle.consistency_path(sha256, leaves, 6),
    )
    for i in range(len(path) * 256):
        assert not included(5, 11, leaves[5], flipped(path, i), root)
    for i in range(len(proof) * 256):
        assert not consistent(6, 11, old_root, root, flipped(proof, i))


def test_error_names_what_is_wrong_with_a_proof() -> None:
    leaves = hashed(sha256, 11)
    root, old = merkle.root(sha256, leaves), merkle.root(sha256, leaves[:6])
    path, proof = (
        merkle.inclusion_path(sha256, leaves, 5),
        merkle.consistency_path(sha256, leaves, 6),
    )
    for leaf, wrong, message in (
        (leaves[5], [*path, SOME], "has 5 hashes; expected 4"),
        (leaves[5], [path[0][:-1], *path[1:]], "a hash of the proof has 31 bytes; expected 32"),
        (b"WrongLeaf", path, "a hash of the proof has 9 bytes; expected 32"),
    ):
        with pytest.raises(ProofError, match=message):
            root_from_path(sha256, leaf, 5, 11, wrong)
    for sizes, roots, wrong, message in (
        ((2, 1), (old, root), [], "a tree of 1 leaves cannot begin with one of 2"),
        ((-1, 1), (old, root), [], "a tree of 1 leaves cannot begin with one of -1"),
        ((0, 11), (old, root), proof, "there is nothing to prove"),
        ((11, 11), (SOME, root), [], "one of them was rewritten"),
        ((6, 11), (old, root), [], "is empty"),
        ((6, 11), (old, root), [*proof, SOME], "is too long"),
        ((6, 11), (old, root), proof[:-1], "is too short"),
        ((6, 11), (SOME, root), proof, "does not give the older root"),
        ((6, 11), (old, SOME), proof, "does not give the newer root: history was rewritten"),
        ((6, 11), (old[:-1], root), proof, "has 31 bytes"),
        ((6, 11), (old, root + b"x"), proof, "has 33 bytes"),
        ((6, 11), (old, root), [b"", *proof[1:]], "has 0 bytes"),
    ):
        with pytest.raises(ProofError, match=message):
            check_consistency(sha256, *sizes, *roots, wrong)


def flipped(path: list[bytes], bit: int) -> list[bytes]:
    number, place = divmod(bit, 256)
    digest = bytearray(path[number])
    digest[place // 8] ^= 1 << place % 8
    return [*path[:number], bytes(digest), *path[number + 1 :]]


@given(st.data())
def test_independent_implementation_agrees(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    leaves = hashed(sha256, size)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root, old_root = merkle.root(sha256, leaves), merkle.root(sha256, leaves[:old])
    path, proof = (
        merkle.inclusion_path(sha256, leaves, index),
        merkle.consistency_path(sha256, leaves, old),
    )
    claimed_index, claimed_size = (
        data.draw(st.integers(0, size)),
        data.draw(st.integers(0, size + 3)),
    )
    assert peer_includes(index, size, path, leaves[index], root)
    assert peer_includes(claimed_index, claimed_size, path, leaves[index], root) == included(
        claimed_index, claimed_size, leaves[index], path, root
    )
    assert peer_consistent(old, size, proof, old_root, root)
    claimed = data.draw(st.integers(1, size))
    assert peer_consistent(claimed, size, proof, old_root, root) == consistent(
        claimed, size, old_root, root, proof
    )


def peer_includes(index: int, size: int, path: list[bytes], leaf: bytes, root: bytes) -> bool:
    try:
        InclusionProof(index, size, path).check(leaf, root)
    except InclusionProofInvalid:
        return False
    return True


def peer_consistent(old: int, new: int, path: list[bytes], old_root: bytes, root: bytes) -> bool:
    try:
        ConsistencyProof(old, new, path).check(old_root, root)
    except ConsistencyProofInvalid:
        return False
    return True
