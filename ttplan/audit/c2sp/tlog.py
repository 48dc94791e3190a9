"""A chain as a transparency log (c2sp.org): checkpoints, proofs and witness requests."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ttplan.audit import merkle
from ttplan.audit.c2sp.checkpoint import (
    TreeHead,
    decode_base64,
    format_tree_head,
    parse_size,
    parse_tree_head,
)
from ttplan.audit.c2sp.note import (
    MAX_NOTE,
    Note,
    NoteSignature,
    VerifiedSignature,
    VerifierKey,
    check_note,
    cosign_note,
    format_note,
    parse_note,
    parse_signature,
    sign_note,
    signature_line,
)
from ttplan.audit.keys.signer import Signer
from ttplan.audit.merkle import sha256
from ttplan.model.errors import InputError, ProofError

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
MAX_PATH = 63
"""The most hashes of a consistency proof in a witness request."""


class Checkpoint(NamedTuple):
    """A signed tree head: its content and its note, both unverified."""

    head: TreeHead
    note: Note


class TlogProof(NamedTuple):
    """A proof that a leaf is in a checkpoint's tree. Verifying it needs only keys."""

    leaf_index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint
    extra: bytes | None = None


class WitnessRequest(NamedTuple):
    """A checkpoint to cosign, and a proof that it extends the tree of `old_size` seen last."""

    old_size: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


def parse_checkpoint(data: bytes, name: str = "the checkpoint") -> Checkpoint:
    """Parse a signed checkpoint. Raises InputError that contains `name`."""
    note = parse_note(data, name)
    return Checkpoint(parse_tree_head(note.text, name), note)


def sign_tree(origin: str, hashes: Iterable[str], signer: Signer) -> Checkpoint:
    """Sign the checkpoint of a log over entries' hashes (hex). The key's name is the origin."""
    leaves = merkle.hash_leaves(sha256, hashes)
    head = TreeHead(origin, len(leaves), merkle.root(sha256, leaves))
    text = format_tree_head(head)
    return Checkpoint(head, Note(text, (sign_note(text, origin, signer),)))


def format_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return the content of a checkpoint file."""
    return format_note(checkpoint.note)


def check_log(checkpoint: Checkpoint, log: VerifierKey) -> None:
    """Check that the log itself signed. Raises ProofError if not, or if it is another log's."""
    if checkpoint.head.origin != log.name:
        raise ProofError(
            f"the checkpoint is of the log {checkpoint.head.origin}; expected {log.name}"
        )
    check_note(checkpoint.note, [log])


def check_tree_covers(checkpoint: Checkpoint, hashes: Sequence[str]) -> None:
    """Check that a checkpoint covers the first of these hashes (hex). Raises ProofError if not."""
    head = checkpoint.head
    if head.size > len(hashes):
        raise ProofError(
            f"the checkpoint is of {head.size} entries, the chain has {len(hashes)}: its end was "
            "cut off"
        )
    if merkle.root(sha256, merkle.hash_leaves(sha256, hashes[: head.size])) != head.root:
        raise ProofError(
            f"the first {head.size} entries of the chain do not give the checkpoint's root: they "
            "were "
            "changed"
        )


def prove(
    hashes: Sequence[str], index: int, checkpoint: Checkpoint, *, extra: bytes | None = None
) -> TlogProof:
    """Prove entry `index` in a checkpoint over the first of these hashes; ProofError if not so."""
    check_tree_covers(checkpoint, hashes)
    leaves = merkle.hash_leaves(sha256, hashes[: checkpoint.head.size])
    return TlogProof(index, tuple(merkle.inclusion_path(sha256, leaves, index)), checkpoint, extra)


def format_proof(proof: TlogProof) -> bytes:
    """Return the content of a proof file."""
    extra = [] if proof.extra is None else [f"extra {base64.b64encode(proof.extra).decode()}"]
    lines = [PROOF_HEADER, *extra, f"index {proof.leaf_index}", *_encode_path(proof.path), ""]
    return "".join(line + "\n" for line in lines).encode() + format_checkpoint(proof.checkpoint)


def parse_proof(data: bytes, name: str) -> TlogProof:
    """Parse a proof file. Raises InputError that contains `name`."""
    head, checkpoint = _split_checkpoint(data, name, "a tlog-proof")
    if head[0] != PROOF_HEADER:
        raise InputError(f"{name} begins with {head[0][:60]!r}; expected {PROOF_HEADER}")
    rest = head[1:]
    extra = None
    if rest and rest[0].startswith("extra "):
        extra = decode_base64(rest[0].removeprefix("extra "), f"{name}: extra")
        rest = rest[1:]
    if not rest or not rest[0].startswith("index "):
        raise InputError(f"{name} has no line with an index; expected `index ` and digits")
    index = parse_size(rest[0].removeprefix("index "), f"{name}: the index")
    return TlogProof(index, _decode_path(rest[1:], name), checkpoint, extra)


def check_proof(proof: TlogProof, entry_hash: str) -> None:
    """Check that the entry with this hash (hex) is at its place in the proof's checkpoint.

    The checkpoint's signatures are not checked. Raises ProofError.
    """
    leaf, head = merkle.leaf_hash(sha256, bytes.fromhex(entry_hash)), proof.checkpoint.head
    if merkle.root_from_path(sha256, leaf, proof.leaf_index, head.size, proof.path) != head.root:
        raise ProofError(
            f"the entry {entry_hash} and the path do not give the checkpoint's root: it is not its "
            f"entry {proof.leaf_index}"
        )


