"""A chain as a log that witnesses watch: its key, its checkpoints, and what it signed last."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ttplan.audit import merkle
from ttplan.audit.collect import ChainHashes
from ttplan.audit.keys import create_key, load_key, save_key
from ttplan.audit.merkle import sha256
from ttplan.audit.note import VKey, make_vkey
from ttplan.audit.signer import Signer
from ttplan.audit.strict_json import read_small_file
from ttplan.audit.tlog import Checkpoint, format_checkpoint, parse_checkpoint, sign_tree
from ttplan.audit.tree_head import TreeHead
from ttplan.files import whole_file
from ttplan.model.errors import InputError, ProofError

MAX_CHECKPOINT = 2**20
"""The largest checkpoint file, in bytes, that is read."""
PathLike = str | os.PathLike[str]


def log_key(path: PathLike, *, passphrase: bytes | None = None) -> Signer:
    """The log's own key, made where there is none: it signs checkpoints, never entries. Raises KeyFileError."""
    if not Path(path).exists():
        save_key(create_key(), path, passphrase=passphrase)
    return load_key(path, passphrase=passphrase)


def log_vkey(origin: str, signer: Signer) -> VKey:
    """What verifies the log's checkpoints. Raises InputError for an origin that is none."""
    return make_vkey(origin, signer.public_key)


def sign_log(chain: ChainHashes, origin: str, signer: Signer, state: PathLike) -> Checkpoint:
    """The checkpoint of the whole chain, which goes on from the one that was signed last: that is kept in the file `state`.

    Raises InputError for an origin that names the organisation, which is public then, and ProofError where the chain does not
    go on from what was signed last. A log that signs two histories is convicted by its own signatures, so it does not.
    """
    if str(chain.org_id) in origin.lower() or chain.org_id.hex in origin.lower():
        raise InputError("the origin names the organisation, and checkpoints are public; choose a pseudonym")
    log_vkey(origin, signer)
    last = read_state(state)
    if last is not None:
        _need_extension(chain.hashes, last, origin, state)
    checkpoint = sign_tree(origin, chain.hashes, signer)
    with whole_file(state, overwrite=True) as file:
        file.write(format_checkpoint(checkpoint))
    return checkpoint


def read_state(path: PathLike) -> TreeHead | None:
    """What was signed last, as the file says; None where there is no file. Raises InputError where it is no checkpoint."""
    return read_checkpoint_file(path).head if Path(path).exists() else None


def read_checkpoint_file(path: PathLike) -> Checkpoint:
    """A signed checkpoint from a file, not verified. Raises InputError, naming it."""
    return parse_checkpoint(read_small_file(path, "a signed checkpoint", limit=MAX_CHECKPOINT), os.fspath(path))


def _need_extension(hashes: Sequence[str], last: TreeHead, origin: str, state: PathLike) -> None:
    if last.origin != origin:
        raise InputError(f"{os.fspath(state)} is of the log {last.origin}, not of {origin}; use a key of its own for each log")
    if last.size > len(hashes):
        raise ProofError(f"the log signed {last.size} entries, the chain has {len(hashes)}; nothing was signed")
    if merkle.root(sha256, merkle.leaves_of(sha256, hashes[: last.size])) != last.root:
        raise ProofError(f"the first {last.size} entries are not those that the log signed; nothing was signed")
