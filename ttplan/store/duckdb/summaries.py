"""Plan summaries of a DuckDB store: columns that DuckDB extracts from the JSON of the results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb

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

_TYPES: dict[ColumnKind, str] = {
    "text": "VARCHAR",
    "timestamp": "TIMESTAMPTZ",
    "count": "BIGINT",
    "money": "DECIMAL(38, 12)",
    "number": "DOUBLE",
}
_CHUNK = 10_000


def summary_table(connection: duckdb.DuckDBPyConnection, selection: Query) -> pa.Table:
    """One row per selected plan, oldest first; null if the JSON has no such value."""
    import pyarrow as pa

    columns = [
        *(f"CAST(plan.{name} AS {_TYPES[kind]}) AS {name}" for name, kind in ROW_COLUMNS.items()),
        *(f"{_expression(name, column)} AS {name}" for name, column in RESULT_COLUMNS.items()),
    ]
    # json_extract converts numbers to doubles; only from_json keeps every digit of an amount.
    parsed = f"from_json(CASE WHEN json_valid(plan.result) THEN plan.result END, '{_structure()}')"
    query = (
        f"SELECT {', '.join(columns)} FROM "  # noqa: S608
        f"(SELECT plan, {parsed} AS parsed FROM plan_runs AS plan {selection.text}) "
        "ORDER BY plan.created_at, plan.plan_id"
    )
    reader = connection.sql(query, params=selection.values).to_arrow_reader(_CHUNK)
    return pa.Table.from_batches(list(reader), reader.schema).cast(summary_schema())


def _expression(name: str, column: ResultColumn) -> str:
    fields = [_field(path) for path in column.paths]
    if column.path == CAVEATS_PATH:
        value = f"len({fields[0]})"
    else:
        value = f"TRY_CAST(coalesce({', '.join(fields)}) AS {_TYPES[column.kind]})"
    if name in FAILED_PLAN_COLUMNS:
        return value
    return f"CASE WHEN plan.status <> 'failed' THEN {value} END"


def _field(path: Path) -> str:
    """The expression of a field of `parsed`; list positions count from 1 in DuckDB."""
    steps = (f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in path)
    return "parsed" + "".join(steps)


def _structure() -> str:
    """The structure for `from_json`: only the fields of the summaries."""
    structure: dict[str, Any] = {}
    for column in RESULT_COLUMNS.values():
        is_text = column.path == CAVEATS_PATH or column.kind == "timestamp"
        leaf: Any = "VARCHAR" if is_text else _TYPES[column.kind]
        for path in column.paths:
            keys = [step for step in path if isinstance(step, str)]
            parent = structure
            for key in keys[:-1]:
                parent = parent.setdefault(key, {})
            is_list = column.path == CAVEATS_PATH or len(keys) < len(path)
            parent[keys[-1]] = [leaf] if is_list else leaf
    return json.dumps(structure)
