"""Inspects a file of an unknown format and drafts the mapping that reads it.

The result has the keys of the file, the kinds of their values, how many there are, and the range of
numbers and times. It never has a text of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from ttplan.logs.mapping.draft import KeySummary, draft_fields
from ttplan.logs.mapping.mapping import REQUIRED_IN_MAPPING
from ttplan.logs.mapping.query import rows_sql
from ttplan.logs.mapping.sql import identifier, is_nested
from ttplan.logs.source import Source
from ttplan.logs.sources.files import FileHead, find_files, unreadable
from ttplan.logs.units import TIMES
from ttplan.model.errors import InputError
from ttplan.util.files import atomic_write
from ttplan.util.paths import PathLike
from ttplan.util.yaml_files import format_yaml

SAMPLE_ROWS = 500
_MAX_ROW_BYTES = 2**20
_MAX_TEXT = 65_536
"""How many characters of a column's text are read."""
_MAX_DEPTH = 6
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_ZONE = re.compile(r"(Z|UTC|[+-]\d\d(:?\d\d)?)$")


class Inspection(NamedTuple):
    """What was seen of a file, and the drafted mapping; `missing` are required fields without a
    source."""

    path: str
    kind: str
    known_as: str | None
    rows: str
    sampled: int
    seen: tuple[KeySummary, ...]
    mapping: dict[str, Any]
    missing: tuple[str, ...]

    def yaml(self) -> str:
        """The mapping as YAML, with comments on what is still missing."""
        text = format_yaml(self.mapping)
        if not self.mapping["fields"]:
            text = text.replace("fields: {}\n", "fields:\n")
        missing = "".join(
            f"  # {name}: say where it is, such as `{name}: path.to.it`, or a constant\n"
            for name in self.missing
        )
        return (
            "# A mapping that ttplan drafted. Check it, above all units and whether input tokens"
            f" include cached ones.\n{text}{missing}"
        )

    def __str__(self) -> str:
        known = f"; it is {self.known_as}, which needs no mapping" if self.known_as else ""
        where = f" at {self.rows}" if self.rows else ""
        lines = [
            f"{self.path}: {self.kind}, rows{where};"
            f" the first {self.sampled:,} were looked at{known}"
        ]
        width = max((len(key.path) for key in self.seen), default=0)
        for key in self.seen:
            share = f"{key.rows * 100 // max(self.sampled, 1)} %"
            value_range = "" if key.low is None else f"  {key.low} to {key.high}"
            lines.append(f"  {key.path:<{width}}  {share:>5}  {', '.join(key.kinds)}{value_range}")
        return "\n".join([*lines, "", self.yaml().rstrip()])


def inspect_file(path: PathLike) -> Inspection:
    """Inspect the first rows of a file, or of the first of several, and draft its mapping.

    Raises InputError if it cannot be read.
    """
    file = find_files(path)[0]
    if FileHead(file).is_duckdb:
        raise InputError(
            f"{file} is a DuckDB file; copy its table to a file to have it inspected,"
            " or name it with `table`"
        )
    try:
        with Source(file) as source:
            memory = 2**29 + 6 * source.sample.file.largest
            source.connection.execute(f"SET memory_limit = '{memory}B'")
            rows, rows_path = _sample_rows(source)
            known_as = _known_as(source)
            kind = source.sample.file.kind
    except duckdb.Error as error:
        raise unreadable(file, "a log", error) from None
    keys = _summarise(rows)
    mapping: dict[str, Any] = {"name": re.sub(r"\W+", "_", file.name.split(".")[0])[:100] or "log"}
    if rows_path:
        mapping["rows"] = rows_path
    mapping["fields"] = fields = draft_fields(keys)
    missing = tuple(name for name in REQUIRED_IN_MAPPING if name not in fields)
    return Inspection(str(file), kind, known_as, rows_path, len(rows), keys, mapping, missing)


def write_mapping(inspection: Inspection, path: Path) -> None:
    """Write the drafted mapping. Raises InputError if the file exists."""
    with atomic_write(path) as file:
        file.write(inspection.yaml().encode())


