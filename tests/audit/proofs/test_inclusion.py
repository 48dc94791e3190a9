"""Inclusion proofs are written as the ecosystem does, read strictly, and refused if changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.chains import ORG, chain, flip_each_bit
from ttplan.audit.proofs.inclusion import (
    MAX_PROOF,
    check_inclusion_proof,
    format_inclusion_proof,
    parse_inclusion_proof,
    prove_inclusion,
)
from ttplan.model.errors import InputError, ProofError

HASHES = [entry.hash for entry in chain(11)]


def proof_file(seq: int = 5, count: int = 11, **changes: Any) -> bytes:
    fields = json.loads(format_inclusion_proof(prove_inclusion(str(ORG), HASHES[:count], seq)))
    return json.dumps(fields | changes).encode()


def holds(
    data: bytes, entry_hash: str, root: str | None = None, leaf_count: int | None = None
) -> bool:
    try:
        check_inclusion_proof(
            parse_inclusion_proof(data, "p.json"), entry_hash, root=root, leaf_count=leaf_count
        )
    except (InputError, ProofError):
        return False
    return True


def test_proof_is_written_as_the_ecosystem_writes_it() -> None:
    data = format_inclusion_proof(prove_inclusion(str(ORG), HASHES[:3], 2))
    fields = json.loads(data)
    assert list(fields) == [
        "proof_version",
        "chain_id",
        "leaf_index",
        "chain_seq",
        "leaf_count",
        "root",
        "sibling_path",
        "local_only",
        "note",
    ]
    assert (fields["proof_version"], fields["local_only"], fields["leaf_count"]) == (1, True, 3)
    assert [sibling["left"] for sibling in fields["sibling_path"]] == [True]


def test_proof_holds_for_its_entry_only() -> None:
    for count in range(1, 12):
        for seq in range(count):
            data = format_inclusion_proof(prove_inclusion(str(ORG), HASHES[:count], seq))
            assert [i for i in range(11) if holds(data, HASHES[i])] == [seq]


def test_side_that_contradicts_the_index_is_refused() -> None:
    path = json.loads(proof_file())["sibling_path"]
    for i in range(len(path)):
        changed = [sibling | {"left": sibling["left"] ^ (i == j)} for j, sibling in enumerate(path)]
        with pytest.raises(
            ProofError,
            match=r"its path has the siblings .*; that of leaf 5 of 11 has them left, right, left, "
            "right",
        ):
            parse_inclusion_proof(proof_file(sibling_path=changed), "p.json")


def test_given_root_and_count_must_match_the_proof() -> None:
    root = prove_inclusion(str(ORG), HASHES, 5).root
    assert holds(proof_file(), HASHES[5], root)
    assert not holds(proof_file(), HASHES[5], "ab" * 32)
    assert not holds(proof_file(root="ab" * 32), HASHES[5])
    assert holds(proof_file(), HASHES[5], leaf_count=11)
    assert not holds(proof_file(), HASHES[5], leaf_count=12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proof_version": 2}, "proof_version is 2; expected 1"),
        ({"proof_version": True}, "proof_version is True"),
        ({"leaf_index": -1}, "leaf_index is -1"),
        ({"leaf_index": 5.0}, "leaf_index is 5.0"),
        ({"leaf_index": 11}, "leaf_index is 11; expected less than leaf_count, 11"),
        ({"leaf_count": 2**63}, "leaf_count is 9223372036854775808"),
        ({"chain_id": 7}, "chain_id is not text"),
        ({"note": None}, "note is not text"),
        ({"root": "AB" * 32}, "root is not a hash"),
        ({"root": "ab" * 32 + "\n"}, "root is not a hash"),
        ({"local_only": False}, "local_only is not true"),
        ({"sibling_path": {}}, "sibling_path is not a list"),
        (
            {"sibling_path": [{"hash": "ab" * 32, "left": True}] * 64},
            "sibling_path is not a list of at most 63",
        ),
        ({"sibling_path": [{"hash": "ab" * 32}]}, r"sibling_path\[0\] is not a sibling"),
        ({"sibling_path": [{"hash": "ab" * 32, "left": 1}]}, r"sibling_path\[0\] is not a sibling"),
        ({"sibling_path": [{"hash": "xx", "left": True}]}, r"sibling_path\[0\].hash is not a hash"),
        ({"extra": 1}, "exactly proof_version, chain_id"),
    ],
)
def test_invalid_proof_error_names_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^p.json: .*{message}"):
        parse_inclusion_proof(proof_file(**changes), "p.json")


def test_largest_tree_has_a_path_of_63() -> None:
    path = [{"hash": "ab" * 32, "left": False}] * 63
    data = proof_file(leaf_index=0, chain_seq=0, leaf_count=2**63 - 1, sibling_path=path)
    assert len(parse_inclusion_proof(data, "p.json").path) == 63


def test_inconsistent_proof_is_refused() -> None:
    with pytest.raises(ProofError, match="chain_seq is 6 but leaf_index 5"):
        parse_inclusion_proof(proof_file(chain_seq=6), "p.json")
    with pytest.raises(ProofError, match="no leaf 11 in a tree of 11"):
        prove_inclusion(str(ORG), HASHES, 11)
    with pytest.raises(InputError, match="more than 65,536 bytes"):
        parse_inclusion_proof(b" " * (MAX_PROOF + 1), "p.json")
    assert holds(proof_file().ljust(MAX_PROOF), HASHES[5])
    short = prove_inclusion(str(ORG), HASHES, 5)
    with pytest.raises(ValueError, match="longer"):
        format_inclusion_proof(short._replace(path=short.path[:-1]))
    with pytest.raises(InputError, match="appears twice"):
        parse_inclusion_proof(proof_file()[:-1] + b',"note":""}', "p.json")


def test_every_bit_flip_is_detected() -> None:
    data = format_inclusion_proof(prove_inclusion(str(ORG), HASHES[:5], 3))
    note = data.index(b'"note"')
    chain_id = data.index(b'"chain_id"'), data.index(b'"leaf_index"')
    for bit, flipped in flip_each_bit(data):
        if bit >= note * 8:
            break  # the note is free text
        # White space may differ, and nothing in the file binds the chain's id.
        if json_equal(flipped, data) or chain_id[0] <= bit // 8 < chain_id[1]:
            continue
        assert not holds(flipped, HASHES[3], leaf_count=5), flipped


def json_equal(left: bytes, right: bytes) -> bool:
    try:
        return bool(json.loads(left) == json.loads(right))
    except ValueError:
        return False


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda v: json.dumps(v).encode()
    )
)
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    assert not holds(data, HASHES[0])
