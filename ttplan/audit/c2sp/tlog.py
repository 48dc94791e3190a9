"""A chain as a transparency log: its checkpoints, proofs that stand by themselves, and what a witness is asked (c2sp.org)."""

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
"""The most hashes of a consistency proof that a witness is sent."""


class Checkpoint(NamedTuple):
    """A signed tree head: what it says, and the note that says it. Nothing of it is verified."""

    head: TreeHead
    note: Note


class TlogProof(NamedTuple):
    """That a leaf is in a checkpoint's tree: a file that needs nothing beside it but keys."""

    leaf_index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint
    extra: bytes | None = None


class WitnessRequest(NamedTuple):
    """What a witness is asked to cosign: a checkpoint, and that it begins with the tree of `old_size` which it saw last."""

    old_size: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


def parse_checkpoint(data: bytes, name: str = "the checkpoint") -> Checkpoint:
    """A signed checkpoint. Raises InputError, naming `name`, where it is none."""
    note = parse_note(data, name)
    return Checkpoint(parse_tree_head(note.text, name), note)


def sign_tree(origin: str, hashes: Iterable[str], signer: Signer) -> Checkpoint:
    """The checkpoint of a log over entries' hashes (hex), signed by the log's own key, which is named as the log: its origin."""
    leaves = merkle.hash_leaves(sha256, hashes)
    head = TreeHead(origin, len(leaves), merkle.root(sha256, leaves))
    text = format_tree_head(head)
    return Checkpoint(head, Note(text, (sign_note(text, origin, signer),)))


