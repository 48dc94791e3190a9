"""Files and databases as relations: which files a path names, what kind each is, and the SQL that reads one."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike

MAX_LINE = 16 * 2**20
"""The longest line, in bytes, that is read of a CSV or JSON lines file, and the longest element of a JSON array."""
MAX_DOCUMENT = 256 * 2**20
"""The largest JSON document, in bytes, that is one object: it has to be in memory whole."""

KINDS = ("csv", "json", "jsonl", "parquet")
_ENDINGS = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".duckdb": "duckdb",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_EXPECTED = "a Parquet, CSV, JSON or JSON lines file"


class Opened(NamedTuple):
    """A file to read. `relation` is SQL with the parameter `path`, if it is `bound`; either it has the `columns` (with their
    SQL types), or they are None and it has one column `json`, a document."""

    path: str
    kind: str
    why: str
    relation: str
    columns: dict[str, str] | None
    compression: str = "none"
    bound: bool = True
    largest: int = MAX_LINE
    """How many bytes of one document may have to be in memory."""

    location: str | None = None
    """The file that is read, where `path` only names it."""

    @property
    def parameters(self) -> dict[str, str]:
        """What its SQL needs."""
        path = self.location or self.path
        return {"path": glob.escape(path) if glob.has_magic(path) else path} if self.bound else {}


def find_files(path: PathLike, what: str = "log") -> list[Path]:
    """The files that a path, a glob or a folder names, in order. InputError where it names none."""
    text = os.fspath(path)
    if os.path.isfile(text):
        return [Path(text)]
    if os.path.isdir(text):
        found = sorted(
            file for file in Path(text).rglob("*") if file.is_file() and _is_log(file, Path(text))
        )
        if not found:
            raise InputError(
                f"{text}: no {what} files in this folder; expected at least one that ends in {_endings()}"
            )
        return found
    if glob.has_magic(text):
        found = sorted(
            Path(name) for name in glob.glob(text, recursive=True) if os.path.isfile(name)
        )
        if not found:
            raise InputError(f"{text}: no file has such a name; expected at least one")
        return found
    if os.path.exists(text):
        raise InputError(f"{text} is not a file; expected {_EXPECTED}, a folder of them or a glob")
    raise InputError(f"{text}: no such file")


def open_file(
    connection: duckdb.DuckDBPyConnection, file: Path, kind: str | None = None, skips: bool = False
) -> Opened:
    """Open one file, of a `kind` that is given or seen. With `skips`, a line that is no JSON is a row of nothing, not an error.

    Raises InputError for what is no such file.
    """
    if not os.access(file, os.R_OK):
        raise InputError(f"{file} may not be read by this user")
    if file.stat().st_size == 0:
        raise InputError(f"{file} is empty; expected {_EXPECTED}")
    found, why = _recognise(file, kind)
    if found == "json":
        found = _json_shape(file)
    compression = _compression(file) or "none"
    largest = _document_size(file) if found == "json" else MAX_LINE
    relation = _relation(found, compression, largest, skips)
    opened = Opened(
        str(file),
        "json" if found == "array" else found,
        why,
        relation,
        None,
        compression,
        largest=largest,
    )
    if found in ("parquet", "csv"):
        opened = opened._replace(columns=columns_of(connection, opened))
    return opened


def is_duckdb(file: Path) -> bool:
    """Whether a file is a DuckDB database."""
    try:
        with file.open("rb") as opened:
            return opened.read(12)[8:] == b"DUCK"
    except OSError:
        return False


def columns_of(connection: duckdb.DuckDBPyConnection, opened: Opened) -> dict[str, str]:
    """The columns of a relation and their SQL types. InputError where it cannot be read."""
    try:
        rows = connection.execute(
            f"DESCRIBE SELECT * FROM {opened.relation}", opened.parameters
        ).fetchall()  # noqa: S608
    except duckdb.Error as error:
        raise unreadable(opened.path, opened.kind, error) from None
    return {str(row[0]): str(row[1]) for row in rows}


def unreadable(path: PathLike, kind: str, error: duckdb.Error) -> InputError:
    """What DuckDB found wrong with a file: its first line, so neither the query nor the file's content."""
    found = (
        str(error).splitlines()[0].split("Error: ", 1)[-1].removeprefix("Error on ").rstrip(". ")
    )
    return InputError(
        f"{path} cannot be read as {kind}: {found}. Check that the file is whole and that it is {kind}"
    )


