"""Entries and chains: the first bad entry is named by the check that it fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import blake3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.chains import (
    KEY,
    ORG,
    OTHER_KEY,
    SIGNATURE_SCOPES,
    altered,
    chain,
    entry,
    report_on,
)
from ttplan.audit.entries import to_record
from ttplan.audit.equivocation import find_equivocation
from ttplan.audit.verify.chain import verify_chain, verify_chain_with_anchor
from ttplan.audit.verify.options import SignatureScope
from ttplan.model.audit import AuditEntry, StoredEntry, TipAnchor
from ttplan.model.errors import (
    BadSignature,
    BrokenChain,
    Equivocation,
    ForeignOrg,
    HashMismatch,
    HexError,
    InputError,
    KeyFileError,
    SeqGap,
    TruncatedChain,
)

PUBLIC = KEY.public_key


def changed(entries: list[AuditEntry], index: int, **fields: Any) -> list[AuditEntry | StoredEntry]:
    """The chain with one entry's fields replaced, and nothing recomputed."""
    copy: list[AuditEntry | StoredEntry] = list(entries)
    copy[index] = altered(entries[index], **fields)
    return copy


def resigned(
    entries: list[AuditEntry], index: int, **fields: Any
) -> list[AuditEntry | StoredEntry]:
    """The chain with one record's raw fields replaced, which only a raw source can hold."""
    copy: list[AuditEntry | StoredEntry] = list(entries)
    copy[index] = to_record(entries[index])._replace(**fields)
    return copy


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_a_good_chain_verifies(signatures: SignatureScope) -> None:
    entries = chain(9)
    verified = verify_chain(entries, PUBLIC, signatures=signatures)
    assert verified.entries == 9
    assert verified.org_id == ORG
    assert verified.tip == TipAnchor(8, entries[-1].hash)
    assert verified.signatures_checked == (9 if signatures == "all" else 1)
    assert verify_chain(iter(entries), PUBLIC.hex, signatures=signatures) == verified


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_empty_chain_verifies_but_satisfies_no_anchor(
    signatures: SignatureScope,
) -> None:
    assert verify_chain([], PUBLIC, signatures=signatures).entries == 0
    assert "no entries" in report_on([], PUBLIC, signatures=signatures).not_checked[0]
    with pytest.raises(TruncatedChain, match="expected 1 entries, found 0"):
        verify_chain_with_anchor([], PUBLIC, TipAnchor(0, "0" * 64), signatures=signatures)


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
@pytest.mark.parametrize("index", [0, 3, 5])
def test_a_missing_entry_is_a_seq_gap(signatures: SignatureScope, index: int) -> None:
    entries = chain(7)
    del entries[index]
    with pytest.raises(SeqGap) as caught:
        verify_chain(entries, PUBLIC, signatures=signatures)
    assert (caught.value.index, caught.value.expected, caught.value.got) == (
        index,
        index,
        index + 1,
    )


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_a_wrong_prev_hash_is_a_broken_chain(signatures: SignatureScope) -> None:
    entries = chain(5)
    with pytest.raises(BrokenChain) as caught:
        verify_chain(changed(entries, 2, prev_hash="ab" * 32), PUBLIC, signatures=signatures)
    assert (caught.value.index, caught.value.expected, caught.value.got) == (
        2,
        entries[1].hash,
        "ab" * 32,
    )


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
@pytest.mark.parametrize(
    "fields",
    [
        {"event": "plan.reverted"},
        {"payload": {}},
        {"id": UUID(int=5)},
        {"timestamp": "2026-05-01T12:00:09+00:00"},
    ],
)
def test_changed_content_is_a_hash_mismatch(
    signatures: SignatureScope, fields: dict[str, Any]
) -> None:
    with pytest.raises(HashMismatch) as caught:
        verify_chain(changed(chain(5), 3, **fields), PUBLIC, signatures=signatures)
    assert caught.value.index == 3


