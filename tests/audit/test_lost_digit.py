"""A hash mismatch that a lost digit explains."""

from __future__ import annotations

import re

import orjson
import pytest

from tests.audit.chains import (
    KEY,
    altered,
    entry,
    exported,
)
from tests.audit.test_jsonl import read
from ttplan.audit.entries import to_record
from ttplan.audit.lost_digit import find_lost_digit
from ttplan.audit.verify.chain import (
    verify_chain,
)
from ttplan.model.errors import (
    HashMismatch,
)

PUBLIC = KEY.public_key


FLOATS = (
    2.5,
    41.37139900000001,
    0.30000000000000004,
    0.1 + 0.7,
    -1.1,
    1.0000000000000002e16,
    5e-324,
)
WRITTEN_FLOATS = [orjson.dumps(text) for text in FLOATS]


@pytest.mark.parametrize(
    ("signed", "written", "field"),
    [
        ({"a": 41.37139900000001}, b"41.371399", None),
        ({"a": 41.371399, "b": [1, 0.30000000000000004]}, b"0.3", "payload.b[1]"),
        ({"a": {"x": 0.1 + 0.7}}, b"0.8", "payload.a.x"),
        ({"a": "0.8", "n": -1.1}, b"-1.2", "payload.n"),
        ({"n": 1.0000000000000002e16}, b"1e+16", "payload.n"),
        ({"n": 5e-324}, b"0.0", "payload.n"),
        ({"n": 2.5}, b"2.6", "payload.n"),
    ],
)
def test_lost_digit_is_found(signed: dict[str, object], written: bytes, field: str | None) -> None:
    text = exported([entry(None, payload=signed)])
    old = next(
        number
        for number in WRITTEN_FLOATS
        if re.search(rb"(?<![0-9.\-])" + re.escape(number) + rb"(?![0-9])", text)
    )
    with pytest.raises(HashMismatch) as caught:
        verify_chain(read(text.replace(old, written, 1)), PUBLIC)
    hint = caught.value.hint
    if field is None:
        assert hint is None
    else:
        assert hint == (
            f"{field} is {written.decode()}, and with {old.decode()}, one unit off, it is what was "
            "signed: whatever exported it lost a digit"
        )


def test_search_for_a_lost_digit_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttplan.audit.lost_digit.MAX_BYTES", 2_000)
    made = entry(None, payload={"n": [0.5] * 50, "z": 0.3})
    with pytest.raises(HashMismatch) as caught:
        verify_chain(
            [altered(made, payload={"n": [0.5] * 50, "z": 0.30000000000000004})],
            PUBLIC,
        )
    assert caught.value.hint is None


@pytest.mark.parametrize(("attempts", "is_found"), [(1, False), (2, True)])
def test_search_stops_exactly_at_the_limit(
    monkeypatch: pytest.MonkeyPatch, attempts: int, is_found: bool
) -> None:
    good = to_record(entry(None, payload={"z": 0.30000000000000004}))
    lost = good._replace(
        body=good.body.replace(b"0.30000000000000004", b"0.3")
    )  # the second attempt
    for bytes_more, there in ((-1, is_found and attempts > 2), (0, is_found)):
        monkeypatch.setattr(
            "ttplan.audit.lost_digit.MAX_BYTES", attempts * len(lost.body) + bytes_more
        )
        assert (find_lost_digit(lost) is not None) is there


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b'{"payload":0.3}',
        b'{"payload":{}}',
        b'{"payload":{"a":1.5,"a":2.5}}',
    ],
)
def test_invalid_body_has_no_lost_digit(body: bytes) -> None:
    assert find_lost_digit(to_record(entry(None))._replace(body=body)) is None


def test_infinity_is_not_tried_as_a_neighbour() -> None:
    none = to_record(entry(None, payload={"n": None}))
    for largest in (b"1.7976931348623157e+308", b"-1.7976931348623157e+308"):
        assert (
            find_lost_digit(none._replace(body=none.body.replace(b'"n":null', b'"n":' + largest)))
            is None
        )
