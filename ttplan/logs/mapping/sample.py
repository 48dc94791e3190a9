"""The first rows of a file of an unknown format: keys, and kinds and ranges of their values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from ttplan.logs.mapping.paths import EVERY, entry_step, path_step, rows_path
from ttplan.logs.mapping.query import rows_sql
from ttplan.logs.mapping.sql import identifier, is_nested
from ttplan.logs.source import Source
from ttplan.model.errors import InputError

SAMPLE_ROWS = 500
_MAX_ROW_BYTES = 2**20
_MAX_TEXT = 65_536
"""How many characters of a column's text are read."""
_MAX_DEPTH = 8
_MAX_KEYS = 2000
_MAX_ROW_PATHS = 12
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_AMOUNT = re.compile(r"(?i)-?(US)?\$ ?[\d,]*\.?\d+|[\d,]*\.?\d+ ?USD")
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?")
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?( ?[A-Z]{1,3}|[+-]\d\d(:?\d\d)?)?"
)
_ZONE = re.compile(r"(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)$")
_DATE = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4},?\s+\d{1,2}:\d\d.{0,20}")
_DURATION = re.compile(
    r"(?i)(PT)?(\d+(\.\d+)? ?(h|m|s|ms|us|sec|secs|seconds|min) ?)+|\d+:\d\d:\d\d(\.\d+)?"
)
Row = dict[str, Any]
"""The values of a row by their paths."""
_KEY_FIELDS = ("key", "name", "k", "Key", "Name")
_VALUE_FIELDS = ("value", "v", "Value", "val")
_ENTRY_KEY = re.compile(r"[\w.:/ -]{1,80}", re.ASCII)


class KeySummary(NamedTuple):
    """The values at a key of the sampled rows: how many, how many distinct ones, of which kinds,
    and the range of numbers and times."""

    path: str
    rows: int
    distinct: int
    kinds: tuple[str, ...]
    low: str | None
    high: str | None


class SampledRows(NamedTuple):
    """The rows at a path of the documents, as values by their paths; `documents` are the paths of
    texts that are JSON."""

    at: str
    rows: list[Row]
    keys: dict[str, KeySummary]
    documents: tuple[str, ...]

    def values(self, path: str) -> list[Any]:
        """The values at a path, of the rows that have one."""
        return [row[path] for row in self.rows if path in row]


def sample_rows(source: Source) -> Iterator[SampledRows]:
    """The first rows, once for each path to lists of objects in the documents."""
    if source.sample.file.columns is not None:
        yield _flattened("", _from_columns(source), columns=True)
        return
    documents = _documents(source, "")
    yield _flattened("", documents)
    for at in _row_paths(documents):
        yield _flattened(at, _documents(source, at))


