"""Plans and entries of a DuckDB store as they are asked for: chosen, put in order and taken out of their JSON by SQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import duckdb

from ttplan.store.plan_summary import (
    CAVEATS_PATH,
    FAILED_PLAN_COLUMNS,
    RESULT_COLUMNS,
    ROW_COLUMNS,
    ColumnKind,
    ResultColumn,
    summary_schema,
)
from ttplan.store.protocol import EntryFilter, PlanFilter

if TYPE_CHECKING:
    import pyarrow as pa

_TYPES: dict[ColumnKind, str] = {
    "text": "VARCHAR",
    "moment": "TIMESTAMPTZ",
    "count": "BIGINT",
    "money": "DECIMAL(38, 12)",
    "number": "DOUBLE",
}
_CHUNK = 10_000


def plan_summaries(
    connection: duckdb.DuckDBPyConnection, org_id: UUID, which: PlanFilter
) -> pa.Table:
    """A row a plan, of the schema of `figures`; null where its JSON has no such figure any more."""
    import pyarrow as pa

    chosen = {
        "org_id = $org_id": org_id,
        "plan_id = $plan_id": which.plan_id,
        "status = $status": which.status,
        "contains(name, $name)": which.name,
        "created_at >= $since": which.since,
        "created_at < $until": which.until,
    }
    where, values = _where(chosen)
    newest = (
        ""
        if which.limit is None
        else f"ORDER BY created_at DESC, plan_id DESC LIMIT {int(which.limit)}"
    )
    columns = ", ".join(
        [
            *(
                f"CAST(plan.{name} AS {_TYPES[kind]}) AS {name}"
                for name, kind in ROW_COLUMNS.items()
            ),
            *(f"{_known(name, figure)} AS {name}" for name, figure in RESULT_COLUMNS.items()),
        ]
    )
    # Not json_extract, which makes a double of a number on the way: only a structure keeps every digit of an amount.
    found = f"from_json(CASE WHEN json_valid(plan.result) THEN plan.result END, '{_structure()}')"
    query = (
        f"SELECT {columns} FROM (SELECT plan, {found} AS found FROM plan_runs AS plan WHERE {where} {newest}) "  # noqa: S608
        "ORDER BY plan.created_at, plan.plan_id"
    )
    reader = connection.sql(query, params=values).to_arrow_reader(_CHUNK)
    return pa.Table.from_batches(list(reader), reader.schema).cast(summary_schema())


def find_entries(
    connection: duckdb.DuckDBPyConnection, org_id: UUID, which: EntryFilter
) -> list[tuple[Any, ...]]:
    """Entries by seq: `seq, prev_hash, hash, signature, body`."""
    chosen = {
        "org_id = $org_id": org_id,
        "seq > $after": which.after,
        "event = $event": which.event,
        "json_extract_string(body, '$.payload.plan_id') = $plan_id": None
        if which.plan_id is None
        else str(which.plan_id),
        "TRY_CAST(logged_at AS TIMESTAMPTZ) >= $since": which.since,
        "TRY_CAST(logged_at AS TIMESTAMPTZ) < $until": which.until,
    }
    where, values = _where(chosen)
    limit = "" if which.limit is None else f"LIMIT {int(which.limit)}"
    query = f"SELECT seq, prev_hash, hash, signature, body FROM audit_entries WHERE {where} ORDER BY seq {limit}"  # noqa: S608
    return connection.execute(query, values).fetchall()


def _where(chosen: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The conditions that have a value, and the values by the names that the conditions give them."""
    asked = {condition: value for condition, value in chosen.items() if value is not None}
    return " AND ".join(asked), {_name(condition): value for condition, value in asked.items()}


def _name(condition: str) -> str:
    return condition.rpartition("$")[2].rstrip(")")


def _known(name: str, figure: ResultColumn) -> str:
    found = _taken(figure)
    return (
        found
        if name in FAILED_PLAN_COLUMNS
        else f"CASE WHEN plan.status <> 'failed' THEN {found} END"
    )


def _taken(figure: ResultColumn) -> str:
    ways = [_column(way) for way in (figure.path, figure.otherwise) if way is not None]
    if figure.path == CAVEATS_PATH:
        return f"len({ways[0]})"
    return f"TRY_CAST(coalesce({', '.join(ways)}) AS {_TYPES[figure.kind]})"


def _column(way: tuple[str | int, ...]) -> str:
    return "found" + "".join(
        f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in way
    )


def _structure() -> str:
    """What `from_json` is to make of a result: only the figures."""
    found: dict[str, Any] = {}
    for figure in RESULT_COLUMNS.values():
        for way in (figure.path, figure.otherwise):
            if way is not None:
                _put(found, way, figure)
    return json.dumps(found)


def _put(found: dict[str, Any], way: tuple[str | int, ...], figure: ResultColumn) -> None:
    *above, last = way
    for step in above if isinstance(last, str) else above[:-1]:
        found = found.setdefault(str(step), {})
    if isinstance(last, int):
        found[str(above[-1])] = [_TYPES[figure.kind]]
    else:
        found[last] = (
            ["VARCHAR"]
            if way == CAVEATS_PATH
            else "VARCHAR"
            if figure.kind == "moment"
            else _TYPES[figure.kind]
        )
