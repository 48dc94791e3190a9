"""Where engines differ in how a table is read, kept and compiled; what they compute is the same expression on all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.util import gen_name


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
    yield from backend.con.sql(backend.compile(table)).to_arrow_reader(rows)


def compiled(table: ir.Table) -> ir.Table:
    """`table` as DuckDB's own SQL, compiled once: each of the queries over it would compile it anew, which takes longer than
    DuckDB takes for a small log. As it is on other engines, where that is no share of the time."""
    backend = table.get_backend()
    return backend.sql(backend.compile(table), schema=table.schema()) if backend.name == "duckdb" else table


def materialised(table: ir.Table) -> AbstractContextManager[ir.Table]:
    """`table` computed once, for the block, where the engine offers that for no more than the session; else as it is."""
    backend = table.get_backend()
    return _KEPT.get(backend.name, _as_it_is)(backend, table)


def is_eager(table: ir.Table) -> bool:
    """Whether its engine computes what is `materialised` at once, so that what it was computed from may go."""
    return bool(table.get_backend().name == "duckdb")


@contextmanager
def numbered(table: ir.Table) -> Iterator[ir.Table]:
    """`table`, kept as by `materialised`, with a whole number `row` of its own for each row. Ids must be unique."""
    with materialised(table) as kept:
        yield _NUMBERED.get(kept.get_backend().name, _by_id)(kept)


def _by_position(kept: ir.Table) -> ir.Table:
    """By the place in a table that was just made, which costs nothing."""
    schema = ibis.schema(dict(kept.schema().items()) | {"row": "int64"})
    return kept.get_backend().sql(f"SELECT *, rowid AS row FROM {kept.get_name()}", schema=schema)  # noqa: S608


def _by_id(kept: ir.Table) -> ir.Table:
    """By the order of the ids, which every evaluation finds again."""
    return kept.mutate(row=ibis.row_number().over(order_by=kept.id))


def _read(backend: Any, table: ir.Table) -> pa.Table:
    return backend.to_pyarrow(table)


def _read_spark(backend: Any, table: ir.Table) -> pa.Table:
    # Ibis goes by way of pandas, row by row, where whole numbers beside nulls become floats and years before 1677 fail.
    backend._run_pre_execute_hooks(table)
    return backend.raw_sql(backend.compile(table)).toArrow()


@contextmanager
def _temporary(backend: Any, table: ir.Table) -> Iterator[ir.Table]:
    name = gen_name("ttplan")
    try:
        yield backend.create_table(name, table, temp=True)
    finally:
        # Not drop_table: what Ibis 12 makes of it with a current sqlglot has no name in it. Twice, since an interrupt that was
        # meant for the query before may hit the first.
        with suppress(duckdb.InterruptException):
            backend.raw_sql(f"DROP TABLE IF EXISTS {name}")
        backend.raw_sql(f"DROP TABLE IF EXISTS {name}")


@contextmanager
def _cached(backend: Any, table: ir.Table) -> Iterator[ir.Table]:
    backend._run_pre_execute_hooks(table)
    with table.cache() as kept:
        yield kept


@contextmanager
def _as_it_is(backend: Any, table: ir.Table) -> Iterator[ir.Table]:
    yield table


_READ: dict[str, Callable[[Any, ir.Table], pa.Table]] = {"pyspark": _read_spark}
_KEPT: dict[str, Callable[[Any, ir.Table], AbstractContextManager[ir.Table]]] = {"duckdb": _temporary, "pyspark": _cached}
_NUMBERED: dict[str, Callable[[ir.Table], ir.Table]] = {"duckdb": _by_position}
