"""Chains for tests: pinned key, ids and clock."""

from __future__ import annotations

import io
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ttplan.audit.entries import next_entry
from ttplan.audit.jsonl import write_chain
from ttplan.audit.keys.key_files import VerifyingKey, key_from_hex
from ttplan.audit.verify.chain import Entries
from ttplan.audit.verify.options import SignatureScope, VerifyOptions
from ttplan.audit.verify.report import ChainReport
from ttplan.audit.verify.reporting import verify_with_report
from ttplan.audit.verify.resume import ResumeFile
from ttplan.model.audit import Actor, Anonymous, ApiKey, AuditEntry, System, TipAnchor, User

KEY = key_from_hex("11" * 32)
OTHER_KEY = key_from_hex("22" * 32)
ORG = UUID(int=1)
START = datetime(2026, 5, 1, 12, tzinfo=UTC)
ACTORS: tuple[Actor, ...] = (User(UUID(int=7)), ApiKey(UUID(int=8)), System(), Anonymous())
SIGNATURE_SCOPES: tuple[SignatureScope, ...] = ("all", "tip")
TIMES = (timedelta(0), timedelta(milliseconds=120), timedelta(microseconds=7))


def entry(tip: TipAnchor | None, **changes: Any) -> AuditEntry:
    """The entry after `tip`."""
    seq = 0 if tip is None else tip.seq + 1
    fields: dict[str, Any] = {
        "key": KEY,
        "id": UUID(int=1000 + seq),
        "org_id": ORG,
        "timestamp": START + timedelta(seconds=seq) + TIMES[seq % 3],
        "actor": ACTORS[seq % 4],
        "event": "plan.applied",
        "payload": {
            "plan_id": str(UUID(int=seq)),
            "projected_savings_usd": seq * 1.1,
            "note": "Zoë 😀",
            "n": [1, 1e-6, -0.0, None],
        },
    }
    return next_entry(tip, **(fields | changes))


def chain(length: int, **changes: Any) -> list[AuditEntry]:
    """A good chain of that length."""
    entries: list[AuditEntry] = []
    for _ in range(length):
        tip = TipAnchor(entries[-1].seq, entries[-1].hash) if entries else None
        entries.append(entry(tip, **changes))
    return entries


def at(entries: list[AuditEntry], seq: int) -> TipAnchor:
    return TipAnchor(seq, entries[seq].hash)


def flip_each_bit(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each bit's number and `data` with that bit flipped."""
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(flipped)


def altered(item: AuditEntry, **fields: Any) -> AuditEntry:
    """A copy of an entry with other values, which nothing checks or recomputes."""
    item = copy(item)
    for name, value in fields.items():
        object.__setattr__(item, name, value)
    return item


def broken(entries: list[AuditEntry], index: int) -> list[AuditEntry]:
    """The chain with one entry's event changed, and nothing recomputed."""
    return [
        altered(item, event="x") if place == index else item for place, item in enumerate(entries)
    ]


def exported(entries: list[AuditEntry]) -> bytes:
    """The chain as JSON lines with its preamble."""
    file = io.BytesIO()
    write_chain(file, entries, verifying_key=KEY.public_key, org_id=ORG, entry_count=len(entries))
    return file.getvalue()


def report_on(
    entries: Entries,
    key: VerifyingKey = KEY.public_key,
    *,
    key_source: str = "a test",
    own_key: bool = False,
    resume: ResumeFile | None = None,
    now: datetime | None = None,
    **options: Any,
) -> ChainReport:
    """Verify a chain with a report; with `own_key` the key comes with the chain."""
    parsed = VerifyOptions.parse(public_key=None if own_key else key, **options)
    return verify_with_report(entries, key, parsed, key_source=key_source, resume=resume, now=now)
