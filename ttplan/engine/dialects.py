"""Where engines differ in how a table is read, kept and compiled; what they compute is the same expression on all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from decimal import Decimal
from functools import partial
from threading import Lock
from typing import Any

import duckdb
import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa
from ibis.formats.pyarrow import PyArrowData
from ibis.util import gen_name

from ttplan.model.money import MONEY_STEP

EXACT_TYPE = "decimal(38, 0)"
"""Whole numbers to 38 digits: what sums are summed in, since 64 bits are not enough for them."""
ROW_MONEY_TYPE = "decimal(28, 12)"
"""What one request costs or would cost. Sums, differences and doubles of it fit 38 digits, where engines cut nothing."""
MAX_ROW_MONEY = Decimal(10) ** 16 - MONEY_STEP
"""The most that the type holds; the dearest request, 2 * 10^12 tokens at 10^9 USD per million, costs less."""

_COMPILING = Lock()
"""Held where an option of Ibis's is another one for a moment."""


def money_type(backend: Any) -> str:
    """The type that an engine computes a request's money in."""
    return _MONEY.get(backend.name, ROW_MONEY_TYPE)


def fetch(table: ir.Table, backend: Any = None) -> pa.Table:
    """The rows of `table`, read by its own engine, or by `backend` where the table belongs to none."""
    backend = backend or table.get_backend()
    return _READ.get(backend.name, _read)(backend, table)


