"""Two histories signed with one key: how they are found, and the file that proves it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from ttplan.audit.entries import to_record
from ttplan.audit.entry_checks import is_well_signed
from ttplan.audit.jsonl import format_line, parse_entry
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.rotation import is_rotation, verify_rotation
from ttplan.audit.strict_json import parse_json_file
from ttplan.model.audit import AuditEntry, StoredEntry
from ttplan.model.errors import Equivocation, InputError, ProofError

FORMAT = "ttplan.fork-evidence.v1"
MAX_EVIDENCE = 40 * 2**20
"""The largest evidence file, in bytes, that is read."""
_FIELDS = ("format", "verifying_key", "entries")


def find_equivocation(
    chain: Iterable[AuditEntry | StoredEntry],
    other_chain: Iterable[AuditEntry | StoredEntry],
    public_key: VerifyingKey,
) -> Equivocation | None:
    """Find the first seq at which two chains have well-signed entries with different hashes.

    `public_key` is their first key; rotations that both chains have are followed. Returns None if
    there is no such seq. Raises BadRotation if one of the rotations is not valid.
    """
    key, used = public_key, {public_key}
    for index, pair in enumerate(zip(chain, other_chain, strict=False)):
        a, b = (to_record(e) if isinstance(e, AuditEntry) else e for e in pair)
        if is_equivocation(a, b, key):
            return equivocation_error(index, a, b, key)
        if a == b and is_rotation(a) and is_well_signed(a, key):
            key = verify_rotation(a, index, key, used)
            used.add(key)
    return None


def is_equivocation(a: StoredEntry, b: StoredEntry, key: VerifyingKey) -> bool:
    """Whether `key` signed two different entries with the same organisation and seq."""
    return (
        a.org_id == b.org_id
        and a.seq == b.seq
        and a.hash != b.hash
        and is_well_signed(a, key)
        and is_well_signed(b, key)
    )


def equivocation_error(
    index: int, a: StoredEntry, b: StoredEntry, key: VerifyingKey
) -> Equivocation:
    """Return the error for two such entries, with its evidence."""
    return Equivocation(index, a.seq, (a.hash, b.hash), format_evidence(a, b, key))


def format_evidence(a: StoredEntry, b: StoredEntry, key: VerifyingKey) -> bytes:
    """Write two entries that one key signed for one seq as a file."""
    lines: list[Any] = [orjson.Fragment(format_line(record)) for record in (a, b)]
    fields = {"format": FORMAT, "verifying_key": key.hex, "entries": lines}
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2) + b"\n"


def check_evidence(data: bytes, name: str, public_key: VerifyingKey) -> Equivocation:
    """Return what an evidence file proves against the holder of `public_key`.

    Raises InputError, naming the file, if it is malformed, and ProofError if it proves nothing
    about this key.
    """
    fields = parse_json_file(data, name, "evidence of a fork", MAX_EVIDENCE)
    if not isinstance(fields, dict) or fields.keys() != set(_FIELDS) or fields["format"] != FORMAT:
        raise InputError(
            f"{name} is not evidence of a fork; expected {', '.join(_FIELDS)}, the format being "
            f"{FORMAT}"
        )
    entries = fields["entries"]
    if not isinstance(entries, list) or len(entries) != 2:
        raise InputError(f"{name}: entries is not a list of two; expected the two entries")
    a, b = (
        parse_entry(orjson.dumps(entry), f"{name}, entry {position}")
        for position, entry in enumerate(entries)
    )
    if fields["verifying_key"] != public_key.hex:
        claimed = str(fields["verifying_key"])[:80]
        raise ProofError(f"{name} is about the key {claimed}; expected {public_key.hex}")
    if not is_equivocation(a, b, public_key):
        raise ProofError(
            f"{name} proves nothing: its entries are not two different ones with one seq, both "
            "signed with this key"
        )
    return equivocation_error(a.seq, a, b, public_key)
