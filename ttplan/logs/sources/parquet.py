"""Requests in Parquet files, read where they are: a table for a replay, of files larger than memory, with nothing imported."""

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

from ttplan.logs.sources.files import unreadable
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike

_MEMORY = re.compile(r"\d{1,9}(\.\d{1,3})? ?([KMGT]i?B)", re.IGNORECASE)
_MONEY = "decimal(38, 12)"
_NOT_WHOLE = -1
"""What a replay refuses as out of bounds."""


class _Column(NamedTuple):
    """A column that a replay reads: which types it may have, in words too, how a value is read, and what stands for none."""

    accepts: Callable[[dt.DataType], bool]
    expected: str
    read: Callable[[ir.Table, str], ir.Value]
    required: bool = False
    default: Callable[[ir.Table], ir.Value] | None = None


def _as_it_is(table: ir.Table, name: str) -> ir.Value:
    return table[name]


def _named(table: ir.Table, name: str) -> ir.Value:
    return table[name].nullif("")


def _id(table: ir.Table, name: str) -> ir.Value:
    column = table[name]
    return column if column.type().is_uuid() else column.cast("string").nullif("")


def _org(table: ir.Table, name: str) -> ir.Value:
    # Not try_cast: what is no UUID is an error, and not the store's own.
    return table[name].cast("uuid")


def _whole(table: ir.Table, name: str) -> ir.Value:
    column = table[name]
    if not column.type().is_floating():
        return column
    value = ibis.cases(
        (column == column.round(), column.round().try_cast("int64")), else_=_NOT_WHOLE
    )
    return ibis.cases((column.isnull(), ibis.null("int64")), else_=value.fill_null(_NOT_WHOLE))


def _money(table: ir.Table, name: str) -> ir.Value:
    column = table[name]
    if not column.type().is_floating():
        return column
    # By way of the shortest text, rounded half away from zero: a cast of the double itself would see its binary digits.
    amount = column.cast("string").try_cast(_MONEY)
    return ibis.cases(
        (column.isnull(), ibis.null(_MONEY)),
        else_=amount.fill_null(ibis.literal(_NOT_WHOLE).cast(_MONEY)),
    )


def _is_text(kind: dt.DataType) -> bool:
    return bool(kind.is_string())


def _is_number(kind: dt.DataType) -> bool:
    return bool(kind.is_integer() or kind.is_decimal() or kind.is_floating())


def _is_whole(kind: dt.DataType) -> bool:
    return bool(kind.is_integer() or kind.is_floating() or (kind.is_decimal() and kind.scale == 0))


def _is_id(kind: dt.DataType) -> bool:
    return bool(kind.is_string() or kind.is_uuid())


_NAME = _Column(_is_text, "text", _named, required=True)
_TEXT = _Column(_is_text, "text", _as_it_is, default=lambda table: ibis.null("string"))
_COUNT = _Column(_is_whole, "whole numbers", _whole, required=True)
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
        _as_it_is,
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
        lambda t: bool(t.is_boolean()),
        "true and false",
        _as_it_is,
        default=lambda table: ibis.literal(False),
    ),
    "latency_ms": _COUNT._replace(required=False, default=lambda table: ibis.null("int64")),
    "status": _COUNT._replace(required=False, default=lambda table: ibis.literal(200, "int64")),
    "tag": _TEXT,
    "finish_reason": _TEXT,
}
_ORG = _Column(_is_id, "UUIDs", _org)


