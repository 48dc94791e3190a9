"""One SELECT over a file: each of our fields' values, and for every row whether it is used, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ttplan.logs.fields import BODIES, IDENTIFIER, MAX_USAGE, UNITS, Field, ValueKind
from ttplan.logs.format import Format
from ttplan.logs.mapping.mapping import Mapping, Skip, Value
from ttplan.logs.mapping.paths import Path, parse_path, pointer, rows_path
from ttplan.logs.mapping.sql import added_up, between, identifier, inside, milliseconds, quoted
from ttplan.logs.rows import digest_sql, is_uuid, uuid_sql

_ANYTHING = r"(?s).*"
_NESTED = ("STRUCT", "MAP", "UNION")


class Query(NamedTuple):
    """SQL whose rows have `bad_field`, `bad_value`, `skip_rule` (an index), `noted` and the fields; and what it looks at."""

    sql: str
    present: frozenset[str]
    used: frozenset[str]
    """The columns, or the documents' keys, that something was read from."""
    ruled: frozenset[str]
    """The fields that a rule gave, and no mapping."""


class Texts:
    """The texts that a query needs of each row, each read once: `t0`, `t1`, … in the order in which they were asked for."""

    def __init__(
        self, columns: dict[str, str] | None, blank_is_missing: bool, mapping: Mapping
    ) -> None:
        """`columns` and their SQL types, or None for JSON; a mapping's `documents` and `parts` say what is inside what."""
        self._columns = columns
        self._blank = blank_is_missing
        self._documents = frozenset(mapping.documents)
        self._parts = mapping.parts
        self._paths: dict[Path, str] = {}
        # Paths into a part: they are numbered with the others, and read of the part's text.
        self._inside: dict[str, dict[Path, str]] = {}

    def find(self, *paths: str) -> str:
        """`Find` over this file; a column that it lacks is NULL."""
        return _first([self._name(parse_path(path)) for path in paths])

    def has(self, paths: Sequence[str]) -> bool:
        """Whether any of the paths may be there: in JSON any may."""
        steps = [parse_path(path) for path in paths]
        parts = [
            step for path in steps for step in map(parse_path, self._parts.get(str(path[0]), ()))
        ]
        return self._columns is None or any(path[0] in self._columns for path in (*steps, *parts))

    def type_of(self, path: str) -> str | None:
        """The SQL type of a column; None for what is inside one, or inside a document."""
        steps = parse_path(path)
        return None if self._columns is None or len(steps) > 1 else self._columns.get(str(steps[0]))

    def _name(self, path: Path) -> str | None:
        part = str(path[0])
        if part not in self._parts:
            return self._own_name(path)
        if len(path) == 1:
            return self._part(part)
        names = self._inside.setdefault(part, {})
        return names.setdefault(path, f"q{sum(map(len, self._inside.values()))}")

    def _part(self, name: str) -> str:
        # The paths of a part are the row's own: a part may be called as a key is.
        return _first([self._own_name(parse_path(path)) for path in self._parts[name]])

    def _own_name(self, path: Path) -> str | None:
        if self._columns is not None and path[0] not in self._columns:
            return None
        return self._paths.setdefault(path, f"t{len(self._paths)}")

    @property
    def used(self) -> frozenset[str]:
        """The first step of every path that was asked for."""
        return frozenset(str(path[0]) for path in self._paths)

    def relation(self, rows: str) -> str:
        """SQL of the texts over SQL of the rows. A document is parsed once, however many paths into it are asked for."""
        # Which of the row's own texts the parts are is to be known before those are read.
        lists, names = [], []
        for n, (part, paths) in enumerate(self._inside.items()):
            lists.append(
                f"{inside(self._part(part), [pointer(path[1:]) for path in paths])} AS p{n}"
            )
            names += [
                f"{self._clean(f'p{n}[{i}]')} AS {name}" for i, name in enumerate(paths.values(), 1)
            ]
        texts = self._from_documents(rows) if self._columns is None else self._from_columns(rows)
        if not lists:
            return texts
        return f"(SELECT *, {', '.join(names)} FROM (SELECT *, {', '.join(lists)} FROM {texts}))"  # noqa: S608

    def _from_columns(self, rows: str) -> str:
        places: dict[Path, str] = {
            path: self._text(str(path[0])) for path in self._paths if len(path) == 1
        }
        lists = []
        for n, name in enumerate(
            dict.fromkeys(str(path[0]) for path in self._paths if len(path) > 1)
        ):
            paths = [path for path in self._paths if path[0] == name and len(path) > 1]
            lists.append(
                f"{inside(self._document(name), [pointer(path[1:]) for path in paths])} AS y{n}"
            )
            places |= {path: f"y{n}[{i}]" for i, path in enumerate(paths, 1)}
        return self._select(places, f"(SELECT {', '.join(['*', *lists])} FROM {rows})")  # noqa: S608

    def _from_documents(self, rows: str) -> str:
        """Every path at once; where none into a document that may be a text finds anything, it is read as one."""
        texts = [
            name
            for name in dict.fromkeys(path[0] for path in self._paths if len(path) > 1)
            if name in self._documents
        ]
        pointers = [*map(pointer, self._paths), *(pointer((name,)) for name in texts)]
        places = {path: f"x[{n}]" for n, path in enumerate(self._paths, 1)}
        lists = []
        for n, name in enumerate(texts):
            paths = [path for path in self._paths if path[0] == name and len(path) > 1]
            found = inside(f"x[{len(self._paths) + 1 + n}]", [pointer(path[1:]) for path in paths])
            lists.append(
                f"CASE WHEN {' AND '.join(f'{places[path]} IS NULL' for path in paths)} THEN {found} END AS y{n}"
            )
            places |= {
                path: f"coalesce({places[path]}, y{n}[{i}])" for i, path in enumerate(paths, 1)
            }
        first = f"(SELECT {inside('json', pointers)} AS x FROM {rows})" if pointers else rows  # noqa: S608
        return self._select(
            places, f"(SELECT {', '.join(['x', *lists])} FROM {first})" if lists else first
        )  # noqa: S608

    def _select(self, places: dict[Path, str], source: str) -> str:
        texts = ", ".join(
            f"{self._clean(place)} AS {self._paths[path]}" for path, place in places.items()
        )
        return f"(SELECT {texts or 'NULL AS nothing'} FROM {source})"  # noqa: S608

    def _clean(self, text: str) -> str:
        return f"NULLIF({text}, '')" if self._blank else text

    def _text(self, column: str) -> str:
        name = identifier(column)
        return (
            f"CAST(to_json({name}) AS VARCHAR)"
            if self._nested(column)
            else f"CAST({name} AS VARCHAR)"
        )

    def _document(self, column: str) -> str:
        name = identifier(column)
        return f"to_json({name})" if self._nested(column) else f"CAST({name} AS VARCHAR)"

    def _nested(self, column: str) -> bool:
        kind = (self._columns or {}).get(column, "")
        return kind.startswith(_NESTED) or (
            kind.endswith("]") and not kind.startswith(("FLOAT", "DOUBLE"))
        )