def test_wrong_signature_is_found_if_all_are_checked() -> None:
    entries = chain(5)
    swapped = changed(entries, 1, signature=entries[2].signature)
    with pytest.raises(BadSignature) as caught:
        verify_chain(swapped, PUBLIC)
    assert caught.value.index == 1
    # The tip's signature vouches for the content, not for the other signatures.
    report = report_on(swapped, PUBLIC, signatures="tip")
    assert report.ok
    assert "the signatures of the other entries" in report.not_checked


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_another_key_is_a_bad_signature(signatures: SignatureScope) -> None:
    with pytest.raises(BadSignature) as caught:
        verify_chain(chain(3), OTHER_KEY.public_key, signatures=signatures)
    assert caught.value.index == (0 if signatures == "all" else 2)


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
@pytest.mark.parametrize("name", ["prev_hash", "hash", "signature"])
@pytest.mark.parametrize("text", ["", "A" * 64, "g" * 128, "٣" * 64])
def test_text_that_is_not_lower_case_hex_is_a_hex_error(
    signatures: SignatureScope, name: str, text: str
) -> None:
    digits = 128 if name == "signature" else 64
    with pytest.raises(
        HexError, match=f"{name} is '{text}'; expected {digits} lower-case hex digits"
    ) as caught:
        verify_chain(resigned(chain(4), 2, **{name: text}), PUBLIC, signatures=signatures)
    assert caught.value.index == 2


def test_an_entry_of_another_organisation_is_foreign() -> None:
    entries = chain(3)
    tip = TipAnchor(entries[-1].seq, entries[-1].hash)
    with pytest.raises(ForeignOrg) as caught:
        verify_chain([*entries, entry(tip, org_id=UUID(int=2))], PUBLIC)
    assert (caught.value.index, caught.value.expected, caught.value.got) == (3, ORG, UUID(int=2))


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_chain_stored_under_another_organisation_is_foreign(signatures: SignatureScope) -> None:
    """In a store the organisation is a column: changing it must not move the chain."""
    other = UUID(int=2)
    moved = [to_record(e)._replace(org_id=str(other)) for e in chain(3)]
    with pytest.raises(ForeignOrg) as caught:
        verify_chain(moved, PUBLIC, signatures=signatures)
    assert (caught.value.index, caught.value.expected, caught.value.got) == (0, other, ORG)


def test_entry_stored_under_another_seq_is_a_gap() -> None:
    records = [to_record(e) for e in chain(2)]
    late = entry(TipAnchor(4, records[0].hash))
    with pytest.raises(SeqGap) as caught:
        verify_chain([records[0], to_record(late)._replace(seq=1)], PUBLIC)
    assert (caught.value.index, caught.value.expected, caught.value.got) == (1, 1, 5)


def test_organisation_that_is_not_a_uuid_is_reported() -> None:
    records = [to_record(e) for e in chain(2)]
    for broken in (
        [records[0]._replace(org_id="acme")],
        [records[0], records[1]._replace(org_id="acme")],
    ):
        report = report_on(broken, PUBLIC)
        assert report.verdict == "broken"
        assert report.first_bad is not None
        assert report.first_bad.index == len(broken) - 1


def test_unsigned_entries_accuse_nobody() -> None:
    """With `tip` the entry before is not checked yet, so it may not be the key's own."""
    entries = chain(2)
    forged = entry(TipAnchor(0, entries[0].hash), key=OTHER_KEY, payload={"other": True})
    fork = entry(TipAnchor(0, entries[0].hash), payload={"other": False})
    with pytest.raises(SeqGap):
        verify_chain([entries[0], forged, fork], PUBLIC, signatures="tip")


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_unsigned_columns_accuse_nobody(signatures: SignatureScope) -> None:
    """Editing columns in a store must not make honest entries look like two histories."""
    records = [to_record(e) for e in chain(8)]
    relabelled = [*records[:5], records[5]._replace(seq=4), *records[6:]]
    with pytest.raises(SeqGap) as caught:
        verify_chain(relabelled, PUBLIC, signatures=signatures)
    assert (caught.value.index, caught.value.got) == (5, 4)
    assert find_equivocation(records, [*records[:3], records[4]._replace(seq=3)], PUBLIC) is None
    moved = [to_record(e)._replace(org_id=str(ORG)) for e in chain(3, org_id=UUID(int=2))]
    assert find_equivocation(records, moved, PUBLIC) is None


