"""Filters as SQL, and the few places in which the two SQL dialects differ.

Queries use `?` as the placeholder; a back end that needs another one replaces it when it runs them.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from ttplan.store.protocol import EntryFilter, PlanFilter


class Dialect(NamedTuple):
    """How a database spells what the two databases spell differently."""

    tables: str
    """The prefix of table names."""
    insertion_order: str
    """The column of `reconciliations` that orders rows as they were inserted."""
    name_contains: str
    payload_plan_id: str
    event: str
    """The event in an entry's body, which is signed; null if the body cannot be read."""
    timestamp: str
    """The time in an entry's body, as a timestamp; null if the body cannot be read."""
    logged_at: str
    """The column `logged_at`, which is not signed, as a timestamp."""


class Query(NamedTuple):
    """SQL text and its values."""

    text: str
    values: list[Any]


def where(conditions: dict[str, Any]) -> Query:
    """A WHERE clause of the conditions whose value is not None."""
    active = {condition: value for condition, value in conditions.items() if value is not None}
    return Query(f"WHERE {' AND '.join(active)}" if active else "", list(active.values()))


def select_plans(dialect: Dialect, org_id: UUID, filters: PlanFilter) -> Query:
    """What follows `FROM plan_runs` to select the plans that match: WHERE, ORDER BY and LIMIT."""
    clause = where(
        {
            "org_id = ?": org_id,
            "plan_id = ?": filters.plan_id,
            "status = ?": filters.status,
            dialect.name_contains: filters.name,
            "created_at >= ?": filters.since,
            "created_at < ?": filters.until,
        }
    )
    if filters.limit is None:
        return clause
    newest = f"ORDER BY created_at DESC, plan_id DESC LIMIT {int(filters.limit)}"
    return Query(f"{clause.text} {newest}", clause.values)


def select_entries(dialect: Dialect, org_id: UUID, filters: EntryFilter) -> Query:
    """Selects `seq, prev_hash, hash, signature, body` of the entries that match, by seq."""
    clause = where(
        {
            "org_id = ?": org_id,
            "seq > ?": filters.after,
            f"{dialect.event} = ?": filters.event,
            f"{dialect.payload_plan_id} = ?": filters.plan_id and str(filters.plan_id),
            f"{dialect.timestamp} >= ?": filters.since,
            f"{dialect.timestamp} < ?": filters.until,
        }
    )
    limit = "" if filters.limit is None else f" LIMIT {int(filters.limit)}"
    columns = "seq, prev_hash, hash, signature, body"
    table = f"{dialect.tables}audit_entries"
    query = f"SELECT {columns} FROM {table} {clause.text} ORDER BY seq{limit}"  # noqa: S608
    return Query(query, clause.values)


def select_edited_columns(dialect: Dialect, org_id: UUID, limit: int) -> Query:
    """Selects `seq, event, logged_at, body` of entries with a column that contradicts the body, by
    seq, and for the two columns whether they do."""
    event = f"event IS DISTINCT FROM {dialect.event}"
    time = f"{dialect.logged_at} IS DISTINCT FROM {dialect.timestamp}"
    columns = f"seq, event, CAST(logged_at AS VARCHAR), body, {event}, {time}"
    query = (
        f"SELECT {columns} FROM {dialect.tables}audit_entries"  # noqa: S608
        f" WHERE org_id = ? AND ({event} OR {time}) ORDER BY seq LIMIT {int(limit)}"
    )
    return Query(query, [org_id])
