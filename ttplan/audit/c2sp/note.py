"""Signed notes and verifier keys (c2sp.org/signed-note): text, a blank line, named signatures.

The text proves nothing until a trusted key has signed it. Signatures of unknown keys are ignored;
one invalid signature of a known key rejects the whole note. Only a line feed ends a line, and
base64 must be canonical.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from ttplan.audit.c2sp.checkpoint import cosigned_message, decode_base64
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.keys.signer import Signer, sign_and_verify
from ttplan.model.errors import InputError, KeyFileError, ProofError

ED25519, COSIGNATURE, ML_DSA_44 = 0x01, 0x04, 0x06
"""Signature types: notes, timestamped cosignatures, and ML-DSA-44 cosignatures."""
MAX_NOTE = 2**20
"""The longest note, in bytes."""
MAX_SIGNATURES = 100
_DASH = "— "
_KEY_BYTES = {ED25519: 32, COSIGNATURE: 32, ML_DSA_44: 1312}
_TIMESTAMPED = {COSIGNATURE: 64, ML_DSA_44: 2420}
_NOT_IN_NAMES = re.compile("[+\\s\\0-\\x1f\\ud800-\\udfff]")
_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)


class NoteSignature(NamedTuple):
    """One signature line: the claimed key (name and 4-byte id) and the signature."""

    name: str
    key_id: bytes
    blob: bytes


class Note(NamedTuple):
    """Text, with its last line feed, and its signatures, all unverified."""

    text: str
    signatures: tuple[NoteSignature, ...]


class VerifiedSignature(NamedTuple):
    """A verified signature: its key, and its time in seconds since 1970, if it has one."""

    key: VerifierKey
    timestamp: int | None


class VerifierKey(NamedTuple):
    """A key that verifies notes: name, type and raw bytes. Written `<name>+<id>+<base64>`."""

    name: str
    kind: int
    raw: bytes

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that identify the key in signatures."""
        data = self.name.encode() + b"\n" + bytes([self.kind]) + self.raw
        return hashlib.sha256(data).digest()[:4]

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.kind]) + self.raw).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


def make_vkey(name: str, key: VerifyingKey, kind: int = ED25519) -> VerifierKey:
    """Return the verifier key of an Ed25519 key. Raises InputError for an invalid name."""
    _check_name(name)
    return VerifierKey(name, kind, key.raw)


def parse_vkey(text: str) -> VerifierKey:
    """Parse a verifier key. Raises InputError if it is malformed or of an unknown type."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise InputError(
            f"{text[:120]!r} is not a verifier key; expected <name>+<8 hex digits>+<base64>"
        )
    name, written_id, encoded = parts
    _check_name(name)
    data = decode_base64(encoded, f"the verifier key of {name}")
    kind = data[0] if data else 0
    if kind not in _KEY_BYTES:
        raise InputError(
            f"the verifier key of {name} is of type 0x{kind:02x}; expected 0x01, 0x04 or 0x06"
        )
    if len(data) != 1 + _KEY_BYTES[kind]:
        raise InputError(
            f"the verifier key of {name} has {len(data) - 1} bytes; expected {_KEY_BYTES[kind]}"
        )
    key = VerifierKey(name, kind, data[1:])
    if not _ID.fullmatch(written_id) or written_id != key.key_id.hex():
        raise InputError(
            f"the verifier key of {name} has the id {written_id[:20]!r}; its name and key give "
            f"{key.key_id.hex()}"
        )
    _check_usable(key)
    return key


def parse_note(data: bytes, name: str = "the note") -> Note:
    """Parse a note strictly. Raises InputError that contains `name`."""
    if len(data) > MAX_NOTE:
        raise InputError(f"{name} has more than {MAX_NOTE:,} bytes; expected a signed note")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8; expected a signed note") from None
    if any(char < " " and char != "\n" for char in text):
        raise InputError(
            f"{name} has a control character; expected a signed note whose lines end in a line feed"
        )
    split = text.rfind("\n\n")
    if split < 0:
        raise InputError(f"{name} has no blank line before its signatures; expected a signed note")
    lines = text[split + 2 :].split("\n")
    if lines[-1] != "" or len(lines) == 1:
        raise InputError(f"{name} does not end with a signature line; was it cut off?")
    if len(lines) - 1 > MAX_SIGNATURES:
        raise InputError(
            f"{name} has {len(lines) - 1} signatures; expected at most {MAX_SIGNATURES}"
        )
    return Note(text[: split + 1], tuple(parse_signature(line, name) for line in lines[:-1]))


def parse_signature(line: str, name: str = "the note") -> NoteSignature:
    """Parse a signature line without its line feed. Raises InputError that contains `name`."""
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != 2:
        raise InputError(
            f"{name}: {line[:80]!r} is not a signature line; expected an em dash, a key's name and "
            "base64"
        )
    _check_name(parts[0])
    data = decode_base64(parts[1], f"{name}: the signature of {parts[0]}")
    if len(data) < 5:
        raise InputError(
            f"{name}: the signature of {parts[0]} has {len(data)} bytes; expected at least 5"
        )
    return NoteSignature(parts[0], data[:4], data[4:])


def signature_line(signature: NoteSignature) -> str:
    """Return a signature as a line, with its line feed."""
    return (
        f"{_DASH}{signature.name} {base64.b64encode(signature.key_id + signature.blob).decode()}\n"
    )


def format_note(note: Note) -> bytes:
    """Return a note as bytes. Raises InputError if the text cannot be part of a note."""
    data = (
        note.text + "\n" + "".join(signature_line(signature) for signature in note.signatures)
    ).encode()
    try:
        same = parse_note(data) == note
    except InputError:
        same = False
    if not same:
        raise InputError(
            "this text cannot be a note; expected lines that end in a line feed, the last one not "
            "empty"
        )
    return data


def sign_note(text: str, name: str, signer: Signer) -> NoteSignature:
    """Sign a note's text with a plain Ed25519 signature (0x01)."""
    key = make_vkey(name, signer.public_key)
    return NoteSignature(name, key.key_id, sign_and_verify(signer, text.encode()))


