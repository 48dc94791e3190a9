"""Handing a chain over to another key: an entry that the old key signs, and in it the new key's signature over the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import orjson

from ttplan.audit.canonical import canonical_json
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.keys.signer import Signer, signed
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import BadRotation, KeyFileError
from ttplan.model.stored_entry import KEY_ROTATED

EVENT = KEY_ROTATED
_DOMAIN = b"ttplan.audit.key-rotation.v1\n"
_MARK = b'"event":"audit.key_rotated"'
_KEYS = ("new_key", "new_key_signature", "old_key")
_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEX128 = re.compile(r"[0-9a-f]{128}", re.ASCII)


def rotation_statement(org_id: str, seq: int, prev_hash: str, old_key: str, new_key: str) -> bytes:
    """What the new key signs: that from this very place of this chain on it takes the old one's."""
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
    """The payload of the entry that hands over at `seq`. KeyFileError where the new key is the old one or does not sign."""
    if new.public_key == old:
        raise KeyFileError("the new key is the old one; rotate to another")
    proof = signed(
        new, rotation_statement(str(org_id), seq, prev_hash, old.hex, new.public_key.hex)
    )
    return {"old_key": old.hex, "new_key": new.public_key.hex, "new_key_signature": proof.hex()}


def is_rotation(record: StoredEntry) -> bool:
    """Whether an entry is a key rotation, good or bad."""
    # Inside a text a quote is escaped, so this finds each; a payload may hold the same, so the entry itself decides.
    return _MARK in record.body and _body(record).get("event") == EVENT


def verify_rotation(
    record: StoredEntry, index: int, current: VerifyingKey, used: Iterable[VerifyingKey]
) -> VerifyingKey:
    """The key that a rotation entry, whose own signature was checked, hands over to. `used` are the chain's keys so far.

    Raises BadRotation where it does not hand over from `current`, or the new key has not signed for it, or was used before.
    """
    payload = _body(record).get("payload")
    fault = _fault(payload)
    if fault is not None or not isinstance(payload, dict):
        raise BadRotation(index, fault or "its payload is no object")
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
    message = rotation_statement(record.org_id, record.seq, record.prev_hash, current.hex, new.hex)
    wrong = new.fault(bytes.fromhex(payload["new_key_signature"]), message)
    if wrong is not None:
        raise BadRotation(
            index, f"new_key_signature is not the new key's over this handing over: {wrong}"
        )
    return new


def claimed_new_key(record: StoredEntry) -> VerifyingKey | None:
    """The key that an entry says it hands over to, which nothing has verified; None where it names none."""
    payload = _body(record).get("payload") if is_rotation(record) else None
    if not isinstance(payload, dict) or _fault(payload) is not None:
        return None
    try:
        return VerifyingKey.from_hex(payload["new_key"])
    except KeyFileError:
        return None


def is_rotation_from(record: StoredEntry, key: VerifyingKey) -> bool:
    """Whether an entry is a rotation that names `key` as the old one."""
    payload = _body(record).get("payload") if is_rotation(record) else None
    return isinstance(payload, dict) and payload.get("old_key") == key.hex


def is_continued_by(last: StoredEntry, key: VerifyingKey) -> bool:
    """Whether a chain that ends with `last` goes on with `key`: the one that a rotation names, else the one that signed it."""
    if is_rotation(last):
        payload = _body(last).get("payload")
        return isinstance(payload, dict) and payload.get("new_key") == key.hex
    if not (_HEX128.fullmatch(last.signature) and _HEX64.fullmatch(last.hash)):
        return False
    return key.fault(bytes.fromhex(last.signature), bytes.fromhex(last.hash)) is None


def list_keys(records: Iterable[StoredEntry], current: VerifyingKey) -> list[VerifyingKey]:
    """The keys of a chain as its rotations name them, first to last; `current`, the one it ends with, where it has none.

    Nothing is verified: it is for who holds the chain and says to others which key to begin with.
    """
    keys: list[VerifyingKey] = []
    for record in records:
        if is_rotation(record):
            payload = _body(record).get("payload")
            if not isinstance(payload, dict) or _fault(payload) is not None:
                return keys or [current]  # what follows is no chain any more, as verifying it says
            named = [
                VerifyingKey.from_hex(payload[name], f"{name} of a rotation")
                for name in ("old_key", "new_key")
            ]
            keys += named[1:] if keys else named
    return keys or [current]


def _body(record: StoredEntry) -> dict[str, Any]:
    """What an entry says; nothing where a store holds something else than JSON."""
    try:
        body = orjson.loads(record.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _fault(payload: Any) -> str | None:
    if not isinstance(payload, dict):
        return "its payload is no object"
    if payload.keys() != set(_KEYS):
        return f"its payload has the keys {', '.join(sorted(payload))[:120]}; expected exactly {', '.join(_KEYS)}"
    for name, pattern, digits in (
        ("old_key", _HEX64, 64),
        ("new_key", _HEX64, 64),
        ("new_key_signature", _HEX128, 128),
    ):
        if not (isinstance(payload[name], str) and pattern.fullmatch(payload[name])):
            return (
                f"{name} is {str(payload[name])[:140]!r}; expected {digits} lower-case hex digits"
            )
    return None
