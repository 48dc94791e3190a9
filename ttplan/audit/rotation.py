"""Key rotation: an entry that the old key signs, which contains the new key's signature, too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import orjson

from ttplan.audit.canonical import canonical_json
from ttplan.audit.entry_checks import HEX64, HEX128
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.keys.signer import Signer, sign_and_verify
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import BadRotation, KeyFileError
from ttplan.model.stored_entry import KEY_ROTATED

_DOMAIN = b"ttplan.audit.key-rotation.v1\n"
_MARK = b'"event":"audit.key_rotated"'
_FIELDS = ("new_key", "new_key_signature", "old_key")


def rotation_statement(org_id: str, seq: int, prev_hash: str, old_key: str, new_key: str) -> bytes:
    """Return what the new key signs: that it replaces the old one at this place of this chain."""
    fields = {
        "new_key": new_key,
        "old_key": old_key,
        "org_id": org_id,
        "prev_hash": prev_hash,
        "seq": seq,
    }
    return _DOMAIN + canonical_json(fields)


def rotation_payload(
    old: VerifyingKey, new: Signer, *, org_id: UUID, seq: int, prev_hash: str
) -> dict[str, str]:
    """Return the payload of the entry that rotates the key at `seq`.

    Raises KeyFileError if the new key is the old one, or its signature does not verify.
    """
    if new.public_key == old:
        raise KeyFileError("the new key is the old one; rotate to another key")
    statement = rotation_statement(str(org_id), seq, prev_hash, old.hex, new.public_key.hex)
    return {
        "old_key": old.hex,
        "new_key": new.public_key.hex,
        "new_key_signature": sign_and_verify(new, statement).hex(),
    }


def is_rotation(record: StoredEntry) -> bool:
    """Whether an entry is a key rotation, valid or not."""
    # Quotes in a text are escaped, so this finds each rotation. A payload may contain the same
    # bytes, so the parsed entry decides.
    return _MARK in record.body and _parse_body(record).get("event") == KEY_ROTATED


def verify_rotation(
    record: StoredEntry, index: int, current: VerifyingKey, used: Iterable[VerifyingKey]
) -> VerifyingKey:
    """Return the new key of a rotation entry whose own signature was checked.

    `used` are the chain's keys so far. Raises BadRotation if the entry does not replace `current`,
    the new key did not sign it, or the new key was used before.
    """
    payload = _parse_body(record).get("payload")
    problem = _payload_problem(payload)
    if problem is not None or not isinstance(payload, dict):
        raise BadRotation(index, problem or "its payload is not an object")
    if payload["old_key"] != current.hex:
        raise BadRotation(
            index,
            f"old_key is {payload['old_key']}, but the chain's key until here is {current.hex}",
        )
    try:
        new = VerifyingKey.from_hex(payload["new_key"], "new_key")
    except KeyFileError as error:
        raise BadRotation(index, str(error)) from None
    if new in set(used):
        raise BadRotation(
            index, f"new_key {new.hex} has signed this chain before; expected a new one"
        )
    statement = rotation_statement(
        record.org_id, record.seq, record.prev_hash, current.hex, new.hex
    )
    problem = new.signature_problem(bytes.fromhex(payload["new_key_signature"]), statement)
    if problem is not None:
        raise BadRotation(
            index, f"new_key_signature is not the new key's over this rotation: {problem}"
        )
    return new


def claimed_new_key(record: StoredEntry) -> VerifyingKey | None:
    """Return the new key that an entry names, unverified; None if it names none."""
    payload = _rotation_payload_of(record)
    if _payload_problem(payload) is not None:
        return None
    try:
        return VerifyingKey.from_hex(payload["new_key"])
    except KeyFileError:
        return None


def is_rotation_from(record: StoredEntry, key: VerifyingKey) -> bool:
    """Whether an entry is a rotation that names `key` as the old one."""
    payload = _rotation_payload_of(record)
    return isinstance(payload, dict) and payload.get("old_key") == key.hex


def is_continued_by(last: StoredEntry, key: VerifyingKey) -> bool:
    """Whether `key` signs next in a chain that ends with `last`.

    That is the key that a rotation names, else the key that signed `last`.
    """
    if is_rotation(last):
        payload = _rotation_payload_of(last)
        return isinstance(payload, dict) and payload.get("new_key") == key.hex
    if not (HEX128.fullmatch(last.signature) and HEX64.fullmatch(last.hash)):
        return False
    signature, digest = bytes.fromhex(last.signature), bytes.fromhex(last.hash)
    return key.signature_problem(signature, digest) is None


def list_keys(records: Iterable[StoredEntry], current: VerifyingKey) -> list[VerifyingKey]:
    """Return the keys of a chain, first to last, as its rotations name them, unverified.

    Without rotations that is `current`, the key that the chain ends with. It is for the holder of
    the chain, who tells others which key it begins with.
    """
    keys: list[VerifyingKey] = []
    for record in records:
        if is_rotation(record):
            payload = _rotation_payload_of(record)
            if _payload_problem(payload) is not None:
                return keys or [current]  # verifying the chain reports the invalid rotation
            old, new = (
                VerifyingKey.from_hex(payload[name], f"{name} of a rotation")
                for name in ("old_key", "new_key")
            )
            keys += [new] if keys else [old, new]
    return keys or [current]


def _rotation_payload_of(record: StoredEntry) -> Any:
    return _parse_body(record).get("payload") if is_rotation(record) else None


def _parse_body(record: StoredEntry) -> dict[str, Any]:
    """Return an entry's body; an empty one if a store holds something else than a JSON object."""
    try:
        body = orjson.loads(record.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _payload_problem(payload: Any) -> str | None:
    if not isinstance(payload, dict):
        return "its payload is not an object"
    if payload.keys() != set(_FIELDS):
        keys = ", ".join(sorted(payload))[:120]
        return f"its payload has the keys {keys}; expected exactly {', '.join(_FIELDS)}"
    for name, pattern, digits in (
        ("old_key", HEX64, 64),
        ("new_key", HEX64, 64),
        ("new_key_signature", HEX128, 128),
    ):
        value = payload[name]
        if not (isinstance(value, str) and pattern.fullmatch(value)):
            return f"{name} is {str(value)[:140]!r}; expected {digits} lower-case hex digits"
    return None