def make_witness_request(
    hashes: Sequence[str], old_size: int, checkpoint: Checkpoint
) -> WitnessRequest:
    """Make the request to a witness that last saw `old_size` entries (0 if none or unknown)."""
    check_tree_covers(checkpoint, hashes)
    if old_size > checkpoint.head.size:
        raise ProofError(
            f"the witness has seen {old_size} entries, the checkpoint is of "
            f"{checkpoint.head.size}; "
            "sign a newer one"
        )
    leaves = merkle.hash_leaves(sha256, hashes[: checkpoint.head.size])
    return WitnessRequest(
        old_size, tuple(merkle.consistency_path(sha256, leaves, old_size)), checkpoint
    )


def format_request(request: WitnessRequest) -> bytes:
    """Return the body of an `add-checkpoint` request, also used as a file for offline witnesses."""
    lines = [f"old {request.old_size}", *_encode_path(request.path), ""]
    return "".join(line + "\n" for line in lines).encode() + format_checkpoint(request.checkpoint)


def parse_request(data: bytes, name: str) -> WitnessRequest:
    """Parse an `add-checkpoint` request. Raises InputError that contains `name`."""
    head, checkpoint = _split_checkpoint(data, name, "an add-checkpoint request")
    if not head[0].startswith("old "):
        raise InputError(f"{name} begins with {head[0][:60]!r}; expected `old ` and digits")
    old_size = parse_size(head[0].removeprefix("old "), f"{name}: the old size")
    if len(head) - 1 > MAX_PATH:
        raise InputError(
            f"{name} has a proof of {len(head) - 1} hashes; expected at most {MAX_PATH}"
        )
    return WitnessRequest(old_size, _decode_path(head[1:], name), checkpoint)


def witness(
    request: WitnessRequest,
    last: TreeHead | None,
    log: VerifierKey,
    name: str,
    signer: Signer,
    timestamp: int,
) -> NoteSignature:
    """Cosign a request as a witness (0x04). `last` is the tree head it cosigned last, if any.

    Raises ProofError if the log has not signed, the request does not start at `last`, or history
    was rewritten since.
    """
    check_log(request.checkpoint, log)
    head = request.checkpoint.head
    known = TreeHead(head.origin, 0, sha256(b"")) if last is None else last
    if known.origin != head.origin:
        raise ProofError(
            f"the checkpoint is of the log {head.origin}; this witness keeps {known.origin}"
        )
    if request.old_size != known.size:
        raise ProofError(
            f"the request goes on from {request.old_size} entries; this witness has seen "
            f"{known.size}"
        )
    merkle.check_consistency(sha256, known.size, head.size, known.root, head.root, request.path)
    return cosign_note(request.checkpoint.note.text, name, signer, timestamp)


def add_cosignatures(
    checkpoint: Checkpoint, response: bytes, witnesses: Iterable[VerifierKey], name: str
) -> tuple[Checkpoint, list[VerifiedSignature]]:
    """Return the checkpoint with the cosignatures of known witnesses in a response, and those.

    Raises InputError if the response, called `name`, is malformed, and ProofError if a known
    witness's cosignature is invalid or there is none.
    """
    known = list(witnesses)
    try:
        text = response.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8; expected signature lines") from None
    lines = text.split("\n")
    if lines[-1] != "" or len(lines) == 1 or len(response) > MAX_NOTE:
        raise InputError(
            f"{name} is not a witness response; expected signature lines that each end in a line "
            "feed"
        )
    received = [parse_signature(line, name) for line in lines[:-1]]
    verified = check_note(Note(checkpoint.note.text, tuple(received)), known)
    ids = {(key.name, key.key_id) for key in known}
    present = checkpoint.note.signatures
    added = [
        signature
        for signature in dict.fromkeys(received)
        if (signature.name, signature.key_id) in ids and signature not in present
    ]
    return Checkpoint(checkpoint.head, Note(checkpoint.note.text, (*present, *added))), verified


def format_cosignatures(signatures: Iterable[NoteSignature]) -> bytes:
    """Return a witness's response: one cosignature per line."""
    return "".join(signature_line(signature) for signature in signatures).encode()


def _split_checkpoint(data: bytes, name: str, what: str) -> tuple[list[str], Checkpoint]:
    """Return the lines before the first empty line, and the checkpoint after it."""
    head, blank, rest = data.partition(b"\n\n")
    try:
        lines = head.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8; expected {what}") from None
    if not blank:
        raise InputError(f"{name} has no checkpoint after an empty line; expected {what}")
    return lines, parse_checkpoint(rest, name)


def _encode_path(path: Iterable[bytes]) -> list[str]:
    return [base64.b64encode(node).decode() for node in path]


def _decode_path(lines: Sequence[str], name: str) -> tuple[bytes, ...]:
    path = tuple(decode_base64(line, f"{name}: a hash of the proof") for line in lines)
    for node in path:
        if len(node) != 32:
            raise InputError(f"{name}: a hash of the proof has {len(node)} bytes; expected 32")
    return path
