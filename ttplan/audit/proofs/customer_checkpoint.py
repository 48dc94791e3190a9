"""Customer checkpoints: a customer's own signature over where the operator's chain ended. Two forms share one schema name.

Form 1 signs a first line and canonical JSON; form 2, with other field names, signs text with bars. Both are read, 1 is written.
The customer's public key is in neither: it has to come from elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import orjson

from ttplan.audit.canonical import canonical_json
from ttplan.audit.keys.key_files import SigningKey, VerifyingKey, key_from_hex
from ttplan.audit.strict_json import parse_json
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, KeyFileError, ProofError

SCHEMA = "tokentrimmer.customer-audit-checkpoint.v1"
MAX_CHECKPOINT = 16 * 1024
"""The largest checkpoint file, in bytes, that is read."""
_MAX_SEED_FILE = 4 * 1024
_KEY_ID = "ed25519-sha256:"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEX128 = re.compile(r"[0-9a-f]{128}", re.ASCII)
_WHOLE_SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class CustomerCheckpoint(NamedTuple):
    """What a customer signed: that a chain, verified with this key, ended there at that time. `form` is 1 or 2."""

    form: Literal[1, 2]
    org_id: UUID
    verifying_key: str
    anchor: TipAnchor
    timestamp: str
    key_identity: str
    signature: str


class CustomerCheckpointError(ProofError):
    """A customer checkpoint that proves nothing. `kind` is the first check that it failed, in the ecosystem's order."""

    KINDS = (
        "malformed shape",
        "wrong schema",
        "bad sequence",
        "bad hex",
        "bad timestamp",
        "bad signature",
        "key identity mismatch",
    )

    def __init__(self, kind: str, problem: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {problem}")


class _Form(NamedTuple):
    number: Literal[1, 2]
    org: str
    key: str
    time: str
    identity: str
    signature: str
    prefix: str

    @property
    def fields(self) -> tuple[str, ...]:
        return (
            "schema",
            self.org,
            self.key,
            "sequence",
            "tip_hash",
            self.time,
            self.identity,
            self.signature,
        )


_FORMS = (
    _Form(1, "org", "verifying_key_hex", "timestamp", "customer_key_identity", "signature", ""),
    _Form(
        2,
        "organization_id",
        "audit_verifying_key_hex",
        "checkpointed_at",
        "customer_key_id",
        "signature_hex",
        _KEY_ID,
    ),
)
_SHARED = set(_FORMS[0].fields) & set(_FORMS[1].fields)


def key_identity(key: VerifyingKey) -> str:
    """What a checkpoint says of the customer's key: the SHA-256 of its raw 32 bytes, hex."""
    return hashlib.sha256(key.raw).hexdigest()


def sign_customer_checkpoint(
    key: SigningKey, *, org_id: UUID, verifying_key: VerifyingKey, anchor: TipAnchor, at: datetime
) -> CustomerCheckpoint:
    """Form 1, signed with the customer's key. `at` is cut to the second."""
    stamp = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"
    unsigned = CustomerCheckpoint(
        1, org_id, verifying_key.hex, anchor, stamp, key_identity(key.public_key), ""
    )
    return unsigned._replace(signature=key.sign(signed_bytes(unsigned)).hex())


def signed_bytes(checkpoint: CustomerCheckpoint) -> bytes:
    """What the customer's signature is over."""
    form = _FORMS[checkpoint.form - 1]
    fields = _fields(checkpoint)
    if form.number == 1:
        return f"{SCHEMA}\n".encode() + canonical_json(
            {name: fields[name] for name in form.fields[1:-1]}
        )
    return "|".join(
        ("tt.customer-audit-checkpoint.v1", *(str(fields[name]) for name in form.fields[1:-1]))
    ).encode()


def format_customer_checkpoint(checkpoint: CustomerCheckpoint) -> bytes:
    """The checkpoint as its file."""
    return orjson.dumps(_fields(checkpoint), option=orjson.OPT_INDENT_2) + b"\n"


def parse_customer_checkpoint(data: bytes, name: str) -> CustomerCheckpoint:
    """The checkpoint in a file, of either form, not yet verified.

    Raises CheckpointError for what is wrong with its shape, schema, sequence, hex and timestamp, in this order.
    """
    fields, form = _shape(data, name)
    if fields["schema"] != SCHEMA:
        raise CustomerCheckpointError(
            "wrong schema", f"{name}: schema is {fields['schema'][:80]!r}; expected {SCHEMA}"
        )
    sequence = fields["sequence"]
    if not 0 <= sequence < 2**63:
        raise CustomerCheckpointError(
            "bad sequence", f"{name}: sequence is {sequence}; expected a whole number from 0"
        )
    for field, prefix in ((form.key, ""), ("tip_hash", ""), (form.identity, form.prefix)):
        if not (
            fields[field].startswith(prefix) and _HEX64.fullmatch(fields[field][len(prefix) :])
        ):
            told = f"{prefix!r} and " if prefix else ""
            raise CustomerCheckpointError(
                "bad hex",
                f"{name}: {field} is {fields[field][:100]!r}; expected {told}64 lower-case hex digits",
            )
    if not _is_whole_second(fields[form.time]):
        raise CustomerCheckpointError(
            "bad timestamp",
            f"{name}: {form.time} is {fields[form.time][:60]!r}; expected UTC such as 2026-05-01T12:00:00Z",
        )
    return CustomerCheckpoint(
        form.number,
        UUID(fields[form.org]),
        fields[form.key],
        TipAnchor(sequence, fields["tip_hash"]),
        fields[form.time],
        fields[form.identity][len(form.prefix) :],
        fields[form.signature],
    )


def check_customer_signature(checkpoint: CustomerCheckpoint, customer_key: VerifyingKey) -> None:
    """Check that this customer signed it. Raises CheckpointError: bad signature, then key identity mismatch."""
    if not _HEX128.fullmatch(checkpoint.signature):
        raise CustomerCheckpointError("bad signature", "it is not 128 lower-case hex digits")
    fault = customer_key.fault(bytes.fromhex(checkpoint.signature), signed_bytes(checkpoint))
    if fault is not None:
        raise CustomerCheckpointError(
            "bad signature", f"it is not this customer's over these fields: {fault}"
        )
    if checkpoint.key_identity != key_identity(customer_key):
        raise CustomerCheckpointError(
            "key identity mismatch",
            f"the checkpoint names the customer key {checkpoint.key_identity}, the key given is {key_identity(customer_key)}",
        )


def load_customer_key(path: str | os.PathLike[str]) -> SigningKey:
    """The customer's key from a file with the 64 hex digits of its seed. KeyFileError where others can read it, or it is none."""
    file = Path(path)
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(
                    f"{file} is not a file; expected the customer's seed, 64 hex digits"
                )
            if stat.S_IMODE(mode) != 0o600:
                raise KeyFileError(
                    f"{file} has the mode {stat.S_IMODE(mode):04o}; a seed is kept in 0600, run: chmod 600 {file}"
                )
            data = opened.read(_MAX_SEED_FILE)
    except FileNotFoundError:
        raise KeyFileError(
            f"no customer seed at {file}; expected a file with 64 hex digits, of mode 0600"
        ) from None
    except OSError as error:
        raise KeyFileError(
            f"{file} cannot be read: {error.strerror}; expected the customer's seed, 64 hex digits"
        ) from None
    return key_from_hex(data.decode("ascii", errors="replace"), f"the customer's seed in {file}")


def _shape(data: bytes, name: str) -> tuple[dict[str, Any], _Form]:
    """The fields of a file and which form they are of. Raises CheckpointError: malformed shape."""

    def malformed(problem: str) -> CustomerCheckpointError:
        return CustomerCheckpointError("malformed shape", f"{name}: {problem}")

    if len(data) > MAX_CHECKPOINT:
        raise malformed(f"more than {MAX_CHECKPOINT:,} bytes; expected a customer checkpoint")
    try:
        fields = parse_json(data)
    except InputError as error:
        raise malformed(str(error)) from None
    if not isinstance(fields, dict):
        raise malformed("not a JSON object; expected a customer checkpoint")
    form = next((form for form in _FORMS if fields.keys() == set(form.fields)), None)
    if form is None:
        both = all(fields.keys() & (set(form.fields) - _SHARED) for form in _FORMS)
        raise malformed(
            "it has fields of both forms; expected those of one"
            if both
            else f"expected exactly {', '.join(_FORMS[0].fields)}, or exactly {', '.join(_FORMS[1].fields)}"
        )
    for field in form.fields:
        if field == "sequence":
            if type(fields[field]) is not int:
                raise malformed(f"sequence is {str(fields[field])[:40]!r}; expected a whole number")
        elif not isinstance(fields[field], str):
            raise malformed(f"{field} is no text; expected text")
    if not _UUID.fullmatch(fields[form.org]):
        raise malformed(
            f"{form.org} is {fields[form.org][:60]!r}; expected a UUID in lower case with its hyphens"
        )
    return fields, form


def _fields(checkpoint: CustomerCheckpoint) -> dict[str, Any]:
    form = _FORMS[checkpoint.form - 1]
    return {
        "schema": SCHEMA,
        form.org: str(checkpoint.org_id),
        form.key: checkpoint.verifying_key,
        "sequence": checkpoint.anchor.seq,
        "tip_hash": checkpoint.anchor.hash,
        form.time: checkpoint.timestamp,
        form.identity: form.prefix + checkpoint.key_identity,
        form.signature: checkpoint.signature,
    }


def _is_whole_second(text: str) -> bool:
    if not _WHOLE_SECOND.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
