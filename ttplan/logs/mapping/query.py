"""One SELECT over a file: the value of each field, and for every row whether it is usable."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ttplan.logs.fields import BODIES, IDENTIFIER, MAX_USAGE, UNITS, Field, ValueKind
from ttplan.logs.format import Format
from ttplan.logs.mapping.mapping import FieldSource, FormatMapping, SkipRule
from ttplan.logs.mapping.paths import Path, parse_path, pointer, rows_path
from ttplan.logs.mapping.sql import (
    duration_ms,
    elapsed_ms,
    identifier,
    is_nested,
    quoted,
    sum_counts,
    texts_at,
)
from ttplan.logs.rows import digest_sql, is_uuid, uuid_sql

_ANY_TEXT = r"(?s).*"


class Query(NamedTuple):
    """SQL of rows with `bad_field`, `bad_value`, `skip_rule` (an index), `noted` and the fields."""

    sql: str
    present: frozenset[str]
    """The fields that the file has."""
    used: frozenset[str]
    """The columns, or the keys of documents, that are read."""
    ruled: frozenset[str]
    """The fields that come from a rule and not from the mapping."""


class Texts:
    """The texts that a query reads, each once per row: `t0`, `t1`, … in order of first use."""

    def __init__(
        self, columns: dict[str, str] | None, blank_is_missing: bool, mapping: FormatMapping
    ) -> None:
        """`columns` are the columns and their SQL types, or None for JSON documents."""
        self._columns = columns
        self._blank_is_missing = blank_is_missing
        self._documents = frozenset(mapping.documents)
        self._parts = mapping.parts
        self._names: dict[Path, str] = {}
        # Paths into a part are read from the part's text.
        self._part_names: dict[str, dict[Path, str]] = {}

    def find(self, *paths: str) -> str:
        """`FindText` for this file; a missing column is NULL."""
        return _coalesce([self._name(parse_path(path)) for path in paths])

    def has(self, paths: Sequence[str]) -> bool:
        """Whether any of the paths may exist; in JSON any path may."""
        if self._columns is None:
            return True
        steps = [parse_path(path) for path in paths]
        parts = [parse_path(p) for path in steps for p in self._parts.get(str(path[0]), ())]
        return any(path[0] in self._columns for path in (*steps, *parts))

    def _name(self, path: Path) -> str | None:
        part = str(path[0])
        if part not in self._parts:
            return self._row_name(path)
        if len(path) == 1:
            return self._part_text(part)
        names = self._part_names.setdefault(part, {})
        return names.setdefault(path, f"q{sum(map(len, self._part_names.values()))}")

    def _part_text(self, part: str) -> str:
        # The paths of a part start at the row, so a part may have the name of a key.
        return _coalesce([self._row_name(parse_path(path)) for path in self._parts[part]])

    def _row_name(self, path: Path) -> str | None:
        if self._columns is not None and path[0] not in self._columns:
            return None
        return self._names.setdefault(path, f"t{len(self._names)}")

    @property
    def used(self) -> frozenset[str]:
        """The first step of every path that is read."""
        return frozenset(str(path[0]) for path in self._names)

    def relation(self, rows: str) -> str:
        """SQL of the texts over SQL of the rows; parses a document once for all paths into it."""
        # Parts come first: they add paths to the texts of the row.
        lists, names = [], []
        for n, (part, paths) in enumerate(self._part_names.items()):
            lists.append(f"{self._inside(self._part_text(part), [*paths])} AS p{n}")
            names += [
                f"{self._clean(f'p{n}[{i}]')} AS {name}" for i, name in enumerate(paths.values(), 1)
            ]
        texts = self._from_documents(rows) if self._columns is None else self._from_columns(rows)
        if not lists:
            return texts
        return f"(SELECT *, {', '.join(names)} FROM (SELECT *, {', '.join(lists)} FROM {texts}))"  # noqa: S608

    def _inner_paths(self) -> dict[str, list[Path]]:
        """The paths of more than one step, by their first."""
        by_first: dict[str, list[Path]] = {}
        for path in self._names:
            if len(path) > 1:
                by_first.setdefault(str(path[0]), []).append(path)
        return by_first

    @staticmethod
    def _inside(document: str, paths: Sequence[Path]) -> str:
        return texts_at(document, [pointer(path[1:]) for path in paths])

    def _from_columns(self, rows: str) -> str:
        sources: dict[Path, str] = {
            path: self._text(str(path[0])) for path in self._names if len(path) == 1
        }
        lists = ["*"]
        for n, (name, paths) in enumerate(self._inner_paths().items()):
            lists.append(f"{self._inside(self._document(name), paths)} AS y{n}")
            sources |= {path: f"y{n}[{i}]" for i, path in enumerate(paths, 1)}
        return self._select(sources, f"(SELECT {', '.join(lists)} FROM {rows})")  # noqa: S608

    def _from_documents(self, rows: str) -> str:
        """Read every path at once. A document may be written as a text: if no path into it has a
        value, that text is parsed."""
        inner = {name: p for name, p in self._inner_paths().items() if name in self._documents}
        pointers = [*map(pointer, self._names), *(pointer((name,)) for name in inner)]
        sources = {path: f"x[{n}]" for n, path in enumerate(self._names, 1)}
        lists = ["x"]
        for n, paths in enumerate(inner.values()):
            text = f"x[{len(self._names) + 1 + n}]"
            missing = " AND ".join(f"{sources[path]} IS NULL" for path in paths)
            lists.append(f"CASE WHEN {missing} THEN {self._inside(text, paths)} END AS y{n}")
            sources |= {
                path: f"coalesce({sources[path]}, y{n}[{i}])" for i, path in enumerate(paths, 1)
            }
        first = f"(SELECT {texts_at('json', pointers)} AS x FROM {rows})" if pointers else rows  # noqa: S608
        if inner:
            first = f"(SELECT {', '.join(lists)} FROM {first})"  # noqa: S608
        return self._select(sources, first)

    def _select(self, sources: dict[Path, str], relation: str) -> str:
        texts = ", ".join(
            f"{self._clean(text)} AS {self._names[path]}" for path, text in sources.items()
        )
        return f"(SELECT {texts or 'NULL AS nothing'} FROM {relation})"  # noqa: S608

    def _clean(self, text: str) -> str:
        return f"NULLIF({text}, '')" if self._blank_is_missing else text

    def _text(self, column: str) -> str:
        name = identifier(column)
        return f"CAST({f'to_json({name})' if self._nested(column) else name} AS VARCHAR)"

    def _document(self, column: str) -> str:
        name = identifier(column)
        return f"to_json({name})" if self._nested(column) else f"CAST({name} AS VARCHAR)"

    def _nested(self, column: str) -> bool:
        return is_nested((self._columns or {}).get(column, ""))


def _coalesce(names: Sequence[str | None]) -> str:
    known = [name for name in names if name is not None]
    if not known:
        return "NULL::VARCHAR"
    return known[0] if len(known) == 1 else f"coalesce({', '.join(known)})"


def rows_sql(relation: str, path: str) -> str:
    """SQL of the rows at a path in every document of a relation with the column `json`."""
    if not path:
        return relation
    return f"(SELECT unnest(json_extract(json, {quoted(rows_path(path))})) AS json FROM {relation})"  # noqa: S608


def build(
    rows: str, texts: Texts, fields: Sequence[Field], required: Collection[str], format: Format
) -> Query:
    """The query of a file's rows. Its names are fixed; a mapping contributes only literals."""
    mapping = format.mapping
    ruled = {f.name: format.rules[f.name](texts.find) for f in fields if f.name in format.rules}
    shared = "".join(f", {rule(texts.find)} AS {name}" for name, rule in format.shared.items())
    sources = {
        f.name: text
        for f in fields
        if (text := ruled.get(f.name) or _text_sql(f, mapping.fields.get(f.name), texts))
    }
    present = [f for f in fields if f.name in sources]
    kinds = {
        f.name: kind_of(f.kind, None if f.name in ruled else mapping.fields.get(f.name))
        for f in fields
    }
    skip = " ".join(f"WHEN {_skips(rule, texts)} THEN {n}" for n, rule in enumerate(mapping.skip))
    values = [f"{kinds[f.name].value.format(c=f.name)} AS {f.name}_value" for f in present]
    values += [f"{digest_sql(f.name)} AS {f.name}_digest" for f in present if f.kind is IDENTIFIER]
    if "cost_usd" not in sources:
        values.append("NULL::DECIMAL(38, 12) AS cost_usd_value")
    bad = " ".join(
        f"WHEN {_is_bad(f.name, kinds[f.name], f.name in required, f in present)} THEN '{f.name}'"
        for f in fields
    )
    bad_value = " ".join(
        f"WHEN bad_field = '{f.name}' THEN left(CAST({f.name} AS VARCHAR), 40)"
        for f in present
        if f not in BODIES
    )
    # Values that are too large, and durations that are negative, are emptied and counted.
    noted = ", ".join(
        f"CASE WHEN {test} THEN {quoted(note)} END"
        for note, test in _notes(sources, mapping, texts).items()
    )
    columns = ", ".join(f"{_column(f, f in present)} AS {f.name}" for f in fields)
    if usage := sources.get("provider_usage"):
        sources["provider_usage"] = f"CASE WHEN strlen({usage}) <= {MAX_USAGE} THEN {usage} END"
    named_texts = ", ".join(f"{sources[f.name]} AS {f.name}" for f in present)
    sql = f"""
        WITH texts AS (SELECT {named_texts}, {f"CASE {skip} END" if skip else "NULL::INTEGER"} AS skip_rule,
            {f"list_filter([{noted}], lambda x: x IS NOT NULL)" if noted else "NULL::VARCHAR[]"} AS noted
            FROM (SELECT *{shared} FROM {texts.relation(rows)})),
        valued AS (SELECT *, {", ".join(values)} FROM texts),
        checked AS (SELECT *, CASE WHEN skip_rule IS NULL THEN CASE {bad} END END AS bad_field FROM valued)
        SELECT bad_field, {f"CASE {bad_value} END" if bad_value else "NULL::VARCHAR"} AS bad_value, skip_rule, noted,
            {columns}, CASE WHEN NOT {is_uuid("id")} THEN id END AS source_id FROM checked
    """  # noqa: E501, S608
    return Query(sql, frozenset(sources), texts.used, frozenset(ruled))


