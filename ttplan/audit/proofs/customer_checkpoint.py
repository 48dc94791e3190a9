"""Customer checkpoints: a customer's signature over where the operator's chain ended.

Two forms share one schema name. Form 1 signs a first line and canonical JSON; form 2, with other
field names, signs text separated by bars. Both are parsed, form 1 is written. Neither contains the
customer's public key, which has to come from elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import orjson

from ttplan.audit.canonical import canonical_json
from ttplan.audit.entry_checks import HEX128, UUID_TEXT, is_hash
from ttplan.audit.keys.key_files import (
    SigningKey,
    VerifyingKey,
    key_from_hex,
    read_private_file,
)
from ttplan.audit.strict_json import parse_json
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, KeyFileError, ProofError
from ttplan.util.paths import PathLike

SCHEMA = "tokentrimmer.customer-audit-checkpoint.v1"
MAX_CHECKPOINT = 16 * 1024
"""The largest checkpoint file, in bytes."""
_MAX_SEED_FILE = 4 * 1024
_KEY_ID = "ed25519-sha256:"
_WHOLE_SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class CustomerCheckpoint(NamedTuple):
    """What a customer signed: that a chain, verified with this key, ended there at that time."""

    form: Literal[1, 2]
    org_id: UUID
    verifying_key: str
    anchor: TipAnchor
    timestamp: str
    key_identity: str
    signature: str


class CustomerCheckpointError(ProofError):
    """An invalid customer checkpoint.

    Attributes
    ----------
    kind : str
        The first failed check, in the order of `KINDS`, which is that of the ecosystem.
    """

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


def hash_customer_key(key: VerifyingKey) -> str:
    """Return a customer key's identity in checkpoints: the SHA-256 of its 32 bytes, hex."""
    return hashlib.sha256(key.raw).hexdigest()


def sign_customer_checkpoint(
    key: SigningKey, *, org_id: UUID, verifying_key: VerifyingKey, anchor: TipAnchor, at: datetime
) -> CustomerCheckpoint:
    """Sign a checkpoint of form 1 with the customer's key. `at` is truncated to the second."""
    timestamp = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"
    unsigned = CustomerCheckpoint(
        1, org_id, verifying_key.hex, anchor, timestamp, hash_customer_key(key.public_key), ""
    )
    return unsigned._replace(signature=key.sign(signed_bytes(unsigned)).hex())


def signed_bytes(checkpoint: CustomerCheckpoint) -> bytes:
    """Return the bytes that the customer's signature covers."""
    form = _FORMS[checkpoint.form - 1]
    fields = _to_fields(checkpoint)
    values = {name: fields[name] for name in form.fields[1:-1]}
    if form.number == 1:
        return f"{SCHEMA}\n".encode() + canonical_json(values)
    return "|".join(("tt.customer-audit-checkpoint.v1", *map(str, values.values()))).encode()


def format_customer_checkpoint(checkpoint: CustomerCheckpoint) -> bytes:
    """Return the content of a checkpoint file."""
    return orjson.dumps(_to_fields(checkpoint), option=orjson.OPT_INDENT_2) + b"\n"


def parse_customer_checkpoint(data: bytes, name: str) -> CustomerCheckpoint:
    """Parse a checkpoint file of either form. The signature is not verified.

    Raises CustomerCheckpointError for an invalid shape, schema, sequence, hex or timestamp, in this
    order.
    """
    fields, form = _parse_shape(data, name)
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
        value = fields[field]
        if not (value.startswith(prefix) and is_hash(value[len(prefix) :])):
            expected = f"{prefix!r} and " if prefix else ""
            raise CustomerCheckpointError(
                "bad hex",
                f"{name}: {field} is {value[:100]!r}; expected {expected}64 lower-case hex digits",
            )
    if not _is_whole_second(fields[form.time]):
        raise CustomerCheckpointError(
            "bad timestamp",
            f"{name}: {form.time} is {fields[form.time][:60]!r}; expected UTC such as "
            "2026-05-01T12:00:00Z",
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
    """Check that this customer signed a checkpoint.

    Raises CustomerCheckpointError: first bad signature, then key identity mismatch.
    """
    if not HEX128.fullmatch(checkpoint.signature):
        raise CustomerCheckpointError("bad signature", "it is not 128 lower-case hex digits")
    problem = customer_key.signature_problem(
        bytes.fromhex(checkpoint.signature), signed_bytes(checkpoint)
    )
    if problem is not None:
        raise CustomerCheckpointError(
            "bad signature", f"it is not this customer's over these fields: {problem}"
        )
    identity = hash_customer_key(customer_key)
    if checkpoint.key_identity != identity:
        raise CustomerCheckpointError(
            "key identity mismatch",
            f"the checkpoint names the customer key {checkpoint.key_identity}, the provided key is "
            f"{identity}",
        )


def load_customer_key(path: PathLike) -> SigningKey:
    """Read the customer's key from a file of mode 0600 with the 64 hex digits of its seed.

    Raises KeyFileError if the file is missing, has another mode, or is invalid.
    """
    file = Path(path)
    try:
        data = read_private_file(
            file, "the customer's seed, 64 hex digits", limit=_MAX_SEED_FILE, exact_mode=True
        )
    except FileNotFoundError:
        raise KeyFileError(
            f"no customer seed at {file}; expected a file with 64 hex digits, of mode 0600"
        ) from None
    return key_from_hex(data.decode("ascii", errors="replace"), f"the customer's seed in {file}")


def _parse_shape(data: bytes, name: str) -> tuple[dict[str, Any], _Form]:
    """Return a file's fields and their form. Raises CustomerCheckpointError: malformed shape."""

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
            else f"expected exactly {', '.join(_FORMS[0].fields)}, "
            f"or exactly {', '.join(_FORMS[1].fields)}"
        )
    for field in form.fields:
        if field == "sequence":
            if type(fields[field]) is not int:
                raise malformed(f"sequence is {str(fields[field])[:40]!r}; expected a whole number")
        elif not isinstance(fields[field], str):
            raise malformed(f"{field} is not text")
    if not UUID_TEXT.fullmatch(fields[form.org]):
        raise malformed(
            f"{form.org} is {fields[form.org][:60]!r}; expected a UUID in lower case with hyphens"
        )
    return fields, form


def _to_fields(checkpoint: CustomerCheckpoint) -> dict[str, Any]:
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
