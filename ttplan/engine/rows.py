"""The table that a replay reads: its columns, its checks, and the rows that belong to a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa

from ttplan.engine.dialects import fetch, fetch_from, holds_instants, money_type
from ttplan.engine.replay_spec import ReplaySpec, Scope
from ttplan.model.errors import InputError
from ttplan.model.money import MAX_MONEY, round_money
from ttplan.model.plan import AUTO
from ttplan.model.request import MAX_TOKENS, RequestLog
from ttplan.model.stored_plan import CostBasis

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
"""The columns that a replay reads. `body_lower` is the body in Python's lower case, and optional.
"""
OPTIONAL = pa.schema(
    [
        pa.field("finish_reason", pa.string()),
        pa.field("embedding", pa.list_(pa.float32())),
        pa.field("session_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("api_key_id", pa.string()),
        pa.field("status", pa.int32()),
        *(
            pa.field(name, pa.int64())
            for name in (
                "cache_write_tokens",
                "reasoning_tokens",
                "input_audio_tokens",
                "output_audio_tokens",
                "input_image_tokens",
                "output_image_tokens",
                "cache_write_1h_tokens",
                "web_searches",
            )
        ),
        pa.field("service_tier", pa.string()),
        pa.field("endpoint", pa.string()),
        pa.field("provider_usage", pa.string()),
        pa.field("prompt_hash", pa.string()),
        pa.field("answer_hash", pa.string()),
    ]
)
"""Columns that semantic caches, clusters and full projections read. A table may lack them, and may
have others."""

PERIODS = {"minute": 60, "quarter_hour": 900, "hour": 3_600, "day": 86_400}
"""Clusters that are periods of time, in seconds, the shortest first; every other cluster is a
column."""

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


class LeftOut(NamedTuple):
    """How many rows are left out, and why."""

    outside_window: int
    other_org: int


def lower(text: str | None) -> str | None:
    """Python's lower case, for keywords and bodies: engines disagree on `İ` and `Σ`."""
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
    """The requests as a table of a new in-memory DuckDB; if `threads` is None, DuckDB chooses."""
    return load_table(
        duckdb.connect(config={} if threads is None else {"threads": threads}), requests
    )


def load_table(connection: duckdb.DuckDBPyConnection, requests: Sequence[RequestLog]) -> ir.Table:
    """The requests as a temporary table of a connection to DuckDB that has none yet."""
    connection.register("arrived", to_arrow(requests))
    connection.execute("CREATE TEMP TABLE requests AS FROM arrived")
    connection.unregister("arrived")
    return ibis.duckdb.from_connection(connection).table("requests")


def check_columns(table: ir.Table, also: Sequence[str] = ()) -> None:
    """Raise InputError if a column that a replay reads is missing or has another type.

    `also` names further columns that this replay reads. Of those, only `finish_reason` may be
    missing.
    """
    missing = [name for name in SCHEMA.names if name not in table.columns and name != "body_lower"]
    if missing:
        raise InputError(
            f"the table has no column {', '.join(missing)}; expected "
            f"{', '.join(SCHEMA.names[:-1])} "
            "and, for conditions on the prompt, body_lower"
        )
    for name in also:
        if name not in table.columns and name != "finish_reason":
            raise InputError(
                f"config.cluster is {name!r}, and the log has no such column; expected hour, day, "
                "tag or a column"
            )
    for name in (*SCHEMA.names, *also):
        if name not in table.columns:
            continue
        accepts, expected = _ACCEPTED.get(name, _ANY)
        actual = table[name].type()
        if not (holds_instants(table, name) if name == "ts" else accepts(actual)):
            raise InputError(
                f"the column {name} is {actual}; expected {expected}: cast it before the replay"
            )


def typed_columns(table: ir.Table, **also: ir.Column) -> ir.Table:
    """The columns that a replay reads, in the types that it computes with, and columns `also`."""
    columns = {name: table[name] for name in SCHEMA.names if name in table.columns}
    computed = _COMPUTED | dict.fromkeys(_MONEY, money_type(table.get_backend()))
    typed = {
        name: column.cast(computed[name]) if name in computed else column
        for name, column in columns.items()
    }
    return table.select(**typed, **also)


def select_window(table: ir.Table, spec: ReplaySpec) -> ir.Table:
    """The rows of the spec's window and organisation."""
    return rows_in_scope(table, spec.scope)


def rows_in_scope(table: ir.Table, scope: Scope) -> ir.Table:
    """The rows of a window and organisation."""
    return table.filter(_in_window(table, scope), _of_org(table, scope))


