"""Entries of the audit chain as rows of a database's table: what a row is as a record, and a record as a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from ttplan.model.audit import Record, TipAnchor
from ttplan.model.errors import StoreError


def record_of(org_id: UUID, row: Sequence[Any]) -> Record:
    """The record of a row `seq, prev_hash, hash, signature, body`."""
    seq, prev_hash, digest, signature, body = row
    return Record(str(org_id), seq, prev_hash, digest, signature, body.encode())


def entry_row(record: Record, tip: TipAnchor | None) -> tuple[Any, ...]:
    """The row of a record that follows `tip`, in the order of the table's columns. Raises StoreError where it does not."""
    expected = 0 if tip is None else tip.seq + 1
    if record.seq != expected:
        raise StoreError(f"an entry with seq {record.seq} cannot follow; expected {expected}")
    body = orjson.loads(record.body)
    return (
        UUID(record.org_id),
        record.seq,
        body["event"],
        body["timestamp"],
        record.body.decode(),
        record.prev_hash,
        record.hash,
        record.signature,
    )
