"""The table that a replay reads: its columns, and how logged requests become one."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa

from ttplan.model.errors import InputError
from ttplan.model.request import RequestLog

MONEY_TYPE = "decimal(38, 12)"
EXACT_TYPE = "decimal(38, 0)"
"""Whole numbers to 38 digits: what sums are summed in, since 64 bits are not enough for them."""

_ARROW_MONEY = pa.decimal128(38, 12)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("org_id", pa.string(), nullable=False),
        pa.field("ts", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("provider", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("cached_tokens", pa.int64(), nullable=False),
        pa.field("cost_usd", _ARROW_MONEY, nullable=False),
        pa.field("baseline_cost_usd", _ARROW_MONEY, nullable=False),
        pa.field("cached", pa.bool_(), nullable=False),
        pa.field("latency_ms", pa.int64()),
        pa.field("tag", pa.string()),
        pa.field("body_lower", pa.string()),
    ]
)
"""The columns that a replay reads. `body_lower` is the body lower-cased by Python; a table may lack that column."""


def lower(text: str | None) -> str | None:
    """The lower case that keywords and bodies share: Python's, since engines' own disagree on `İ` and `Σ`."""
    return None if text is None else text.lower()


def to_arrow(requests: Sequence[RequestLog]) -> pa.Table:
    """The requests as an Arrow table of `SCHEMA`."""
    columns = {name: [getattr(r, name) for r in requests] for name in SCHEMA.names if name not in ("id", "org_id", "body_lower")}
    columns["id"] = [str(r.id) for r in requests]
    columns["org_id"] = [str(r.org_id) for r in requests]
    columns["body_lower"] = [lower(r.body) for r in requests]
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def to_table(requests: Sequence[RequestLog], *, threads: int | None = None) -> ir.Table:
    """The requests as a table of an embedded, in-memory DuckDB of their own; `threads` of None lets DuckDB choose."""
    connection = duckdb.connect(config={} if threads is None else {"threads": threads})
    connection.register("arrived", to_arrow(requests))
    connection.execute("CREATE TEMP TABLE requests AS FROM arrived")
    connection.unregister("arrived")
    return ibis.duckdb.from_connection(connection).table("requests")


def check_columns(table: ir.Table) -> None:
    """Raise InputError where the table lacks a column that a replay reads."""
    missing = [name for name in SCHEMA.names if name not in table.columns and name != "body_lower"]
    if missing:
        raise InputError(
            f"the table has no column {', '.join(missing)}; expected {', '.join(SCHEMA.names[:-1])} and, for conditions "
            "on the prompt, body_lower"
        )
