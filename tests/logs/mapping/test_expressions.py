"""What a source in a mapping can express: units, dates, paths, sums and joined texts."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.logs.mapping.test_mapping import lines, rows
from ttplan.logs.fields import FIELDS
from ttplan.logs.mapping.mapping import FieldSource, FormatMapping, read_mapping
from ttplan.logs.mapping.paths import Entry, Only, entry_step, parse_path, path_step
from ttplan.logs.mapping.sql import joined, quoted
from ttplan.logs.units import UNITS, in_zone, multiplied
from ttplan.model.errors import InputError

NOON = datetime(2026, 5, 31, 12, tzinfo=UTC)
BASE: dict[str, Any] = {
    "id": "id",
    "ts": {"constant": "2026-05-01T00:00:00Z"},
    "provider": {"constant": "openai"},
    "model": {"constant": "gpt-4o"},
    "input_tokens": {"constant": 10},
    "output_tokens": {"constant": 5},
    "cost_usd": {"constant": 0},
}
PROPERTY = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def value_of(tmp_path: Path, field: str, source: Any, row: dict[str, Any], **mapping: Any) -> Any:
    """A field of the row that a document becomes."""
    fields = BASE | {field: source}
    (result,) = rows(
        lines(tmp_path / "log.jsonl", {"id": "a"} | row), {"fields": fields, **mapping}
    )
    return result[field]


def in_unit(unit: str, text: str) -> Any:
    """The value of a text in a unit; None if it is not of its kind."""
    return in_kind(UNITS[unit], text)


def in_kind(kind: Any, text: str) -> Any:
    fits = f"regexp_full_match(t, {quoted(kind.pattern)})"
    test = f"CASE WHEN {fits} THEN {kind.value.format(c='t')} END"
    return select(f"{test} FROM (SELECT {quoted(text)} AS t)")


@cache
def connection() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    return made


def select(expression: str) -> Any:
    return connection().execute(f"SELECT {expression}").fetchall()[0][0]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"unit": "iso"}, "2026-05-31 12:00:00.000000 UTC"),
        ({"unit": "iso"}, '"2026-05-31T12:00:00Z"'),
        ({"unit": "iso_utc"}, "2026-05-31 12:00:00,000"),
        ({"unit": "mdy"}, "5/31/2026, 12:00 PM"),
        ({"unit": "mdy"}, "05/31/26 12:00:00.0000000"),
        ({"unit": "mdy"}, "5/31/2026, 12:00:00\u202fPM"),
        ({"unit": "dmy"}, "31.05.2026 12:00"),
        ({"format": "%d/%b/%Y:%H:%M:%S %z"}, "31/May/2026:14:00:00 +0200"),
        ({"format": ["%Y", "%a, %d %b %Y %H:%M:%S GMT"]}, "Sun, 31 May 2026 12:00:00 GMT"),
        ({"unit": "iso_utc", "zone": "Europe/Berlin"}, "2026-05-31 14:00:00"),
        ({"unit": "iso_utc", "zone": "Europe/Berlin"}, "2026-05-31T12:00:00Z"),
        ({"unit": "mdy", "zone": "America/New_York"}, "5/31/2026 8:00:00 AM"),
        ({"pattern": r"at (\S+)"}, "seen at 2026-05-31T12:00:00Z"),
    ],
)
def test_times_are_read_as_people_write_them(
    tmp_path: Path, source: dict[str, Any], text: str
) -> None:
    assert value_of(tmp_path, "ts", {"path": "t", **source}, {"t": text}) == NOON


@pytest.mark.parametrize(
    ("source", "value", "expected"),
    [
        ({"unit": "usd"}, "$0.50", "0.5"),
        ({"unit": "usd"}, "US$1,234.50", "1234.5"),
        ({"unit": "usd"}, "0.25 USD", "0.25"),
        ({}, "0E-6", "0"),
        ({}, "125E-9", "0.000000125"),
        ({}, "0E-6176", "0"),
        ({"unit": "cents"}, "1,250", "12.5"),
        ({"unit": "micro_usd"}, 1500, "0.0015"),
        ({"unit": "nano_usd"}, 500_000_000, "0.5"),
        ({"factor": 0.000002}, 3598, "0.007196"),
        ({"factor": 1000}, "0.0005", "0.5"),
        ({"factor": 0.5, "unit": "cents"}, "3", "0.015"),
    ],
)
def test_amounts_are_read_in_their_unit(
    tmp_path: Path, source: dict[str, Any], value: Any, expected: str
) -> None:
    cost = value_of(tmp_path, "cost_usd", {"path": "c", **source}, {"c": value})
    assert cost == Decimal(expected)


@pytest.mark.parametrize("text", ["0,50", "€0.50", "5 EUR", "$", "1.2.3", "--1", "Included"])
def test_what_is_no_dollar_amount_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="cost_usd: expected an amount in USD"):
        value_of(tmp_path, "cost_usd", {"path": "c", "unit": "usd"}, {"c": text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.2s", 3200),
        ("850ms", 850),
        ("1m 2s", 62_000),
        ("0:00:03.2", 3200),
        ("00:00:00.8420000", 842),
        ("PT1M3.2S", 63_200),
    ],
)
def test_durations_are_read_as_texts(tmp_path: Path, text: str, expected: int) -> None:
    source = {"path": "d", "unit": "interval"}
    assert value_of(tmp_path, "latency_ms", source, {"d": text}) == expected


@pytest.mark.parametrize("text", ["t", "T", "yes", "true", "1", "f", "no", "False", "0"])
def test_flags_are_read_as_psql_writes_them(tmp_path: Path, text: str) -> None:
    expected = text.lower() in ("t", "yes", "true", "1")
    assert value_of(tmp_path, "streamed", "s", {"s": text}) is expected


TIMES_FIRST = {
    "first": [
        {"path": "took", "unit": "s"},
        {"start": "a", "end": "b", "unit": "mdy"},
        {"constant": 7},
    ]
}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"took": "1.5", "a": "5/4/2026 8:00", "b": "5/4/2026 9:00"}, 1500),
        ({"took": None, "a": "5/4/2026 8:00:00 AM", "b": "5/4/2026 8:00:03 AM"}, 3000),
        ({"a": "5/4/2026 8:00"}, 7),
    ],
)
def test_the_first_source_with_a_value_counts(
    tmp_path: Path, row: dict[str, Any], expected: int
) -> None:
    assert value_of(tmp_path, "latency_ms", TIMES_FIRST, row) == expected


def test_an_invalid_alternative_is_reported(tmp_path: Path) -> None:
    source = {"first": [{"path": "took", "unit": "interval"}, {"path": "ms"}]}
    with pytest.raises(InputError, match=r"latency_ms: expected .*'250 \(interval\)'"):
        value_of(tmp_path, "latency_ms", source, {"took": "250", "ms": 1})


@pytest.mark.parametrize(
    ("field", "source", "row", "expected"),
    [
        ("output_tokens", {"sum": ["total"], "minus": ["p", "q"]}, {"total": 9, "p": 4}, 5),
        ("cost_usd", {"sum": ["i", "o"]}, {"i": "0.25", "o": "1E-1"}, Decimal("0.35")),
        ("cost_usd", {"sum": ["i", "o"], "unit": "cents"}, {"i": "$5", "o": 5}, Decimal("0.1")),
        ("latency_ms", {"sum": ["q", "r"], "unit": "s"}, {"q": 1.5, "r": "0.25"}, 1750),
        ("input_tokens", {"path": "n", "unit": "tokens"}, {"n": "1,024"}, 1024),
        ("input_tokens", {"path": "k", "factor": 1000}, {"k": 1.2}, 1200),
        ("status", {"path": "e", "values": {"OK": 200, "*": 500}, "default": 200}, {}, 200),
        ("status", {"path": "e", "values": {"OK": 200, "*": 500}}, {"e": "OK"}, 200),
        ("status", {"path": "e", "values": {"OK": 200, "*": 500}}, {"e": "gone"}, 500),
        ("status", {"path": "e", "values": {"*": 500}, "default": 200}, {"e": {"x": 1}}, 500),
        ("status", {"path": "m", "pattern": r"status_code=(\d+)"}, {"m": "status_code=429"}, 429),
        ("tag", {"path": "m", "pattern": r"[^/]+$"}, {"m": "models/x-1"}, "x-1"),
        ("tag", {"path": "m", "pattern": r"\((?:a|b)[(]"}, {"m": "z(a(y"}, "(a("),
        ("tag", {"join": ["a", "b.c"], "separator": "-"}, {"a": "x", "b": {"c": 2}}, "x-2"),
        ("tag", {"join": ["a", "b"]}, {"a": "x|y"}, "x\\|y|"),
        ("tag", {"join": ["a", "b"]}, {}, None),
    ],
)
def test_values_are_made_of_several(
    tmp_path: Path, field: str, source: Any, row: dict[str, Any], expected: Any
) -> None:
    assert value_of(tmp_path, field, source, row) == expected


def test_a_difference_below_zero_is_refused(tmp_path: Path) -> None:
    source = {"sum": ["total"], "minus": ["p"]}
    with pytest.raises(InputError, match=r"output_tokens: expected a whole number .*'-2'"):
        value_of(tmp_path, "output_tokens", source, {"total": 2, "p": 4})


PAIRS = [
    {"key": "model", "value": {"stringValue": "gpt-4o"}},
    {"key": "it's", "value": {"intValue": "12"}},
    {"key": "usage", "value": {"stringValue": '{"in": {"n": 3}}'}},
    {"key": "model", "value": {"stringValue": "another"}},
]
DEEP = {"attributes": {"a.b": '{"usage": "{\\"n\\": 4}"}', "plain": {"n": 5}}, "pairs": PAIRS}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("pairs[key=model].value.stringValue", "gpt-4o"),
        ("pairs[key=model].value.*", "gpt-4o"),
        ('pairs[key="it\'s"].value.*', "12"),
        ("pairs[key=none].value.*", None),
        ("pairs[key=usage].value.stringValue.in.n", "3"),
        ("pairs[key=usage].value", '{"stringValue":"{\\"in\\": {\\"n\\": 3}}"}'),
        ('attributes."a.b".usage.n', "4"),
        ("attributes.plain.n", "5"),
        ("attributes.plain.*", "5"),
        ("attributes[key=model].value", None),
        ("inner.*", "gpt-4o"),
        ("inner.stringValue", "gpt-4o"),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_paths_lead_into_lists_and_texts(
    tmp_path: Path, path: str, expected: str | None, kind: str
) -> None:
    mapping = {
        "documents": [
            'attributes."a.b"',
            'attributes."a.b".usage',
            "pairs[key=usage].value.stringValue",
        ],
        "parts": {"inner": ["none", "pairs[key=model].value"]},
        "fields": BASE | {"tag": path},
    }
    if kind == "jsonl":
        file = lines(tmp_path / "log.jsonl", {"id": "a"} | DEEP)
    else:
        file = tmp_path / "log.csv"
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows([["id", *DEEP], ["a", *map(json.dumps, DEEP.values())]])
    assert rows(file, mapping)[0]["tag"] == expected


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_key_with_dots_needs_no_quotes(tmp_path: Path, kind: str) -> None:
    fields = BASE | {"id": "a.id", "model": "m.n[0]", "tag": '"m.n"[1]'}
    if kind == "jsonl":
        file = lines(tmp_path / "log.jsonl", {"a.id": "x", "m.n": ["gpt-4o", "y"]})
    else:
        file = tmp_path / "log.csv"
        file.write_text('a.id,m.n\nx,"[""gpt-4o"", ""y""]"\n')
    (row,) = rows(file, {"fields": fields})
    assert (row["source_id"], row["model"], row["tag"]) == ("x", "gpt-4o", "y")


def test_bodies_keep_their_quotes(tmp_path: Path) -> None:
    fields = BASE | {"body": "b", "tag": "t"}
    file = lines(tmp_path / "log.jsonl", {"id": "a", "b": '"said"', "t": '"said"'})
    (row,) = rows(file, {"fields": fields}, with_bodies=True)
    assert (row["body"], row["tag"]) == ('"said"', "said")


@pytest.mark.parametrize(
    ("field", "source", "message"),
    [
        ("tag", {"path": "a", "pattern": "("}, "is not a regular expression"),
        ("tag", {"path": "a", "pattern": "(a{1000}){1000}"}, "is not a regular expression"),
        ("ts", {"path": "a", "format": "%Q"}, "is not a format of times"),
        ("ts", {"path": "a", "zone": "Mars"}, "zone 'Mars' is not known"),
        ("ts", {"path": "a", "zone": "'); DROP"}, "is not known"),
        ("ts", {"path": "a", "unit": "mdy", "format": "%Y"}, "give one of them"),
        ("cost_usd", {"path": "a", "factor": 0}, "greater than 0"),
        ("cost_usd", {"path": "a", "factor": 1e-20}, "more than 13 digits"),
        ("tag", {"sum": ["a"]}, "sum does not fit"),
        ("tag", {"path": "a", "factor": 2}, "factor does not fit"),
        ("input_tokens", {"join": ["a"]}, "join does not fit"),
        ("output_tokens", {"path": "a", "minus": ["b"]}, "minus has nothing to subtract from"),
        ("latency_ms", {"first": [{"first": ["a"]}]}, "lists of sources themselves"),
        ("latency_ms", {"first": [{"path": "a", "unit": "usd"}]}, "does not fit"),
    ],
)
def test_a_source_that_fits_no_field_is_refused(field: str, source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_mapping({"fields": BASE | {field: source}})
    assert "\n" not in str(caught.value)


@PROPERTY
@given(st.decimals(0, 10**9, places=6), st.sampled_from(["", "$", "US$", "USD "]))
def test_any_dollar_amount_is_read_exactly(amount: Decimal, sign: str) -> None:
    assert in_unit("usd", f"{sign}{amount:,}") == amount


@PROPERTY
@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2068, 12, 31)),
    st.sampled_from(["%I:%M:%S.%f %p", "%H:%M:%S.%f", "%H:%M:%S"]),
    st.sampled_from(["/", "-", "."]),
    st.sampled_from([" ", ", "]),
)
def test_any_date_is_read_in_its_order(time: datetime, clock: str, mark: str, space: str) -> None:
    time = time if "%f" in clock else time.replace(microsecond=0)
    for unit, order in (("mdy", "%m{0}%d{0}%Y"), ("dmy", "%d{0}%m{0}%Y")):
        text = time.strftime(order.format(mark) + space + clock)
        assert in_unit(unit, text) == time.replace(tzinfo=UTC)


@PROPERTY
@given(st.integers(0, 10**9), st.decimals("0.000001", 1000, places=6))
def test_a_factor_is_exact(number: int, factor: Decimal) -> None:
    product = select(multiplied(quoted(str(number)), factor))
    assert Decimal(product) == number * factor


@PROPERTY
@given(st.lists(st.text("a|\\", max_size=3), min_size=3, max_size=3), st.data())
def test_different_texts_are_joined_differently(first: list[str], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.text("a|\\", max_size=3), min_size=3, max_size=3))
    one, other = (select(joined([*map(quoted, texts)], "|")) for texts in (first, second))
    assert (one == other) == (first == second)


@PROPERTY
@given(st.datetimes(datetime(2000, 1, 1), datetime(2068, 12, 31)), st.integers(-12, 12))
def test_a_zone_applies_to_times_without_one(time: datetime, hours: int) -> None:
    time = time.replace(microsecond=0)
    kind = in_zone(UNITS["iso_utc"], f"Etc/GMT{-hours:+d}")
    assert in_kind(kind, time.isoformat()) == (time - timedelta(hours=hours)).replace(tzinfo=UTC)
    assert in_kind(kind, f"{time.isoformat()}+00:00") == time.replace(tzinfo=UTC)


@PROPERTY
@given(st.text(min_size=1, max_size=6).filter(lambda t: "\x00" not in t))
def test_an_entry_can_be_named_by_any_text(text: str) -> None:
    assert parse_path(f"a{entry_step('key', text)}.*") == ("a", Entry("key", text), Only())
    assert parse_path(f"a.{path_step(text)}") == ("a", text)


def test_a_mapping_reads_what_it_always_did() -> None:
    mapping = FormatMapping(fields={"id": FieldSource(path=("a",))})
    assert mapping.fields["id"].alternatives == (mapping.fields["id"],)
    assert {field.name for field in FIELDS} >= set(mapping.missing())