def test_two_signed_entries_at_one_seq_prove_misbehaviour() -> None:
    entries = chain(4)
    fork = entry(TipAnchor(2, entries[2].hash), payload={"other": True})
    with pytest.raises(Equivocation) as caught:
        verify_chain([*entries, fork], PUBLIC)
    assert caught.value.index == 4
    assert caught.value.hashes == (entries[3].hash, fork.hash)
    error = find_equivocation(entries, [*entries[:3], fork], PUBLIC)
    assert error is not None
    assert (error.seq, error.hashes) == (3, (entries[3].hash, fork.hash))
    assert find_equivocation(entries, entries, PUBLIC) is None
    # An entry that the key did not sign proves nothing against its holder.
    forged = entry(TipAnchor(2, entries[2].hash), key=OTHER_KEY, payload={"other": True})
    assert find_equivocation(entries, [*entries[:3], forged], PUBLIC) is None
    with pytest.raises(SeqGap):
        verify_chain([*entries, forged], PUBLIC)


def test_first_bad_entry_is_named_before_later_errors() -> None:
    entries = chain(12)
    broken = changed(changed(entries, 9, prev_hash="ab" * 32), 4, signature="00" * 64)  # type: ignore[arg-type]
    with pytest.raises(BadSignature) as caught:
        verify_chain(broken, PUBLIC)
    assert caught.value.index == 4


def test_first_bad_entry_is_named_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttplan.audit.verify.chain._BATCH", 3)
    entries = chain(40)
    for index in range(0, 40, 3):
        with pytest.raises(BadSignature) as caught:
            verify_chain(changed(entries, index, signature="00" * 64), PUBLIC)
        assert caught.value.index == index
    assert verify_chain(entries, PUBLIC).entries == 40


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_progress_is_reported_per_batch_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, signatures: SignatureScope
) -> None:
    monkeypatch.setattr("ttplan.audit.verify.chain._BATCH", 2)
    counts: list[int] = []
    verify_chain(chain(5), PUBLIC, signatures=signatures, progress=counts.append)
    assert list(dict.fromkeys(counts)) == [2, 4, 5]


def test_anchor_proves_where_the_chain_ends() -> None:
    entries = chain(6)
    anchor = TipAnchor(5, entries[5].hash)
    assert verify_chain_with_anchor(entries, PUBLIC, anchor).tip == anchor
    for cut in (entries[:5], [*entries, entry(anchor)]):
        with pytest.raises(TruncatedChain) as caught:
            verify_chain_with_anchor(cut, PUBLIC, anchor)
        assert (caught.value.expected_len, caught.value.got_len) == (6, len(cut))
    with pytest.raises(TruncatedChain):
        verify_chain_with_anchor(entries, PUBLIC, TipAnchor(5, "ab" * 32))


def test_an_anchor_is_written_seq_colon_hash() -> None:
    anchor = TipAnchor.parse("41:" + "9f" * 32)
    assert anchor == TipAnchor(41, "9f" * 32)
    assert TipAnchor.parse(str(anchor)) == anchor
    for text in (
        "41",
        "41:9f",
        "-1:" + "9f" * 32,
        "01:" + "9f" * 32,
        "41:" + "9F" * 32,
        f"{2**63}:" + "9f" * 32,
        "٤١:" + "9f" * 32,
    ):
        with pytest.raises(InputError, match="is not an anchor"):
            TipAnchor.parse(text)


