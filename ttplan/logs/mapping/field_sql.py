"""SQL of a field's text from its source in a mapping."""

from __future__ import annotations

import re

from ttplan.logs.fields import INSTANT, Field, ValueKind
from ttplan.logs.mapping.mapping import FieldSource
from ttplan.logs.mapping.sql import (
    coalesce,
    is_valid,
    joined,
    literal,
    milliseconds,
    quoted,
    sum_numbers,
)
from ttplan.logs.mapping.texts import Texts
from ttplan.logs.units import UNITS, in_zone, multiplied, strptime


def kind_of(kind: ValueKind, source: FieldSource | None) -> ValueKind:
    """The kind of a field's text, given the field's own kind and its source."""
    if source is None or source.first or source.start or source.sum:
        return kind
    return _kind_written(kind, source)


def field_text(field: Field, source: FieldSource | None, texts: Texts) -> str | None:
    """SQL of a field's text; None if the file does not have the field."""
    if source is None:
        return None
    if not source.first:
        return _text(field, source, texts)
    alternatives = [t for s in source.first if (t := _text_in_own_unit(field, s, texts))]
    return _with_default(coalesce(alternatives), source) if alternatives else None


def elapsed(source: FieldSource, texts: Texts) -> str:
    """SQL of the milliseconds from a source's start to its end."""
    start, end = texts.find(*source.start), texts.find(*source.end)
    return milliseconds(start, end, _kind_written(INSTANT, source))


def _kind_written(kind: ValueKind, source: FieldSource) -> ValueKind:
    """The kind in which a source writes values."""
    if source.format:
        kind = strptime(source.format)
    elif source.unit is not None:
        kind = UNITS[source.unit]
    return in_zone(kind, source.zone) if source.zone else kind


def _text_in_own_unit(field: Field, source: FieldSource, texts: Texts) -> str | None:
    """The text in the field's own unit. One that cannot be converted keeps its unit beside it, so
    that the check reports it."""
    text, kind = _text(field, source, texts), kind_of(field.kind, source)
    if text is None or kind is field.kind:
        return text
    value = f"CAST({kind.value.format(c=f'({text})')} AS VARCHAR)"
    unit = quoted(f" ({source.unit or 'another format'})")
    return f"CASE WHEN {is_valid(text, kind)} THEN {value} ELSE ({text}) || {unit} END"


def _text(field: Field, source: FieldSource, texts: Texts) -> str | None:
    """The text in the unit of its source."""
    if source.constant is not None:
        return literal(source.constant)
    if not texts.has(source.paths()):
        return None if source.default is None else literal(source.default)
    if field.kind.pattern is None:
        # A vector. A text that is not a list becomes an empty list, which is not a valid vector.
        text = texts.find(*source.path)
        return f"CASE WHEN {text} IS NOT NULL THEN coalesce(TRY_CAST({text} AS FLOAT[]), []) END"
    if source.sum:
        groups = (source.sum, source.minus)
        parts, less = ([texts.find(*paths) for paths in group] for group in groups)
        text = sum_numbers(parts, less, _kind_written(field.kind, source), source.unit)
    elif source.start:
        duration = elapsed(source, texts)
        text = f"CASE WHEN {duration} >= 0 THEN CAST({duration} AS VARCHAR) END"
    elif source.join:
        text = joined([texts.find(*paths) for paths in source.join], source.separator)
    else:
        text = texts.find(*source.path)
    if source.pattern is not None:
        text = f"NULLIF({_extracted(text, source.pattern)}, '')"
    if source.values:
        text = _replaced(text, source)
    if source.factor is not None:
        text = multiplied(text, source.factor)
    return _with_default(text, source)


def _extracted(text: str, pattern: str) -> str:
    """The first group of a pattern in a text, or the whole match if it has no group."""
    # An escape, a class such as [(], or (?: is no group.
    plain = re.sub(r"\\.|\[\^?\]?[^\]]*\]|\(\?(?!P?<)", "", pattern)
    return f"regexp_extract({text}, {quoted(pattern)}, {int('(' in plain)})"


def _replaced(text: str, source: FieldSource) -> str:
    values = dict(source.values)
    others = literal(values.pop("*")) if "*" in values else text
    cases = "".join(
        f" WHEN {text} = {quoted(old)} THEN {literal(new)}" for old, new in values.items()
    )
    return f"CASE WHEN {text} IS NULL THEN NULL{cases} ELSE {others} END"


def _with_default(text: str, source: FieldSource) -> str:
    return text if source.default is None else f"coalesce({text}, {literal(source.default)})"
