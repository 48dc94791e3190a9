"""A log to read: finds the files, reads the head once, detects the format, builds the SQL."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ttplan.logs.detect import DetectedFormat, Sample, detect_format, find_rows
from ttplan.logs.fields import BODIES, EMBEDDINGS, FIELDS, HELPERS, PROMPTS, Field
from ttplan.logs.format import Format
from ttplan.logs.formats import FORMATS
from ttplan.logs.mapping.field_sql import kind_of
from ttplan.logs.mapping.mapping import FormatMapping, read_mapping
from ttplan.logs.mapping.query import Query, build, rows_sql
from ttplan.logs.mapping.texts import Texts
from ttplan.logs.sources.databases import copy_postgres, open_duckdb
from ttplan.logs.sources.files import (
    FILE_KINDS,
    MAX_LINE,
    FileHead,
    FileRelation,
    connect,
    find_files,
    open_file,
    path_list,
    restrict,
)
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike, is_postgres_url, redact_url

READING_MEMORY = 384 * 2**20
"""Memory that DuckDB may use for reading, in bytes, in addition to whole documents."""
MappingLike = FormatMapping | dict[str, Any] | str | os.PathLike[str]
OnBadRows = Literal["refuse", "skip"]
TABLES = tuple(dict.fromkeys(f.table for f in FORMATS.values() if f.table is not None))
"""The tables that are looked for in a database."""


@dataclass(frozen=True)
class ReadOptions:
    """How a log is read.

    `format` names a format (`ttplan.logs.formats.FORMATS`) or a kind of file (csv, json, jsonl,
    parquet), if it cannot be detected; `mapping` describes any other format. `table` is read from a
    database. With `needs_cost=False` a row without a cost is kept and has no `cost_usd`. With
    `with_hashes`, prompts and answers are read to be hashed, also if they are not kept. `max_rows`
    reads only the first rows of each file.
    """

    format: str | None = None
    mapping: MappingLike | None = None
    table: str | None = None
    on_bad_rows: OnBadRows = "refuse"
    with_bodies: bool = False
    with_embeddings: bool = False
    needs_cost: bool = True
    with_hashes: bool = True
    max_rows: int | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields to read."""
        bodies = BODIES if self.with_bodies else ()
        prompts = PROMPTS if self.with_hashes else ()
        embeddings = EMBEDDINGS if self.with_embeddings else ()
        return (*FIELDS, *HELPERS, *bodies, *prompts, *embeddings)

    @property
    def required_fields(self) -> tuple[str, ...]:
        """The fields without which a row cannot be used."""
        required = (f.name for f in FIELDS if f.required)
        return tuple(name for name in required if self.needs_cost or name != "cost_usd")


class SourceFile(NamedTuple):
    """One file, ready to be read."""

    relation: FileRelation
    query: Query
    keys: tuple[str, ...]