def format_checkpoint(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as its file."""
    return format_note(checkpoint.note)


def check_log(checkpoint: Checkpoint, log: VerifierKey) -> None:
    """Check that the log itself signed. Raises ProofError where it did not, or the checkpoint is of another log."""
    if checkpoint.head.origin != log.name:
        raise ProofError(
            f"the checkpoint is of the log {checkpoint.head.origin}; expected {log.name}"
        )
    check_note(checkpoint.note, [log])


def check_tree_covers(checkpoint: Checkpoint, hashes: Sequence[str]) -> None:
    """Check that a checkpoint's tree is over the first of these entries' hashes (hex). Raises ProofError where it is not."""
    head = checkpoint.head
    if head.size > len(hashes):
        raise ProofError(
            f"the checkpoint is of {head.size} entries, the chain has {len(hashes)}: its end was cut off"
        )
    if merkle.root(sha256, merkle.hash_leaves(sha256, hashes[: head.size])) != head.root:
        raise ProofError(
            f"the first {head.size} entries of the chain do not give the checkpoint's root: they were changed"
        )


def prove(
    hashes: Sequence[str], index: int, checkpoint: Checkpoint, *, extra: bytes | None = None
) -> TlogProof:
    """The proof for entry `index` in a checkpoint over the first of these hashes. ProofError where it is over others."""
    check_tree_covers(checkpoint, hashes)
    leaves = merkle.hash_leaves(sha256, hashes[: checkpoint.head.size])
    return TlogProof(index, tuple(merkle.inclusion_path(sha256, leaves, index)), checkpoint, extra)


def format_proof(proof: TlogProof) -> bytes:
    """A proof as its file."""
    extra = [] if proof.extra is None else [f"extra {base64.b64encode(proof.extra).decode()}"]
    lines = [PROOF_HEADER, *extra, f"index {proof.leaf_index}", *_encoded(proof.path), ""]
    return "".join(line + "\n" for line in lines).encode() + format_checkpoint(proof.checkpoint)


def parse_proof(data: bytes, name: str) -> TlogProof:
    """A proof's file. Raises InputError, naming it, where it is none."""
    head, checkpoint = _before_checkpoint(data, name, "a tlog-proof")
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
    return TlogProof(index, _decoded(rest[1:], name), checkpoint, extra)


def check_proof(proof: TlogProof, entry_hash: str) -> None:
    """Check that the entry with this hash (hex) is at its place in the proof's checkpoint. Who signed that is another question.

    Raises ProofError where it is not.
    """
    leaf, head = merkle.leaf_hash(sha256, bytes.fromhex(entry_hash)), proof.checkpoint.head
    if merkle.root_from_path(sha256, leaf, proof.leaf_index, head.size, proof.path) != head.root:
        raise ProofError(
            f"the entry {entry_hash} and the path do not give the checkpoint's root: it is not its entry {proof.leaf_index}"
        )


def make_witness_request(
    hashes: Sequence[str], old_size: int, checkpoint: Checkpoint
) -> WitnessRequest:
    """What a witness is sent that last saw `old_size` entries; 0 where it never saw the log or that is not known."""
    check_tree_covers(checkpoint, hashes)
    if old_size > checkpoint.head.size:
        raise ProofError(
            f"the witness has seen {old_size} entries, the checkpoint is of {checkpoint.head.size}; sign a newer one"
        )
    leaves = merkle.hash_leaves(sha256, hashes[: checkpoint.head.size])
    return WitnessRequest(
        old_size, tuple(merkle.consistency_path(sha256, leaves, old_size)), checkpoint
    )


def format_request(request: WitnessRequest) -> bytes:
    """The body of an `add-checkpoint` request, and the file that is carried to a witness without a network."""
    lines = [f"old {request.old_size}", *_encoded(request.path), ""]
    return "".join(line + "\n" for line in lines).encode() + format_checkpoint(request.checkpoint)


def parse_request(data: bytes, name: str) -> WitnessRequest:
    """An `add-checkpoint` request. Raises InputError, naming it, where it is none."""
    head, checkpoint = _before_checkpoint(data, name, "an add-checkpoint request")
    if not head[0].startswith("old "):
        raise InputError(f"{name} begins with {head[0][:60]!r}; expected `old ` and digits")
    old_size = parse_size(head[0].removeprefix("old "), f"{name}: the old size")
    if len(head) - 1 > MAX_PATH:
        raise InputError(
            f"{name} has a proof of {len(head) - 1} hashes; expected at most {MAX_PATH}"
        )
    return WitnessRequest(old_size, _decoded(head[1:], name), checkpoint)


def witness(
    request: WitnessRequest,
    last: TreeHead | None,
    log: VerifierKey,
    name: str,
    signer: Signer,
    timestamp: int,
) -> NoteSignature:
    """A witness's cosignature (0x04) of a request; `last` is what it cosigned of this log before, None where nothing.

    Raises ProofError where the log has not signed, the request is not from `last` on, or history was rewritten since.
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
            f"the request goes on from {request.old_size} entries; this witness has seen {known.size}"
        )
    merkle.check_consistency(sha256, known.size, head.size, known.root, head.root, request.path)
    return cosign_note(request.checkpoint.note.text, name, signer, timestamp)


def add_cosignatures(
    checkpoint: Checkpoint, answer: bytes, witnesses: Iterable[VerifierKey], name: str
) -> tuple[Checkpoint, list[VerifiedSignature]]:
    """The checkpoint with the valid cosignatures of known witnesses that an answer brings, and their seals.

    Raises InputError where the answer, called `name`, is none, and ProofError where a known witness's does not verify or none is
    there.
    """
    known = list(witnesses)
    try:
        text = answer.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8; expected signature lines") from None
    lines = text.split("\n")
    if lines[-1] != "" or len(lines) == 1 or len(answer) > MAX_NOTE:
        raise InputError(
            f"{name} is no answer of a witness; expected signature lines that each end in a line feed"
        )
    brought = [parse_signature(line, name) for line in lines[:-1]]
    seals = check_note(Note(checkpoint.note.text, tuple(brought)), known)
    ids = {(key.name, key.key_id) for key in known}
    there = checkpoint.note.signatures
    fresh = [
        one for one in dict.fromkeys(brought) if (one.name, one.key_id) in ids and one not in there
    ]
    return Checkpoint(checkpoint.head, Note(checkpoint.note.text, (*there, *fresh))), seals


def format_cosignatures(signatures: Iterable[NoteSignature]) -> bytes:
    """A witness's answer: its cosignatures, one a line."""
    return "".join(signature_line(one) for one in signatures).encode()


def _before_checkpoint(data: bytes, name: str, what: str) -> tuple[list[str], Checkpoint]:
    """The lines before the first empty one, and the checkpoint after it."""
    head, blank, rest = data.partition(b"\n\n")
    try:
        lines = head.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8; expected {what}") from None
    if not blank:
        raise InputError(f"{name} has no checkpoint after an empty line; expected {what}")
    return lines, parse_checkpoint(rest, name)


def _encoded(path: Iterable[bytes]) -> list[str]:
    return [base64.b64encode(one).decode() for one in path]


def _decoded(lines: Sequence[str], name: str) -> tuple[bytes, ...]:
    path = tuple(decode_base64(line, f"{name}: a hash of the proof") for line in lines)
    for one in path:
        if len(one) != 32:
            raise InputError(f"{name}: a hash of the proof has {len(one)} bytes; expected 32")
    return path
