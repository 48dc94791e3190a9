"""The fast path for canonical lines returns what the parser returns, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.chains import ACTORS, chain, entry, exported
from tests.audit.corpus import FLOATS, INTEGERS, TEXTS, nested
from ttplan.audit.canonical_line import claimed_seq, parse_canonical_line
from ttplan.audit.entries import to_record
from ttplan.audit.jsonl import format_line, parse_entry
from ttplan.model.errors import InputError

LINE = exported(chain(2)).split(b"\n")[2]


def parsed(line: bytes) -> object:
    try:
        return parse_entry(line, "it")
    except InputError:
        return None


@pytest.mark.parametrize("payload", [{}, FLOATS, INTEGERS, TEXTS, nested(90)])
def test_canonical_line_equals_the_parsed_entry(payload: dict[str, object]) -> None:
    for actor in ACTORS:
        record = to_record(entry(None, actor=actor, payload=payload))
        assert parse_canonical_line(format_line(record)) == record


def test_unusual_texts_and_deep_payloads_are_left_to_the_parser() -> None:
    for changes in (
        {"event": 'a"b'},
        {"event": "é"},
        {"event": "a\\b"},
        {"event": "\x7f"},
        {"payload": nested(119) | {"y": [[]] * 100}},
    ):
        line = format_line(to_record(entry(None, **changes)))
        assert parse_canonical_line(line) is None
        assert parsed(line) is not None


@pytest.mark.parametrize(("depth", "taken"), [(199, True), (200, False), (252, False)])
def test_deep_nesting_is_left_to_the_parser(depth: int, taken: bool) -> None:
    line = format_line(to_record(entry(None, payload={})))
    line = line.replace(b'"payload":{}', b'"payload":{"n":' + b"[" * depth + b"]" * depth + b"}")
    record = parse_canonical_line(line)
    assert (record is not None) is taken
    assert record is None or record == parsed(line)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"seq":1,', b'"seq":01,'),
        (b'"seq":1,', b'"seq":1.0,'),
        (b'"seq":1,', b'"seq":9223372036854775808,'),
        (b"12:00:01.120Z", b"12:00:01.12Z"),
        (b"12:00:01.120Z", b"12:00:61.120Z"),
        (b"12:00:01.120Z", b"12:00:01.000Z"),
        (b"12:00:01.120Z", b"12:00:01.120+00:00"),
        (b'"n":[1', b'"n": [1'),
        (b'"n":[1', b'"n":[1.50'),
        (b'"n":[1', b'"n":[[]'),
        (b'"n":[1', b'"n":[1],"n":[1'),
        (b'"payload":{', b'"payload":{"a":1,'),
        (b'"payload":{', b'"payload":[{'),
        (b'},"prev_hash"', b'},"x":1,"prev_hash"'),
        (b'"prev_hash":"', b'"prev_hash":"A'),
        (b'"hash":"', b'"hash":"0'),
        (b'"signature":"', b'"signature":"0'),
        (b'"type":"api_key"', b'"type":"user"'),
        (b'{"id":"', b'{ "id":"'),
        (b'{"id":"', b'{"id":"A'),
    ],
)
def test_accepted_lines_equal_the_parsed_entry(old: bytes, new: bytes) -> None:
    assert old in LINE
    line = LINE.replace(old, new, 1)
    record = parse_canonical_line(line)
    assert record is None or record == parsed(line)


def test_digits_moved_between_hashes_are_detected() -> None:
    cut = LINE.index(b'","hash":"')
    moved = LINE[: cut - 1] + b'","hash":"' + LINE[cut - 1 : cut] + LINE[cut + 10 :]
    assert len(moved) == len(LINE)
    assert parse_canonical_line(moved) is None
    assert parse_canonical_line(LINE[:-3] + LINE[-2:-1] + LINE[-3:-2] + LINE[-1:]) is None


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, len(LINE) - 1),
    st.sampled_from([b"", b'"', b"0", b"a", b"A", b"\\", b"{", b"}", b"\x00", b"\xff", b" "]),
    st.integers(0, 2),
)
def test_changed_lines_equal_the_parsed_entry_or_are_left(
    place: int, piece: bytes, dropped: int
) -> None:
    line = LINE[:place] + piece + LINE[place + dropped :]
    record = parse_canonical_line(line)
    assert record is None or record == parsed(line)


def test_claimed_seq_of_a_line() -> None:
    assert claimed_seq(LINE) == 1
    assert claimed_seq(b" " + LINE) is None
    assert claimed_seq(LINE.replace(b'"seq":1,', b'"seq":"1",')) is None