def _known_as(source: Source) -> str | None:
    try:
        return source.detect().format.title
    except InputError:
        return None


def _sample_rows(source: Source) -> tuple[list[Any], str]:
    """The first rows, and the path to them in a document."""
    file = source.sample.file
    if file.columns is not None:
        texts = [
            f"left(CAST({column} AS VARCHAR), {_MAX_TEXT})"
            for column in (
                f"to_json({identifier(name)})" if is_nested(sql_type) else identifier(name)
                for name, sql_type in file.columns.items()
            )
        ]
        query = f"SELECT {', '.join(texts)} FROM {file.relation} LIMIT {SAMPLE_ROWS}"  # noqa: S608
        rows = source.connection.execute(query, file.parameters).fetchall()
        names = [_path_step(name) for name in file.columns]
        return [dict(zip(names, map(_parsed, row), strict=True)) for row in rows], ""
    documents = _documents(source, "")
    if len(documents) == 1 and isinstance(documents[0], dict):
        arrays = [key for key, value in documents[0].items() if _are_rows(value)]
        if arrays:
            rows_path = f"{_path_step(arrays[0])}[*]"
            return _documents(source, rows_path), rows_path
    return documents, ""


def _documents(source: Source, rows_path: str) -> list[Any]:
    file = source.sample.file
    query = (
        f"SELECT CAST(json AS VARCHAR) FROM {rows_sql(file.relation, rows_path)}"  # noqa: S608
        f" WHERE strlen(CAST(json AS VARCHAR)) <= {max(_MAX_ROW_BYTES, file.largest)}"
        f" LIMIT {SAMPLE_ROWS}"
    )
    return [_parsed(row[0]) for row in source.connection.execute(query, file.parameters).fetchall()]


def _parsed(text: str | None) -> Any:
    """A text, parsed if it is a JSON object or list."""
    if text is None or text.lstrip()[:1] not in ("{", "["):
        return text or None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(v, dict) for v in value[:5])


def _path_step(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return key if re.fullmatch(r"[^.\"\[\]]+", key) else f'"{escaped}"'


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str) and value[:1] == "{":
        value = _parsed(value)
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        for key, inner in value.items():
            step = _path_step(key)
            yield from _leaves(inner, f"{path}.{step}" if path else step, depth + 1)
    elif path and value is not None and value != "":
        yield path, value


def _summarise(rows: Iterable[Any]) -> tuple[KeySummary, ...]:
    values: dict[str, list[Any]] = {}
    for row in rows:
        for path, value in _leaves(row, "", 0):
            values.setdefault(path, []).append(value)
    return tuple(_key_summary(path, at_path) for path, at_path in values.items())


def _key_summary(path: str, values: list[Any]) -> KeySummary:
    classified = [_classify(value) for value in values]
    kinds = tuple(dict.fromkeys(kind for kind, _ in classified))
    comparable = [value for _, value in classified if value is not None]
    distinct = len({repr(value) for value in values})
    # A mixture of kinds has no range.
    low, high = (
        (str(min(comparable)), str(max(comparable)))
        if len(kinds) == 1 and comparable
        else (None, None)
    )
    return KeySummary(path, len(values), distinct, kinds, low, high)


def _classify(value: Any) -> tuple[str, Any]:
    """The kind of a value, and the value itself if it is a number or a time."""
    if isinstance(value, bool):
        return "true or false", None
    if isinstance(value, int | float):
        return "number", value
    if isinstance(value, list | dict):
        return "list" if isinstance(value, list) else "object", None
    text = str(value)
    if _NUMBER.fullmatch(text) and len(text) < 40:
        return "number", int(text) if text.lstrip("+-").isdigit() else float(text)
    if text.lower() in ("true", "false"):
        return "true or false", None
    if re.fullmatch(TIMES["iso_utc"].pattern or "", text):
        return f"time {'with' if _ZONE.search(text[11:]) else 'without'} zone", text
    return "text", None
