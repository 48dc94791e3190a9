"""One SELECT over a file: the value of each field, and for every row whether it is usable."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ttplan.logs.fields import (
    FAILED_FINISHES,
    HASHED_BODIES,
    IDENTIFIER,
    MAX_USAGE,
    PRIVATE,
    Field,
    ValueKind,
)
from ttplan.logs.format import REPEATS, Format, Rule
from ttplan.logs.mapping.field_sql import elapsed, field_text, kind_of
from ttplan.logs.mapping.mapping import FormatMapping, SkipRule
from ttplan.logs.mapping.paths import rows_path
from ttplan.logs.mapping.sql import is_valid, quoted
from ttplan.logs.mapping.texts import Texts
from ttplan.logs.rows import digest_sql, is_uuid, uuid_sql

_ANY_TEXT = r"(?s).*"


class Query(NamedTuple):
    """SQL of rows with `bad_field`, `bad_value`, `skip_rule` (an index), `noted`, `adjustment_usd`
    (the cost, if it is negative) and the fields."""

    sql: str
    present: frozenset[str]
    """The fields that the file has."""
    used: frozenset[str]
    """The columns, or the keys of documents, that are read."""
    ruled: frozenset[str]
    """The fields that come from a rule and not from the mapping."""


def rows_sql(relation: str, path: str) -> str:
    """SQL of the rows at a path in every document of a relation with the column `json`."""
    if not path:
        return relation
    return f"(SELECT unnest(json_extract(json, {quoted(rows_path(path))})) AS json FROM {relation})"  # noqa: S608


def build(
    rows: str, texts: Texts, fields: Sequence[Field], required: Collection[str], format: Format
) -> Query:
    """The query of a file's rows. Its names are fixed; a mapping contributes only literals."""
    rules, mapping = _with_prompts(format, {f.name for f in fields})
    ruled = {f.name: rules[f.name](texts.find) for f in fields if f.name in rules}
    shared = "".join(f", {rule(texts.find)} AS {name}" for name, rule in format.shared.items())
    sources = {
        f.name: text
        for f in fields
        if (text := ruled.get(f.name) or field_text(f, mapping.fields.get(f.name), texts))
    }
    present = [f for f in fields if f.name in sources]
    kinds = {
        f.name: kind_of(f.kind, None if f.name in ruled else mapping.fields.get(f.name))
        for f in fields
    }
    skip = " ".join(f"WHEN {_skips(rule, texts)} THEN {n}" for n, rule in enumerate(mapping.skip))
    values = [f"{kinds[f.name].value.format(c=f.name)} AS {f.name}_value" for f in present]
    values.append(f"{_adjustment(kinds['cost_usd'], 'cost_usd' in sources)} AS adjustment_usd")
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
        if f.name not in PRIVATE
    )
    # Values that are too large, and durations that are negative, are emptied and counted.
    noted = ", ".join(
        f"CASE WHEN {test} THEN {quoted(note)} END"
        for note, test in _notes(sources, mapping, texts).items()
    )
    if "finish_reason" in sources:
        fields = [
            f._replace(default=_status_by_finish(f.default)) if f.name == "status" else f
            for f in fields
        ]
    columns = ", ".join(f"{_column(f, f.name in sources)} AS {f.name}" for f in fields)
    if usage := sources.get("provider_usage"):
        sources["provider_usage"] = f"CASE WHEN strlen({usage}) <= {MAX_USAGE} THEN {usage} END"
    named_texts = ", ".join(f"{sources[f.name]} AS {f.name}" for f in present)
    nested, keys = "texts", ""
    if format.nesting is not None and "provider_usage" in sources:
        keys = ", row_number() OVER () AS place" + "".join(
            f", {rule(texts.find)} AS {name}_key" for name, rule in format.nesting._asdict().items()
        )
        nested = _without_repeats(mapping)
    sql = f"""
        WITH texts AS (SELECT {named_texts}{keys}, {f"CASE {skip} END" if skip else "NULL::INTEGER"} AS skip_rule,
            {f"list_filter([{noted}], lambda x: x IS NOT NULL)" if noted else "NULL::VARCHAR[]"} AS noted
            FROM (SELECT *{shared} FROM {texts.relation(rows)})),
        valued AS (SELECT *, {", ".join(values)} FROM {nested}),
        checked AS (SELECT *, CASE WHEN skip_rule IS NULL AND adjustment_usd IS NULL THEN CASE {bad} END END AS bad_field FROM valued)
        SELECT bad_field, {f"CASE {bad_value} END" if bad_value else "NULL::VARCHAR"} AS bad_value, skip_rule, noted,
            adjustment_usd, {columns}, CASE WHEN NOT {is_uuid("id")} THEN id END AS source_id FROM checked
    """  # noqa: E501, S608
    return Query(sql, frozenset(sources), texts.used, frozenset(ruled))


def _without_repeats(mapping: FormatMapping) -> str:
    """SQL of the texts. A request with requests directly under it repeats them and is skipped."""
    number = next(n for n, rule in enumerate(mapping.skip) if rule.path == (REPEATS,))
    is_request = "skip_rule IS NULL AND provider_usage IS NOT NULL AND parent_key IS NOT NULL"
    above = f"SELECT parent_key FROM texts WHERE {is_request}"  # noqa: S608
    rule = f"CASE WHEN skip_rule IS NULL AND span_key IN ({above}) THEN {number} ELSE skip_rule END"
    # A join loses the order of the rows.
    return f"(SELECT * REPLACE ({rule} AS skip_rule) FROM texts ORDER BY place)"  # noqa: S608


def _with_prompts(format: Format, names: set[str]) -> tuple[Mapping[str, Rule], FormatMapping]:
    """The rules and the mapping of a format, with the sources of bodies for what is hashed, if the
    bodies are not read anyway."""
    rules, sources = dict(format.rules), dict(format.mapping.fields)
    for name, body in HASHED_BODIES.items():
        if name in names and body not in names and not {name} & (rules.keys() | sources.keys()):
            if body in rules:
                rules[name] = rules[body]
            if body in sources:
                sources[name] = sources[body]
    return rules, format.mapping.model_copy(update={"fields": sources})


def _adjustment(cost: ValueKind, present: bool) -> str:
    """SQL of a cost below 0: a refund, no request."""
    if not present:
        return "NULL::DECIMAL(38, 12)"
    amount = "substr(cost_usd, 2)"
    is_negative = f"skip_rule IS NULL AND starts_with(cost_usd, '-') AND {is_valid(amount, cost)}"
    value = f"CASE WHEN {is_negative} THEN -({cost.value.format(c=amount)}) END"
    return f"NULLIF({value}, 0)"


def _status_by_finish(default: str) -> str:
    """SQL of the status of a row that only its finish reason marks as failed."""
    cases = "".join(
        f" WHEN lower(finish_reason) IN ({', '.join(map(quoted, reasons.split()))}) THEN {status}"
        for status, reasons in FAILED_FINISHES.items()
    )
    return f"CASE{cases} ELSE {default} END"


def _notes(sources: dict[str, str], mapping: FormatMapping, texts: Texts) -> dict[str, str]:
    """What is emptied in a row that is kept, and the SQL condition."""
    notes = {}
    if usage := sources.get("provider_usage"):
        notes[f"provider_usage: larger than {MAX_USAGE:,} bytes"] = f"strlen({usage}) > {MAX_USAGE}"
    for name, source in mapping.fields.items():
        for way in source.alternatives:
            if way.start and name in sources and texts.has(way.paths()):
                notes[f"{name}: it ends before it begins"] = f"{elapsed(way, texts)} < 0"
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