def fetch_batches(table: ir.Table, rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of `table` in parts of at most that many, in its order; on DuckDB without reading all of them first."""
    backend = table.get_backend()
    if backend.name != "duckdb":
        yield from fetch(table).to_batches(max_chunksize=rows)
        return
    # Not to_pyarrow_batches, which in Ibis 12 asks DuckDB 2 for a method that is gone.
    yield from backend.con.sql(_sql(backend, table)).to_arrow_reader(rows)


def compiled(table: ir.Table) -> AbstractContextManager[ir.Table]:
    """`table` for the block, as a view of DuckDB's: each of the queries over it would compile it anew, which takes longer than
    DuckDB takes for a small log. As it is on other engines, where that is no share of the time."""
    backend = table.get_backend()
    return _COMPILED.get(backend.name, _as_it_is)(backend, table)


def materialised(table: ir.Table) -> AbstractContextManager[ir.Table]:
    """`table` computed once, for the block, where the engine offers that for no more than the session; else as it is."""
    backend = table.get_backend()
    return _KEPT.get(backend.name, _as_it_is)(backend, table)


def holds_instants(table: ir.Table, name: str) -> bool:
    """Whether a column is of timestamps that no session's time zone moves."""
    backend, kind = table.get_backend(), table[name].type()
    if not kind.is_timestamp():
        return False
    return _INSTANTS.get(backend.name, _has_a_zone)(backend, table.select(name))


def half_away(amount: ir.DecimalValue, backend: Any) -> ir.DecimalValue:
    """A decimal that is not negative, of 15 digits after the point, as money, which has 12: half away from zero."""
    return _ROUNDED.get(backend.name, _by_cast)(amount, money_type(backend))


def exact_sum(value: ir.NumericColumn, backend: Any) -> ir.NumericScalar:
    """The sum of whole numbers, which 64 bits may not hold, to 38 digits."""
    # Ibis takes a sum of whole decimals to have two digits after the point, and would make room for them.
    return (value if backend.name in _SUMS_WIDE else value.cast(EXACT_TYPE)).sum().cast(EXACT_TYPE)


def _by_cast(amount: ir.DecimalValue, kind: str) -> ir.DecimalValue:
    return amount.cast(kind)


def _by_short_cast(amount: ir.DecimalValue, kind: str) -> ir.DecimalValue:
    # DuckDB divides 128 bits twenty times as slowly as 64, which hold what nearly every request costs.
    short = amount.cast("decimal(18, 15)").cast("decimal(18, 12)").cast(kind)
    return (amount < 1_000).ifelse(short, amount.cast(kind))


def _by_remainder(amount: ir.DecimalValue, kind: str) -> ir.DecimalValue:
    # Polars casts half to even. Taking a remainder is as exact, but three times the work.
    half, step = (
        ibis.literal(Decimal(digits), "decimal(35, 15)")
        for digits in ("0.0000000000005", "0.000000000001")
    )
    raised = amount + half
    return (raised - raised % step).cast(kind)


def _has_a_zone(backend: Any, column: ir.Table) -> bool:
    return column.schema().types[0].timezone is not None


def _is_spark_timestamp(backend: Any, column: ir.Table) -> bool:
    # Ibis shows Spark's TIMESTAMP, which is an instant, and TIMESTAMP_NTZ as one type.
    return str(_spark_frame(backend, column).schema.fields[0].dataType.typeName()) == "timestamp"


def is_eager(table: ir.Table) -> bool:
    """Whether its engine computes what is `materialised` at once, so that what it was computed from may go."""
    return bool(table.get_backend().name == "duckdb")


@contextmanager
def numbered(table: ir.Table) -> Iterator[ir.Table]:
    """`table`, kept as by `materialised`; where its engine numbers rows, with a whole number `row` of its own for each."""
    with materialised(table) as kept:
        yield _NUMBERED.get(kept.get_backend().name, lambda kept: kept)(kept)


def _by_position(kept: ir.Table) -> ir.Table:
    """By the place in a table that was just made, which costs nothing."""
    schema = ibis.schema(dict(kept.schema().items()) | {"row": "int64"})
    return kept.get_backend().sql(f"SELECT *, rowid AS row FROM {kept.get_name()}", schema=schema)  # noqa: S608


def _read(backend: Any, table: ir.Table) -> pa.Table:
    return backend.to_pyarrow(table)


def _spark_frame(backend: Any, table: ir.Table) -> Any:
    """`table` as a Spark DataFrame."""
    backend._run_pre_execute_hooks(table)
    # In SQL text Spark puts variables, of the environment too, in place of `${name}`, within quotes as well.
    return backend.raw_sql(backend.compile(table).replace("${", r"\u0024{"))


def _read_spark(backend: Any, table: ir.Table) -> pa.Table:
    # Ibis goes by way of pandas, row by row, where whole numbers beside nulls become floats and years before 1677 fail.
    return _spark_frame(backend, table).toArrow()


def _read_duckdb(backend: Any, table: ir.Table) -> pa.Table:
    found = backend.con.sql(_sql(backend, table)).to_arrow_table()
    return PyArrowData.convert_table(found, table.schema())


def _sql(backend: Any, table: ir.Table) -> str:
    """`table` in DuckDB's SQL, a query within a query for each stage of it.

    Ibis would merge stages, which takes it a third of the time that it compiles in all, and repeats in each column what a stage
    had computed once.
    """
    backend._run_pre_execute_hooks(table)
    with _COMPILING:
        was, ibis.options.sql.fuse_selects = ibis.options.sql.fuse_selects, False
        try:
            return str(backend.compile(table))
        finally:
            ibis.options.sql.fuse_selects = was


def _named(kind: str, backend: Any, table: ir.Table) -> Iterator[ir.Table]:
    """`table` as a temporary view or table of DuckDB's."""
    name = gen_name("ttplan")
    try:
        backend.raw_sql(f"CREATE TEMP {kind} {name} AS {_sql(backend, table)}")
        # Not backend.table, which would have DuckDB plan a view to say its columns.
        yield ops.DatabaseTable(name, schema=table.schema(), source=backend).to_expr()
    finally:
        # Not drop_table: what Ibis 12 makes of it with a current sqlglot has no name in it. Twice, since an interrupt that was
        # meant for the query before may hit the first.
        with suppress(duckdb.InterruptException):
            backend.raw_sql(f"DROP {kind} IF EXISTS {name}")
        backend.raw_sql(f"DROP {kind} IF EXISTS {name}")


_viewed = contextmanager(partial(_named, "VIEW"))
_temporary = contextmanager(partial(_named, "TABLE"))


@contextmanager
def _cached(backend: Any, table: ir.Table) -> Iterator[ir.Table]:
    name, frame = gen_name("ttplan"), _spark_frame(backend, table).cache()
    try:
        frame.createTempView(name)
        yield backend.table(name)
    finally:
        backend.raw_sql(f"DROP VIEW IF EXISTS {name}")
        frame.unpersist()


@contextmanager
def _as_it_is(backend: Any, table: ir.Table) -> Iterator[ir.Table]:
    yield table


_READ: dict[str, Callable[[Any, ir.Table], pa.Table]] = {
    "duckdb": _read_duckdb,
    "pyspark": _read_spark,
}
_KEPT: dict[str, Callable[[Any, ir.Table], AbstractContextManager[ir.Table]]] = {
    "duckdb": _temporary,
    "pyspark": _cached,
}
_COMPILED: dict[str, Callable[[Any, ir.Table], AbstractContextManager[ir.Table]]] = {
    "duckdb": _viewed
}
_INSTANTS: dict[str, Callable[[Any, ir.Table], bool]] = {"pyspark": _is_spark_timestamp}
_ROUNDED: dict[str, Callable[[ir.DecimalValue, str], ir.DecimalValue]] = {
    "duckdb": _by_short_cast,
    "polars": _by_remainder,
}
# DuckDB widens the operands of a difference by a digit, row by row, unless they have 38 already; it then checks each result.
_MONEY = {"duckdb": "decimal(38, 12)"}
_NUMBERED: dict[str, Callable[[ir.Table], ir.Table]] = {"duckdb": _by_position}
# DuckDB sums 64 bits in 128.
_SUMS_WIDE = {"duckdb"}
