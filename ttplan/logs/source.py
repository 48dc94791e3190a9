"""Open a log: find its files, see what format they are, and make the query of each."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from ttplan.logs.detect import detect_format, keys_of, rows_of
from ttplan.logs.fields import Field
from ttplan.logs.format import Format, Signature
from ttplan.logs.formats import FORMATS
from ttplan.logs.mapping.mapping import Mapping, read_mapping
from ttplan.logs.mapping.query import Query, Texts, build, kind_of, rows_sql
from ttplan.logs.sources.databases import copy_postgres, open_duckdb
from ttplan.logs.sources.files import (
    KINDS,
    MAX_LINE,
    Opened,
    find_files,
    head,
    is_duckdb,
    open_file,
)
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike, is_postgres_url, redact_url

READING_MEMORY = 384 * 2**20
"""What DuckDB may use for reading, in bytes, beside documents that have to be in memory whole."""
MappingLike = Mapping | dict[str, Any] | PathLike
TABLES = tuple(dict.fromkeys(one.table for one in FORMATS.values() if one.table is not None))
"""The tables that are looked for in a database."""
_ESTIMATED_FROM = 2**20


class Options(NamedTuple):
    """How rows are read: which fields, whether each needs a cost, and whether a line that is no JSON is passed over."""

    fields: tuple[Field, ...]
    needs_cost: bool
    skips: bool


class SourceFile(NamedTuple):
    """One file, ready to be read."""

    opened: Opened
    query: Query
    keys: tuple[str, ...]


class Source:
    """The files of a log and the one format that they have. `close` it."""

    def __init__(
        self,
        path: PathLike | Sequence[PathLike],
        format: str | None,
        mapping: MappingLike | None,
        options: Options,
        table: str | None = None,
    ) -> None:
        """Raises InputError where it is no such file or database, of no known format, or lacks a required column."""
        if format is not None and format not in FORMATS and format not in KINDS:
            raise InputError(
                f"format {format!r} is not known; expected one of {', '.join([*KINDS, *FORMATS])}"
            )
        if format in FORMATS and mapping is not None:
            raise InputError("format and mapping both say what the rows are; give one of them")
        self._options = options
        self._asked = FORMATS.get(format or "")
        self._kind = format if format in KINDS else None
        mapped = None if mapping is None else read_mapping(mapping)
        self._mapped = mapped
        self._table = table
        self._shown: dict[Path, str] = {}
        spill = tempfile.mkdtemp(prefix="ttplan-")
        self._clean = weakref.finalize(self, shutil.rmtree, spill, True)
        self.connection = connect(spill)
        try:
            self.files = self._find(path, Path(spill))
            self.format, self._rows, self.why = self._decide(mapped)
            self.first = self.part(self.files[0])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of what reading needed."""
        self.connection.close()
        self._clean()

    def part(self, file: Path) -> SourceFile:
        """A file's query. InputError where it lacks a column, or is of another format than the first."""
        opened = self._open(file)
        if file != self.files[0] and self._asked is None:
            other = detect_format(self.connection, opened, FORMATS)
            if other.format.name != self.format.name:
                raise InputError(
                    f"{file} has rows of {other.format.name}, and {self.files[0]} of {self.format.name}; read each on its own"
                )
        options = self._options
        texts = Texts(
            opened.columns,
            self.format.mapping.blank_is_missing or opened.kind == "csv",
            self.format.mapping,
        )
        expand = self.format.expand
        rows = opened.relation
        if opened.columns is None:
            rows = expand(rows) if expand is not None else rows_sql(rows, self._rows)
        if expand is not None:
            # A batch of whole documents is in memory along with all that they are taken apart to.
            self._allow(opened, 2 * READING_MEMORY)
        query = build(rows, texts, options.fields, self.format, options.needs_cost)
        keys = tuple(opened.columns or keys_of(self.connection, opened, self._rows, self.format))
        part = SourceFile(opened, query, keys)
        _check_columns(part, options)
        return part

    def expected(self, name: str) -> str:
        """What a field's text is expected to be, in words."""
        value = self.format.mapping.fields.get(name)
        kind = next(field.kind for field in self._options.fields if field.name == name)
        ruled = name in self.first.query.ruled
        return kind_of(kind, None if ruled else value).expected

    def row_count(self) -> int | None:
        """About how many rows there are: for Parquet exactly, else by the first ones' length; None where nothing says it."""
        counts = [self._count(file) for file in self.files]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def _count(self, file: Path) -> int | None:
        if self.first.opened.kind == "parquet":
            parameters = self.first.opened._replace(path=str(file), location=None).parameters
            return int(
                self.connection.execute(
                    "SELECT count(*) FROM read_parquet($path)", parameters
                ).fetchall()[0][0]
            )
        if self.first.opened.kind == "duckdb":
            return int(
                self.connection.execute(
                    f"SELECT count(*) FROM {self.first.opened.relation}"
                ).fetchall()[0][0]
            )  # noqa: S608
        if self._rows or self.format.expand is not None:
            return None
        start = head(file, _ESTIMATED_FROM)
        lines = start.count(b"\n")
        # A compressed file is taken to be a fifth of what is in it; the bar only has to move evenly.
        size = file.stat().st_size * (1 if self.first.opened.compression == "none" else 5)
        return None if lines < 2 else max(lines, round(size / len(start) * lines))

    def shown(self, file: Path) -> str:
        """What a file is called in a report."""
        return self._shown.get(file, str(file))

    def _find(self, paths: PathLike | Sequence[PathLike], folder: Path) -> list[Path]:
        """The files, and for a server's table a copy of it. InputError where there is none."""
        given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        if not given:
            raise InputError("no log was given; expected a file, a folder, a glob or a database")
        found: dict[Path, None] = {}
        for path in given:
            if is_postgres_url(path):
                url = os.fspath(path)
                file, table = copy_postgres(url, self._wanted(), TABLES, self._columns, folder)
                self._shown[file] = f"{redact_url(url)} table {table}"
                found[file] = None
            else:
                found |= dict.fromkeys(find_files(path))
        return list(found)

    def _wanted(self) -> str | None:
        return self._table or (self._asked.table if self._asked is not None else None)

    def _columns(self, columns: dict[str, str]) -> frozenset[str]:
        """The columns of a server's table that some known format, or the mapping, reads: bodies only where they are asked for."""
        if self._mapped is not None:
            formats = [Format(title="", mapping=self._mapped, signs=Signature(needs=()))]
        else:
            formats = (
                [self._asked]
                if self._asked is not None
                else [one for one in FORMATS.values() if one.table is not None]
            )
        used: set[str] = set()
        for one in formats:
            texts = Texts(columns, True, one.mapping)
            used |= build("t", texts, self._options.fields, one, self._options.needs_cost).used
            used |= {name for name in (*one.signs.needs, *one.signs.also) if name in columns}
        return frozenset(used)

    def _open(self, file: Path) -> Opened:
        if self._kind is None and is_duckdb(file):
            return open_duckdb(self.connection, file, self._wanted(), TABLES)
        opened = open_file(self.connection, file, self._kind, self._options.skips)
        if file in self._shown:
            opened = opened._replace(
                path=self._shown[file], location=str(file), why="a table of a PostgreSQL server"
            )
        self._allow(opened, READING_MEMORY)
        return opened

    def _allow(self, opened: Opened, memory: int) -> None:
        # A document is in memory in a buffer of twice its size, as a tree and as text.
        more = 6 * opened.largest if opened.largest > MAX_LINE else 0
        self.connection.execute(f"SET memory_limit = '{memory + more}B'")

    def _decide(self, mapping: Mapping | None) -> tuple[Format, str, str]:
        """The format, where its rows are, and why."""
        opened = self._open(self.files[0])
        if mapping is not None:
            self._asked = Format(title=mapping.name, mapping=mapping, signs=Signature(needs=()))
            return (
                self._asked,
                rows_of(self.connection, opened, self._asked),
                "by the mapping that was given",
            )
        if self._asked is not None:
            found, why = self._asked, "it was asked for"
            rows = rows_of(self.connection, opened, found)
        else:
            found, rows, why = detect_format(self.connection, opened, FORMATS)
        if found.refused is not None:
            raise InputError(f"{self.files[0]} is {found.title}: {found.refused}")
        return found, rows, why


def connect(spill: str) -> duckdb.DuckDBPyConnection:
    """A connection that reads, keeps within its memory, and spills to a folder of its own."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": f"{READING_MEMORY}B",
            "temp_directory": spill,
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _check_columns(part: SourceFile, options: Options) -> None:
    """Refuse a file with columns that lacks a required one, before any row is read."""
    required = [
        f.name
        for f in options.fields
        if f.required and (options.needs_cost or f.name != "cost_usd")
    ]
    missing = [name for name in required if name not in part.query.present]
    if missing:
        have = ", ".join(part.keys[:20]) or "none"
        raise InputError(
            f"{part.opened.path}: no column {', '.join(missing)}; expected at least {', '.join(required)}; the file has {have}"
        )
