"""Entries of the chain as rows: as they are stored, whatever somebody made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ttplan.model.audit import AuditEntry, StoredEntry
from ttplan.panel.html import shortened, table_html

HEADS = ("seq", "when", "event", "by", "says", "hash")


def entries_html(
    entries: Iterable[StoredEntry | AuditEntry],
    *,
    empty: str = "The chain has no entries yet; apply a plan first.",
) -> str:
    """Entries as a table, in the order given."""
    return table_html("entries of the chain", HEADS, map(_row, entries), empty=empty)


def entry_html(entry: AuditEntry) -> str:
    """One entry with all that it says, a line for each."""
    seq, when, event, by, _, _ = _row(entry)
    said = [
        (name, shortened(value if isinstance(value, str) else json.dumps(value)))
        for name, value in entry.payload.items()
    ]
    rows = [("entry", f"{seq}, {event}"), ("when", when), ("by", by), *said, ("hash", entry.hash)]
    return table_html("the new entry", (), rows, empty="")


def _row(entry: StoredEntry | AuditEntry) -> tuple[str, ...]:
    said = entry.model_dump(mode="json") if isinstance(entry, AuditEntry) else _body(entry)
    if said is None:
        return (f"{entry.seq}", "", "not readable: verify the chain", "", "", _short(entry.hash))
    return (
        f"{entry.seq}",
        shortened(str(said.get("timestamp", "")).replace("T", " ").replace("+00:00", " UTC")),
        shortened(str(said.get("event", ""))),
        _actor(said.get("actor")),
        _payload(said.get("payload")),
        _short(entry.hash),
    )


def _body(record: StoredEntry) -> dict[str, Any] | None:
    """The body of a stored entry; None where it is none any more, since somebody wrote to it."""
    try:
        found = json.loads(record.body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _actor(said: object) -> str:
    if not isinstance(said, dict):
        return ""
    who = said.get("user_id") or said.get("key_id") or ""
    return shortened(f"{said.get('type', '')} {who}".strip())


def _payload(said: object) -> str:
    if not isinstance(said, dict):
        return shortened(json.dumps(said))
    return "; ".join(
        shortened(f"{name}: {value if isinstance(value, str) else json.dumps(value)}", 100)
        for name, value in said.items()
    )


def _short(hash: str) -> str:
    return f"{shortened(hash[:12])}…"
