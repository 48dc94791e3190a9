"""Files as relations of texts: whatever the format, every field arrives as text or NULL."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from ttplan.model.errors import InputError

MAX_LINE = 16 * 2**20
"""The longest line, in bytes, that is read of a CSV or JSON lines file."""

_FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_SOURCES = {
    "parquet": "read_parquet($path)",
    "csv": "read_csv($path, all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"', "
    f"max_line_size = {MAX_LINE})",
    "jsonl": f"read_ndjson_objects($path, maximum_object_size = {MAX_LINE})",
}


class Source(NamedTuple):
    """A file that can be read. `relation` is SQL with one parameter, `path`; it has one column for each of `fields`: a text, or,
    for those that were asked for as lists, a list of floats."""

    path: str
    format: str
    why: str
    relation: str
    fields: frozenset[str]
    ignored: tuple[str, ...]


def open_source(
    connection: duckdb.DuckDBPyConnection,
    path: str | os.PathLike[str],
    wanted: Sequence[str],
    format: str | None = None,
    lists: Sequence[str] = (),
) -> Source:
    """Open a Parquet, CSV or JSON lines file for its columns `wanted`, of which `lists` hold numbers.

    Raises InputError for what is no such file.
    """
    file = Path(path)
    if not file.exists():
        raise InputError(f"{file}: no such file")
    if not file.is_file():
        raise InputError(f"{file} is not a file; expected a Parquet, CSV or JSON lines file")
    if not os.access(file, os.R_OK):
        raise InputError(f"{file} may not be read by this user")
    if file.stat().st_size == 0:
        raise InputError(f"{file} is empty; expected a Parquet, CSV or JSON lines file")
    kind, why = _recognise(file, format)
    try:
        columns = _columns(connection, kind, str(file))
    except duckdb.Error as error:
        raise unreadable(file, kind, error) from None
    present = [name for name in wanted if columns is None or name in columns]
    ignored = tuple(name for name in columns or () if name not in wanted)
    return Source(str(file), kind, why, _relation(kind, present, lists), frozenset(present), ignored)


def unreadable(path: str | os.PathLike[str], kind: str, error: duckdb.Error) -> InputError:
    """What DuckDB found wrong with a file: its first line, so neither the query nor the file's content."""
    found = str(error).splitlines()[0].split("Error: ", 1)[-1].removeprefix("Error on ").rstrip(". ")
    return InputError(f"{path} cannot be read as {kind}: {found}. Check that the file is whole and that it is {kind}")


def _recognise(file: Path, asked: str | None) -> tuple[str, str]:
    """A file's format, and why it is that one."""
    formats = sorted(set(_FORMATS.values()))
    if asked is not None:
        if asked not in formats:
            raise InputError(f"format {asked!r} is not known; expected one of {', '.join(formats)}")
        return asked, "it was asked for"
    endings = [s.lower() for s in file.suffixes if s.lower() not in (".gz", ".zst")]
    if endings and endings[-1] in _FORMATS:
        return _FORMATS[endings[-1]], f"its name ends in {endings[-1]}"
    with file.open("rb") as opened:
        if opened.read(4) == b"PAR1":
            return "parquet", "it begins with PAR1"
    raise InputError(
        f"{file}: its name does not tell its format; expected {', '.join(sorted(_FORMATS))}, or say which of "
        f"{', '.join(formats)} it is with format"
    )


def _columns(connection: duckdb.DuckDBPyConnection, kind: str, path: str) -> list[str] | None:
    """The file's columns; None for JSON lines, whose every line may have others."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {_SOURCES[kind]}", {"path": path}).fetchall()  # noqa: S608
    return None if kind == "jsonl" else [str(row[0]) for row in described]


def _relation(kind: str, fields: Sequence[str], lists: Sequence[str]) -> str:
    """`fields` are names from our own table, never from the file: only they are put into SQL."""
    text = "json_extract_string(json, '$.{name}')" if kind == "jsonl" else "CAST({name} AS VARCHAR)"
    # A text that is no list becomes an empty one, which nobody takes for a vector. Parquet has lists of its own.
    found = "{name}" if kind == "parquet" else f"NULLIF({text}, '')"
    vector = f"CASE WHEN {found} IS NOT NULL THEN coalesce(TRY_CAST({found} AS FLOAT[]), []) END"
    columns = [f"{(vector if name in lists else text).format(name=name)} AS {name}" for name in fields]
    return f"(SELECT {', '.join(columns) or 'NULL'} FROM {_SOURCES[kind]})"  # noqa: S608
