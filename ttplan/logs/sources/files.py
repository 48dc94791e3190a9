"""Log files as DuckDB relations: the files that a path names, their kinds, and the SQL."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from ttplan.logs.mapping.sql import quoted
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike

MAX_LINE = 16 * 2**20
"""Longest line of a CSV or JSON Lines file, and longest element of a JSON array, in bytes."""
MAX_DOCUMENT = 256 * 2**20
"""Largest JSON file that is one object, in bytes: the whole object has to fit in memory."""
HEAD_BYTES = 2**20
"""How much of a file is read to see what it is."""

_MESSAGE = "@message"
"""The column of CloudWatch Logs Insights' results that has the logged document as text."""
FILE_KINDS = ("csv", "json", "jsonl", "parquet")
_KIND_BY_SUFFIX = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".duckdb": "duckdb",
}
_SUFFIXES = ", ".join(sorted(_KIND_BY_SUFFIX))
_COMPRESSED_SUFFIXES = (".gz", ".zst")
_COMPRESSION_BY_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_EXPECTED = "a Parquet, CSV, JSON or JSON lines file"


class FileRelation(NamedTuple):
    """A file as SQL. It has typed `columns`, or one column `json` with a document per row.

    `relation` has the parameter `path` if it is `bound`.
    """

    path: str
    kind: str
    why: str
    relation: str
    columns: dict[str, str] | None
    bound: bool = True
    largest: int = MAX_LINE
    """Size of the largest document that may have to be in memory, in bytes."""
    location: str | None = None
    """The file that is read, if `path` is only a name for it."""

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the SQL."""
        path = self.location or self.path
        return {"path": glob.escape(path) if glob.has_magic(path) else path} if self.bound else {}


class FileHead:
    """The beginning of a file, decompressed and read once."""

    def __init__(self, path: Path) -> None:
        """Raises InputError if the file is empty or not readable."""
        self.path = path
        if not os.access(path, os.R_OK):
            raise InputError(f"{path} may not be read by this user")
        self.size = path.stat().st_size
        if self.size == 0:
            raise InputError(f"{path} is empty; expected {_EXPECTED}")
        with path.open("rb") as file:
            magic = file.read(12)
        self.is_duckdb = magic[8:] == b"DUCK"
        self.compression = next(
            (name for start, name in _COMPRESSION_BY_MAGIC.items() if magic.startswith(start)),
            "uncompressed",
        )

    @cached_property
    def start(self) -> bytes:
        """The first MiB of the content."""
        return self._read(HEAD_BYTES)

    def kind(self) -> tuple[str, str]:
        """The kind of the file, and why."""
        suffix = _log_suffix(self.path)
        if _KIND_BY_SUFFIX.get(suffix, "duckdb") != "duckdb":
            return _KIND_BY_SUFFIX[suffix], f"its name ends in {suffix}"
        if self.start[:4] == b"PAR1":
            return "parquet", "it begins with PAR1"
        if self.start.lstrip()[:1] in (b"{", b"["):
            return "json", "it begins as JSON does"
        raise InputError(
            f"{self.path}: its name does not tell its format; expected {_SUFFIXES}, or say which of"
            f" {', '.join(FILE_KINDS)} it is with `format`"
        )

    def json_shape(self) -> str:
        """Whether a JSON file is an "array", one document ("json"), or a document per line."""
        for size in (HEAD_BYTES, MAX_LINE):
            start = (self.start if size == HEAD_BYTES else self._read(size)).lstrip()
            line, _, rest = start.partition(b"\n")
            if start[:1] == b"[":
                return "array"
            if rest.strip() or len(self.start) < HEAD_BYTES:
                break
        return "jsonl" if rest.lstrip()[:1] == b"{" and line.rstrip()[-1:] == b"}" else "json"

    def document_size(self) -> int:
        """The size of a file that is one JSON document, in bytes."""
        size = 0
        with self._stream() as stream:
            while size <= MAX_DOCUMENT and (block := stream.read(2**20)):
                size += len(block)
        if size > MAX_DOCUMENT:
            raise InputError(
                f"{self.path} is one JSON document of more than {MAX_DOCUMENT // 2**20} MiB;"
                " expected an array or JSON lines, which are read piece by piece: export it as one"
                " of them, or convert it to JSON lines"
            )
        return size + 1024

    def _stream(self) -> pa.NativeFile:
        compression = None if self.compression == "uncompressed" else self.compression
        return pa.input_stream(str(self.path), compression=compression)

    def _read(self, size: int) -> bytes:
        try:
            with self._stream() as stream:
                return bytes(stream.read(size))
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{self.path} cannot be read as {self.compression}: {error}."
                " Check that the file is whole"
            ) from None


def connect(spill: str, **settings: Any) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in UTC that spills to a folder and loads no extensions."""
    fixed = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(config={**fixed, "temp_directory": spill, **settings})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def restrict(connection: duckdb.DuckDBPyConnection, files: Iterable[Path]) -> None:
    """Let a connection read these files and nothing else, from now on.

    A DuckDB file brings its own views, which could read any file or Python variable otherwise.
    DuckDB allows neither access nor more paths again while the connection is open.
    """
    allowed: dict[str, None] = {}
    for file in files:
        for name in (str(file), str(file.absolute())):
            # As a pattern that matches only the file, if its name looks like a pattern; and the
            # log of changes beside a DuckDB file.
            allowed |= dict.fromkeys((name, glob.escape(name), f"{name}.wal"))
    paths = ", ".join(quoted(name) for name in allowed)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")