def _first(names: Sequence[str | None]) -> str:
    there = [name for name in names if name is not None]
    if not there:
        return "NULL::VARCHAR"
    return there[0] if len(there) == 1 else f"coalesce({', '.join(there)})"


def rows_sql(relation: str, path: str) -> str:
    """SQL of the rows at a path in every document of a relation with the column `json`."""
    if not path:
        return relation
    return f"(SELECT unnest(json_extract(json, {quoted(rows_path(path))})) AS json FROM {relation})"  # noqa: S608


def build(
    rows: str,
    texts: Texts,
    fields: Sequence[Field],
    format: Format,
    needs_cost: bool,
) -> Query:
    """The query of a file's rows. All names in it are our own; what a mapping says is in it as literals only."""
    mapping = format.mapping
    ruled = {f.name: format.rules[f.name](texts.find) for f in fields if f.name in format.rules}
    shared = "".join(f", {rule(texts.find)} AS {name}" for name, rule in format.shared.items())
    said = {
        f.name: ruled.get(f.name) or _said(f, mapping.fields.get(f.name), texts) for f in fields
    }
    present = [f for f in fields if said[f.name] is not None]
    skip = " ".join(f"WHEN {_skipped(one, texts)} THEN {n}" for n, one in enumerate(mapping.skip))
    kinds = {
        f.name: kind_of(f.kind, None if f.name in ruled else mapping.fields.get(f.name))
        for f in fields
    }
    needed = {f.name for f in fields if f.required and (needs_cost or f.name != "cost_usd")}
    values = "" if said.get("cost_usd") is not None else ", NULL::DECIMAL(38, 12) AS cost_usd_value"
    values += "".join(
        f", {kinds[f.name].value.format(c=f.name)} AS {f.name}_value" for f in present
    )
    values += "".join(
        f", {digest_sql(f.name)} AS {f.name}_digest" for f in present if f.kind is IDENTIFIER
    )
    bad = " ".join(
        f"WHEN {_is_bad(f.name, kinds[f.name], f.name in needed, f in present)} THEN '{f.name}'"
        for f in fields
    )
    shown = " ".join(
        f"WHEN bad_field = '{f.name}' THEN left(CAST({f.name} AS VARCHAR), 40)"
        for f in present
        if f not in BODIES
    )
    # A value too large to keep, and a time that ends before it begins, are left empty and counted; the row is kept.
    noted = ", ".join(
        f"CASE WHEN {test} THEN {quoted(what)} END"
        for what, test in _notes(said, kinds, mapping, texts).items()
    )
    chosen = ", ".join(f"{_chosen(f, f in present)} AS {f.name}" for f in fields)
    chosen += f", CASE WHEN NOT {is_uuid('id')} THEN id END AS source_id"
    kept = {name: _small(text) if name == "provider_usage" else text for name, text in said.items()}
    texted = ", ".join(f"{kept[f.name]} AS {f.name}" for f in present)
    sql = f"""
        WITH texts AS (SELECT {texted}, {f"CASE {skip} END" if skip else "NULL::INTEGER"} AS skip_rule,
            {f"list_filter([{noted}], lambda x: x IS NOT NULL)" if noted else "NULL::VARCHAR[]"} AS noted
            FROM (SELECT *{shared} FROM {texts.relation(rows)})),
        valued AS (SELECT *{values} FROM texts),
        judged AS (SELECT *, CASE WHEN skip_rule IS NULL THEN CASE {bad} END END AS bad_field FROM valued)
        SELECT bad_field, {f"CASE {shown} END" if shown else "NULL::VARCHAR"} AS bad_value, skip_rule, noted, {chosen} FROM judged
    """  # noqa: S608
    return Query(sql, frozenset(f.name for f in present), texts.used, frozenset(ruled))


