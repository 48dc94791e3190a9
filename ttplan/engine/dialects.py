"""How engines differ in reading, keeping and compiling a table. What they compute is the same
expression on all."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from decimal import Decimal
from functools import lru_cache, reduce
from operator import add
from threading import Lock
from typing import Any

import duckdb
import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from ibis.backends.duckdb import Backend
from ibis.formats.pyarrow import PyArrowData
from ibis.util import gen_name

from ttplan.model.money import MONEY_STEP

Ints = npt.NDArray[np.int64]
Amounts = Ints | npt.NDArray[np.object_]
"""Whole 10^-12 USD: 64-bit numbers if they fit, otherwise Python's own."""

EXACT_TYPE = "decimal(38, 0)"
"""Whole numbers to 38 digits. Sums use it, since they need more than 64 bits."""
ROW_MONEY_TYPE = "decimal(28, 12)"
"""The cost of one request. Sums, differences and doubles of it fit 38 digits, so engines cut
nothing."""
MAX_ROW_MONEY = Decimal(10) ** 16 - MONEY_STEP
"""The largest amount of that type. The most expensive request, 2 * 10^12 tokens at 10^9 USD per
million, costs less."""

_duckdb_quotient = ibis.udf.scalar.builtin(
    lambda number, by: number, name="divide", signature=(("int64", "int64"), "int64")
)
"""DuckDB's `//`, for which Ibis has no operation."""
_COMPILING = Lock()
"""Held while an option of Ibis is changed."""

Build = Callable[..., ir.Table]
"""Builds an expression over a table."""


def _itself(table: ir.Table) -> ir.Table:
    return table


def as_integers(column: pa.Array | pa.ChunkedArray) -> Ints:
    """A column of whole numbers without nulls, as 64-bit integers."""
    return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)


def as_amounts(column: pa.ChunkedArray) -> Amounts:
    """USD as whole 10^-12 USD. A column without digits after the point has these already."""
    if pa.types.is_integer(column.type):
        return as_integers(column)
    whole = column.combine_chunks()
    if column.type.scale:
        # The digits of a decimal with 12 of them after the point, read as a whole number.
        whole = column.cast(pa.decimal128(38, 12)).combine_chunks().view(pa.decimal128(38, 0))
    try:
        return as_integers(whole)
    except pa.ArrowInvalid:
        return np.array([int(value) for value in whole.to_pylist()], dtype=np.object_)


def as_microseconds(ts: pa.Array | pa.ChunkedArray) -> Ints:
    """Instants as microseconds since 1970."""
    return as_integers(ts.cast(pa.timestamp("us", tz="UTC")))


def money_type(backend: Any) -> str:
    """The type that an engine computes a request's money in."""
    return _MONEY.get(backend.name, ROW_MONEY_TYPE)


def fetch(table: ir.Table, backend: Any = None) -> pa.Table:
    """The rows of `table`, read by its own engine, or by `backend` if the table belongs to none."""
    backend = backend or table.get_backend()
    return _READ.get(backend.name, _read)(backend, table)