def kind_of(kind: ValueKind, source: FieldSource | None) -> ValueKind:
    """The kind of a field's text, given the field's own kind and its source."""
    unit = None if source is None or source.start else source.unit
    return kind if unit is None else UNITS[unit]


def _text_sql(field: Field, source: FieldSource | None, texts: Texts) -> str | None:
    """SQL of a field's text; None if the file does not have the field."""
    if source is None:
        return None
    if source.constant is not None:
        return _literal(source.constant)
    if not texts.has(source.paths()):
        return None if source.default is None else _literal(source.default)
    if field.kind.pattern is None:
        # A vector. A text that is not a list becomes an empty list, which is not a valid vector.
        text = texts.find(*source.path)
        return f"CASE WHEN {text} IS NOT NULL THEN coalesce(TRY_CAST({text} AS FLOAT[]), []) END"
    if source.sum:
        text = sum_counts([texts.find(*paths) for paths in source.sum])
    elif source.start:
        text = duration_ms(texts.find(*source.start), texts.find(*source.end), source.unit or "iso")
    else:
        text = texts.find(*source.path)
    if source.values:
        cases = " ".join(
            f"WHEN {quoted(old)} THEN {_literal(new)}" for old, new in source.values.items()
        )
        text = f"CASE {text} {cases} ELSE {text} END"
    return text if source.default is None else f"coalesce({text}, {_literal(source.default)})"


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return quoted(str(value).lower() if isinstance(value, bool) else str(value))


