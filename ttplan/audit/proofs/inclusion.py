"""That one entry is in a chain, as the ecosystem writes it: a JSON file with a BLAKE3 path from the entry's hash to a root."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from ttplan.audit import merkle
from ttplan.audit.merkle import blake3_256
from ttplan.audit.strict_json import parse_json
from ttplan.model.errors import InputError, ProofError

MAX_PROOF = 64 * 1024
"""The largest proof file, in bytes, that is read."""
NOTE = (
    "This shows that the entry is in a tree with this root. Who vouches for the root is not in this file: compare it with one "
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
_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class InclusionProof(NamedTuple):
    """An entry's place in the tree over a chain's first `leaf_count` entries. Hashes are hex."""

    chain_id: str
    leaf_index: int
    leaf_count: int
    root: str
    path: tuple[str, ...]
    note: str


def prove_inclusion(chain_id: str, hashes: Sequence[str], seq: int) -> InclusionProof:
    """The proof for entry `seq` of a chain of which `hashes` are all entries' hashes. Raises ProofError where there is none."""
    leaves = merkle.hash_leaves(blake3_256, hashes)
    path = merkle.inclusion_path(blake3_256, leaves, seq)
    return InclusionProof(
        chain_id,
        seq,
        len(leaves),
        merkle.root(blake3_256, leaves).hex(),
        tuple(one.hex() for one in path),
        NOTE,
    )


def format_inclusion_proof(proof: InclusionProof) -> bytes:
    """The proof as its file."""
    places = merkle.sibling_sides(proof.leaf_index, proof.leaf_count)
    fields = {
        "proof_version": 1,
        "chain_id": proof.chain_id,
        "leaf_index": proof.leaf_index,
        "chain_seq": proof.leaf_index,
        "leaf_count": proof.leaf_count,
        "root": proof.root,
        "sibling_path": [
            {"hash": one, "left": left} for one, left in zip(proof.path, places, strict=True)
        ],
        "local_only": True,
        "note": proof.note,
    }
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2) + b"\n"


def parse_inclusion_proof(data: bytes, name: str) -> InclusionProof:
    """The proof in a file. The sides that it states must be those that follow from its index and size.

    Raises InputError, naming file and field, where it is no such file, and ProofError where it contradicts itself.
    """
    if len(data) > MAX_PROOF:
        raise InputError(f"{name} has more than {MAX_PROOF:,} bytes; expected an inclusion proof")
    try:
        fields = parse_json(data)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    fault = _fault(fields)
    if fault is not None:
        raise InputError(f"{name}: {fault}")
    index, count = fields["leaf_index"], fields["leaf_count"]
    if fields["chain_seq"] != index:
        raise ProofError(
            f"{name}: chain_seq is {fields['chain_seq']} but leaf_index {index}; a chain's first entry is its first leaf"
        )
    stated = [one["left"] for one in fields["sibling_path"]]
    places = merkle.sibling_sides(index, count)
    if stated != places:
        raise ProofError(
            f"{name}: its path has the siblings {_told(stated)}; that of leaf {index} of {count} has them {_told(places)}"
        )
    path = tuple(one["hash"] for one in fields["sibling_path"])
    return InclusionProof(fields["chain_id"], index, count, fields["root"], path, fields["note"])


def check_inclusion_proof(
    proof: InclusionProof,
    entry_hash: str,
    *,
    root: str | None = None,
    leaf_count: int | None = None,
) -> None:
    """Check that the entry with this hash is at the proof's place under its root.

    `root` and `leaf_count`, where they are known from elsewhere, have to be the proof's: the root alone does not say how many
    leaves it has. Raises ProofError where any of it is not so.
    """
    leaf = merkle.leaf_hash(blake3_256, bytes.fromhex(entry_hash))
    path = [bytes.fromhex(one) for one in proof.path]
    found = merkle.root_from_path(blake3_256, leaf, proof.leaf_index, proof.leaf_count, path).hex()
    if found != proof.root:
        raise ProofError(
            f"the entry {entry_hash} and the path give the root {found}; the proof speaks of {proof.root}"
        )
    if root is not None and proof.root != root:
        raise ProofError(f"the proof is of the root {proof.root}; expected {root}")
    if leaf_count is not None and proof.leaf_count != leaf_count:
        raise ProofError(
            f"the proof is of a tree of {proof.leaf_count} leaves; expected {leaf_count}"
        )


def _fault(fields: Any) -> str | None:
    """What keeps parsed JSON from being a proof, None where it is one."""
    if not isinstance(fields, dict) or fields.keys() != set(_KEYS):
        return f"not an inclusion proof; expected a JSON object with exactly {', '.join(_KEYS)}"
    if type(fields["proof_version"]) is not int or fields["proof_version"] != 1:
        return f"proof_version is {str(fields['proof_version'])[:20]}; expected 1, the only one that there is"
    for name in ("leaf_index", "chain_seq", "leaf_count"):
        if type(fields[name]) is not int or not 0 <= fields[name] < 2**63:
            return f"{name} is {str(fields[name])[:20]}; expected a whole number from 0"
    if fields["leaf_index"] >= fields["leaf_count"]:
        return f"leaf_index is {fields['leaf_index']}; expected less than leaf_count, {fields['leaf_count']}"
    for name in ("chain_id", "note"):
        if not isinstance(fields[name], str):
            return f"{name} is no text; expected text"
    if not _is_hash(fields["root"]):
        return "root is no hash; expected 64 lower-case hex digits"
    if fields["local_only"] is not True:
        return (
            "local_only is not true; expected a proof that claims nothing of who published its root"
        )
    path = fields["sibling_path"]
    if not isinstance(path, list) or len(path) > 63:
        return "sibling_path is no list of at most 63; expected the siblings from leaf to root"
    for place, one in enumerate(path):
        if (
            not isinstance(one, dict)
            or one.keys() != {"hash", "left"}
            or not isinstance(one["left"], bool)
        ):
            return (
                f"sibling_path[{place}] is no sibling; expected an object with exactly hash, left"
            )
        if not _is_hash(one["hash"]):
            return f"sibling_path[{place}].hash is no hash; expected 64 lower-case hex digits"
    return None


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HEX64.fullmatch(value) is not None


def _told(places: list[bool]) -> str:
    return ", ".join("left" if left else "right" for left in places) or "nowhere"
