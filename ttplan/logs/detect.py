"""Detects which format the rows of a file have, from their keys and never from the file name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import duckdb

from ttplan.logs.format import Format
from ttplan.logs.mapping.paths import parse_path, pointer
from ttplan.logs.mapping.query import rows_sql
from ttplan.logs.mapping.sql import quoted
from ttplan.logs.sources.files import MAX_LINE, FileRelation, unreadable
from ttplan.model.errors import InputError

SAMPLE_ROWS = 100
"""How many documents are sampled."""
_LISTED_KEYS = 6


class DetectedFormat(NamedTuple):
    """A format, the path to its rows, and why it was detected."""

    format: Format
    rows: str
    why: str


class Sample:
    """The first documents of an open file, read once, and the keys of their rows."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, file: FileRelation) -> None:
        """Replaces the temporary table `sample` of the connection."""
        self.file = file
        self._connection = connection
        self._keys: dict[object, dict[str, None]] = {}
        self._parameters: dict[str, str] = file.parameters
        self._documents = f"(SELECT json FROM {file.relation} LIMIT {SAMPLE_ROWS})"  # noqa: S608
        # A file that is one large document is not copied.
        if file.columns is None and file.largest <= MAX_LINE:
            self._fetch(f"CREATE OR REPLACE TEMP TABLE sample AS FROM {self._documents}")
            self._documents, self._parameters = "sample", {}

    @property
    def is_empty(self) -> bool:
        """Whether there is no document at all."""
        if self.file.columns is not None:
            return False
        return not self._fetch(f"SELECT 1 FROM {self._documents} LIMIT 1")  # noqa: S608

    def keys(self, rows: str = "", format: Format | None = None) -> dict[str, None]:
        """The keys of the rows at a path, or of the rows that a format expands, in order."""
        if self.file.columns is not None:
            return dict.fromkeys(self.file.columns) if not rows else {}
        expand = format.expand if format is not None else None
        cache_key = expand or rows
        if not self._can_have(rows, format):
            return {}
        if cache_key not in self._keys:
            keys = self._fetch(
                f"SELECT json_keys(json) FROM {self._rows(rows, format)}"  # noqa: S608
                f" WHERE json_type(json) = 'OBJECT' LIMIT {SAMPLE_ROWS}"
            )
            self._keys[cache_key] = {str(key): None for row in keys for key in row[0]}
        return self._keys[cache_key]

    def _can_have(self, rows: str, format: Format | None) -> bool:
        """Whether documents may have such rows: only then they are parsed once more."""
        if format is not None and format.expand is not None:
            return any(key in self.keys() for key in format.document_keys)
        return not rows or str(parse_path(rows.partition("[")[0])[0]) in self.keys()

    def has(self, path: str, rows: str, format: Format) -> bool:
        """Whether any sampled row has a path."""
        steps = parse_path(path)
        if str(steps[0]) not in self.keys(rows, format):
            return False
        if self.file.columns is not None or len(steps) == 1:
            return True
        exists = f"json_exists(json, {quoted(pointer(steps))})"
        query = f"SELECT count(*) FROM {self._rows(rows, format)} WHERE {exists}"  # noqa: S608
        return bool(self._fetch(query)[0][0])

    def _rows(self, rows: str, format: Format | None) -> str:
        if format is not None and format.expand is not None:
            return format.expand(self._documents)
        return rows_sql(self._documents, rows)

    def _fetch(self, query: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, self._parameters).fetchall()
        except duckdb.Error as error:
            raise unreadable(self.file.path, self.file.kind, error) from None


def detect_format(sample: Sample, formats: Mapping[str, Format]) -> DetectedFormat:
    """The format of a file's rows. Raises InputError, listing what was looked for, unless exactly
    one format fits best."""
    scores = [(*best_rows(sample, f), f) for f in formats.values()]
    best = max(score for score, _, _ in scores)
    matches = [(f, rows) for score, rows, f in scores if score == best > 0]
    if not matches and sample.is_empty:
        raise InputError(f"{sample.file.path} has no rows; expected one request a row")
    if len(matches) != 1:
        raise InputError(_not_detected(sample, [f.name for f, _ in matches], formats))
    ((detected, rows),) = matches
    *first, last = detected.signature.identifying[:_LISTED_KEYS]
    listed = f"{', '.join(first)} and {last}" if first else last
    return DetectedFormat(detected, rows, f"its rows have {listed}")


def find_rows(sample: Sample, format: Format) -> str:
    """The path to a format's rows in this file: of its paths the one whose rows have most of the
    format's keys, the first of equals."""
    mapping = format.mapping
    if len(mapping.rows) == 1:
        return mapping.rows[0]
    paths = [
        *(path for source in mapping.fields.values() for path in source.paths()),
        *(path for part in mapping.parts.values() for path in part),
        *format.signature.required,
    ]
    expected = {str(parse_path(path)[0]) for path in paths}
    return max(mapping.rows, key=lambda rows: len(expected & set(sample.keys(rows, format))))


def best_rows(sample: Sample, format: Format) -> tuple[int, str]:
    """How well a format fits a file, 0 for not at all, and the path to its rows."""
    required, any_of, forbidden, typical = format.signature
    for rows in format.mapping.rows:

        def has(path: str, rows: str = rows) -> bool:
            return sample.has(path, rows, format)

        if (
            all(map(has, required))
            and not any(map(has, forbidden))
            and all(any(map(has, paths)) for paths in any_of)
        ):
            return len(required) + len(any_of) + sum(map(has, typical)), rows
    return 0, ""


def _not_detected(sample: Sample, matches: list[str], formats: Mapping[str, Format]) -> str:
    path, keys = sample.file.path, list(sample.keys())
    # In a file that is not a log a key may be any text.
    shown = ", ".join(key[:40] for key in keys[:20]) or "no columns"
    if matches:
        return (
            f"{path}: its rows fit {' and '.join(matches)} equally well; say which with `format`."
            f" They have {shown}"
        )
    expected = "; ".join(
        f"{f.name}: {', '.join(f.signature.identifying)}"
        for f in formats.values()
        if f.refusal is None
    )
    lacking = ", ".join(key for key in formats["own"].signature.required if key not in keys)
    return (
        f"{path}: no column {lacking}, and the rows have no other known format; they have {shown}."
        f" Looked for {expected}. For any other format write a mapping: `ttplan inspect {path}`"
        " drafts one; import with `mapping`"
    )
