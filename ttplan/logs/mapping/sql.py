"""Pieces of SQL over texts, for the query of a log and for the rules of its format."""

from __future__ import annotations

from collections.abc import Sequence

from ttplan.logs.fields import ValueKind
from ttplan.logs.units import TIMES


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def is_nested(sql_type: str) -> bool:
    """Whether values of a type are documents: structs, maps, or lists other than vectors."""
    is_vector = sql_type.startswith(("FLOAT", "DOUBLE"))
    return sql_type.startswith(("STRUCT", "MAP", "UNION")) or (
        sql_type.endswith("]") and not is_vector
    )


def texts_at(document: str, pointers: Sequence[str]) -> str:
    """The texts at JSON pointers in a document, as a list; NULL if it is not JSON."""
    return f"TRY(json_extract_string({document}, [{', '.join(map(quoted, pointers))}]))"


def null_if_in(text: str, *empty: str) -> str:
    """A text, or NULL if it is one of the texts that mean "no value"."""
    return f"CASE WHEN {text} NOT IN ({', '.join(map(quoted, empty))}) THEN {text} END"


def literal(value: object) -> str:
    """A constant of a mapping as an SQL text."""
    if value is None:
        return "NULL"
    return quoted(str(value).lower() if isinstance(value, bool) else str(value))


def coalesce(names: Sequence[str | None]) -> str:
    """The first of some texts that has a value."""
    known = [name for name in names if name is not None]
    if not known:
        return "NULL::VARCHAR"
    return known[0] if len(known) == 1 else f"coalesce({', '.join(known)})"


def unquoted(text: str) -> str:
    """A text, without its quotes if it is a JSON string."""
    is_string = f"starts_with({text}, '\"') AND strlen({text}) BETWEEN 2 AND 4096"
    return f"CASE WHEN {is_string} THEN coalesce(TRY(json_extract_string({text}, '$')), {text}) ELSE {text} END"  # noqa: E501


def joined(parts: Sequence[str], separator: str) -> str:
    """Texts joined by a separator; NULL if all are missing. A backslash marks a separator inside a
    text, so that different texts stay different."""
    texts = [f"replace(coalesce({part}, ''), '\\', '\\\\')" for part in parts]
    if separator:
        mark = quoted(f"\\{separator}")
        texts = [f"replace({text}, {quoted(separator)}, {mark})" for text in texts]
    return f"CASE WHEN coalesce({', '.join(parts)}) IS NOT NULL THEN {f' || {quoted(separator)} || '.join(texts)} END"  # noqa: E501


def is_valid(text: str, kind: ValueKind) -> str:
    """Whether a text is of a kind."""
    matches = f"regexp_full_match({text}, {quoted(kind.pattern or '')})"
    return f"({matches} AND {kind.value.format(c=f'({text})')} IS NOT NULL)"


def sum_numbers(
    parts: Sequence[str], less: Sequence[str], kind: ValueKind, unit: str | None = None
) -> str:
    """The sum of numbers of a kind, less some others. An invalid number replaces the sum, with its
    unit if it has one, so that the check reports it."""
    suffix = f" || {quoted(f' ({unit})')}" if unit else ""
    invalid = " ".join(
        f"WHEN {part} IS NOT NULL AND NOT {is_valid(part, kind)} THEN {part}{suffix}"
        for part in (*parts, *less)
    )
    values = [f"coalesce({kind.value.format(c=part)}, 0)" for part in (*parts, *less)]
    total = " + ".join(values[: len(parts)]) + "".join(f" - {v}" for v in values[len(parts) :])
    missing = " AND ".join(f"{part} IS NULL" for part in parts)
    return f"CASE WHEN {missing} THEN NULL {invalid} ELSE CAST({total} AS VARCHAR) END"


def elapsed_ms(start: str, end: str, unit: str) -> str:
    """The whole milliseconds from one time to another, in a unit."""
    return milliseconds(start, end, TIMES[unit])


def milliseconds(start: str, end: str, kind: ValueKind) -> str:
    """The whole milliseconds from one time to another, both of a kind."""
    first, last = (kind.value.format(c=time) for time in (start, end))
    return f"date_diff('millisecond', {first}, {last})"


def error_code(text: str) -> str:
    """The first status of a failed request in an error's text (SQL); NULL if there is none."""
    return f"nullif(regexp_extract({text}, '\\b([45]\\d\\d)\\b', 1), '')"