def find_files(path: PathLike) -> list[Path]:
    """The files that a path, a glob or a folder names, in order. Raises InputError if none."""
    text = os.fspath(path)
    if os.path.isfile(text):
        return [Path(text)]
    if os.path.isdir(text):
        folder = Path(text)
        files = sorted(f for f in folder.rglob("*") if f.is_file() and _is_log(f, folder))
        if not files:
            raise InputError(
                f"{text}: no log files in this folder;"
                f" expected at least one that ends in {_SUFFIXES}"
            )
        return files
    if glob.has_magic(text):
        names = glob.glob(text, recursive=True)
        files = sorted(Path(name) for name in names if os.path.isfile(name))
        if not files:
            raise InputError(f"{text}: no file has such a name; expected at least one")
        return files
    if os.path.exists(text):
        raise InputError(f"{text} is not a file; expected {_EXPECTED}, a folder of them or a glob")
    raise InputError(f"{text}: no such file")


def open_file(
    connection: duckdb.DuckDBPyConnection,
    head: FileHead,
    kind: str | None = None,
    ignore_bad_lines: bool = False,
) -> FileRelation:
    """Open a file of the given or detected kind. Raises InputError if it is of another kind.

    With `ignore_bad_lines`, a line that is not JSON becomes a null row instead of an error.
    """
    kind, why = head.kind() if kind is None else (kind, "it was asked for")
    shape = head.json_shape() if kind == "json" else kind
    largest = head.document_size() if shape == "json" else MAX_LINE
    file = FileRelation(
        str(head.path),
        "json" if shape == "array" else shape,
        why,
        _relation(shape, head.compression, largest, ignore_bad_lines),
        None,
        largest=largest,
    )
    if kind not in ("parquet", "csv"):
        return file
    columns = _columns_of(connection, file)
    if _MESSAGE in columns:
        text = f"""CASE WHEN json_valid("{_MESSAGE}") THEN "{_MESSAGE}" ELSE '{{}}' END"""
        documents = f"(SELECT CAST({text} AS JSON) AS json FROM {file.relation})"  # noqa: S608
        return file._replace(relation=documents)
    return file._replace(columns=columns)


def unreadable(path: PathLike, kind: str, error: duckdb.Error) -> InputError:
    """A DuckDB error as an InputError: only its first line, so neither the query nor content."""
    reason = str(error).splitlines()[0].split("Error: ", 1)[-1]
    if isinstance(error, duckdb.PermissionException):  # of `restrict`
        return InputError(
            f"{path} refers to another file, which a log may not: {reason}; expected a table or a"
            " view of the file's own tables. Find out who made it, and export the table instead"
        )
    return InputError(
        f"{path} cannot be read as {kind}: {reason.removeprefix('Error on ').rstrip('. ')}."
        f" Check that the file is whole and that it is {kind}"
    )


def path_list(paths: PathLike | Sequence[PathLike]) -> list[PathLike]:
    """One path or several, as a list."""
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


def display_name(paths: PathLike | Sequence[PathLike]) -> str:
    """One or several paths as a short text."""
    first, *more = path_list(paths)
    return os.fspath(first) + (f" and {len(more)} more" if more else "")


def _is_log(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
    return not hidden and _log_suffix(file) in _KIND_BY_SUFFIX


def _log_suffix(file: Path) -> str:
    """The last suffix of a name that is not one of a compression."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    return next((s for s in reversed(suffixes) if s not in _COMPRESSED_SUFFIXES), "")


def _columns_of(connection: duckdb.DuckDBPyConnection, file: FileRelation) -> dict[str, str]:
    try:
        query = f"DESCRIBE SELECT * FROM {file.relation}"  # noqa: S608
        rows = connection.execute(query, file.parameters).fetchall()
    except duckdb.Error as error:
        raise unreadable(file.path, file.kind, error) from None
    return {str(row[0]): str(row[1]) for row in rows}


def _relation(shape: str, compression: str, largest: int, ignore_bad_lines: bool) -> str:
    if shape == "parquet":
        return "read_parquet($path, hive_partitioning = false)"
    if shape == "csv":
        return (
            "read_csv($path, all_varchar = true, header = true, delim = ',', quote = '\"',"
            f" escape = '\"', max_line_size = {MAX_LINE}, buffer_size = {2 * MAX_LINE},"
            f" compression = '{compression}')"
        )
    shape_name = {"jsonl": "newline_delimited", "array": "array", "json": "unstructured"}[shape]
    ignore = str(ignore_bad_lines and shape == "jsonl").lower()
    return (
        f"read_json_objects($path, format = '{shape_name}', maximum_object_size = {largest},"
        f" compression = '{compression}', ignore_errors = {ignore})"
    )
