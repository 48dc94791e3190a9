"""Which format a file's rows are, by the keys that they have and never by the file's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import duckdb

from ttplan.logs.format import Format, Signature
from ttplan.logs.mapping.paths import parse_path, pointer
from ttplan.logs.mapping.query import rows_sql
from ttplan.logs.mapping.sql import quoted
from ttplan.logs.sources.files import Opened, unreadable
from ttplan.model.errors import InputError

SAMPLE = 100
"""How many documents are looked at."""
_SHOWN = 6


class DetectedFormat(NamedTuple):
    """A format, where its rows are, and why it is that one."""

    format: Format
    rows: str
    why: str


def detect_format(
    connection: duckdb.DuckDBPyConnection, opened: Opened, formats: Mapping[str, Format]
) -> DetectedFormat:
    """The format of a file's rows. InputError where none or several fit, with what was looked for."""
    seen = _Seen(connection, opened)
    fits = [(score, one, rows) for one in formats.values() for rows, score in _fits(seen, one)]
    best = max((score for score, _, _ in fits), default=0)
    found = [(one, rows) for score, one, rows in fits if score == best]
    if not found and seen.nothing():
        raise InputError(f"{opened.path} has no rows; expected one request a row")
    if len(found) != 1:
        raise InputError(_unknown(opened, [one.name for one, _ in found], seen, formats))
    (one, rows), *_ = found
    return DetectedFormat(one, rows, f"its rows have {_listed(one.signs.needs)}")


def rows_of(connection: duckdb.DuckDBPyConnection, opened: Opened, format: Format) -> str:
    """Where a format's rows are in this file: of its places the one whose rows have most of its keys, the first of equals."""
    places = format.mapping.rows
    if len(places) == 1:
        return places[0]
    seen = _Seen(connection, opened)
    paths = [path for value in format.mapping.fields.values() for path in value.paths()]
    parts = [path for some in format.mapping.parts.values() for path in some]
    wanted = {str(parse_path(path)[0]) for path in (*paths, *parts, *format.signs.needs)}
    return max(places, key=lambda rows: len(wanted & set(seen.keys(rows, format))))


def keys_of(
    connection: duckdb.DuckDBPyConnection,
    opened: Opened,
    rows: str = "",
    format: Format | None = None,
) -> tuple[str, ...]:
    """The columns, or the keys of the first rows at a path, or of those that a format makes, in order of appearance."""
    return tuple(_Seen(connection, opened).keys(rows, format))


class _Seen:
    """The keys of a file's first rows, by where the rows are."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, opened: Opened) -> None:
        self._connection, self._opened = connection, opened
        self._keys: dict[object, dict[str, None]] = {}

    def keys(self, rows: str, format: Format | None) -> dict[str, None]:
        """The keys of the rows at a path, or of those that a format makes of the documents."""
        if self._opened.columns is not None:
            return dict.fromkeys(self._opened.columns) if not rows else {}
        expand = format.expand if format is not None else None
        key = expand or rows
        if key not in self._keys:
            first = f"(SELECT json FROM {self._opened.relation} LIMIT {SAMPLE})"  # noqa: S608
            relation = expand(first) if expand is not None else rows_sql(first, rows)
            query = f"SELECT json_keys(json) FROM {relation} WHERE json_type(json) = 'OBJECT' LIMIT {SAMPLE}"  # noqa: S608
            self._keys[key] = {str(key): None for row in self._rows(query) for key in row[0]}
        return self._keys[key]

    def nothing(self) -> bool:
        """Whether there is no document at all."""
        return self._opened.columns is None and not self._rows(
            f"SELECT 1 FROM {self._opened.relation} LIMIT 1"
        )  # noqa: S608

    def has(self, path: str, rows: str, format: Format) -> bool:
        """Whether a path is in the first rows."""
        steps = parse_path(path)
        if str(steps[0]) not in self.keys(rows, format):
            return False
        if self._opened.columns is not None or len(steps) == 1:
            return True
        first = f"(SELECT json FROM {self._opened.relation} LIMIT {SAMPLE})"  # noqa: S608
        relation = format.expand(first) if format.expand is not None else rows_sql(first, rows)
        query = f"SELECT count(*) FROM {relation} WHERE json_exists(json, {quoted(pointer(steps))})"  # noqa: S608
        return bool(self._rows(query)[0][0])

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, self._opened.parameters).fetchall()
        except duckdb.Error as error:
            raise unreadable(self._opened.path, self._opened.kind, error) from None


def _fits(seen: _Seen, format: Format) -> Iterable[tuple[str, int]]:
    """Where this format's rows may be, and how much speaks for it."""
    for rows in format.mapping.rows:
        score = _score(seen, format.signs, rows, format)
        if score:
            yield rows, score
            return


def _score(seen: _Seen, signs: Signature, rows: str, format: Format) -> int:
    def has(path: str) -> bool:
        return seen.has(path, rows, format)

    if (
        not all(map(has, signs.needs))
        or any(map(has, signs.never))
        or not all(any(map(has, some)) for some in signs.any_of)
    ):
        return 0
    return len(signs.needs) + len(signs.any_of) + sum(map(has, signs.also))


def _unknown(opened: Opened, found: list[str], seen: _Seen, formats: Mapping[str, Format]) -> str:
    have = list(seen.keys("", None))
    # What is no log has anything for names.
    shown = ", ".join(name[:40] for name in have[:20]) or "no columns"
    if found:
        return f"{opened.path}: its rows may be {' and '.join(found)} alike; say which with `format`. They have {shown}"
    looked = "; ".join(
        f"{f.name}: {', '.join(f.signs.needs)}" for f in formats.values() if f.refused is None
    )
    own = formats["own"].signs.needs
    lacking = ", ".join(name for name in own if name not in have)
    return (
        f"{opened.path}: no column {lacking}, and the rows are of no other format that is known; they have {shown}. Looked for "
        f"{looked}. For anything else write a mapping: `ttplan inspect {opened.path}` drafts one, import with `mapping`"
    )


def _listed(names: tuple[str, ...]) -> str:
    shown = [*names[:_SHOWN]]
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