def fetch_batches(table: ir.Table, rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of `table` in order, in batches of at most `rows`; DuckDB streams them."""
    backend = table.get_backend()
    if backend.name != "duckdb":
        yield from fetch(table).to_batches(max_chunksize=rows)
        return
    # Not to_pyarrow_batches: Ibis 12 calls a method that DuckDB 2 no longer has.
    yield from backend.con.sql(_sql(backend, table)).to_arrow_reader(rows)


def fetch_from(
    table: ir.Table,
    build: Build,
    *arguments: Hashable,
    numbers: Sequence[int] = (),
    beside: Sequence[ir.Table] = (),
) -> pa.Table:
    """The rows of `build(table, *beside, *arguments, *numbers)`.

    DuckDB compiles it once for all tables of `compiled`, `materialised` and `small_table` with the
    same columns, whatever the numbers: they may stand in the query only as they are or doubled. A
    query with numbers must not contain text of users.
    """
    tables = (table, *beside)
    if not all(map(_has_template, tables)) or len(numbers) > len(_NUMBERS):
        return fetch(build(*tables, *arguments, *numbers))
    sql, schema = _sql_from(tables, build, arguments, numbers)
    rows = table.get_backend().con.sql(sql).to_arrow_table()
    return PyArrowData.convert_table(rows, schema)


def compiled(
    table: ir.Table,
    build: Build = _itself,
    *arguments: Hashable,
    beside: Sequence[ir.Table] = (),
) -> AbstractContextManager[ir.Table]:
    """`build(table, *beside, *arguments)` as a DuckDB view, for the block; only built on other
    engines.

    Without the view each query over it would compile it again, which takes longer than DuckDB
    needs for a small log.
    """
    backend = table.get_backend()
    if backend.name == "duckdb":
        return _named("VIEW", backend, (table, *beside), build, arguments)
    return nullcontext(build(table, *beside, *arguments))


def materialised(
    table: ir.Table,
    build: Build = _itself,
    *arguments: Hashable,
    beside: Sequence[ir.Table] = (),
) -> AbstractContextManager[ir.Table]:
    """`build(table, *beside, *arguments)` computed once, for the block, if the engine has temporary
    tables; otherwise only built."""
    backend = table.get_backend()
    if backend.name == "duckdb":
        return _named("TABLE", backend, (table, *beside), build, arguments)
    built = build(table, *beside, *arguments)
    return _cached(backend, built) if backend.name == "pyspark" else nullcontext(built)


@contextmanager
def arrow_table(backend: Any, rows: pa.Table) -> Iterator[ir.Table]:
    """Rows of DuckDB or Polars, which stay in Arrow's memory, as a table of the engine, for the
    block."""
    if backend.name != "duckdb":
        yield ibis.memtable(rows)
        return
    name = gen_name("ttplan")
    backend.con.register(name, rows)
    try:
        schema = ibis.Schema.from_pyarrow(rows.schema)
        yield ops.DatabaseTable(name, schema=schema, source=backend).to_expr()
    finally:
        backend.con.unregister(name)


@contextmanager
def small_table(backend: Any, rows: pa.Table) -> Iterator[ir.Table]:
    """Rows as a table of that engine, for the block."""
    name = gen_name("ttplan")
    if backend.name == "pyspark":
        # Not memtable: Ibis goes through pandas, where decimals with nulls fail.
        backend._session.createDataFrame(rows).createTempView(name)
        try:
            yield backend.table(name)
        finally:
            backend.raw_sql(f"DROP VIEW IF EXISTS {name}")
        return
    if backend.name != "duckdb":
        yield ibis.memtable(rows)
        return
    backend.con.register(f"{name}_rows", rows)
    try:
        backend.raw_sql(f"CREATE TEMP TABLE {name} AS FROM {name}_rows")
        schema = ibis.Schema.from_pyarrow(rows.schema)
        yield ops.DatabaseTable(name, schema=schema, source=backend).to_expr()
    finally:
        _drop(backend, "TABLE", name)
        backend.con.unregister(f"{name}_rows")


def holds_instants(table: ir.Table, name: str) -> bool:
    """Whether a column has timestamps that do not depend on the session's time zone."""
    backend, kind = table.get_backend(), table[name].type()
    if not kind.is_timestamp():
        return False
    return _INSTANTS.get(backend.name, _has_zone)(backend, table.select(name))


def half_away(amount: ir.DecimalValue, backend: Any) -> ir.DecimalValue:
    """A non-negative decimal of 15 digits after the point, rounded half away from zero to money's
    12."""
    return _ROUNDED.get(backend.name, _by_cast)(amount, money_type(backend))


def half_away_product(amount: ir.DecimalValue, backend: Any) -> ir.DecimalValue:
    """A decimal of 18 digits after the point, rounded half away from zero to money's 12."""
    if backend.name != "polars":
        return amount.cast("decimal(38, 12)").cast(money_type(backend))
    half, step = (
        ibis.literal(Decimal(digits), "decimal(35, 18)")
        for digits in ("0.000000000000500000", "0.000000000001000000")
    )
    size = amount.abs() + half
    rounded = (size - size % step).cast(money_type(backend))
    return (amount < 0).ifelse(-rounded, rounded)


def exact_total(costs: Sequence[ir.DecimalValue], backend: Any) -> ir.DecimalValue:
    """The sum of up to 16 amounts of a row, each with 15 digits after the point."""
    if backend.name != "pyspark":
        return reduce(add, (cost.cast("decimal(38, 15)") for cost in costs)).cast("decimal(38, 15)")
    # Each sum takes Spark a digit, and past 38 it gives up those after the point: so in pairs.
    level = [cost.cast("decimal(32, 15)") for cost in costs]
    while len(level) > 1:
        level = [reduce(add, level[i : i + 2]) for i in range(0, len(level), 2)]
    return level[0].cast("decimal(36, 15)")


def exact_sum(value: ir.NumericColumn, backend: Any) -> ir.NumericScalar:
    """The sum of whole numbers, to 38 digits."""
    # Ibis would type a sum of whole decimals with two digits after the point.
    return (value if backend.name in _SUMS_WIDE else value.cast(EXACT_TYPE)).sum().cast(EXACT_TYPE)


def quotient(number: ir.IntegerValue, by: int, backend: Any) -> ir.IntegerValue:
    """The quotient of a non-negative whole number, rounded down."""
    if backend.name == "duckdb":
        return _duckdb_quotient(number, by)
    # Ibis divides whole numbers as floats: the quotient may be off by one or two, which the
    # remainder tells.
    near = number // by
    return near + (number - near * by) // by


def _by_cast(amount: ir.DecimalValue, kind: str) -> ir.DecimalValue:
    return amount.cast(kind)


def _by_short_cast(amount: ir.DecimalValue, kind: str) -> ir.DecimalValue:
    # DuckDB divides 128 bits twenty times as slowly as 64, which are enough for nearly every
    # request.
    short = amount.cast("decimal(18, 15)").cast("decimal(18, 12)").cast(kind)
    return (amount < 1_000).ifelse(short, amount.cast(kind))


def _by_remainder(amount: ir.DecimalValue, kind: str) -> ir.DecimalValue:
    # Polars casts half to even. A remainder is as exact, but three times the work.
    half, step = (
        ibis.literal(Decimal(digits), "decimal(35, 15)")
        for digits in ("0.0000000000005", "0.000000000001")
    )
    raised = amount + half
    return (raised - raised % step).cast(kind)


def _has_zone(backend: Any, column: ir.Table) -> bool:
    return column.schema().types[0].timezone is not None


def _is_spark_timestamp(backend: Any, column: ir.Table) -> bool:
    # Ibis has one type for Spark's TIMESTAMP, which is an instant, and TIMESTAMP_NTZ.
    return str(_spark_frame(backend, column).schema.fields[0].dataType.typeName()) == "timestamp"


def is_eager(table: ir.Table) -> bool:
    """Whether the engine computes a `materialised` table at once, so that its source can be
    dropped."""
    return bool(table.get_backend().name == "duckdb")


@contextmanager
def numbered(table: ir.Table, build: Build = _itself, *arguments: Hashable) -> Iterator[ir.Table]:
    """As `materialised`; in DuckDB with a unique whole number `row` for each row: its position,
    which costs nothing."""
    with materialised(table, build, *arguments) as kept:
        if is_eager(kept):
            schema = ibis.schema(dict(kept.schema().items()) | {"row": "int64"})
            query = f"SELECT *, rowid AS row FROM {kept.get_name()}"  # noqa: S608
            yield kept.get_backend().sql(query, schema=schema)
        else:
            yield kept


def _read(backend: Any, table: ir.Table) -> pa.Table:
    return backend.to_pyarrow(table)


def _spark_frame(backend: Any, table: ir.Table) -> Any:
    """`table` as a Spark DataFrame."""
    backend._run_pre_execute_hooks(table)
    # Spark substitutes variables, also of the environment, for `${name}` in SQL text, even within
    # quotes.
    return backend.raw_sql(backend.compile(table).replace("${", r"\u0024{"))


def _read_spark(backend: Any, table: ir.Table) -> pa.Table:
    # Ibis goes through pandas, where whole numbers with nulls become floats and years before 1677
    # fail.
    return _spark_frame(backend, table).toArrow()


def _read_duckdb(backend: Any, table: ir.Table) -> pa.Table:
    rows = backend.con.sql(_sql(backend, table)).to_arrow_table()
    return PyArrowData.convert_table(rows, table.schema())


def _sql(backend: Any, table: ir.Table) -> str:
    """`table` in DuckDB's SQL, with a subquery for each stage.

    Merging the stages takes Ibis a third of its compile time, and repeats in each column what a
    stage computes once.
    """
    backend._run_pre_execute_hooks(table)
    return _compile(backend, table)


def _compile(backend: Any, table: ir.Table) -> str:
    with _COMPILING:
        was, ibis.options.sql.fuse_selects = ibis.options.sql.fuse_selects, False
        try:
            return str(backend.compile(table))
        finally:
            ibis.options.sql.fuse_selects = was


_COMPILER = Backend()
"""Compiles without a connection."""
_TABLES = tuple(gen_name("ttplan") for _ in range(6))
"""The names of tables in `_template`. Nobody can guess them, so no text of a user contains one."""
_NUMBERS = tuple(range(700_000_001, 700_000_017))
"""What `_template` has in place of numbers."""


@lru_cache(maxsize=256)
def _template(
    build: Build, schemas: tuple[ibis.Schema, ...], arguments: tuple[Hashable, ...], numbers: int
) -> tuple[str, ibis.Schema]:
    """The SQL of an expression over tables with these schemas, and its own schema."""
    tables = [
        ops.DatabaseTable(name, schema=schema, source=_COMPILER).to_expr()
        for name, schema in zip(_TABLES, schemas, strict=False)
    ]
    built = build(*tables, *arguments, *_NUMBERS[:numbers])
    return _compile(_COMPILER, built), built.schema()


def _has_template(table: ir.Table) -> bool:
    return table.get_backend().name == "duckdb" and type(table.op()) is ops.DatabaseTable


def _sql_from(
    tables: Sequence[ir.Table],
    build: Build,
    arguments: tuple[Hashable, ...],
    numbers: Sequence[int] = (),
) -> tuple[str, ibis.Schema]:
    """The SQL of `build(*tables, *arguments, *numbers)`, and its schema. The tables have names."""
    schemas = tuple(table.schema() for table in tables)
    sql, schema = _template(build, schemas, arguments, len(numbers))
    for number, placeholder in zip(numbers, _NUMBERS, strict=False):
        sql = re.sub(rf"\b{placeholder}\b", str(number), sql)
        sql = re.sub(rf"\b{2 * placeholder}\b", str(2 * number), sql)
    for name, table in zip(_TABLES, tables, strict=False):
        sql = sql.replace(name, table.get_name())
    return sql, schema


@contextmanager
def _named(
    kind: str,
    backend: Any,
    tables: Sequence[ir.Table],
    build: Build,
    arguments: tuple[Hashable, ...],
) -> Iterator[ir.Table]:
    """`build(*tables, *arguments)` as a temporary view or table of DuckDB."""
    name = gen_name("ttplan")
    if build is not _itself and all(map(_has_template, tables)):
        sql, schema = _sql_from(tables, build, arguments)
    else:
        built = build(*tables, *arguments)
        sql, schema = _sql(backend, built), built.schema()
    try:
        backend.raw_sql(f"CREATE TEMP {kind} {name} AS {sql}")
        # Not backend.table: DuckDB would plan the view only to list its columns.
        yield ops.DatabaseTable(name, schema=schema, source=backend).to_expr()
    finally:
        _drop(backend, kind, name)


def _drop(backend: Any, kind: str, name: str) -> None:
    """Drop a temporary view or table of DuckDB."""
    # Not drop_table: with a current sqlglot, Ibis 12 leaves out the name.
    execute_surely(backend.con, f"DROP {kind} IF EXISTS {name}")


def execute_surely(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Run a statement that may be repeated, though the previous query is interrupted."""
    # Twice, since that interrupt may arrive during the first.
    with suppress(duckdb.InterruptException):
        connection.execute(sql)
    connection.execute(sql)


@contextmanager
def _cached(backend: Any, table: ir.Table) -> Iterator[ir.Table]:
    name, frame = gen_name("ttplan"), _spark_frame(backend, table).cache()
    try:
        frame.createTempView(name)
        yield backend.table(name)
    finally:
        backend.raw_sql(f"DROP VIEW IF EXISTS {name}")
        frame.unpersist()


_READ: dict[str, Callable[[Any, ir.Table], pa.Table]] = {
    "duckdb": _read_duckdb,
    "pyspark": _read_spark,
}
_INSTANTS: dict[str, Callable[[Any, ir.Table], bool]] = {"pyspark": _is_spark_timestamp}
_ROUNDED: dict[str, Callable[[ir.DecimalValue, str], ir.DecimalValue]] = {
    "duckdb": _by_short_cast,
    "polars": _by_remainder,
}
# DuckDB widens the operands of a difference by a digit, row by row, unless they have 38 digits
# already.
_MONEY = {"duckdb": "decimal(38, 12)"}
# DuckDB sums 64 bits in 128.
_SUMS_WIDE = {"duckdb"}