class Source:
    """The files of a log, open on one connection, and the one format that they have."""

    def __init__(
        self, path: PathLike | Sequence[PathLike], options: ReadOptions | None = None
    ) -> None:
        """Raises InputError if there is no such file or database, or an option is not valid."""
        self.options = options or ReadOptions()
        self._read_format_options()
        spill = tempfile.mkdtemp(prefix="ttplan-")
        self._remove_spill = weakref.finalize(self, shutil.rmtree, spill, True)
        self.connection = connect(spill, memory_limit=f"{READING_MEMORY}B")
        self._names: dict[Path, str] = {}
        try:
            self.files = self._find(path, Path(spill))
            restrict(self.connection, self.files)
            self._first_head = FileHead(self.files[0])
            self.sample = self._open(self.files[0])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the files and the spill folder."""
        self.connection.close()
        self._remove_spill()

    def detect(self) -> DetectedFormat:
        """The format, the path to its rows, and why. Raises InputError if it is not clear."""
        if self._format is None:
            return detect_format(self.sample, FORMATS)
        mapped = self.options.mapping is not None
        why = "by the mapping that was given" if mapped else "it was asked for"
        return DetectedFormat(self._format, find_rows(self.sample, self._format), why)

    @cached_property
    def detected(self) -> DetectedFormat:
        """`detect`, once. Raises InputError if the format cannot be read."""
        detected = self.detect()
        if detected.format.refusal is not None:
            raise InputError(
                f"{self.files[0]} is {detected.format.title}: {detected.format.refusal}"
            )
        return detected

    @cached_property
    def first(self) -> SourceFile:
        """The first file, ready to be read."""
        return self._prepare(self.sample)

    def file(self, path: Path) -> SourceFile:
        """A file, ready to be read. Raises InputError if it lacks a column or is of another format
        than the first."""
        if path == self.files[0]:
            return self.first
        sample = self._open(path)
        expected = self.detected.format.name
        if self._format is None and (
            (name := detect_format(sample, FORMATS).format.name) != expected
        ):
            raise InputError(
                f"{path} has rows of {name}, and {self.files[0]} of {expected};"
                " read each on its own"
            )
        return self._prepare(sample)

    def expected(self, field_name: str) -> str:
        """What the text of a field has to be, for a message."""
        source = self.detected.format.mapping.fields.get(field_name)
        kind = next(field.kind for field in self.options.fields if field.name == field_name)
        ruled = field_name in self.first.query.ruled
        return kind_of(kind, None if ruled else source).expected

    def row_count(self) -> int | None:
        """The number of rows: exact for Parquet and tables, else estimated; None if unknown."""
        counts = [self._count(path) for path in self.files]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def display_name(self, path: Path) -> str:
        """The name of a file in reports."""
        return self._names.get(path, str(path))

    def _read_format_options(self) -> None:
        name, mapping = self.options.format, self.options.mapping
        if name is not None and name not in FORMATS and name not in FILE_KINDS:
            known = ", ".join([*FILE_KINDS, *FORMATS])
            raise InputError(f"format {name!r} is not known; expected one of {known}")
        if name in FORMATS and mapping is not None:
            raise InputError("`format` and `mapping` both say what the rows are; give one of them")
        self._file_kind = name if name in FILE_KINDS else None
        self._format = FORMATS.get(name or "")
        if mapping is not None:
            read = read_mapping(mapping)
            self._format = Format(title=read.name, mapping=read)

    def _count(self, path: Path) -> int | None:
        first = self.first.relation
        if first.kind in ("parquet", "duckdb"):
            parameters: dict[str, str] = {}
            if first.kind == "parquet":
                parameters = first._replace(path=str(path), location=None).parameters
            query = f"SELECT count(*) FROM {first.relation}"  # noqa: S608
            ((count,),) = self.connection.execute(query, parameters).fetchall()
            return int(count)
        if self.detected.rows or self.detected.format.expand is not None:
            return None
        head = self._head(path)
        lines = head.start.count(b"\n")
        # A compressed file is assumed to be a fifth of its content: good enough for progress.
        size = head.size * (1 if head.compression == "uncompressed" else 5)
        return None if lines < 2 else max(lines, round(size / len(head.start) * lines))

    def _find(self, paths: PathLike | Sequence[PathLike], folder: Path) -> list[Path]:
        """The files, each once; a server's table is copied to a file in the folder."""
        files: dict[Path, None] = {}
        for path in path_list(paths):
            if is_postgres_url(path):
                url = os.fspath(path)
                file, table = copy_postgres(url, self._table, TABLES, self._used_columns, folder)
                self._names[file] = f"{redact_url(url)} table {table}"
                files[file] = None
            else:
                files |= dict.fromkeys(find_files(path))
        if not files:
            raise InputError("no log was given; expected a file, a folder, a glob or a database")
        return list(files)

    @property
    def _table(self) -> str | None:
        return self.options.table or (None if self._format is None else self._format.table)

    def _used_columns(self, columns: dict[str, str]) -> frozenset[str]:
        """The columns of a server's table that the format, or any known one, reads."""
        formats = [self._format] if self._format is not None else FORMATS.values()
        used: set[str] = set()
        for log_format in formats:
            if self._format is None and log_format.table is None:
                continue
            texts = Texts(columns, True, log_format.mapping)
            used |= build(
                "t", texts, self.options.fields, self.options.required_fields, log_format
            ).used
            used |= {*log_format.signature.required, *log_format.signature.typical} & set(columns)
        return frozenset(used)

    def _head(self, path: Path) -> FileHead:
        return self._first_head if path == self.files[0] else FileHead(path)

    def _open(self, path: Path) -> Sample:
        head = self._head(path)
        if self._file_kind is None and head.is_duckdb:
            file = open_duckdb(self.connection, path, self._table, TABLES)
        else:
            ignore_bad_lines = self.options.on_bad_rows == "skip"
            file = open_file(self.connection, head, self._file_kind, ignore_bad_lines)
            if path in self._names:
                why = "a table of a PostgreSQL server"
                file = file._replace(path=self._names[path], location=str(path), why=why)
            self._limit_memory(file, READING_MEMORY)
        return Sample(self.connection, file)

    def _limit_memory(self, file: FileRelation, memory: int) -> None:
        # A document is in memory in a buffer of twice its size, as a tree and as text.
        documents = 6 * file.largest if file.largest > MAX_LINE else 0
        self.connection.execute(f"SET memory_limit = '{memory + documents}B'")

    def _prepare(self, sample: Sample) -> SourceFile:
        file, (log_format, rows_path, _) = sample.file, self.detected
        blank_is_missing = log_format.mapping.blank_is_missing or file.kind == "csv"
        rows = file.relation
        if log_format.expand is not None:
            # A batch of whole documents is in memory together with what they are expanded to.
            self._limit_memory(file, 2 * READING_MEMORY)
        if file.columns is None:
            rows = log_format.expand(rows) if log_format.expand else rows_sql(rows, rows_path)
        keys = tuple(file.columns or sample.keys(rows_path, log_format))
        mapped = self.options.mapping is not None
        texts = Texts(
            file.columns,
            blank_is_missing,
            log_format.mapping,
            keys=keys if mapped else (),
            unquote=mapped or file.kind == "csv",
        )
        query = build(rows, texts, self.options.fields, self.options.required_fields, log_format)
        required = self.options.required_fields
        missing = [name for name in required if name not in query.present]
        if missing == ["cost_usd"] and log_format.foreign_names and self.options.mapping is None:
            raise InputError(
                f"{file.path}: {log_format.title} have no costs here: import them with"
                " cost='recomputed'"
            )
        if missing:
            raise InputError(
                f"{file.path}: no column {', '.join(missing)};"
                f" expected at least {', '.join(required)};"
                f" the file has {', '.join(keys[:20]) or 'none'}"
            )
        return SourceFile(file, query, keys)
