"""Parquet files as a table of requests for a replay: read in place, not imported."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from ttplan.logs.sources.files import connect, display_name, path_list, restrict, unreadable
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike

_MEMORY = re.compile(r"\d{1,9}(\.\d{1,3})? ?([KMGT]i?B)", re.IGNORECASE)
_MONEY = "decimal(38, 12)"
_INVALID = -1
"""A replay refuses it as out of bounds."""


class _Column(NamedTuple):
    """A column that a replay reads: its valid types, also in words, and how to read a value."""

    accepts: Callable[[dt.DataType], bool]
    expected: str
    read: Callable[[ir.Table, str], ir.Value]
    required: bool = False
    default: Callable[[ir.Table], ir.Value] | None = None


def _unchanged(table: ir.Table, name: str) -> ir.Value:
    return table[name]


def _name(table: ir.Table, name: str) -> ir.Value:
    return table[name].nullif("")


def _id(table: ir.Table, name: str) -> ir.Value:
    column = table[name]
    return column if column.type().is_uuid() else column.cast("string").nullif("")


def _org(table: ir.Table, name: str) -> ir.Value:
    # Not try_cast: a text that is not a UUID is an error and does not mean the store's own.
    return table[name].cast("uuid")


def _count(table: ir.Table, name: str) -> ir.Value:
    column = table[name]
    if not column.type().is_floating():
        return column
    value = ibis.cases((column == column.round(), column.round().try_cast("int64")), else_=_INVALID)
    return ibis.cases((column.isnull(), ibis.null("int64")), else_=value.fill_null(_INVALID))


def _money(table: ir.Table, name: str) -> ir.Value:
    column = table[name]
    if not column.type().is_floating():
        return column
    # From the shortest text, rounded half away from zero: a cast of the float would use its binary
    # digits.
    amount = column.cast("string").try_cast(_MONEY)
    return ibis.cases(
        (column.isnull(), ibis.null(_MONEY)),
        else_=amount.fill_null(ibis.literal(_INVALID).cast(_MONEY)),
    )


def _is_number(kind: dt.DataType) -> bool:
    return bool(kind.is_integer() or kind.is_decimal() or kind.is_floating())


def _is_count(kind: dt.DataType) -> bool:
    return bool(kind.is_integer() or kind.is_floating() or (kind.is_decimal() and kind.scale == 0))


def _is_id(kind: dt.DataType) -> bool:
    return bool(kind.is_string() or kind.is_uuid())


_NAME = _Column(dt.DataType.is_string, "text", _name, required=True)
_TEXT = _Column(
    dt.DataType.is_string, "text", _unchanged, default=lambda table: ibis.null("string")
)
_COUNT = _Column(_is_count, "whole numbers", _count, required=True)
_COLUMNS = {
    "id": _Column(
        lambda t: _is_id(t) or bool(t.is_integer()),
        "text, UUIDs or whole numbers",
        _id,
        required=True,
    ),
    "ts": _Column(
        lambda t: bool(t.is_timestamp() and t.timezone is not None),
        "instants: timestamps with a time zone",
        _unchanged,
        True,
    ),
    "provider": _NAME,
    "model": _NAME,
    "input_tokens": _COUNT,
    "output_tokens": _COUNT,
    "cached_tokens": _COUNT._replace(
        required=False, default=lambda table: ibis.literal(0, "int64")
    ),
    "cost_usd": _Column(_is_number, "numbers", _money, required=True),
    "baseline_cost_usd": _Column(
        _is_number, "numbers", _money, default=lambda table: _money(table, "cost_usd")
    ),
    "cached": _Column(
        dt.DataType.is_boolean,
        "true and false",
        _unchanged,
        default=lambda table: ibis.literal(False),
    ),
    "latency_ms": _COUNT._replace(required=False, default=lambda table: ibis.null("int64")),
    "status": _COUNT._replace(required=False, default=lambda table: ibis.literal(200, "int64")),
    "tag": _TEXT,
    "finish_reason": _TEXT,
}
_ORG = _Column(_is_id, "UUIDs", _org)
_REQUIRED = [name for name, column in _COLUMNS.items() if column.required]


class ParquetLog(NamedTuple):
    """An open table of requests, its number of files, and whether it has a column `org_id`."""

    table: ir.Table
    files: int
    has_org: bool


@contextmanager
def open_parquet_log(
    paths: PathLike | Sequence[PathLike],
    *,
    memory_limit: str | None = None,
    temp_folder: PathLike | None = None,
) -> Iterator[ParquetLog]:
    """Open Parquet files with ttplan's columns as a table for a replay. No row is copied.

    `paths` are files, globs (`logs/*.parquet`), folders, or several of them. Missing values are
    filled in as by an import (`ttplan.logs.fields`); a missing `org_id` is null. An empty name
    becomes null and a count that is not whole becomes negative, so that the replay refuses them.
    Other columns stay as they are.

    DuckDB uses at most `memory_limit` ("2GB") and spills to a folder in `temp_folder` (by default
    the system's), which is removed at the end. Raises InputError if there are no files, they are
    not Parquet, their columns differ, or a column is missing.
    """
    if memory_limit is not None and not _MEMORY.fullmatch(memory_limit):
        raise InputError(f"memory_limit is {memory_limit!r}; expected a size such as 2GB or 500MB")
    files = find_files(paths)
    shown = display_name(paths)
    with tempfile.TemporaryDirectory(prefix="ttplan-", dir=temp_folder) as spill:
        settings: dict[str, Any] = {"preserve_insertion_order": False}
        if memory_limit is not None:
            settings["memory_limit"] = memory_limit
        connection = connect(spill, **settings)
        try:
            restrict(connection, files)
            _check_same_columns(connection, files)
            # A relation takes file names as values; a query would have to quote them.
            connection.read_parquet(
                [str(file) for file in files], hive_partitioning=False
            ).create_view("requests")
            table = ibis.duckdb.from_connection(connection).table("requests")
            yield ParquetLog(_requests(table, str(files[0])), len(files), "org_id" in table.columns)
        except duckdb.OutOfMemoryException as error:
            raise InputError(
                f"memory_limit {memory_limit} is not enough for this replay:"
                f" {str(error).splitlines()[0]}; give it more"
            ) from None
        except duckdb.ConversionException as error:
            raise InputError(
                f"{shown}: a value cannot be used: {str(error).splitlines()[0]};"
                " org_id has to be a UUID"
            ) from None
        except (
            duckdb.BinderException,
            duckdb.CatalogException,
            duckdb.InternalException,
            duckdb.InterruptException,
        ):
            raise
        except duckdb.Error as error:  # a damaged file raises errors of many kinds
            raise unreadable(shown, "parquet", error) from None
        finally:
            connection.close()


def find_files(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """The files that `paths` name, in order, each once. Raises InputError if a path names none."""
    files: dict[Path, None] = {}
    for path in path_list(paths):
        text = os.fspath(path)
        if os.path.isfile(text):
            names = [Path(text)]
        elif os.path.isdir(text):
            names = sorted(name for name in Path(text).rglob("*.parquet") if name.is_file())
        elif glob.has_magic(text):
            matches = glob.glob(text, recursive=True)
            names = sorted(Path(name) for name in matches if os.path.isfile(name))
        else:
            raise InputError(f"{text}: no such file")
        if not names:
            raise InputError(f"{text}: no Parquet files there; expected at least one")
        files |= dict.fromkeys(names)
    if not files:
        raise InputError(
            "no Parquet files were given; expected a path, a glob, a folder, or several of them"
        )
    return list(files)


def _check_same_columns(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """Raises InputError if a file is not Parquet, or its columns or types differ from the first."""
    expected: dict[str, str] = {}
    for file in files:
        try:
            relation = connection.read_parquet([str(file)], hive_partitioning=False)
        except duckdb.Error as error:
            raise unreadable(file, "parquet", error) from None
        columns = dict(zip(relation.columns, map(str, relation.types), strict=True))
        expected = expected or columns
        if columns != expected:
            differing = (n for n in [*expected, *columns] if expected.get(n) != columns.get(n))
            name = next(differing)
            raise InputError(
                f"{file}: column {name} is {columns.get(name, 'missing')}, and in {files[0]} it is"
                f" {expected.get(name, 'missing')}; files that are replayed together need the same"
                " columns of the same types"
            )


def _requests(table: ir.Table, path: str) -> ir.Table:
    """The columns that a replay reads, and all others as they are."""
    # Arrow writes a column that is empty in all rows without a type.
    table = table.drop(*(name for name in table.columns if table[name].type().is_unknown()))
    if missing := [name for name in _REQUIRED if name not in table.columns]:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; expected at least {', '.join(_REQUIRED)};"
            f" the file has {', '.join(table.columns[:20])}"
        )
    for name, column in (_COLUMNS | {"org_id": _ORG}).items():
        if name in table.columns and not column.accepts(table[name].type()):
            raise InputError(
                f"{path}: the column {name} is {table[name].type()}; expected {column.expected}."
                " Cast it, or import the file"
            )
    columns = {name: _read(table, name, column) for name, column in _COLUMNS.items()}
    org = _org(table, "org_id") if "org_id" in table.columns else ibis.null("uuid")
    return table.mutate(**columns, org_id=org)


def _read(table: ir.Table, name: str, column: _Column) -> ir.Value:
    if name not in table.columns:
        assert column.default is not None  # noqa: S101 - a required column exists
        return column.default(table)
    value = column.read(table, name)
    if column.default is None or name in ("tag", "finish_reason", "latency_ms"):
        return value
    return ibis.coalesce(value, column.default(table))
