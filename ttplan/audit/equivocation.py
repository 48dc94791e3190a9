"""Two histories signed with one key: found, and kept as a file that proves it to anybody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from ttplan.audit.entries import to_record
from ttplan.audit.entry_checks import is_well_signed
from ttplan.audit.jsonl import format_line, parse_entry
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.rotation import is_rotation, verify_rotation
from ttplan.audit.strict_json import parse_json
from ttplan.model.audit import AuditEntry, StoredEntry
from ttplan.model.errors import Equivocation, InputError, ProofError

FORMAT = "ttplan.fork-evidence.v1"
MAX_EVIDENCE = 40 * 2**20
"""The largest evidence file, in bytes, that is read."""
_KEYS = ("format", "verifying_key", "entries")


def find_equivocation(
    one: Iterable[AuditEntry | StoredEntry],
    other: Iterable[AuditEntry | StoredEntry],
    public_key: VerifyingKey,
) -> Equivocation | None:
    """The first seq at which two chains of one organisation have well-signed entries with different hashes; None where none.

    `public_key` is their first one; rotations that both have are followed. Raises BadRotation where one of them is none.
    """
    key, used = public_key, {public_key}
    for index, pair in enumerate(zip(one, other, strict=False)):
        a, b = (to_record(e) if isinstance(e, AuditEntry) else e for e in pair)
        if is_equivocation(a, b, key):
            return equivocation_error(index, a, b, key)
        if a == b and is_rotation(a) and is_well_signed(a, key):
            key = verify_rotation(a, index, key, used)
            used.add(key)
    return None


def is_equivocation(a: StoredEntry, b: StoredEntry, key: VerifyingKey) -> bool:
    """Whether two entries of one organisation and seq differ, both with the key's own signature."""
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
    """The error that two such entries are, with its evidence."""
    return Equivocation(index, a.seq, (a.hash, b.hash), format_evidence(a, b, key))


def format_evidence(a: StoredEntry, b: StoredEntry, key: VerifyingKey) -> bytes:
    """Two entries that one key signed for one place, as a file."""
    lines: list[Any] = [orjson.Fragment(format_line(record)) for record in (a, b)]
    return (
        orjson.dumps(
            {"format": FORMAT, "verifying_key": key.hex, "entries": lines},
            option=orjson.OPT_INDENT_2,
        )
        + b"\n"
    )


def check_evidence(data: bytes, name: str, public_key: VerifyingKey) -> Equivocation:
    """What an evidence file proves against the holder of `public_key`.

    Raises InputError, naming the file, where it is none, and ProofError where it proves nothing of this key.
    """
    if len(data) > MAX_EVIDENCE:
        raise InputError(
            f"{name} has more than {MAX_EVIDENCE:,} bytes; expected evidence of a fork"
        )
    try:
        fields = parse_json(data)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    if not isinstance(fields, dict) or fields.keys() != set(_KEYS) or fields["format"] != FORMAT:
        raise InputError(
            f"{name} is no evidence of a fork; expected {', '.join(_KEYS)}, the format being {FORMAT}"
        )
    entries = fields["entries"]
    if not isinstance(entries, list) or len(entries) != 2:
        raise InputError(f"{name}: entries is no list of two; expected the two entries")
    a, b = (
        parse_entry(orjson.dumps(one), f"{name}, entry {place}")
        for place, one in enumerate(entries)
    )
    if fields["verifying_key"] != public_key.hex:
        raise ProofError(
            f"{name} is about the key {str(fields['verifying_key'])[:80]}; expected {public_key.hex}"
        )
    if not is_equivocation(a, b, public_key):
        raise ProofError(
            f"{name} proves nothing: its entries are not two different ones for one place, both signed with this key"
        )
    return equivocation_error(a.seq, a, b, public_key)
