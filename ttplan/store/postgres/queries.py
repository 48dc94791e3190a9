"""Plans and entries of a PostgreSQL store as they are asked for: chosen, put in order and taken out of their JSON by SQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ttplan.model.money import MONEY_STEP
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

Rows = Callable[..., list[tuple[Any, ...]]]
"""What runs a query with its values."""
_READ: dict[ColumnKind, Callable[[str], Any]] = {
    "text": str,
    "moment": datetime.fromisoformat,
    "count": int,
    "money": lambda text: Decimal(text).quantize(MONEY_STEP),
    "number": float,
}


def plan_summaries(rows: Rows, org_id: UUID, which: PlanFilter) -> pa.Table:
    """A row a plan, of the schema of `figures`; null where its JSON has no such figure any more."""
    import pyarrow as pa

    where, values = _where(
        {
            "org_id = %s": org_id,
            "plan_id = %s": which.plan_id,
            "status = %s": which.status,
            "position(%s IN name) > 0": which.name,
            "created_at >= %s": which.since,
            "created_at < %s": which.until,
        }
    )
    newest = (
        ""
        if which.limit is None
        else f"ORDER BY created_at DESC, plan_id DESC LIMIT {int(which.limit)}"
    )
    columns = ", ".join([*ROW_COLUMNS, *(_taken(figure) for figure in RESULT_COLUMNS.values())])
    # As jsonb only here, where nothing is hashed: it keeps every digit, and is read once for all figures of a row.
    query = (
        f"WITH found AS MATERIALIZED (SELECT {', '.join(ROW_COLUMNS)}, ttplan.read_json(result) AS found FROM ttplan.plan_runs "  # noqa: S608
        f"WHERE {where} {newest}) SELECT {columns} FROM found ORDER BY created_at, plan_id"
    )
    return pa.Table.from_pylist(
        [_row(row) for row in rows(query, *values)], schema=summary_schema()
    )


def find_entries(rows: Rows, org_id: UUID, which: EntryFilter) -> list[tuple[Any, ...]]:
    """Entries by seq: `seq, prev_hash, hash, signature, body`."""
    where, values = _where(
        {
            "org_id = %s": org_id,
            "seq > %s": which.after,
            "event = %s": which.event,
            "ttplan.read_json(body) #>> '{payload,plan_id}' = %s": None
            if which.plan_id is None
            else str(which.plan_id),
            "logged_at >= %s": which.since,
            "logged_at < %s": which.until,
        }
    )
    limit = "" if which.limit is None else f"LIMIT {int(which.limit)}"
    query = f"SELECT seq, prev_hash, hash, signature, body FROM ttplan.audit_entries WHERE {where} ORDER BY seq {limit}"  # noqa: S608
    return rows(query, *values)


def _where(chosen: dict[str, Any]) -> tuple[str, list[Any]]:
    """The conditions that have a value, and the values."""
    asked = {condition: value for condition, value in chosen.items() if value is not None}
    return " AND ".join(asked), list(asked.values())


def _taken(figure: ResultColumn) -> str:
    if figure.path == CAVEATS_PATH:
        return f"CASE WHEN jsonb_typeof({_way(figure.path)}) = 'array' THEN jsonb_array_length({_way(figure.path)})::text END"
    ways = [
        f"({_way(way)} #>> '{{}}')" for way in (figure.path, figure.otherwise) if way is not None
    ]
    return f"coalesce({', '.join(ways)})"


def _way(way: tuple[str | int, ...]) -> str:
    return "(found #> '{" + ",".join(map(str, way)) + "}')"


def _row(row: tuple[Any, ...]) -> dict[str, Any]:
    plain = dict(zip(ROW_COLUMNS, row, strict=False))
    known = RESULT_COLUMNS if plain["status"] != "failed" else FAILED_PLAN_COLUMNS
    taken = dict(zip(RESULT_COLUMNS, row[len(ROW_COLUMNS) :], strict=True))
    figures = {
        name: _value(RESULT_COLUMNS[name].kind, text) if name in known else None
        for name, text in taken.items()
    }
    return plain | {"plan_id": str(plain["plan_id"])} | figures


def _value(kind: ColumnKind, text: str | None) -> Any:
    try:
        return None if text is None else _READ[kind](text)
    except (ValueError, InvalidOperation):
        return None