def kind_of(kind: ValueKind, value: Value | None) -> ValueKind:
    """What kind of text a field has, given its own kind and what a mapping says of it."""
    return kind if value is None or value.unit is None or value.start else UNITS[value.unit]


def _said(field: Field, value: Value | None, texts: Texts) -> str | None:
    """SQL of a field's text; None where nothing says it."""
    if value is None:
        return None
    if value.constant is not None:
        return quoted(_spelt(value.constant))
    if not texts.has(value.paths()):
        return None if value.default is None else quoted(_spelt(value.default))
    if field.kind.pattern is None:
        return _vector(value, texts)
    if value.sum:
        text = added_up([texts.find(*paths) for paths in value.sum])
    elif value.start:
        text = between(texts.find(*value.start), texts.find(*value.end), value.unit or "iso")
    else:
        text = texts.find(*value.path)
    if value.values:
        cases = " ".join(
            f"WHEN {quoted(of)} THEN {_literal(to)}" for of, to in value.values.items()
        )
        text = f"CASE {text} {cases} ELSE {text} END"
    return text if value.default is None else f"coalesce({text}, {quoted(_spelt(value.default))})"


def _spelt(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _literal(value: object) -> str:
    return "NULL" if value is None else quoted(_spelt(value))


def _vector(value: Value, texts: Texts) -> str:
    """A list of numbers. A text that is no list becomes an empty one, which nobody takes for a vector."""
    text = texts.find(*value.path)
    return f"CASE WHEN {text} IS NOT NULL THEN coalesce(TRY_CAST({text} AS FLOAT[]), []) END"


def _small(text: str | None) -> str:
    return f"CASE WHEN strlen({text}) <= {MAX_USAGE} THEN {text} END"


def _notes(
    said: dict[str, str | None], kinds: dict[str, ValueKind], mapping: Mapping, texts: Texts
) -> dict[str, str]:
    """What is left empty in a row that is kept, and SQL of whether it is. The tests read the texts, not the values."""
    found = {}
    usage = said.get("provider_usage")
    if usage is not None:
        found[f"provider_usage: larger than {MAX_USAGE:,} bytes"] = f"strlen({usage}) > {MAX_USAGE}"
    for name, value in mapping.fields.items():
        if value.start and name in said and texts.has(value.paths()):
            span = milliseconds(
                texts.find(*value.start), texts.find(*value.end), value.unit or "iso"
            )
            found[f"{name}: it ends before it begins"] = f"{span} < 0"
    return found


def _skipped(rule: Skip, texts: Texts) -> str:
    text = texts.find(*rule.path)
    listed = rule.is_ if rule.is_ is not None else rule.is_not or ()
    named = ", ".join(quoted(one) for one in listed if one is not None)
    tests = [f"coalesce({text} IN ({named}), FALSE)"] if named else []
    tests += [f"{text} IS NULL"] if None in listed else []
    among = f"({' OR '.join(tests) or 'FALSE'})"
    return among if rule.is_ is not None else f"NOT {among}"


def _is_bad(name: str, kind: ValueKind, needed: bool, present: bool) -> str:
    if not present:
        return "TRUE" if needed else "FALSE"
    misspelt = ""
    if kind.pattern not in (None, _ANYTHING):
        misspelt = f"NOT regexp_full_match({name}, {quoted(kind.pattern or '')}) OR "
    wrong = f"({name} IS NOT NULL AND ({misspelt}{name}_value IS NULL))"
    return f"({name} IS NULL OR {wrong})" if needed else wrong


def _chosen(field: Field, present: bool) -> str:
    if present and field.kind is IDENTIFIER:
        return uuid_sql(field.name, f"{field.name}_digest")
    return f"coalesce({field.name}_value, {field.default})" if present else field.default
