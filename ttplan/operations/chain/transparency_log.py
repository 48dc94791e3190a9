"""A chain as a log that witnesses watch: its key, its checkpoints, and what it signed last."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime

from ttplan.audit import merkle
from ttplan.audit.c2sp.checkpoint import TreeHead
from ttplan.audit.c2sp.note import VerifiedSignature, VerifierKey, make_vkey, parse_vkey
from ttplan.audit.c2sp.tlog import (
    Checkpoint,
    add_cosignatures,
    check_log,
    format_checkpoint,
    format_cosignatures,
    parse_checkpoint,
    parse_request,
    sign_tree,
    witness,
)
from ttplan.audit.c2sp.trust_policy import MAX_POLICY, check_trust_policy, parse_trust_policy
from ttplan.audit.c2sp.witness import http_post, submit
from ttplan.audit.keys.key_files import create_key, load_key, save_key
from ttplan.audit.keys.signer import Signer
from ttplan.audit.merkle import sha256
from ttplan.audit.verify.require import ChainHashes
from ttplan.model.errors import InputError, ProofError
from ttplan.util.files import atomic_write, read_small_file
from ttplan.util.paths import PathLike, file_exists

MAX_CHECKPOINT = 2**20
"""The largest checkpoint file, in bytes, that is read."""


def load_or_create_log_key(path: PathLike, *, passphrase: bytes | None = None) -> Signer:
    """The log's own key, made where there is none: it signs checkpoints, never entries. Raises
    KeyFileError, InputError.
    """
    if not file_exists(path):
        save_key(create_key(), path, passphrase=passphrase)
    return load_key(path, passphrase=passphrase)


def log_verifier_key(origin: str, signer: Signer) -> VerifierKey:
    """What verifies the log's checkpoints. Raises InputError for an origin that is none."""
    return make_vkey(origin, signer.public_key)


def sign_log_checkpoint(
    chain: ChainHashes, origin: str, signer: Signer, state: PathLike
) -> Checkpoint:
    """The checkpoint of the whole chain, which goes on from the one that was signed last: that is
    kept in the file `state`.

    Raises InputError for an origin that names the organisation, which is public then, and
    ProofError where the chain does not go on from what was signed last. A log that signs two
    histories is convicted by its own signatures, so it does not.
    """
    if str(chain.org_id) in origin.lower() or chain.org_id.hex in origin.lower():
        raise InputError(
            "the origin names the organisation, and checkpoints are public; choose a pseudonym"
        )
    log_verifier_key(origin, signer)
    last = read_signed_head(state)
    if last is not None:
        _need_extension(chain.hashes, last, origin, state)
    checkpoint = sign_tree(origin, chain.hashes, signer)
    with atomic_write(state, overwrite=True) as file:
        file.write(format_checkpoint(checkpoint))
    return checkpoint


def read_signed_head(path: PathLike) -> TreeHead | None:
    """What was signed last, as the file says; None where there is no file. InputError where it is
    none, or cannot be seen.
    """
    return read_checkpoint_file(path).head if file_exists(path) else None


def read_checkpoint_file(path: PathLike) -> Checkpoint:
    """A signed checkpoint from a file, not verified. Raises InputError, naming it."""
    return parse_checkpoint(
        read_small_file(path, "a signed checkpoint", limit=MAX_CHECKPOINT), os.fspath(path)
    )


def check_checkpoint_signers(
    checkpoint: Checkpoint, *, policy: PathLike | None = None, log: str | None = None
) -> str:
    """Check who signed a checkpoint, against a policy's file or the log's verifier key, and say so
    in words.

    Raises InputError where neither is given or one cannot be read, and ProofError where the
    checkpoint is not signed as it has to be.
    """
    if policy is None and log is None:
        raise InputError(
            "who must have signed the checkpoint? Give a policy (policy) or the log's "
            "verifier key (log)"
        )
    words = f"the checkpoint of {checkpoint.head.size} entries"
    if log is not None:
        key = parse_vkey(log)
        check_log(checkpoint, key)
        words += f", signed by the log {key.name}"
    if policy is not None:
        trusted = parse_trust_policy(
            read_small_file(policy, "a trust policy", limit=MAX_POLICY), os.fspath(policy)
        )
        accepted = check_trust_policy(checkpoint, trusted)
        names = ", ".join(seal.key.name for seal in accepted.witnesses) or "no witness"
        words += f", accepted by the policy {os.fspath(policy)}: "
        words += f"the log {accepted.log.key.name}, cosigned by {names}"
    return words


def submit_checkpoint(
    hashes: Sequence[str], path: PathLike, url: str, witnesses: Sequence[str], *, old_size: int = 0
) -> list[VerifiedSignature]:
    """Have a witness cosign the checkpoint in a file, and add what it gives to that file.
    `witnesses` are verifier keys.

    Raises ProofError where it refuses or signs wrongly, and InputError where it does not answer as
    it should.
    """
    return add_witness_signatures(
        path,
        submit(hashes, read_checkpoint_file(path), url, http_post(), old_size=old_size),
        witnesses,
        url,
    )


def add_witness_signatures(
    path: PathLike, answer: bytes, witnesses: Sequence[str], name: str
) -> list[VerifiedSignature]:
    """Add the valid cosignatures of an answer, called `name`, to the checkpoint in a file. Raises
    InputError and ProofError.
    """
    checkpoint, seals = add_cosignatures(
        read_checkpoint_file(path), answer, [parse_vkey(one) for one in witnesses], name
    )
    with atomic_write(path, overwrite=True) as file:
        file.write(format_checkpoint(checkpoint))
    return seals


def cosign_request(
    path: PathLike, log: str, name: str, signer: Signer, state: PathLike, at: datetime
) -> bytes:
    """A witness's answer to a request's file. `state` is the checkpoint that it cosigned last, and
    is replaced before it answers.

    Raises ProofError where history was rewritten since, and InputError where a file is not what it
    should be.
    """
    request = parse_request(
        read_small_file(path, "an add-checkpoint request", limit=MAX_CHECKPOINT), os.fspath(path)
    )
    cosignature = witness(
        request, read_signed_head(state), parse_vkey(log), name, signer, int(at.timestamp())
    )
    with atomic_write(state, overwrite=True) as file:
        file.write(format_checkpoint(request.checkpoint))
    return format_cosignatures([cosignature])


def _need_extension(hashes: Sequence[str], last: TreeHead, origin: str, state: PathLike) -> None:
    if last.origin != origin:
        raise InputError(
            f"{os.fspath(state)} is of the log {last.origin}, not of {origin}; "
            "use a separate key for each log"
        )
    if last.size > len(hashes):
        raise ProofError(
            f"the log signed {last.size} entries, the chain has {len(hashes)}; nothing was signed"
        )
    if merkle.root(sha256, merkle.hash_leaves(sha256, hashes[: last.size])) != last.root:
        raise ProofError(
            f"the first {last.size} entries are not those that the log signed; nothing was signed"
        )
