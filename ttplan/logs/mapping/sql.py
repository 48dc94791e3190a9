"""Small pieces of SQL over texts, for the query of a log and for the rules of its format."""

from __future__ import annotations

from collections.abc import Sequence

from ttplan.logs.fields import COUNT, TIMES


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def inside(document: str, pointers: Sequence[str]) -> str:
    """The texts at JSON pointers in a document, as a list; NULL where it is no JSON."""
    return f"TRY(json_extract_string({document}, [{', '.join(map(quoted, pointers))}]))"


def unless(text: str, *nothing: str) -> str:
    """A text, NULL where it is one of some that stand for nothing."""
    return f"CASE WHEN {text} NOT IN ({', '.join(map(quoted, nothing))}) THEN {text} END"


def added_up(parts: Sequence[str]) -> str:
    """Whole numbers added up. One that is none stands for the sum, and is found bad there."""
    wrong = " ".join(
        f"WHEN NOT regexp_full_match({part}, {quoted(COUNT.pattern or '')}) THEN {part}"
        for part in parts
    )
    added = " + ".join(f"coalesce({COUNT.value.format(c=part)}, 0)" for part in parts)
    nothing = " AND ".join(f"{part} IS NULL" for part in parts)
    return f"CASE WHEN {nothing} THEN NULL {wrong} ELSE CAST({added} AS VARCHAR) END"


def between(start: str, end: str, unit: str) -> str:
    """The milliseconds between two times; nothing where one is none, or the second is before the first."""
    span = milliseconds(start, end, unit)
    return f"CASE WHEN {span} >= 0 THEN CAST({span} AS VARCHAR) END"


def milliseconds(start: str, end: str, unit: str) -> str:
    """The whole milliseconds from one time to another."""
    kind = TIMES[unit]
    first, last = (kind.value.format(c=one) for one in (start, end))
    return f"date_diff('millisecond', {first}, {last})"