def cosign_note(text: str, name: str, signer: Signer, timestamp: int) -> NoteSignature:
    """Cosign a checkpoint's text (0x04). `timestamp` is in seconds since 1970."""
    if not 0 <= timestamp < 2**63:
        raise InputError(
            f"{timestamp} is not a valid timestamp of a cosignature; expected seconds since 1970"
        )
    key = make_vkey(name, signer.public_key, COSIGNATURE)
    signature = sign_and_verify(signer, cosigned_message(COSIGNATURE, name, timestamp, text))
    return NoteSignature(name, key.key_id, timestamp.to_bytes(8, "big") + signature)


def check_note(note: Note, keys: Iterable[VerifierKey]) -> list[VerifiedSignature]:
    """Return the verified signatures, one per known key. Signatures of other keys are ignored.

    Raises ProofError if a known key's signature is invalid, or if no known key has signed.
    """
    known = {(key.name, key.key_id): key for key in keys}
    verified: dict[VerifierKey, VerifiedSignature] = {}
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        problem = _find_problem(key, signature.blob, note.text)
        if problem is not None:
            raise ProofError(f"the signature of {key.name} does not verify: {problem}")
        timestamp = int.from_bytes(signature.blob[:8], "big") if key.kind in _TIMESTAMPED else 0
        verified.setdefault(key, VerifiedSignature(key, timestamp or None))
    if not verified:
        names = ", ".join(sorted({key.name for key in known.values()})) or "none"
        raise ProofError(f"none of the known keys has signed this note; known are: {names}")
    return list(verified.values())


def _find_problem(key: VerifierKey, blob: bytes, text: str) -> str | None:
    """Return why a known key's signature is invalid; None if it is valid."""
    if key.kind == ED25519:
        return VerifyingKey(key.raw).signature_problem(blob, text.encode())
    if len(blob) != 8 + _TIMESTAMPED[key.kind]:
        return f"it has {len(blob)} bytes, expected {8 + _TIMESTAMPED[key.kind]}"
    timestamp = int.from_bytes(blob[:8], "big")
    if timestamp >= 2**63:
        return "its time is past 2^63"
    try:
        message = cosigned_message(key.kind, key.name, timestamp, text)
    except InputError as error:
        return str(error)
    if key.kind == COSIGNATURE:
        return VerifyingKey(key.raw).signature_problem(blob[8:], message)
    try:
        MLDSA44PublicKey.from_public_bytes(key.raw).verify(blob[8:], message)
    except InvalidSignature:
        return "it was not made over this checkpoint by this key"
    return None


def _check_usable(key: VerifierKey) -> None:
    """Raise KeyFileError, an InputError, if a key cannot be used."""
    what = f"the verifier key of {key.name}"
    if key.kind != ML_DSA_44:
        VerifyingKey(key.raw, what)
        return
    try:
        MLDSA44PublicKey.from_public_bytes(key.raw)
    except UnsupportedAlgorithm:
        raise KeyFileError(
            f"{what} is of ML-DSA-44, which this build of cryptography cannot verify"
        ) from None


def _check_name(name: str) -> None:
    if not name or _NOT_IN_NAMES.search(name):
        raise InputError(
            f"{name[:80]!r} is not a key's name; expected text without spaces and plus signs, such "
            "as example.com/log"
        )
