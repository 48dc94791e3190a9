"""Canonical bytes: what `serde_json` writes for a map with sorted keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttplan.audit.canonical import (
    canonical_json,
    check_payload,
    payload_money,
    with_legacy_exponents,
)
from ttplan.model.errors import CanonicalError

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e-5, b"0.00001"),
        (1e-6, b"1e-6"),
        (1e16, b"1e+16"),
        (1e15, b"1000000000000000.0"),
        (-0.0, b"-0.0"),
        (5e-324, b"5e-324"),
        (0.0, b"0.0"),
        (2**64 - 1, b"18446744073709551615"),
        (-(2**63), b"-9223372036854775808"),
        (["é", 2**64 - 1, -(2**63)], '["é",18446744073709551615,-9223372036854775808]'.encode()),
        (
            '\b\t\n\f\r\x00\x1f\x7f"\\/é😀\u2028',
            '"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\\"\\\\/é😀\u2028"'.encode(),
        ),
        ({"b": 1, "a": {"d": 1, "c": 2}}, b'{"a":{"c":2,"d":1},"b":1}'),
        ({"\uffff": 1, "😀": 2, "\x7f": 3}, '{"\x7f":3,"\uffff":1,"😀":2}'.encode()),
        ({"e\u0301": 1, "\u00e9": 2}, '{"e\u0301":1,"\u00e9":2}'.encode()),
    ],
)
def test_the_bytes_are_those_of_serde_json(value: Any, expected: bytes) -> None:
    assert canonical_json(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "value is nan; expected a finite number"),
        ({"a": [1, float("inf")]}, r"value\.a\[1\] is inf"),
        ({"a": 2**64}, r"value\.a is 18446744073709551616; expected an integer of 64 bits"),
        (-(2**63) - 1, "64 bits"),
        ("\ud800", "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        ({1: 1}, "has the key 1; expected text"),
        ({"a": {1, 2}}, "is a set"),
        (Decimal(1), "is a Decimal"),
    ],
)
def test_error_names_the_place_of_what_json_cannot_hold(value: Any, message: str) -> None:
    with pytest.raises(CanonicalError, match=message):
        canonical_json(value)


def test_deep_value_is_refused_without_a_crash() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(CanonicalError, match="nests too deep"):
        canonical_json(deep)


@given(json_values)
def test_canonical_json_is_read_back_and_stable(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text


def nested(levels: int, leaf: object = 1) -> dict[str, Any]:
    """Alternating objects and arrays around a leaf; the outermost is an object."""
    value: Any = leaf
    for level in range(levels, 0, -1):
        value = {"a": value} if level % 2 else [value]
    return value  # type: ignore[no-any-return]


@pytest.mark.parametrize("leaf", [1, "é", {}, []])
def test_payloads_nest_at_most_120_levels_and_values_250(leaf: object) -> None:
    check_payload(nested(120, leaf))
    with pytest.raises(CanonicalError, match="nests too deep; expected at most 120 levels"):
        check_payload(nested(121, leaf))
    assert json.loads(canonical_json(nested(250, leaf))) == nested(250, leaf)
    with pytest.raises(CanonicalError, match="nests too deep; expected at most 250 levels"):
        canonical_json(nested(251, leaf))


@pytest.mark.parametrize("write", [canonical_json, check_payload])
def test_a_mapping_that_cannot_be_written_is_refused(write: Callable[[Any], object]) -> None:
    with pytest.raises(CanonicalError, match="the value cannot be written as JSON: "):
        write(MappingProxyType({"a": 1}))


@pytest.mark.parametrize("payload", [{"a": "x\0"}, {"x\0": 1}, {"a": ["\0"]}])
def test_a_payload_has_no_nul_character(payload: dict[str, Any]) -> None:
    with pytest.raises(CanonicalError, match="NUL"):
        check_payload(payload)


def test_payload_money_has_6_decimals_and_a_limit() -> None:
    assert payload_money(Decimal("1.2345675")) == 1.234568
    assert payload_money(Decimal("999999999.999999")) == 999999999.999999
    with pytest.raises(CanonicalError, match="less than 1,000,000,000"):
        payload_money(Decimal("1000000000"))
    assert payload_money(Decimal("-999999999.9999994999999999999999999999")) == -999999999.999999
    for text in ("999999999.9999995", "-999999999.9999995", "1e999", "NaN", "sNaN", "Infinity"):
        with pytest.raises(CanonicalError, match="does not fit a payload"):
            payload_money(Decimal(text))
    assert str(payload_money(Decimal("-0.0000001"))) == "0.0"


def test_legacy_exponents_leave_texts_alone() -> None:
    assert (
        with_legacy_exponents(b'{"a":1e+16,"b":"1e+16","c":"\\"1e+16"}')
        == b'{"a":1e16,"b":"1e+16","c":"\\"1e+16"}'
    )
    assert with_legacy_exponents(b'{"a":1.5,"e+":"e+"}') is None