def as_text(value: Any) -> str:
    """A value as a mapping compares it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def number(value: Any) -> Decimal | None:
    """A value as a number, without a dollar sign and commas."""
    if isinstance(value, bool):
        return None
    text = re.sub(r"(?i)^(US)?\$ ?| ?USD$|,(?=\d{3})", "", str(value))
    return Decimal(text) if _NUMBER.fullmatch(text) and len(text) < 40 else None


def _from_columns(source: Source) -> list[Any]:
    file = source.sample.file
    columns = file.columns or {}
    texts = [
        f"left(CAST({column} AS VARCHAR), {_MAX_TEXT})"
        for column in (
            f"to_json({identifier(name)})" if is_nested(sql_type) else identifier(name)
            for name, sql_type in columns.items()
        )
    ]
    query = f"SELECT {', '.join(texts)} FROM {file.relation} LIMIT {SAMPLE_ROWS}"  # noqa: S608
    rows = source.connection.execute(query, file.parameters).fetchall()
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _documents(source: Source, at: str) -> list[Any]:
    file = source.sample.file
    query = (
        f"SELECT CAST(json AS VARCHAR) FROM {rows_sql(file.relation, at)}"  # noqa: S608
        f" WHERE strlen(CAST(json AS VARCHAR)) <= {max(_MAX_ROW_BYTES, file.largest)}"
        f" LIMIT {SAMPLE_ROWS}"
    )
    return [_parsed(row[0]) for row in source.connection.execute(query, file.parameters).fetchall()]


def _parsed(text: str | None) -> Any:
    """A text, parsed if it is a JSON object, list or string."""
    if text is None or text.lstrip()[:1] not in ("{", "[", '"'):
        return text or None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _row_paths(documents: list[Any]) -> list[str]:
    """Paths to lists of objects, the outer ones first."""
    paths: dict[str, None] = {}
    level = [("", document) for document in documents[:20]]
    for _ in range(4):
        inner = []
        for prefix, value in level:
            for key, child in value.items() if isinstance(value, dict) else ():
                path = f"{prefix}.{path_step(key)}" if prefix else path_step(key)
                if isinstance(child, dict):
                    inner.append((path, child))
                elif _are_rows(child) and _is_rows_path(f"{path}{EVERY}"):
                    paths[f"{path}{EVERY}"] = None
                    inner += [(f"{path}{EVERY}", row) for row in child[:5]]
        level = inner[:200]
    return [*paths][:_MAX_ROW_PATHS]


def _are_rows(value: Any) -> bool:
    is_list = (
        isinstance(value, list) and value != [] and all(isinstance(v, dict) for v in value[:5])
    )
    return is_list and _pair_fields(value[0]) is None


def _is_rows_path(path: str) -> bool:
    try:
        rows_path(path)
    except InputError:
        return False
    return True


def _flattened(at: str, rows: list[Any], *, columns: bool = False) -> SampledRows:
    documents: dict[str, None] = {}
    keys: dict[str, None] = {}
    flat = []
    for row in rows:
        values = {}
        for path, value in _leaves(row, "", 0, documents):
            if path in keys or len(keys) < _MAX_KEYS:
                keys[path] = None
                values[path] = value
        flat.append(values)
    summaries = {path: _summary(path, [row[path] for row in flat if path in row]) for path in keys}
    # What a column's text contains is read anyway.
    inside = [path for path in documents if not (columns and path in map(path_step, rows[0]))]
    return SampledRows(at, flat, summaries, tuple(inside))


def _leaves(
    value: Any, path: str, depth: int, documents: dict[str, None]
) -> Iterator[tuple[str, Any]]:
    """The values in a row by their paths."""
    if isinstance(value, str):
        parsed = _parsed(value)
        if path and isinstance(parsed, dict) and parsed:
            documents[path] = None
        value = parsed
    if depth < _MAX_DEPTH and isinstance(value, dict):
        for key, inner in value.items():
            if key:
                step = path_step(key)
                child = f"{path}.{step}" if path else step
                yield from _leaves(inner, child, depth + 1, documents)
    elif depth < _MAX_DEPTH and isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _leaves_of_list(value, path, depth, documents)
    elif path and value is not None and value != "":
        yield path, value


def _leaves_of_list(
    items: list[Any], path: str, depth: int, documents: dict[str, None]
) -> Iterator[tuple[str, Any]]:
    """The entries of a list of keys and values, or the first object of another list."""
    pair = _pair_fields(items[0])
    if pair is None:
        yield path, items
        yield from _leaves(items[0], f"{path}[0]", depth + 1, documents)
        return
    key, held = pair
    for item in items[:200]:
        name = item.get(key) if isinstance(item, dict) else None
        if not isinstance(name, str) or not _ENTRY_KEY.fullmatch(name) or held not in item:
            continue
        inner, at = item[held], f"{path}{entry_step(key, name)}.{held}"
        if isinstance(inner, dict) and len(inner) == 1 and next(iter(inner)).endswith("Value"):
            inner, at = next(iter(inner.values())), f"{at}.*"
        yield from _leaves(inner, at, depth + 1, documents)


def _pair_fields(item: Any) -> tuple[str, str] | None:
    """The fields with the key and the value if an object is an entry of a key/value list."""
    if not isinstance(item, dict) or len(item) > 3:
        return None
    key = next((name for name in _KEY_FIELDS if isinstance(item.get(name), str)), None)
    value = next((name for name in _VALUE_FIELDS if name in item), None)
    return (key, value) if key and value else None


def _summary(path: str, values: list[Any]) -> KeySummary:
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
    if _ISO.fullmatch(text):
        return f"time {'with' if _ZONE.search(text[11:]) else 'without'} zone", text
    for kind, pattern in (
        ("amount", _AMOUNT),
        ("number with commas", _GROUPED),
        ("date", _DATE),
        ("duration", _DURATION),
    ):
        if len(text) < 40 and pattern.fullmatch(text):
            return kind, None
    return "text", None
