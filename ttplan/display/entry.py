"""An entry of the audit chain told to a person: as text that fits 80 columns, and as escaped HTML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from ttplan.display.fields import fields_html, fields_text
from ttplan.model.audit import AuditEntry


class ShownEntry(AuditEntry):
    """An entry that shows itself; equal to the entry that it is."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AuditEntry) and dict(self) == dict(other)

    __hash__ = AuditEntry.__hash__

    def __repr__(self) -> str:
        return fields_text(_title(self), _lines(self))

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return fields_html("entry", _title(self), _lines(self))


def show_entry(entry: AuditEntry) -> ShownEntry:
    """The entry, as one that shows itself."""
    return ShownEntry.model_construct(**dict(entry))


def _title(entry: AuditEntry) -> str:
    return f"entry {entry.seq} of the audit chain: {entry.event}"


def _lines(entry: AuditEntry) -> Iterator[tuple[str, str]]:
    actor = entry.actor.model_dump(mode="json")
    yield "by", " ".join([actor.pop("type"), *actor.values()])
    yield "at", entry.timestamp
    for name, value in entry.payload.items():
        yield name, _said(value)
    yield "hash", entry.hash


def _said(value: Any) -> str:
    return (
        value
        if isinstance(value, str)
        else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    )