class ParquetLog(NamedTuple):
    """An open table of requests; how many files it is made of, and whether a column says whose they are."""

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
    """The requests of Parquet files in our column names as a table that a replay reads, for the block. No row is copied.

    `paths` are files, globs (`logs/*.parquet`), folders, or several of them. What is missing is as an import fills it in
    (`ttplan.logs.fields`); `org_id` is null where nothing says it. An empty name becomes null and a number that should be whole
    negative, for the replay to refuse. All other columns are there as they are.

    DuckDB keeps within `memory_limit` ("2GB") and spills to a folder of its own in `temp_folder` (the system's, unless given),
    which is removed at the end. Raises InputError where there are no files, or they are no Parquet, differ in a column or lack
    one.
    """
    if memory_limit is not None and not _MEMORY.fullmatch(memory_limit):
        raise InputError(f"memory_limit is {memory_limit!r}; expected a size such as 2GB or 500MB")
    files = find_files(paths)
    with tempfile.TemporaryDirectory(prefix="ttplan-", dir=temp_folder) as spill:
        config: dict[str, Any] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": spill,
            "preserve_insertion_order": False,
        }
        connection = duckdb.connect(
            config=config | ({} if memory_limit is None else {"memory_limit": memory_limit})
        )
        try:
            connection.execute("SET TimeZone = 'UTC'")
            _check_same(connection, files)
            # Relations take file names as values; a query would have to spell them.
            connection.read_parquet(
                [str(file) for file in files], hive_partitioning=False
            ).create_view("requests")
            arrived = ibis.duckdb.from_connection(connection).table("requests")
            yield ParquetLog(
                _requests(arrived, str(files[0])), len(files), "org_id" in arrived.columns
            )
        except duckdb.OutOfMemoryException as error:
            raise InputError(
                f"memory_limit {memory_limit} is not enough for this replay: {str(error).splitlines()[0]}; give it more"
            ) from None
        except duckdb.ConversionException as error:
            raise InputError(
                f"{_shown(paths)}: a value cannot be used: {str(error).splitlines()[0]}; org_id has to be a UUID"
            ) from None
        except (
            duckdb.BinderException,
            duckdb.CatalogException,
            duckdb.InternalException,
            duckdb.InterruptException,
        ):
            raise
        except duckdb.Error as error:  # a damaged file is found in many ways
            raise unreadable(_shown(paths), "parquet", error) from None
        finally:
            connection.close()


def find_files(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """The files that `paths` name, in order, each once. Raises InputError where a path names none."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise InputError(
            "no Parquet files were given; expected a path, a glob, a folder, or several of them"
        )
    found: dict[Path, None] = {}
    for path in given:
        text = os.fspath(path)
        if os.path.isfile(text):
            names = [Path(text)]
        elif os.path.isdir(text):
            names = sorted(name for name in Path(text).rglob("*.parquet") if name.is_file())
        elif glob.has_magic(text):
            names = sorted(
                Path(name) for name in glob.glob(text, recursive=True) if os.path.isfile(name)
            )
        else:
            raise InputError(f"{text}: no such file")
        if not names:
            raise InputError(f"{text}: no Parquet files there; expected at least one")
        found |= dict.fromkeys(names)
    return list(found)


def _check_same(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """Raise InputError where a file is no Parquet, or has other columns than the first, or columns of other types."""
    first: dict[str, str] = {}
    for file in files:
        try:
            relation = connection.read_parquet([str(file)], hive_partitioning=False)
        except duckdb.Error as error:
            raise unreadable(file, "parquet", error) from None
        columns = dict(zip(relation.columns, map(str, relation.types), strict=True))
        first = first or columns
        if columns != first:
            name = next(n for n in [*first, *columns] if first.get(n) != columns.get(n))
            here, there = (found.get(name, "missing") for found in (columns, first))
            raise InputError(
                f"{file}: column {name} is {here}, and in {files[0]} it is {there}; files that are replayed together need "
                "the same columns of the same types"
            )


def _requests(arrived: ir.Table, path: str) -> ir.Table:
    """The columns as a replay reads them, and all others as they are."""
    missing = [
        name for name, column in _COLUMNS.items() if column.required and name not in arrived.columns
    ]
    if missing:
        have = ", ".join(arrived.columns[:20])
        raise InputError(
            f"{path}: no column {', '.join(missing)}; expected at least "
            f"{', '.join(name for name, column in _COLUMNS.items() if column.required)}; the file has {have}"
        )
    for name, column in (_COLUMNS | {"org_id": _ORG}).items():
        if name in arrived.columns and not column.accepts(arrived[name].type()):
            raise InputError(
                f"{path}: the column {name} is {arrived[name].type()}; expected {column.expected}. Cast it, or import the file"
            )
    columns = {name: _read(arrived, name, column) for name, column in _COLUMNS.items()}
    org = _org(arrived, "org_id") if "org_id" in arrived.columns else ibis.null("uuid")
    return arrived.mutate(**columns, org_id=org)


def _read(arrived: ir.Table, name: str, column: _Column) -> ir.Value:
    if name not in arrived.columns:
        assert column.default is not None  # noqa: S101 - a required column is there
        return column.default(arrived)
    value = column.read(arrived, name)
    if column.default is None or name in ("tag", "finish_reason", "latency_ms"):
        return value
    return ibis.coalesce(value, column.default(arrived))


def _shown(paths: PathLike | Sequence[PathLike]) -> str:
    return os.fspath(paths) if isinstance(paths, str | os.PathLike) else f"{os.fspath(paths[0])}, …"
