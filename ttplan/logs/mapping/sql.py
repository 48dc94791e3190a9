"""Pieces of SQL over texts, for the query of a log and for the rules of its format."""

from __future__ import annotations

from collections.abc import Sequence

from ttplan.logs.fields import COUNT, TIMES


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


def sum_counts(parts: Sequence[str]) -> str:
    """The sum of counts. An invalid count replaces the sum, so that the check reports it."""
    invalid = " ".join(
        f"WHEN NOT regexp_full_match({part}, {quoted(COUNT.pattern or '')}) THEN {part}"
        for part in parts
    )
    total = " + ".join(f"coalesce({COUNT.value.format(c=part)}, 0)" for part in parts)
    missing = " AND ".join(f"{part} IS NULL" for part in parts)
    return f"CASE WHEN {missing} THEN NULL {invalid} ELSE CAST({total} AS VARCHAR) END"


def duration_ms(start: str, end: str, unit: str) -> str:
    """The milliseconds between two times; NULL if one is missing or the end is before the start."""
    elapsed = elapsed_ms(start, end, unit)
    return f"CASE WHEN {elapsed} >= 0 THEN CAST({elapsed} AS VARCHAR) END"


def elapsed_ms(start: str, end: str, unit: str) -> str:
    """The whole milliseconds from one time to another."""
    first, last = (TIMES[unit].value.format(c=time) for time in (start, end))
    return f"date_diff('millisecond', {first}, {last})"
