"""Plan summaries of a PostgreSQL store, from text that it extracts from the results' JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from ttplan.model.money import MONEY_STEP
from ttplan.store.plan_summary import (
    CAVEATS_PATH,
    FAILED_PLAN_COLUMNS,
    RESULT_COLUMNS,
    ROW_COLUMNS,
    ColumnKind,
    Path,
    ResultColumn,
    summary_schema,
)
from ttplan.store.sql.queries import Query

if TYPE_CHECKING:
    import pyarrow as pa

_PARSERS: dict[ColumnKind, Callable[[str], Any]] = {
    "text": str,
    "timestamp": datetime.fromisoformat,
    "count": int,
    "money": lambda text: Decimal(text).quantize(MONEY_STEP),
    "number": float,
}


def summary_table(run_query: Callable[..., list[tuple[Any, ...]]], selection: Query) -> pa.Table:
    """One row per selected plan, oldest first; null if the JSON has no such value."""
    import pyarrow as pa

    columns = ", ".join([*ROW_COLUMNS, *map(_expression, RESULT_COLUMNS.values())])
    # jsonb keeps every digit of a number, and is parsed once for all columns of a row.
    query = (
        f"WITH parsed AS MATERIALIZED (SELECT {', '.join(ROW_COLUMNS)}, "  # noqa: S608
        "ttplan.read_json(result) AS parsed "
        f"FROM ttplan.plan_runs {selection.text}) "
        f"SELECT {columns} FROM parsed ORDER BY created_at, plan_id"
    )
    rows = [_row(row) for row in run_query(query, *selection.values)]
    return pa.Table.from_pylist(rows, schema=summary_schema())


def _expression(column: ResultColumn) -> str:
    fields = [f"(parsed #> '{{{_path(path)}}}')" for path in column.paths]
    if column.path == CAVEATS_PATH:
        (field,) = fields
        return (
            f"CASE WHEN jsonb_typeof({field}) = 'array' THEN jsonb_array_length({field})::text END"
        )
    texts = ", ".join(f"({field} #>> '{{}}')" for field in fields)
    return f"coalesce({texts})"


def _path(path: Path) -> str:
    return ",".join(map(str, path))


def _row(row: tuple[Any, ...]) -> dict[str, Any]:
    fields = dict(zip(ROW_COLUMNS, row, strict=False))
    known = RESULT_COLUMNS if fields["status"] != "failed" else FAILED_PLAN_COLUMNS
    texts = dict(zip(RESULT_COLUMNS, row[len(ROW_COLUMNS) :], strict=True))
    parsed = {
        name: _parse(RESULT_COLUMNS[name].kind, text) if name in known else None
        for name, text in texts.items()
    }
    return fields | {"plan_id": str(fields["plan_id"])} | parsed


def _parse(kind: ColumnKind, text: str | None) -> Any:
    try:
        return None if text is None else _PARSERS[kind](text)
    except (ValueError, InvalidOperation):
        return None