def head(file: Path, size: int) -> bytes:
    """The first bytes of a file's content. InputError where it cannot be decompressed."""
    compression = _compression(file)
    try:
        with pa.input_stream(str(file), compression=compression) as stream:
            return bytes(stream.read(size))
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{file} cannot be read as {compression}: {error}. Check that the file is whole"
        ) from None


def _compression(file: Path) -> str | None:
    with file.open("rb") as opened:
        start = opened.read(4)
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def _is_log(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
    return not hidden and _ending(file) in _ENDINGS


def _ending(file: Path) -> str:
    endings = [ending.lower() for ending in file.suffixes if ending.lower() not in COMPRESSIONS]
    return endings[-1] if endings else ""


def _endings() -> str:
    return ", ".join(sorted(_ENDINGS))


def _recognise(file: Path, asked: str | None) -> tuple[str, str]:
    """A file's kind, and why it is that one."""
    if asked is not None:
        return asked, "it was asked for"
    start = head(file, 4096)
    ending = _ending(file)
    if _ENDINGS.get(ending, "duckdb") != "duckdb":
        return _ENDINGS[ending], f"its name ends in {ending}"
    if start[:4] == b"PAR1":
        return "parquet", "it begins with PAR1"
    if start.lstrip()[:1] in (b"{", b"["):
        return "json", "it begins as JSON does"
    raise InputError(
        f"{file}: its name does not tell its format; expected {_endings()}, or say which of {', '.join(KINDS)} it is with format"
    )


def _json_shape(file: Path) -> str:
    """Whether a JSON file is an array, one document, or, whatever its name, a document a line."""
    start = head(file, MAX_LINE).lstrip()
    if start[:1] == b"[":
        return "array"
    line, _, rest = start.partition(b"\n")
    return "jsonl" if rest.lstrip()[:1] == b"{" and line.rstrip().endswith(b"}") else "json"


def _document_size(file: Path) -> int:
    """The bytes of a file that is one document. InputError where they are too many."""
    size = 0
    with pa.input_stream(str(file), compression=_compression(file)) as stream:
        while size <= MAX_DOCUMENT and (block := stream.read(2**20)):
            size += len(block)
    if size > MAX_DOCUMENT:
        raise InputError(
            f"{file} is one JSON document of more than {MAX_DOCUMENT // 2**20} MiB; expected an array or JSON lines, which are "
            "read a piece at a time: export it so, or turn it into JSON lines"
        )
    return size + 1024


def _relation(kind: str, compression: str, largest: int, skips: bool) -> str:
    if kind == "parquet":
        return "read_parquet($path, hive_partitioning = false)"
    if kind == "csv":
        return (
            f"read_csv($path, all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"', "
            f"max_line_size = {MAX_LINE}, buffer_size = {2 * MAX_LINE}, compression = '{compression}')"
        )
    shape = {"jsonl": "newline_delimited", "array": "array", "json": "unstructured"}[kind]
    ignore = "true" if skips and kind == "jsonl" else "false"
    return (
        f"read_json_objects($path, format = '{shape}', maximum_object_size = {largest}, "
        f"compression = '{compression}', ignore_errors = {ignore})"
    )


def named(paths: PathLike | Sequence[PathLike]) -> str:
    """One or several paths in words, short."""
    if isinstance(paths, str | os.PathLike):
        return os.fspath(paths)
    return os.fspath(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
