"""Inclusion proofs in the ecosystem's JSON format: a BLAKE3 path from an entry's hash to a root."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from ttplan.audit import merkle
from ttplan.audit.entry_checks import is_hash
from ttplan.audit.merkle import blake3_256
from ttplan.audit.strict_json import parse_json_file
from ttplan.model.errors import InputError, ProofError

MAX_PROOF = 64 * 1024
"""The largest proof file, in bytes."""
NOTE = (
    "This shows that the entry is in a tree with this root. Who vouches for the root is not in "
    "this file: compare it with one "
    "that was signed or kept elsewhere."
)
_KEYS = (
    "proof_version",
    "chain_id",
    "leaf_index",
    "chain_seq",
    "leaf_count",
    "root",
    "sibling_path",
    "local_only",
    "note",
)


class InclusionProof(NamedTuple):
    """An entry's place in the tree over a chain's first `leaf_count` entries. Hashes are hex."""

    chain_id: str
    leaf_index: int
    leaf_count: int
    root: str
    path: tuple[str, ...]
    note: str


def prove_inclusion(chain_id: str, hashes: Sequence[str], seq: int) -> InclusionProof:
    """Prove entry `seq` of a chain with these hashes. Raises ProofError if seq is too large."""
    leaves = merkle.hash_leaves(blake3_256, hashes)
    path = merkle.inclusion_path(blake3_256, leaves, seq)
    return InclusionProof(
        chain_id,
        seq,
        len(leaves),
        merkle.root(blake3_256, leaves).hex(),
        tuple(node.hex() for node in path),
        NOTE,
    )


def format_inclusion_proof(proof: InclusionProof) -> bytes:
    """Return the content of a proof file."""
    places = merkle.sibling_sides(proof.leaf_index, proof.leaf_count)
    fields = {
        "proof_version": 1,
        "chain_id": proof.chain_id,
        "leaf_index": proof.leaf_index,
        "chain_seq": proof.leaf_index,
        "leaf_count": proof.leaf_count,
        "root": proof.root,
        "sibling_path": [
            {"hash": node, "left": left} for node, left in zip(proof.path, places, strict=True)
        ],
        "local_only": True,
        "note": proof.note,
    }
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2) + b"\n"


def parse_inclusion_proof(data: bytes, name: str) -> InclusionProof:
    """Parse a proof file, and check that its sides follow from its index and size.

    Raises InputError that names file and field, and ProofError if the proof contradicts itself.
    """
    fields = parse_json_file(data, name, "an inclusion proof", MAX_PROOF)
    problem = _find_problem(fields)
    if problem is not None:
        raise InputError(f"{name}: {problem}")
    index, count = fields["leaf_index"], fields["leaf_count"]
    if fields["chain_seq"] != index:
        raise ProofError(
            f"{name}: chain_seq is {fields['chain_seq']} but leaf_index {index}; a chain's first "
            "entry is its first leaf"
        )
    stated = [sibling["left"] for sibling in fields["sibling_path"]]
    places = merkle.sibling_sides(index, count)
    if stated != places:
        raise ProofError(
            f"{name}: its path has the siblings {_describe_sides(stated)}; that of leaf {index} of "
            f"{count} "
            f"has them {_describe_sides(places)}"
        )
    path = tuple(sibling["hash"] for sibling in fields["sibling_path"])
    return InclusionProof(fields["chain_id"], index, count, fields["root"], path, fields["note"])


def check_inclusion_proof(
    proof: InclusionProof,
    entry_hash: str,
    *,
    root: str | None = None,
    leaf_count: int | None = None,
) -> None:
    """Check that the entry with this hash is at the proof's place under its root.

    `root` and `leaf_count`, if known from elsewhere, must be the proof's: a root alone does not
    determine the number of leaves. Raises ProofError.
    """
    leaf = merkle.leaf_hash(blake3_256, bytes.fromhex(entry_hash))
    path = [bytes.fromhex(node) for node in proof.path]
    computed = merkle.root_from_path(
        blake3_256, leaf, proof.leaf_index, proof.leaf_count, path
    ).hex()
    if computed != proof.root:
        raise ProofError(
            f"the entry {entry_hash} and the path give the root {computed}; the proof has "
            f"{proof.root}"
        )
    if root is not None and proof.root != root:
        raise ProofError(f"the proof is of the root {proof.root}; expected {root}")
    if leaf_count is not None and proof.leaf_count != leaf_count:
        raise ProofError(
            f"the proof is of a tree of {proof.leaf_count} leaves; expected {leaf_count}"
        )


def _find_problem(fields: Any) -> str | None:
    """Return why parsed JSON is not a proof; None if it is one."""
    if not isinstance(fields, dict) or fields.keys() != set(_KEYS):
        return f"not an inclusion proof; expected a JSON object with exactly {', '.join(_KEYS)}"
    if type(fields["proof_version"]) is not int or fields["proof_version"] != 1:
        return f"proof_version is {str(fields['proof_version'])[:20]}; expected 1, the only version"
    for name in ("leaf_index", "chain_seq", "leaf_count"):
        if type(fields[name]) is not int or not 0 <= fields[name] < 2**63:
            return f"{name} is {str(fields[name])[:20]}; expected a whole number from 0"
    if fields["leaf_index"] >= fields["leaf_count"]:
        return (
            f"leaf_index is {fields['leaf_index']}; expected less than leaf_count, "
            f"{fields['leaf_count']}"
        )
    for name in ("chain_id", "note"):
        if not isinstance(fields[name], str):
            return f"{name} is not text"
    if not is_hash(fields["root"]):
        return "root is not a hash; expected 64 lower-case hex digits"
    if fields["local_only"] is not True:
        return "local_only is not true; expected a proof without claims about its root's publisher"
    path = fields["sibling_path"]
    if not isinstance(path, list) or len(path) > 63:
        return "sibling_path is not a list of at most 63; expected the siblings from leaf to root"
    for index, sibling in enumerate(path):
        if (
            not isinstance(sibling, dict)
            or sibling.keys() != {"hash", "left"}
            or not isinstance(sibling["left"], bool)
        ):
            return (
                f"sibling_path[{index}] is not a sibling; expected an object with exactly hash, "
                "left"
            )
        if not is_hash(sibling["hash"]):
            return f"sibling_path[{index}].hash is not a hash; expected 64 lower-case hex digits"
    return None


def _describe_sides(places: list[bool]) -> str:
    return ", ".join("left" if left else "right" for left in places) or "nowhere"
