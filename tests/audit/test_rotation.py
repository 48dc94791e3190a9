"""Key rotation: both keys must sign, and a stolen key can be distrusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.chains import KEY, ORG, OTHER_KEY, SIGNATURE_SCOPES, altered, entry, report_on
from ttplan.audit.entries import GENESIS, entry_hash, to_record
from ttplan.audit.keys.key_files import SigningKey, key_from_hex
from ttplan.audit.rotation import (
    is_continued_by,
    is_rotation,
    is_rotation_from,
    list_keys,
    rotation_payload,
    rotation_statement,
)
from ttplan.audit.verify.chain import verify_chain, verify_chain_with_anchor
from ttplan.audit.verify.options import SignatureScope
from ttplan.audit.verify.walker import KeySpan
from ttplan.model.audit import AuditEntry, TipAnchor
from ttplan.model.errors import (
    BadRotation,
    BadSignature,
    ChainError,
    DistrustedKey,
    KeyFileError,
    TruncatedChain,
)
from ttplan.model.stored_entry import KEY_ROTATED

THIRD_KEY = key_from_hex("33" * 32)


def tip_of(entries: Sequence[AuditEntry]) -> TipAnchor | None:
    return TipAnchor(entries[-1].seq, entries[-1].hash) if entries else None


def rotate(
    entries: list[AuditEntry], old: SigningKey, new: SigningKey, **changes: Any
) -> list[AuditEntry]:
    """The chain with a rotation from `old` to `new`."""
    prev = entries[-1].hash if entries else GENESIS
    payload = rotation_payload(old.public_key, new, org_id=ORG, seq=len(entries), prev_hash=prev)
    return [*entries, entry(tip_of(entries), key=old, event=KEY_ROTATED, payload=payload | changes)]


def extend(entries: list[AuditEntry], key: SigningKey, count: int) -> list[AuditEntry]:
    for _ in range(count):
        entries = [*entries, entry(tip_of(entries), key=key)]
    return entries


def rotated() -> list[AuditEntry]:
    """Signed by KEY (0-3, rotation last), OTHER_KEY (4-6, rotation last) and THIRD_KEY (7-8)."""
    entries = rotate(extend([], KEY, 3), KEY, OTHER_KEY)
    return extend(rotate(extend(entries, OTHER_KEY, 2), OTHER_KEY, THIRD_KEY), THIRD_KEY, 2)


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_verification_follows_rotations_from_the_first_key(signatures: SignatureScope) -> None:
    entries = rotated()
    verified = verify_chain(entries, KEY.public_key, signatures=signatures)
    assert verified.entries == 9
    assert verified.keys == (
        KeySpan(0, KEY.public_key.hex),
        KeySpan(4, OTHER_KEY.public_key.hex),
        KeySpan(7, THIRD_KEY.public_key.hex),
    )
    assert verified.signatures_checked == (9 if signatures == "all" else 3)
    # If the chain ends with a rotation, its signature is the last one.
    assert verify_chain(entries[:7], KEY.public_key, signatures=signatures).signatures_checked == (
        7 if signatures == "all" else 2
    )
    for later in (OTHER_KEY, THIRD_KEY):
        with pytest.raises(BadSignature):
            verify_chain(entries, later.public_key, signatures=signatures)


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_entry_of_the_wrong_key_is_a_bad_signature(
    signatures: SignatureScope,
) -> None:
    entries = rotate(extend([], KEY, 3), KEY, OTHER_KEY)
    with pytest.raises(BadSignature) as caught:
        verify_chain(extend(entries, KEY, 1), KEY.public_key, signatures=signatures)
    assert caught.value.index == 4
    by_thief = extend([], KEY, 2)
    payload = rotation_payload(
        KEY.public_key, OTHER_KEY, org_id=ORG, seq=2, prev_hash=by_thief[-1].hash
    )
    forged = [*by_thief, entry(tip_of(by_thief), key=OTHER_KEY, event=KEY_ROTATED, payload=payload)]
    with pytest.raises(BadSignature) as caught:
        verify_chain(extend(forged, OTHER_KEY, 3), KEY.public_key, signatures=signatures)
    assert caught.value.index == 2


def bad_rotation(**changes: Any) -> str:
    with pytest.raises(BadRotation) as caught:
        verify_chain(rotate(extend([], KEY, 3), KEY, OTHER_KEY, **changes), KEY.public_key)
    assert caught.value.index == 3
    return caught.value.reason


def test_invalid_rotation_is_refused_with_the_reason() -> None:
    assert "expected exactly new_key, new_key_signature, old_key" in bad_rotation(note="x")
    for name, digits in (("old_key", 64), ("new_key", 64), ("new_key_signature", 128)):
        for value in ("AB" * (digits // 2), 5):
            message = bad_rotation(**{name: value})
            assert message.startswith(
                f"{name} is '{value}'; expected {digits} lower-case hex digits"
            )
    assert f"but the chain's key until here is {KEY.public_key.hex}" in bad_rotation(
        old_key=THIRD_KEY.public_key.hex
    )
    assert "small order" in bad_rotation(new_key="00" * 32)
    assert "not the new key's over this rotation" in bad_rotation(new_key=THIRD_KEY.public_key.hex)
    assert "has signed this chain before" in bad_rotation(new_key=KEY.public_key.hex)


def test_new_key_must_sign_for_exactly_this_place() -> None:
    for changes in ({"seq": 4}, {"prev_hash": "ab" * 32}, {"org_id": UUID(int=9)}):
        place: dict[str, Any] = {
            "org_id": ORG,
            "seq": 3,
            "prev_hash": extend([], KEY, 3)[-1].hash,
        } | changes
        elsewhere = rotation_payload(KEY.public_key, OTHER_KEY, **place)
        assert "not the new key's" in bad_rotation(new_key_signature=elsewhere["new_key_signature"])
    assert rotation_statement("o", 1, "p", "a", "b").startswith(b"ttplan.audit.key-rotation.v1\n{")


def test_key_cannot_be_used_twice() -> None:
    entries = extend(rotate(extend([], KEY, 1), KEY, OTHER_KEY), OTHER_KEY, 1)
    with pytest.raises(BadRotation, match="has signed this chain before"):
        verify_chain(rotate(entries, OTHER_KEY, KEY), KEY.public_key)
    with pytest.raises(KeyFileError, match="the new key is the old one"):
        rotation_payload(KEY.public_key, KEY, org_id=ORG, seq=0, prev_hash=GENESIS)


def test_payload_that_looks_like_a_rotation_is_not_one() -> None:
    odd = entry(None, payload={"event": KEY_ROTATED, "x": f'","event":"{KEY_ROTATED}"'})
    assert not is_rotation(to_record(odd))
    assert verify_chain([odd], KEY.public_key).keys == (KeySpan(0, KEY.public_key.hex),)


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_stolen_key_is_not_trusted_after_the_anchor(signatures: SignatureScope) -> None:
    entries = rotated()

    def verdict(chain: list[AuditEntry], after: int) -> str:
        anchor = TipAnchor(after, entries[after].hash)
        try:
            verify_chain(chain, KEY.public_key, signatures=signatures, distrust_after=anchor)
        except ChainError as error:
            return f"{type(error).__name__} {error.index}"
        return "good"

    # The rotation itself is the anchor: entries by the stolen old key are not on this chain.
    assert [verdict(entries, after) for after in range(9)] == [
        "DistrustedKey 1",
        "DistrustedKey 2",
        "DistrustedKey 3",
        "good",
        "DistrustedKey 5",
        "DistrustedKey 6",
        "good",
        "DistrustedKey 8",
        "good",
    ]
    thiefs = rotate(extend(entries[:3], KEY, 1), KEY, THIRD_KEY)
    assert verdict(thiefs, 2) == "DistrustedKey 3"
    assert verdict(thiefs, 3) == "TruncatedChain 5"
    with pytest.raises(TruncatedChain) as caught:
        verify_chain(entries[:2], KEY.public_key, distrust_after=TipAnchor(3, entries[3].hash))
    assert caught.value.reason == "short"


def test_error_names_the_distrusted_key_and_seq() -> None:
    entries = rotated()
    with pytest.raises(
        DistrustedKey, match=r"entry 2: signed with .*, which is not trusted after seq 1"
    ):
        verify_chain(entries, KEY.public_key, distrust_after=TipAnchor(1, entries[1].hash))


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_report_names_rotations_anchors_and_distrust(signatures: SignatureScope) -> None:
    entries = rotated()
    anchors = [TipAnchor(i, entries[i].hash) for i in (0, 5)]
    report = report_on(
        entries,
        KEY.public_key,
        anchor=TipAnchor(8, entries[8].hash),
        passes_through=anchors,
        distrust_after=TipAnchor(3, entries[3].hash),
        signatures=signatures,
    )
    assert report.verdict == "verified"
    assert [span.since for span in report.rotations] == [4, 7]
    text = str(report)
    assert f"{OTHER_KEY.public_key.hex}\n            from seq 4 on" in text
    assert "that the chain has the entries of 2 earlier anchors" in text
    assert "nothing after seq 3 is signed with the key that is distrusted" in text
    wrong = report_on(entries, KEY.public_key, passes_through=[TipAnchor(5, "ab" * 32)])
    assert wrong.first_bad is not None
    assert (wrong.first_bad.error, wrong.first_bad.reason, wrong.verdict) == (
        "TruncatedChain",
        "rewritten",
        "broken",
    )


def test_each_way_to_miss_an_anchor_has_its_reason() -> None:
    entries = extend([], KEY, 6)

    def reason(anchor: TipAnchor, *, ends: bool) -> str:
        try:
            if ends:
                verify_chain_with_anchor(entries, KEY.public_key, anchor)
            else:
                verify_chain(entries, KEY.public_key, passes_through=[anchor])
        except TruncatedChain as error:
            return error.reason if error.reason in str(error) else "the message does not say it"
        return "good"

    here = [TipAnchor(i, entries[i].hash) for i in range(6)]
    assert [reason(anchor, ends=True) for anchor in here] == ["longer"] * 5 + ["good"]
    assert [reason(anchor, ends=False) for anchor in here] == ["good"] * 6
    for ends in (True, False):
        assert reason(TipAnchor(9, "ab" * 32), ends=ends) == "short"
        assert reason(TipAnchor(5, "ab" * 32), ends=ends) == "tip_differs"
        assert reason(TipAnchor(2, "ab" * 32), ends=ends) == "rewritten"
    for chain, anchor, message in (
        ([], here[0], "it is empty, the anchor is 0:"),
        (entries[:3], here[4], f"it ends at {here[2]}, the anchor is {here[4]}"),
        (entries, TipAnchor(2, "ab" * 32), f"it has {here[2]}, the anchor is 2:abab"),
    ):
        with pytest.raises(TruncatedChain, match=message):
            verify_chain(chain, KEY.public_key, passes_through=[anchor])


def test_stored_body_that_is_not_json_is_reported() -> None:
    entries = [to_record(item) for item in rotated()]
    for body in (
        b'[{"event":"audit.key_rotated"}]',
        b'{"event":"audit.key_rotated"',
        b'["event":"audit.key_rotated"]',
        b'{"event":"audit.key_rotated"}',
    ):
        broken = [*entries[:3], entries[3]._replace(body=body), *entries[4:]]
        report = report_on(broken, KEY.public_key)
        assert report.first_bad is not None
        assert (report.first_bad.index, report.first_bad.error) == (3, "HashMismatch")
        assert list_keys(broken, KEY.public_key)[0] in (KEY.public_key, OTHER_KEY.public_key)
    assert not is_continued_by(broken[3], KEY.public_key)


def test_rotation_payload_must_be_an_object() -> None:
    made = to_record(entry(None, event=KEY_ROTATED, payload={}))
    body = made.body.replace(b'"payload":{}', b'"payload":[]')
    digest = entry_hash(made.prev_hash, body)
    signed = made._replace(body=body, hash=digest, signature=KEY.sign(bytes.fromhex(digest)).hex())
    with pytest.raises(BadRotation, match="its payload is not an object"):
        verify_chain([signed], KEY.public_key)


def test_list_keys_finds_the_first_key() -> None:
    records = [to_record(item) for item in rotated()]
    assert list_keys(records, THIRD_KEY.public_key) == [
        KEY.public_key,
        OTHER_KEY.public_key,
        THIRD_KEY.public_key,
    ]
    assert list_keys(records[:3], KEY.public_key) == [KEY.public_key]
    for payload in (
        b"null",
        b"[]",
        b"{}",
        b'{"new_key":"x","new_key_signature":"x","old_key":"x"}',
    ):
        nonsense = records[3]._replace(
            body=b'{"event":"audit.key_rotated","payload":' + payload + b"}"
        )
        assert list_keys([*records[:3], nonsense, *records[4:]], THIRD_KEY.public_key) == [
            THIRD_KEY.public_key
        ]


def test_chain_is_continued_by_its_last_signer_or_new_key() -> None:
    records = [to_record(item) for item in rotated()]
    plain, handing = records[1], records[3]
    assert is_continued_by(plain, KEY.public_key)
    assert not is_continued_by(plain, OTHER_KEY.public_key)
    assert is_continued_by(handing, OTHER_KEY.public_key)
    assert not is_continued_by(handing, KEY.public_key)
    for odd in (
        plain._replace(signature="AB" * 64),
        plain._replace(signature="ab" * 63),
        plain._replace(hash="ab" * 31),
        plain._replace(hash="x" * 64),
    ):
        assert not is_continued_by(odd, KEY.public_key)
    assert not is_continued_by(
        handing._replace(body=b'{"event":"audit.key_rotated","payload":[]}'), OTHER_KEY.public_key
    )
    assert is_rotation_from(handing, KEY.public_key)
    assert not is_rotation_from(handing, OTHER_KEY.public_key)
    assert not is_rotation_from(
        plain._replace(body=handing.body.replace(b"key_rotated", b"key_other")), KEY.public_key
    )
    assert not is_rotation_from(
        handing._replace(body=b'{"event":"audit.key_rotated","payload":[]}'), KEY.public_key
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 3), max_size=5), st.integers(0, 30), st.sampled_from(SIGNATURE_SCOPES)
)
def test_rotations_anywhere_verify_and_break_at_a_change(
    runs: list[int], broken: int, signatures: SignatureScope
) -> None:
    keys = [key_from_hex(f"{i + 1:02x}" * 32) for i in range(6)]
    entries: list[AuditEntry] = []
    for number, run in enumerate(runs):
        entries = rotate(extend(entries, keys[number], run), keys[number], keys[number + 1])
    entries = extend(entries, keys[len(runs)], 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ttplan.audit.verify.chain._BATCH", 2)
        assert verify_chain(entries, keys[0].public_key, signatures=signatures).entries == len(
            entries
        )
        if broken < len(entries):
            entries[broken] = altered(entries[broken], event="x")
            with pytest.raises(ChainError) as caught:
                verify_chain(entries, keys[0].public_key, signatures=signatures)
            assert caught.value.index == broken
