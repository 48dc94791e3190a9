"""Files that prove a part of a chain: written from it, and checked without it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

from ttplan.audit import merkle
from ttplan.audit.c2sp.tlog import (
    Checkpoint,
    check_proof,
    check_tree_covers,
    format_proof,
    parse_proof,
    prove,
)
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.merkle import blake3_256
from ttplan.audit.proofs.disclosure import (
    MAX_DISCLOSURE,
    Disclosure,
    check_disclosure,
    format_disclosure,
    parse_disclosure,
)
from ttplan.audit.proofs.inclusion import (
    MAX_PROOF,
    check_inclusion_proof,
    format_inclusion_proof,
    parse_inclusion_proof,
    prove_inclusion,
)
from ttplan.audit.verify.require import ChainHashes
from ttplan.model.errors import InputError, ProofError
from ttplan.operations.chain.transparency_log import (
    MAX_CHECKPOINT,
    check_checkpoint_signers,
    read_checkpoint_file,
)
from ttplan.util.files import atomic_write, read_small_file
from ttplan.util.paths import PathLike

if TYPE_CHECKING:
    from collections.abc import Sequence


class ProofCheck(NamedTuple):
    """What a proof proved. `vouched` says whether its root is known from elsewhere; else it is only
    consistent with itself.
    """

    format: str
    leaf_index: int
    leaf_count: int
    root: str
    vouched: bool
    message: str


class Discloses(Protocol):
    """What makes disclosures of a store: `Workspace.evidence`."""

    def disclose(self, plan_id: UUID | str, checkpoint: Checkpoint) -> Disclosure:
        """What shows one plan's routes to who has the checkpoint."""


def prove_entry(
    seq: int, output: PathLike, chain: ChainHashes, *, checkpoint: PathLike | None = None
) -> dict[str, Any]:
    """Write the proof of an entry: in the ecosystem's form, or, in a checkpoint's tree, as a
    tlog-proof. Says what was written.

    Raises ProofError where there is no such entry, or the checkpoint is not of this chain.
    """
    if checkpoint is None:
        made = prove_inclusion(str(chain.org_id), chain.hashes, seq)
        data, told = (
            format_inclusion_proof(made),
            {"format": "JSON proof", "leaf_count": made.leaf_count, "root": made.root},
        )
    else:
        signed = read_checkpoint_file(checkpoint)
        data = format_proof(prove(chain.hashes, seq, signed))
        told = {
            "format": "tlog-proof",
            "leaf_count": signed.head.size,
            "root": signed.head.root.hex(),
        }
    with atomic_write(output) as file:
        file.write(data)
    return told


def check_proof_file(
    path: PathLike,
    *,
    entry_hash: str | None = None,
    hashes: Sequence[str] | None = None,
    chain_id: str | None = None,
    root: str | None = None,
    policy: PathLike | None = None,
    log: str | None = None,
) -> ProofCheck:
    """Check a proof of either form, for the entry with this hash or for the chain's own at its
    place.

    `chain_id` is the organisation of the chain, which a JSON proof must name. A JSON proof is
    vouched for by `root` or by the chain; a tlog-proof by who signed its checkpoint, which `policy`
    or `log` says who that has to be. Raises InputError where a file is none, and ProofError where
    it proves nothing.
    """
    data = read_small_file(path, "a proof", limit=max(MAX_PROOF, MAX_CHECKPOINT))
    name = os.fspath(path)
    if data.lstrip()[:1] != b"{":
        return _check_tlog(data, name, entry_hash, hashes, policy, log)
    if policy is not None or log is not None:
        raise InputError(
            f"{name} is a JSON proof, which nobody signs; `policy` and `log` are for a tlog-proof"
        )
    proof = parse_inclusion_proof(data, name)
    if chain_id is not None and proof.chain_id != chain_id:
        raise ProofError(
            f"{name} is a proof for the chain of {proof.chain_id[:80]!r}; expected {chain_id}. Ask "
            "for a proof of the chain that you mean"
        )
    of_chain = None if hashes is None else _blake3_root(hashes, proof.leaf_count)
    check_inclusion_proof(proof, _hash_at(proof.leaf_index, entry_hash, hashes), root=root)
    if of_chain is not None and of_chain != proof.root:
        raise ProofError(
            f"{name} has the root {proof.root}; "
            f"the chain's first {proof.leaf_count} entries have {of_chain}"
        )
    known = root is not None or of_chain is not None
    who = "known from elsewhere" if known else "of which nobody but the file speaks"
    place = f"the entry is number {proof.leaf_index} of {proof.leaf_count}"
    message = f"{place} under the root {proof.root}, {who}"
    if chain_id is None:
        message += f"; nobody checked that its chain is that of {proof.chain_id[:80]!r}"
    return ProofCheck("JSON proof", proof.leaf_index, proof.leaf_count, proof.root, known, message)


def write_disclosure_file(
    evidence: Discloses, plan_id: UUID | str, checkpoint: PathLike, output: PathLike
) -> Disclosure:
    """Write what shows one plan's routes to who has the checkpoint in a file. Raises what
    `Evidence.disclose` raises.
    """
    found = evidence.disclose(plan_id, read_checkpoint_file(checkpoint))
    with atomic_write(output, private=True) as file:
        file.write(format_disclosure(found))
    return found


def check_disclosure_file(
    path: PathLike,
    checkpoint: PathLike,
    public_key: str,
    *,
    policy: PathLike | None = None,
    log: str | None = None,
) -> tuple[Disclosure, str]:
    """Check a disclosure's file against the key that signed its entry, and a signed checkpoint.

    Also returns in words who signed the checkpoint. Raises InputError, ProofError and ChainError.
    """
    key = VerifyingKey.from_hex(public_key)
    sealed = read_checkpoint_file(checkpoint)
    words = check_checkpoint_signers(sealed, policy=policy, log=log)
    found = parse_disclosure(
        read_small_file(path, "a disclosure", limit=MAX_DISCLOSURE), os.fspath(path)
    )
    check_disclosure(found, sealed, key)
    return found, words


def _check_tlog(
    data: bytes,
    name: str,
    entry_hash: str | None,
    hashes: Sequence[str] | None,
    policy: PathLike | None,
    log: str | None,
) -> ProofCheck:
    proof = parse_proof(data, name)
    head = proof.checkpoint.head
    check_proof(proof, _hash_at(proof.leaf_index, entry_hash, hashes))
    if hashes is not None:
        check_tree_covers(proof.checkpoint, hashes)
    words = check_checkpoint_signers(proof.checkpoint, policy=policy, log=log)
    message = f"the entry is number {proof.leaf_index} in {words}"
    return ProofCheck("tlog-proof", proof.leaf_index, head.size, head.root.hex(), True, message)


def _hash_at(index: int, entry_hash: str | None, hashes: Sequence[str] | None) -> str:
    if hashes is not None:
        if index >= len(hashes):
            raise ProofError(
                f"the proof is of entry {index}; the chain has {len(hashes)}, counted from 0"
            )
        return hashes[index]
    if entry_hash is None or len(entry_hash) != 64 or set(entry_hash) - set("0123456789abcdef"):
        raise InputError(f"the entry's hash is {entry_hash!r}; expected 64 lower-case hex digits")
    return entry_hash


def _blake3_root(hashes: Sequence[str], count: int) -> str:
    if count > len(hashes):
        raise ProofError(
            f"the proof is of {count} entries; the chain has {len(hashes)}: its end was cut off"
        )
    return merkle.root(blake3_256, merkle.hash_leaves(blake3_256, hashes[:count])).hex()
