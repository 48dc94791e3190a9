"""Plans and entries of a PostgreSQL store as they are asked for: chosen, put in order and taken out of their JSON by SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from ttplan.store.figures import ASKED, COUNTED, FIGURES, PLAIN, Figure, Kind, schema
from ttplan.store.postgres_connection import Connection
from ttplan.store.protocol import WhichEntries, WhichPlans

if TYPE_CHECKING:
    import pyarrow as pa

_TYPES: dict[Kind, str] = {
    "text": "text",
    "moment": "timestamptz",
    "count": "bigint",
    "money": "numeric(38, 12)",
    "number": "double precision",
}


def plan_figures(connection: Connection, org_id: UUID, which: WhichPlans) -> pa.Table:
    """A row a plan, of the schema of `figures`. Raises psycopg's DataError where a plan's JSON is none any more."""
    import pyarrow as pa

    where, values = _where(
        {
            "org_id = %s": org_id,
            "plan_id = %s": which.plan_id,
            "status = %s": which.status,
            "strpos(name, %s) > 0": which.name,
            "created_at >= %s": which.since,
            "created_at < %s": which.until,
        }
    )
    newest = "" if which.limit is None else f"ORDER BY created_at DESC, plan_id DESC LIMIT {int(which.limit)}"
    columns = ", ".join(
        [
            *(f"{name}::{_TYPES[kind]}" for name, kind in PLAIN.items()),
            *(_known(name, figure) for name, figure in FIGURES.items()),
        ]
    )
    # json, not jsonb: that would refuse texts that the other stores keep.
    query = (
        f"SELECT {columns} FROM (SELECT *, result::json AS found FROM ttplan.plan_runs WHERE {where} {newest}) AS chosen "  # noqa: S608
        "ORDER BY chosen.created_at, chosen.plan_id"
    )
    rows = connection.execute(query.encode(), values).fetchall()
    names = [*PLAIN, *FIGURES]
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=schema())


def find_entries(connection: Connection, org_id: UUID, which: WhichEntries) -> list[tuple[Any, ...]]:
    """Entries by seq: `seq, prev_hash, hash, signature, body`."""
    where, values = _where(
        {
            "org_id = %s": org_id,
            "seq > %s": which.after,
            "event = %s": which.event,
            "body::json -> 'payload' ->> 'plan_id' = %s": None if which.plan_id is None else str(which.plan_id),
            "logged_at::timestamptz >= %s": which.since,
            "logged_at::timestamptz < %s": which.until,
        }
    )
    limit = "" if which.limit is None else f"LIMIT {int(which.limit)}"
    columns = "seq, prev_hash, hash, signature, body"
    query = f"SELECT {columns} FROM ttplan.audit_entries WHERE {where} ORDER BY seq {limit}"  # noqa: S608
    return connection.execute(query.encode(), values).fetchall()


def _where(chosen: dict[str, Any]) -> tuple[str, list[Any]]:
    """The conditions that have a value, and the values in the same order."""
    asked = {condition: value for condition, value in chosen.items() if value is not None}
    return " AND ".join(asked), list(asked.values())


def _known(name: str, figure: Figure) -> str:
    found = _taken(figure)
    return found if name in ASKED else f"CASE WHEN status <> 'failed' THEN {found} END"


def _taken(figure: Figure) -> str:
    if figure.path == COUNTED:
        return f"json_array_length(found -> '{COUNTED[0]}')"
    ways = ", ".join(f"found #>> '{_path(way)}'" for way in (figure.path, figure.otherwise) if way is not None)
    return f"coalesce({ways})::{_TYPES[figure.kind]}"


def _path(way: tuple[str | int, ...]) -> str:
    return "{" + ",".join(map(str, way)) + "}"
