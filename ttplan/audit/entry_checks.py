"""Checks of a single entry: its hex, its signature, its hash, and its columns in a store."""

from __future__ import annotations

import re
from uuid import UUID

from ttplan.audit.canonical import with_legacy_exponents
from ttplan.audit.canonical_line import TIME_KEY
from ttplan.audit.entries import entry_hash
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import BadSignature, ChainError, ForeignOrg, HashMismatch, HexError, SeqGap

HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
HEX128 = re.compile(r"[0-9a-f]{128}", re.ASCII)
UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_ORG = b',"org_id":"'
_TAIL = re.compile(rb',"seq":(\d{1,19}),"timestamp":"[^"\\]{1,40}"\}\Z')
_MAX_TIME_LENGTH = 40


def check_content(record: StoredEntry, index: int) -> None:
    """Check an entry from anywhere: its hex, its hash and its columns. Raises the ChainError."""
    check_hex(HEX64, record.prev_hash, index, "prev_hash", 64)
    check_hex(HEX64, record.hash, index, "hash", 64)
    check_hex(HEX128, record.signature, index, "signature", 128)
    check_hash(record, index)
    check_matches_body(record, index)


def check_hash(record: StoredEntry, index: int) -> None:
    """Raise HashMismatch if the content does not give the hash, with either exponent form."""
    actual = entry_hash(record.prev_hash, record.body)
    if actual != record.hash:
        legacy = with_legacy_exponents(record.body)
        if legacy is None or entry_hash(record.prev_hash, legacy) != record.hash:
            raise HashMismatch(index, actual, record.hash)


def matches_body(record: StoredEntry) -> bool:
    """Whether the record's `org_id` and `seq` are those in the body that was hashed."""
    body = record.body
    # Quotes in a text are escaped, so the first match is the body's own org_id, and the last its
    # own timestamp.
    own, end = body.find(_ORG) + len(_ORG), body.rfind(TIME_KEY)
    return (
        body.startswith(b'%b"' % record.org_id.encode(), own)
        and body.endswith(b',"seq":%d' % record.seq, 0, end)
        and body.find(b'"', end + len(TIME_KEY)) == len(body) - 2
        and body.endswith(b"}")
        and len(body) - end <= len(TIME_KEY) + _MAX_TIME_LENGTH + 2
        and body.find(b"\\", end) == -1
    )


def check_matches_body(record: StoredEntry, index: int) -> None:
    """Raise unless `matches_body`: a store has `org_id` and `seq` as columns that nothing signs."""
    start = record.body.find(_ORG) + len(_ORG)
    org_id = record.body[start : start + 36].decode(errors="replace")
    if org_id != record.org_id:
        raise foreign_org_error(index, record.org_id, org_id)
    tail = _TAIL.search(record.body)
    if tail is None or int(tail[1]) != record.seq:
        raise SeqGap(index, record.seq, -1 if tail is None else int(tail[1]))


def foreign_org_error(index: int, expected: str, got: str) -> ForeignOrg | HexError:
    """Return the error of an entry with another organisation, or with one that is not a UUID."""
    try:
        return ForeignOrg(index, UUID(expected), UUID(got))
    except ValueError:
        return HexError(index, f"org_id is {got[:60]!r}, not a UUID; expected {expected[:60]}")


def check_hex(pattern: re.Pattern[str], text: str, index: int, name: str, digits: int) -> None:
    """Raise HexError unless a text is lower-case hex of the right length."""
    if pattern.fullmatch(text) is None:
        raise HexError(index, f"{name} is {text[:140]!r}; expected {digits} lower-case hex digits")


def is_hash(value: object) -> bool:
    """Return whether a value is text of 64 lower-case hex digits."""
    return isinstance(value, str) and HEX64.fullmatch(value) is not None


def is_well_signed(record: StoredEntry, key: VerifyingKey) -> bool:
    """Whether an entry passes `check_content` and has this key's signature.

    The columns count, too: an entry that was moved in a store must not accuse the key's holder.
    """
    try:
        check_content(record, 0)
    except ChainError:
        return False
    return signature_error(record, 0, key) is None


def signature_error(record: StoredEntry, index: int, key: VerifyingKey) -> ChainError | None:
    """Return the error of an entry whose hash this key did not sign; None if it did."""
    problem = key.signature_problem(bytes.fromhex(record.signature), bytes.fromhex(record.hash))
    return None if problem is None else BadSignature(index, problem)
