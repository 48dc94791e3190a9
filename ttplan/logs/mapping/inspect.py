"""Look at a file of an unknown format, and draft the mapping that would read it.

What is shown of a file are its keys, what kinds of values they have, how many, and the range of numbers and times; never a text.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from ttplan.logs.detect import detect_format
from ttplan.logs.fields import FIELDS, TIMES
from ttplan.logs.formats import FORMATS
from ttplan.logs.mapping.draft import KeySummary, draft_fields
from ttplan.logs.mapping.mapping import CAN_LACK
from ttplan.logs.mapping.query import rows_sql
from ttplan.logs.mapping.sql import identifier
from ttplan.logs.source import connect
from ttplan.logs.sources.files import Opened, find_files, is_duckdb, open_file, unreadable
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike
from ttplan.util.yaml_files import format_yaml

SAMPLE = 500
"""How many rows are looked at."""
_LARGEST = 2**20
_CUT = 65_536
"""How much of a column's text is looked at."""
_DEPTH = 6


class Inspection(NamedTuple):
    """What was seen of a file, and the mapping that is drafted; nothing was found for the fields `missing`, which a row needs."""

    path: str
    kind: str
    known_as: str | None
    rows: str
    sampled: int
    seen: tuple[KeySummary, ...]
    mapping: dict[str, Any]
    missing: tuple[str, ...]

    def yaml(self) -> str:
        """The mapping as YAML, with what is still to be said as comments."""
        head = "# A mapping that ttplan drafted. Check it, above all units and whether input tokens include cached ones.\n"
        gaps = "".join(
            f"  # {name}: say where it is, such as `{name}: path.to.it`, or a constant\n"
            for name in self.missing
        )
        text = format_yaml(self.mapping)
        return (
            head
            + (text if self.mapping["fields"] else text.replace("fields: {}\n", "fields:\n"))
            + gaps
        )

    def __str__(self) -> str:
        known = f"; it is {self.known_as}, which needs no mapping" if self.known_as else ""
        where = f" at {self.rows}" if self.rows else ""
        lines = [
            f"{self.path}: {self.kind}, rows{where}; the first {self.sampled:,} were looked at{known}"
        ]
        width = max((len(one.path) for one in self.seen), default=0)
        for one in self.seen:
            share = f"{one.rows * 100 // max(self.sampled, 1)} %"
            between = "" if one.low is None else f"  {one.low} to {one.high}"
            lines.append(f"  {one.path:<{width}}  {share:>5}  {', '.join(one.kinds)}{between}")
        return "\n".join([*lines, "", self.yaml().rstrip()])


def inspect_file(path: PathLike) -> Inspection:
    """Look at the first rows of a file, or of the first file of several, and draft its mapping. InputError where it cannot be."""
    file = find_files(path)[0]
    if is_duckdb(file):
        raise InputError(
            f"{file} is a DuckDB file; copy its table to a file to have it inspected, or name it with `table`"
        )
    with tempfile.TemporaryDirectory(prefix="ttplan-") as spill:
        connection = connect(spill)
        try:
            opened = open_file(connection, file)
            connection.execute(f"SET memory_limit = '{2**29 + 6 * opened.largest}B'")
            rows, where = _sample(connection, opened)
            known = _known_as(connection, opened)
        except duckdb.Error as error:
            raise unreadable(file, "a log", error) from None
        finally:
            connection.close()
    seen = _summed(rows)
    fields = draft_fields(seen)
    needed = [field.name for field in FIELDS if field.required and field.name not in CAN_LACK]
    mapping: dict[str, Any] = {"name": re.sub(r"\W+", "_", file.name.split(".")[0])[:100] or "log"}
    mapping |= ({"rows": where} if where else {}) | {"fields": fields}
    missing = tuple(name for name in needed if name not in fields)
    return Inspection(str(file), opened.kind, known, where, len(rows), seen, mapping, missing)


def _known_as(connection: Any, opened: Opened) -> str | None:
    try:
        return detect_format(connection, opened, FORMATS).format.title
    except InputError:
        return None