def test_entry_hashed_with_legacy_exponents_verifies() -> None:
    modern = entry(None, payload={"x": 1e16, "text": "1e+16"})
    body = to_record(modern).body.replace(b":1e+16", b":1e16")
    digest = blake3.blake3(bytes(32) + body)
    older = altered(modern, hash=digest.hexdigest(), signature=KEY.sign(digest.digest()).hex())
    assert verify_chain([older], PUBLIC).entries == 1
    with pytest.raises(HashMismatch):
        verify_chain([altered(older, payload={"x": 1e17, "text": "1e+16"})], PUBLIC)


def test_key_of_small_order_is_refused() -> None:
    with pytest.raises(KeyFileError, match="small order"):
        verify_chain(chain(1), "00" * 32)


def test_entries_are_streamed() -> None:
    """Only a bounded number of entries is in memory at a time."""
    alive = 0
    most = 0

    class Counted(StoredEntry):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def stream() -> Iterator[StoredEntry]:
        nonlocal alive, most
        for record in map(to_record, entries):
            alive += 1
            most = max(most, alive)
            yield Counted(*record)

    entries = chain(300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ttplan.audit.verify.chain._BATCH", 5)
        patch.setattr("os.cpu_count", lambda: 1)
        for signatures in SIGNATURE_SCOPES:
            most = 0
            verify_chain(stream(), PUBLIC, signatures=signatures)
            assert most < 60


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_reordering_of_a_chain_is_reported(data: st.DataObject) -> None:
    """Only a cut tail verifies; anchors detect that."""
    entries = chain(6)
    order = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=7))
    reordered = [entries[i] for i in order]
    if order == list(range(len(order))):
        assert verify_chain(reordered, PUBLIC).entries == len(order)
        return
    report = report_on(reordered, PUBLIC)
    assert report.verdict == "broken"
    assert report.first_bad is not None
    assert report.first_bad.index == next(i for i, j in enumerate(order) if i != j)


def test_report_names_what_was_checked() -> None:
    entries = chain(3)
    anchor = TipAnchor(2, entries[2].hash)
    good = report_on(entries, PUBLIC, key_source="the auditor's file", anchor=anchor)
    assert (good.verdict, good.exit_code, good.ok) == ("verified", 0, True)
    assert "VERIFIED: 3 entries" in str(good)
    own = report_on(entries, PUBLIC, key_source="the chain's preamble", own_key=True)
    assert (own.verdict, own.exit_code, own.ok) == ("consistent with its own key", 4, False)
    bad = report_on(changed(entries, 1, event="x"), PUBLIC)
    assert (bad.verdict, bad.exit_code) == ("broken", 1)
    assert bad.first_bad is not None
    assert (bad.first_bad.index, bad.first_bad.error) == (1, "HashMismatch")
    assert (bad.org_id, bad.signatures_checked) == (ORG, None)
    assert (good.org_id, good.signatures_checked, good.anchor) == (ORG, 3, anchor)
    assert "first bad entry: 1 (HashMismatch)" in str(bad)
    for report in (good, own, bad):
        assert all(len(line) <= 80 for line in str(report).splitlines())


def test_broken_chain_report_claims_no_unchecked_signature() -> None:
    """With `tip`, a forged chain that breaks early was not checked against the key at all."""
    forged = changed(chain(8, key=OTHER_KEY), 5, event="x")
    by_tip = report_on(forged, PUBLIC, signatures="tip")
    assert by_tip.checks == ("seq, prev_hash and hash of the 5 entries before it",)
    assert any("any signature" in text for text in by_tip.not_checked)
    assert "the entries after the first bad one" in by_tip.not_checked
    by_all = report_on(changed(chain(8), 1, event="x"), PUBLIC)
    assert by_all.checks == ("seq, prev_hash, hash and signature of the 1 entry before it",)


def test_report_of_a_missed_anchor_has_no_bad_entry() -> None:
    entries = chain(8)
    text = str(report_on(entries, PUBLIC, anchor=TipAnchor(5, entries[5].hash)))
    assert "not its anchor's chain (TruncatedChain)" in text
    assert "first bad entry" not in text
    assert "can be trusted" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
