"""The table that a replay reads: its columns, and how logged requests become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa

from ttplan.engine.dialects import fetch, holds_instants, money_type
from ttplan.model.errors import InputError
from ttplan.model.money import MAX_MONEY
from ttplan.model.request import MAX_TOKENS, RequestLog

MAX_MILLISECONDS = 2**53

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
OPTIONAL = pa.schema(
    [
        pa.field("finish_reason", pa.string()),
        pa.field("embedding", pa.list_(pa.float32())),
        pa.field("session_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("api_key_id", pa.string()),
    ]
)
"""Columns that some questions need: a semantic cache, clusters. A table may lack them and have others."""

_TOKENS = ("input_tokens", "output_tokens", "cached_tokens")
_MONEY = ("cost_usd", "baseline_cost_usd")
_COMPUTED = dict.fromkeys((*_TOKENS, "latency_ms"), "int64")
_LIMITS = (
    dict.fromkeys(_TOKENS, f"expected 0 up to below {MAX_TOKENS:,}")
    | dict.fromkeys(_MONEY, f"expected 0 up to below {MAX_MONEY:,}")
    | {"latency_ms": f"expected null or 0 up to below {MAX_MILLISECONDS:,}"}
)
_Accepts = tuple[Callable[[dt.DataType], bool], str]
_TEXT: _Accepts = (lambda t: t.is_string(), "text")
_ANY: _Accepts = (
    lambda t: t.is_string() or t.is_primitive() or t.is_uuid() or t.is_decimal() or t.is_temporal(),
    "one value a row",
)
_VECTOR: _Accepts = (lambda t: t.is_array() and t.value_type.is_floating(), "arrays of floats")
_ID: _Accepts = (lambda t: t.is_string() or t.is_uuid(), "text or UUID")
_WHOLE: _Accepts = (lambda t: t.is_integer() or (t.is_decimal() and t.scale == 0), "whole numbers")
_EXACT: _Accepts = (lambda t: t.is_integer() or t.is_decimal(), "decimals, which are exact")
_ACCEPTED: dict[str, _Accepts] = (
    dict.fromkeys(("provider", "model", "tag", "body_lower"), _TEXT)
    | dict.fromkeys(("id", "org_id"), _ID)
    | dict.fromkeys((*_TOKENS, "latency_ms"), _WHOLE)
    | dict.fromkeys(_MONEY, _EXACT)
    | {
        "finish_reason": _TEXT,
        "embedding": _VECTOR,
        "ts": (lambda t: t.is_timestamp(), "timestamps with a time zone"),
        "cached": (lambda t: t.is_boolean(), "true and false"),
    }
)


def lower(text: str | None) -> str | None:
    """The lower case that keywords and bodies share: Python's, since engines' own disagree on `İ` and `Σ`."""
    return None if text is None else text.lower()


def to_arrow(requests: Sequence[RequestLog]) -> pa.Table:
    """The requests as an Arrow table of `SCHEMA` and `OPTIONAL`."""
    derived = {
        "id": [str(r.id) for r in requests],
        "org_id": [str(r.org_id) for r in requests],
        "body_lower": [lower(r.body) for r in requests],
    }
    schema = pa.schema([*SCHEMA, *OPTIONAL])
    return pa.table(
        {
            name: derived.get(name) or [getattr(r, name, None) for r in requests]
            for name in schema.names
        },
        schema=schema,
    )


def to_table(requests: Sequence[RequestLog], *, threads: int | None = None) -> ir.Table:
    """The requests as a table of an embedded, in-memory DuckDB of their own; `threads` of None lets DuckDB choose."""
    connection = duckdb.connect(config={} if threads is None else {"threads": threads})
    connection.register("arrived", to_arrow(requests))
    connection.execute("CREATE TEMP TABLE requests AS FROM arrived")
    connection.unregister("arrived")
    return ibis.duckdb.from_connection(connection).table("requests")


def check_columns(table: ir.Table, also: Sequence[str] = ()) -> None:
    """Raise InputError where the table lacks a column that a replay reads, or has one of a type that says something else.

    `also` names columns that this question reads besides; a table may lack the outcome of a request, but not what clusters it.
    """
    missing = [name for name in SCHEMA.names if name not in table.columns and name != "body_lower"]
    if missing:
        raise InputError(
            f"the table has no column {', '.join(missing)}; expected {', '.join(SCHEMA.names[:-1])} and, for conditions "
            "on the prompt, body_lower"
        )
    for name in also:
        if name not in table.columns and name != "finish_reason":
            raise InputError(
                f"config.cluster is {name!r}, and the log has no such column; expected hour, day, tag or a column"
            )
    for name in (*SCHEMA.names, *also):
        if name not in table.columns:
            continue
        accepts, wanted = _ACCEPTED.get(name, _ANY)
        found = table[name].type()
        if not (holds_instants(table, name) if name == "ts" else accepts(found)):
            raise InputError(
                f"the column {name} is {found}; expected {wanted}: cast it before the replay"
            )


def as_read(table: ir.Table, **also: ir.Column) -> ir.Table:
    """The columns that a replay reads, in the types that it computes with; `id` and `org_id` stay text or UUID as they are."""
    columns = {name: table[name] for name in SCHEMA.names if name in table.columns}
    computed = _COMPUTED | dict.fromkeys(_MONEY, money_type(table.get_backend()))
    typed = {
        name: column.cast(computed[name]) if name in computed else column
        for name, column in columns.items()
    }
    return table.select(**typed, **also)


def broken(table: ir.Table) -> ir.BooleanValue:
    """Whether a row lacks a value that it must have, or has one that no request has."""
    return reduce(or_, _faults(table).values())


def refuse_broken(table: ir.Table) -> None:
    """Raise InputError that counts, by column, the rows of `table` that are `broken` or have no `ts` or `org_id`."""
    faults = _faults(table) | {name: table[name].isnull() for name in ("ts", "org_id")}
    counts = fetch(
        table.aggregate(**{name: fault.sum() for name, fault in faults.items()})
    ).to_pylist()[0]
    said = "; ".join(
        f"{name} in {count:,} rows, {_LIMITS.get(name, 'never null')}"
        for name, count in counts.items()
        if count
    )
    raise InputError(f"the table has rows that are no requests: {said}")


def _faults(table: ir.Table) -> dict[str, ir.BooleanValue]:
    """By column, whether a row's value is missing or out of bounds."""
    absent = {name: table[name].isnull() for name in ("id", "provider", "model", "cached")}
    tokens = {name: _outside(table[name], MAX_TOKENS) for name in _TOKENS}
    money = {name: _outside(table[name], int(MAX_MONEY)) for name in _MONEY}
    latency = table.latency_ms.notnull() & _outside(table.latency_ms, MAX_MILLISECONDS)
    return absent | tokens | money | {"latency_ms": latency}


def _outside(column: ir.NumericColumn, bound: int) -> ir.BooleanValue:
    return column.isnull() | (column < 0) | (column >= bound)
