"""Entries of the chain as table rows, as they are stored, valid or not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ttplan.model.audit import StoredEntry
from ttplan.panel.html import shortened, table_html

HEADS = ("seq", "when", "event", "by", "says", "hash")


def entries_html(
    entries: Iterable[StoredEntry],
    *,
    empty: str = "The chain has no entries yet; apply a plan first.",
) -> str:
    """Entries as a table, in the order given."""
    return table_html("entries of the chain", HEADS, map(_row, entries), empty=empty)


def _row(entry: StoredEntry) -> tuple[str, ...]:
    body = _body(entry)
    if body is None:
        return (f"{entry.seq}", "", "not readable: verify the chain", "", "", _short(entry.hash))
    return (
        f"{entry.seq}",
        shortened(str(body.get("timestamp", "")).replace("T", " ").replace("+00:00", " UTC")),
        shortened(str(body.get("event", ""))),
        _actor(body.get("actor")),
        _payload(body.get("payload")),
        _short(entry.hash),
    )


def _body(record: StoredEntry) -> dict[str, Any] | None:
    """The body of a stored entry; None if somebody made it unreadable."""
    try:
        body = json.loads(record.body)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _actor(body: object) -> str:
    if not isinstance(body, dict):
        return ""
    who = body.get("user_id") or body.get("key_id") or ""
    return shortened(f"{body.get('type', '')} {who}".strip())


def _payload(body: object) -> str:
    if not isinstance(body, dict):
        return shortened(json.dumps(body))
    return "; ".join(
        shortened(f"{name}: {value if isinstance(value, str) else json.dumps(value)}", 100)
        for name, value in body.items()
    )


def _short(hash: str) -> str:
    return f"{shortened(hash[:12])}…"
