"""Disclosures: one entry's routes with their nonce, and a proof of the entry's place in a tree."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from ttplan.audit.blinding import commit, find_blinding
from ttplan.audit.c2sp.tlog import Checkpoint, TlogProof, check_proof, prove
from ttplan.audit.entry_checks import check_content, is_hash, signature_error
from ttplan.audit.jsonl import format_line, parse_entry
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.strict_json import parse_json_file
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import InputError, ProofError

FORMAT = "ttplan.disclosure.v1"
MAX_DISCLOSURE = 32 * 2**20
"""The largest disclosure, in bytes."""
_KEYS = ("format", "routes", "nonce", "entry", "leaf_index", "leaf_count", "path")


class Disclosure(NamedTuple):
    """Committed routes, their nonce, the entry, and its path (SHA-256) in the tree.

    `nonce` is the blinding of this commitment, which opens no other one.
    """

    routes: list[Any]
    nonce: str
    entry: StoredEntry
    leaf_count: int
    path: tuple[bytes, ...]


def disclose(
    routes: list[Any], nonce: str, entry: StoredEntry, hashes: list[str], checkpoint: Checkpoint
) -> Disclosure:
    """Make the disclosure of an entry's routes. `hashes` are those of the whole chain (hex), which
    the caller has verified; `nonce` is the plan's.

    Raises ProofError if routes and nonce do not match the commitment, or if the checkpoint is of
    another chain or too old.
    """
    proof = prove(hashes, entry.seq, checkpoint)
    blinding = find_blinding(nonce, "routes applied", routes, _stated_commitment(entry))
    disclosure = Disclosure(routes, blinding or nonce, entry, checkpoint.head.size, proof.path)
    _check_opening(disclosure, checkpoint)
    return disclosure


def check_disclosure(disclosure: Disclosure, checkpoint: Checkpoint, key: VerifyingKey) -> None:
    """Check the commitment to the routes, the entry's hash and signature, and its place in the
    tree. `key` is the one that signs there.

    The caller checks the checkpoint's signatures. Raises ProofError, or the entry's ChainError.
    """
    _check_opening(disclosure, checkpoint)
    error = signature_error(disclosure.entry, disclosure.entry.seq, key)
    if error is not None:
        raise error


def _stated_commitment(entry: StoredEntry) -> object:
    return orjson.loads(entry.body)["payload"].get("routes_commitment")


def _check_opening(disclosure: Disclosure, checkpoint: Checkpoint) -> None:
    entry = disclosure.entry
    stated = _stated_commitment(entry)
    if not isinstance(stated, str):
        raise ProofError(
            f"entry {entry.seq} commits to no routes; expected one with a routes_commitment"
        )
    computed = commit(disclosure.nonce, disclosure.routes)
    if computed != stated:
        raise ProofError(
            f"the routes and the nonce give the commitment {computed}; entry {entry.seq} has "
            f"{stated}"
        )
    check_content(entry, entry.seq)
    if disclosure.leaf_count != checkpoint.head.size:
        raise ProofError(
            f"the disclosure is for a checkpoint of {disclosure.leaf_count} entries, the provided "
            f"one is of {checkpoint.head.size}"
        )
    check_proof(TlogProof(entry.seq, disclosure.path, checkpoint), entry.hash)


def format_disclosure(disclosure: Disclosure) -> bytes:
    """Return the content of a disclosure file."""
    fields = {
        "format": FORMAT,
        "routes": disclosure.routes,
        "nonce": disclosure.nonce,
        "entry": orjson.Fragment(format_line(disclosure.entry)),
        "leaf_index": disclosure.entry.seq,
        "leaf_count": disclosure.leaf_count,
        "path": [node.hex() for node in disclosure.path],
    }
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2) + b"\n"


def parse_disclosure(data: bytes, name: str) -> Disclosure:
    """Parse a disclosure file. Raises InputError that names file and field."""
    fields = parse_json_file(data, name, "a disclosure", MAX_DISCLOSURE)
    if not isinstance(fields, dict) or fields.keys() != set(_KEYS) or fields["format"] != FORMAT:
        raise InputError(
            f"{name} is not a disclosure; expected exactly {', '.join(_KEYS)}, with the format "
            f"{FORMAT}"
        )
    if not isinstance(fields["routes"], list):
        raise InputError(f"{name}: routes is not a JSON array; a commitment is always to one")
    if not is_hash(fields["nonce"]):
        raise InputError(f"{name}: nonce is invalid; expected 64 lower-case hex digits")
    count, path = fields["leaf_count"], fields["path"]
    if type(count) is not int or not 0 < count < 2**63:
        raise InputError(f"{name}: leaf_count is {str(count)[:20]}; expected a whole number from 1")
    if not isinstance(path, list) or len(path) > 63 or not all(is_hash(node) for node in path):
        raise InputError(
            f"{name}: path is not a list of at most 63 hashes; expected 64 lower-case hex digits "
            "each"
        )
    entry = parse_entry(orjson.dumps(fields["entry"]), f"{name}, its entry")
    if type(fields["leaf_index"]) is not int or fields["leaf_index"] != entry.seq:
        raise InputError(
            f"{name}: leaf_index is {str(fields['leaf_index'])[:20]}; expected the entry's seq, "
            f"{entry.seq}"
        )
    return Disclosure(
        fields["routes"], fields["nonce"], entry, count, tuple(bytes.fromhex(node) for node in path)
    )