def count_window(table: ir.Table, spec: ReplaySpec) -> tuple[int, LeftOut]:
    """How many rows the window has, and how many are left out and why.

    Raises InputError if a column is missing or has another type, or a row is not a request.
    """
    cluster = spec.config.cluster
    named = cluster is not None and cluster not in PERIODS and cluster != AUTO
    check_columns(table, (cluster,) if named and cluster else ())
    counts = fetch_from(table, _window_counts, spec.scope).to_pylist()[0]
    if counts["broken"]:
        kept = _in_window(table, spec.scope) & _of_org(table, spec.scope)
        _refuse_faults(table.filter(kept | table.ts.isnull() | table.org_id.isnull()))
    return int(counts["kept"] or 0), LeftOut(int(counts["late"] or 0), int(counts["foreign"] or 0))


def _window_counts(table: ir.Table, scope: Scope) -> ir.Table:
    inside, own = _in_window(table, scope), _of_org(table, scope)
    unplaced = table.ts.isnull() | table.org_id.isnull()
    faults = reduce(or_, _faults(table).values())
    return table.aggregate(
        kept=(inside & own).sum(),
        late=(~inside).sum(),
        foreign=(inside & ~own).sum(),
        broken=((inside & own & faults) | unplaced).sum(),
    )


def cost_basis(table: ir.Table, spec: ReplaySpec) -> CostBasis | None:
    """What the costs in the window are based on; None if the table does not record it.

    `table` may have the columns `cost_basis` ("recorded", "recomputed" or "doctor"; null is
    recorded) and `recorded_cost_usd`.
    """
    if "cost_basis" not in table.columns:
        return None
    money = "decimal(38, 12)"
    kept = select_window(table, spec)
    was = kept.recorded_cost_usd if "recorded_cost_usd" in kept.columns else ibis.null(money)
    kept = kept.mutate(
        basis=kept.cost_basis.fill_null("recorded"),
        was=was.cast(money),
        now=kept.cost_usd.cast(money),
    )
    sums = fetch(
        kept.group_by("basis").aggregate(rows=kept.count(), now=kept.now.sum(), was=kept.was.sum())
    ).to_pylist()
    by_basis: dict[str, dict[str, Any]] = {row["basis"]: row for row in sums}
    recorded, *computed = (by_basis.get(name, {}) for name in ("recorded", "recomputed", "doctor"))

    def usd(row: dict[str, Any], name: str) -> Decimal:
        return round_money(Decimal(row.get(name) or 0))

    return CostBasis(
        recorded=recorded.get("rows", 0),
        recomputed=sum(row.get("rows", 0) for row in computed),
        by_doctor=computed[-1].get("rows", 0),
        recorded_usd=usd(recorded, "now"),
        recomputed_usd=sum((usd(row, "now") for row in computed), Decimal(0)),
        was_recorded_usd=sum((usd(row, "was") for row in computed), Decimal(0)),
    )


def _in_window(table: ir.Table, scope: Scope) -> ir.BooleanValue:
    start, end = (ibis.literal(at, "timestamp('UTC', 6)") for at in (scope.start, scope.end))
    return (table.ts >= start) & (table.ts < end)


def _of_org(table: ir.Table, scope: Scope) -> ir.BooleanValue:
    return table.org_id == ibis.literal(str(scope.org_id)).cast(table.org_id.type())


def _refuse_faults(table: ir.Table) -> None:
    """Raise InputError that counts the rows with faults by column."""
    faults = _faults(table) | {name: table[name].isnull() for name in ("ts", "org_id")}
    counts = fetch(
        table.aggregate(**{name: fault.sum() for name, fault in faults.items()})
    ).to_pylist()[0]
    details = "; ".join(
        f"{name} in {count:,} rows, {_LIMITS.get(name, 'never null')}"
        for name, count in counts.items()
        if count
    )
    raise InputError(f"the table has rows that are not requests: {details}")


def _faults(table: ir.Table) -> dict[str, ir.BooleanValue]:
    """By column, whether a row's value is missing or out of bounds."""
    absent = {name: table[name].isnull() for name in ("id", "provider", "model", "cached")}
    tokens = {name: _outside(table[name], MAX_TOKENS) for name in _TOKENS}
    money = {name: _outside(table[name], int(MAX_MONEY)) for name in _MONEY}
    latency = table.latency_ms.notnull() & _outside(table.latency_ms, MAX_MILLISECONDS)
    return absent | tokens | money | {"latency_ms": latency}


def _outside(column: ir.NumericColumn, bound: int) -> ir.BooleanValue:
    return column.isnull() | (column < 0) | (column >= bound)
