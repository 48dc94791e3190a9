"""Entries: the bytes that are hashed, and the checks of a single entry."""

from __future__ import annotations

from typing import Any

import blake3
import pytest

from tests.audit.chains import KEY, START, chain, entry
from ttplan.audit.entries import GENESIS, format_timestamp, normalize_timestamp, to_entry, to_record
from ttplan.audit.entry_checks import check_content, is_well_signed, matches_body
from ttplan.audit.verify.chain import verify_chain
from ttplan.model.errors import (
    CanonicalError,
    HexError,
    SeqGap,
)

PUBLIC = KEY.public_key


def test_entry_matches_the_contract() -> None:
    first, second = chain(2)
    body = (
        b'{"actor":{"type":"user","user_id":"00000000-0000-0000-0000-000000000007"},"event":"plan.applied",'
        b'"id":"00000000-0000-0000-0000-0000000003e8","org_id":"00000000-0000-0000-0000-000000000001",'
        b'"payload":{"n":[1,1e-6,-0.0,null],"note":"Zo\xc3\xab \xf0\x9f\x98\x80",'
        b'"plan_id":"00000000-0000-0000-0000-000000000000",'
        b'"projected_savings_usd":0.0},"seq":0,"timestamp":"2026-05-01T12:00:00+00:00"}'
    )
    assert to_record(first).body == body
    assert first.prev_hash == GENESIS
    assert first.hash == blake3.blake3(bytes(32) + body).hexdigest()
    assert (
        PUBLIC.signature_problem(bytes.fromhex(first.signature), bytes.fromhex(first.hash)) is None
    )
    assert second.seq == 1
    assert second.prev_hash == first.hash
    assert to_entry(to_record(second)) == second


def test_timestamps_have_no_fraction_or_3_or_6_digits() -> None:
    assert [e.timestamp for e in chain(3)] == [
        "2026-05-01T12:00:00+00:00",
        "2026-05-01T12:00:01.120+00:00",
        "2026-05-01T12:00:02.000007+00:00",
    ]
    with pytest.raises(CanonicalError, match="no time zone"):
        format_timestamp(START.replace(tzinfo=None))


def test_timestamps_are_normalized_as_they_are_hashed() -> None:
    for written, hashed in (
        ("12:00:00Z", "12:00:00"),
        ("12:00:00.000Z", "12:00:00"),
        ("12:00:00.000000000+00:00", "12:00:00"),
        ("12:00:00.120000Z", "12:00:00.120"),
        ("12:00:00.100000000Z", "12:00:00.100"),
        ("12:00:00.000007000Z", "12:00:00.000007"),
        ("12:00:00.000000120Z", "12:00:00.000000120"),
    ):
        assert normalize_timestamp(f"2026-05-01T{written}") == f"2026-05-01T{hashed}+00:00"
    for none in (
        "2026-05-01T12:00:00",
        "2026-05-01T12:00:00.0000Z",
        "2026-02-30T12:00:00Z",
        "2026-05-01T12:00:00ZZ",
    ):
        assert normalize_timestamp(none) is None


def test_unreadable_payloads_are_refused() -> None:
    for payload in ({"a": "x\0"}, {"a": float("nan")}):
        with pytest.raises(CanonicalError, match=r"payload\.a"):
            entry(None, payload=payload)


@pytest.mark.parametrize(("name", "digits"), [("prev_hash", 64), ("hash", 64), ("signature", 128)])
def test_single_entry_must_have_lower_case_hex(name: str, digits: int) -> None:
    made = to_record(entry(None))
    check_content(made, 7)
    assert is_well_signed(made, PUBLIC)
    for text in ("", "A" * digits, "x" * digits, getattr(made, name) + "0"):
        changes: dict[str, Any] = {name: text}
        wrong = made._replace(**changes)
        with pytest.raises(
            HexError, match=f"{name} is '{text}'; expected {digits} lower-case hex digits"
        ) as caught:
            check_content(wrong, 7)
        assert caught.value.index == 7
        assert not is_well_signed(wrong, PUBLIC)


def test_record_with_a_malformed_end_does_not_match_its_body() -> None:
    """A store can hold any bytes, and the key's holder can sign them."""
    made = to_record(entry(None))
    for old, new in (
        (b'+00:00"}', b'+00:00"]'),
        (b'+00:00"}', b'\\u0041"}'),
        (b'+00:00"}', b"0" * 40 + b'"}'),
        (b"timestamp", b"time"),
        (b'+00:00"}', b'+00:00","u":"x"}'),
        (b'"seq":0', b'"seq":5'),
    ):
        body = made.body.replace(old, new)
        digest = blake3.blake3(bytes(32) + body)
        record = made._replace(
            body=body, hash=digest.hexdigest(), signature=KEY.sign(digest.digest()).hex()
        )
        assert not matches_body(record)
        with pytest.raises(SeqGap) as caught:
            verify_chain([record], PUBLIC)
        assert caught.value.got == (5 if new == b'"seq":5' else -1)


def test_texts_that_look_like_fields_are_texts() -> None:
    odd = entry(
        None, event='x","org_id":"y', payload={"org_id": "z", "x": '","seq":7,"timestamp":"t"}'}
    )
    assert verify_chain([odd], PUBLIC).entries == 1
    assert all(matches_body(to_record(item)) for item in (odd, *chain(12)))
    for length, good in ((40, True), (41, False)):
        record = to_record(odd)
        record = record._replace(body=record.body.replace(odd.timestamp.encode(), b"0" * length))
        assert matches_body(record) is good
