"""What is checked of one entry by itself: its hex, its signature, the hash of its content, and what it is filed under."""

from __future__ import annotations

import re
from uuid import UUID

from ttplan.audit.canonical import with_legacy_exponents
from ttplan.audit.entries import entry_hash
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import BadSignature, ChainError, ForeignOrg, HashMismatch, HexError, SeqGap

HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
HEX128 = re.compile(r"[0-9a-f]{128}", re.ASCII)
_ORG = b',"org_id":"'
_TAIL = re.compile(rb',"seq":(\d{1,19}),"timestamp":"[^"\\]{1,40}"\}\Z')
_TIME = b',"timestamp":"'
_LONGEST_TIME = 40


def check_content(record: StoredEntry, index: int) -> None:
    """Check an entry by itself, wherever it is from: its hex, the hash of its content, and its labels. Raises the ChainError."""
    check_hex(HEX64, record.prev_hash, index, "prev_hash", 64)
    check_hex(HEX64, record.hash, index, "hash", 64)
    check_hex(HEX128, record.signature, index, "signature", 128)
    check_hash(record, index)
    check_matches_body(record, index)


def check_hash(record: StoredEntry, index: int) -> None:
    """Raise HashMismatch where the content does not give the hash, in neither spelling of large floats."""
    found = entry_hash(record.prev_hash, record.body)
    if found != record.hash:
        older = with_legacy_exponents(record.body)
        if older is None or entry_hash(record.prev_hash, older) != record.hash:
            raise HashMismatch(index, found, record.hash)


def matches_body(record: StoredEntry) -> bool:
    """Whether a record is filed under the organisation and seq that were hashed."""
    body = record.body
    # Inside a text a quote is escaped, so the first of these bytes begin the body's own org_id, and the last its own time.
    own, end = body.find(_ORG) + len(_ORG), body.rfind(_TIME)
    return (
        body.startswith(b'%b"' % record.org_id.encode(), own)
        and body.endswith(b',"seq":%d' % record.seq, 0, end)
        and body.find(b'"', end + len(_TIME)) == len(body) - 2
        and body.endswith(b"}")
        and len(body) - end <= len(_TIME) + _LONGEST_TIME + 2
        and body.find(b"\\", end) == -1
    )


def check_matches_body(record: StoredEntry, index: int) -> None:
    """Raise where a record is filed under another organisation or seq than the one that was hashed: in a store, those are
    columns of their own, which nothing else vouches for."""
    start = record.body.find(_ORG) + len(_ORG)
    org_id, tail = (
        record.body[start : start + 36].decode(errors="replace"),
        _TAIL.search(record.body),
    )
    if org_id != record.org_id:
        raise foreign_org_error(index, record.org_id, org_id)
    if tail is None or int(tail[1]) != record.seq:
        raise SeqGap(index, record.seq, -1 if tail is None else int(tail[1]))


def foreign_org_error(index: int, expected: str, got: str) -> ForeignOrg | HexError:
    """The error of an entry that belongs to another organisation, or to what is none."""
    try:
        return ForeignOrg(index, UUID(expected), UUID(got))
    except ValueError:
        return HexError(index, f"org_id is {got[:60]!r}, no UUID; expected {expected[:60]}")


def check_hex(pattern: re.Pattern[str], text: str, index: int, name: str, digits: int) -> None:
    """Raise HexError where a text is not lower-case hex of the right length."""
    if pattern.fullmatch(text) is None:
        raise HexError(index, f"{name} is {text[:140]!r}; expected {digits} lower-case hex digits")


def is_well_signed(record: StoredEntry, key: VerifyingKey) -> bool:
    """Whether an entry, wherever it stands, has the hash of its content, this key's signature over it, and the organisation and
    seq that it is filed under: labels that nobody signed accuse nobody."""
    try:
        check_content(record, 0)
    except ChainError:
        return False
    return key.fault(bytes.fromhex(record.signature), bytes.fromhex(record.hash)) is None


def signature_error(record: StoredEntry, index: int, key: VerifyingKey) -> ChainError | None:
    """The error of an entry whose signature is not this key's over its hash; None where it is."""
    fault = key.fault(bytes.fromhex(record.signature), bytes.fromhex(record.hash))
    return None if fault is None else BadSignature(index, fault)