def _sample(connection: Any, opened: Opened) -> tuple[list[Any], str]:
    """The first rows, and where they are in a document."""
    if opened.columns is not None:
        texts = [
            f"left(CAST({_text(*column)} AS VARCHAR), {_CUT})" for column in opened.columns.items()
        ]
        query = f"SELECT {', '.join(texts)} FROM {opened.relation} LIMIT {SAMPLE}"  # noqa: S608
        found = connection.execute(query, opened.parameters).fetchall()
        return [
            dict(zip(map(_step, opened.columns), map(_value, row), strict=True)) for row in found
        ], ""
    documents = _documents(connection, opened, "")
    if len(documents) == 1 and isinstance(documents[0], dict):
        arrays = [key for key, value in documents[0].items() if _are_rows(value)]
        if arrays:
            where = f"{_step(arrays[0])}[*]"
            return _documents(connection, opened, where), where
    return documents, ""


def _documents(connection: Any, opened: Opened, where: str) -> list[Any]:
    relation = rows_sql(opened.relation, where)
    small = f"strlen(CAST(json AS VARCHAR)) <= {max(_LARGEST, opened.largest)}"
    query = f"SELECT CAST(json AS VARCHAR) FROM {relation} WHERE {small} LIMIT {SAMPLE}"  # noqa: S608
    return [_value(row[0]) for row in connection.execute(query, opened.parameters).fetchall()]


def _text(name: str, kind: str) -> str:
    nested = kind.startswith(("STRUCT", "MAP", "UNION")) or kind.endswith("]")
    return f"to_json({identifier(name)})" if nested else identifier(name)


def _value(text: str | None) -> Any:
    if text is None or text.lstrip()[:1] not in ("{", "["):
        return text or None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _are_rows(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value[:5])
    )


def _step(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return key if re.fullmatch(r"[^.\"\[\]]+", key) else f'"{escaped}"'


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str) and value[:1] == "{":
        value = _value(value)
    if isinstance(value, dict) and depth < _DEPTH:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{_step(key)}" if path else _step(key), depth + 1)
    elif path and value is not None and value != "":
        yield path, value


def _summed(rows: Iterable[Any]) -> tuple[KeySummary, ...]:
    values: dict[str, list[Any]] = {}
    for row in rows:
        for path, value in _leaves(row, "", 0):
            values.setdefault(path, []).append(value)
    return tuple(_seen(path, found) for path, found in values.items())


def _seen(path: str, values: list[Any]) -> KeySummary:
    judged = [_kind(value) for value in values]
    kinds = tuple(dict.fromkeys(kind for kind, _ in judged))
    measures = [measure for _, measure in judged if measure is not None]
    different = len({repr(value) for value in values})
    # A range is of numbers or of times; of a mixture nothing can be said.
    ends = (
        (str(min(measures)), str(max(measures))) if len(kinds) == 1 and measures else (None, None)
    )
    return KeySummary(path, len(values), different, kinds, *ends)


def _kind(value: Any) -> tuple[str, Any]:
    """What kind of value it is, and the value itself where it is a number or a time."""
    if isinstance(value, bool):
        return "true or false", None
    if isinstance(value, int | float):
        return "number", value
    if isinstance(value, list | dict):
        return "list" if isinstance(value, list) else "object", None
    text = str(value)
    if re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", text) and len(text) < 40:
        return "number", float(text) if not text.lstrip("+-").isdigit() else int(text)
    if re.fullmatch(r"(?i)true|false", text):
        return "true or false", None
    if re.fullmatch(TIMES["iso_utc"].pattern or "", text):
        return (
            "time with zone"
            if re.search(r"(Z|UTC|[+-]\d\d(:?\d\d)?)$", text[11:])
            else "time without zone"
        ), text
    return "text", None


def write_mapping(found: Inspection, path: Path) -> None:
    """Write the drafted mapping. InputError where there is a file already."""
    from ttplan.util.files import atomic_write

    with atomic_write(path) as file:
        file.write(found.yaml().encode())
