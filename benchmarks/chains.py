"""Verifying an audit chain, in both strengths, beside the bare library on one core."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from benchmarks.logs import ORG
from ttplan.audit.chain import next_entry, to_record
from ttplan.audit.keys import SigningKey, create_key
from ttplan.audit.verify import verify_chain
from ttplan.model.audit import Record, System, TipAnchor

ENTRIES = 100_000
_BARE = 10_000


def chain_speeds(entries: int = ENTRIES) -> list[tuple[str, float]]:
    """What was verified, and how many entries of a chain a second."""
    key = create_key()
    records = _chain(key, entries)
    speeds = []
    for words, strength in (("tip's signature only", "tip"), ("all signatures", "all")):
        seconds = _seconds(lambda s=strength: verify_chain(records, key.public_key, signatures=s))  # type: ignore[misc]
        speeds.append((words, entries / seconds))
    signature, digest = bytes.fromhex(records[0].signature), bytes.fromhex(records[0].hash)
    bare = _seconds(lambda: [key.public_key.fault(signature, digest) for _ in range(_BARE)])
    return [*speeds, ("bare signatures, on one core", _BARE / bare)]


def _chain(key: SigningKey, entries: int) -> list[Record]:
    tip, records = None, list[Record]()
    for number in range(entries):
        entry = next_entry(
            tip,
            key=key,
            id=UUID(int=number),
            org_id=ORG,
            timestamp=datetime(2026, 5, 1, tzinfo=UTC),
            actor=System(),
            event="plan.applied",
            payload={"plan_id": str(UUID(int=number)), "sample_size": 1000, "projected_savings_usd": 12.5},
        )
        tip = TipAnchor(entry.seq, entry.hash)
        records.append(to_record(entry))
    return records


def _seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