def _notes(sources: dict[str, str], mapping: FormatMapping, texts: Texts) -> dict[str, str]:
    """What is emptied in a row that is kept, and the SQL condition."""
    notes = {}
    if usage := sources.get("provider_usage"):
        notes[f"provider_usage: larger than {MAX_USAGE:,} bytes"] = f"strlen({usage}) > {MAX_USAGE}"
    for name, source in mapping.fields.items():
        if source.start and name in sources and texts.has(source.paths()):
            start, end = texts.find(*source.start), texts.find(*source.end)
            elapsed = elapsed_ms(start, end, source.unit or "iso")
            notes[f"{name}: it ends before it begins"] = f"{elapsed} < 0"
    return notes


def _skips(rule: SkipRule, texts: Texts) -> str:
    text = texts.find(*rule.path)
    listed = rule.is_ if rule.is_ is not None else rule.is_not or ()
    literals = ", ".join(quoted(value) for value in listed if value is not None)
    tests = [f"coalesce({text} IN ({literals}), FALSE)"] if literals else []
    tests += [f"{text} IS NULL"] if None in listed else []
    matches = f"({' OR '.join(tests) or 'FALSE'})"
    return matches if rule.is_ is not None else f"NOT {matches}"


def _is_bad(name: str, kind: ValueKind, required: bool, present: bool) -> str:
    if not present:
        return "TRUE" if required else "FALSE"
    mismatch = ""
    if kind.pattern not in (None, _ANY_TEXT):
        mismatch = f"NOT regexp_full_match({name}, {quoted(kind.pattern or '')}) OR "
    invalid = f"({name} IS NOT NULL AND ({mismatch}{name}_value IS NULL))"
    return f"({name} IS NULL OR {invalid})" if required else invalid


def _column(field: Field, present: bool) -> str:
    if present and field.kind is IDENTIFIER:
        return uuid_sql(field.name, f"{field.name}_digest")
    return f"coalesce({field.name}_value, {field.default})" if present else field.default
