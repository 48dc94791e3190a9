"""Verification that begins after a trusted entry."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from tests.audit.chains import (
    KEY,
    OTHER_KEY,
    SIGNATURE_SCOPES,
    at,
    broken,
    chain,
    entry,
    exported,
    report_on,
)
from tests.audit.corpus import rotated
from ttplan.audit.entries import to_record
from ttplan.audit.jsonl import read_chain
from ttplan.audit.verify.chain import (
    verify_chain,
    verify_chain_with_anchor,
)
from ttplan.audit.verify.file import verify_file
from ttplan.audit.verify.options import SignatureScope
from ttplan.audit.verify.walker import KeySpan
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import (
    BadSignature,
    BrokenChain,
    Equivocation,
    ForeignOrg,
    HashMismatch,
    HexError,
    InputError,
    SeqGap,
    TruncatedChain,
)

PUBLIC = KEY.public_key


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_only_entries_after_a_trusted_one_are_checked(signatures: SignatureScope) -> None:
    entries = chain(9)
    since = at(entries, 4)
    for entries_read in (entries, entries[4:], entries[5:], broken(entries, 2)):
        verified = verify_chain(entries_read, PUBLIC, since=since, signatures=signatures)
        assert (verified.entries, verified.tip) == (4, at(entries, 8))
    with pytest.raises(HashMismatch) as caught:
        verify_chain(broken(entries, 6), PUBLIC, since=since, signatures=signatures)
    assert caught.value.index == 6
    nothing_follows = verify_chain(entries, PUBLIC, since=at(entries, 8), signatures=signatures)
    assert (nothing_follows.entries, nothing_follows.tip, nothing_follows.signatures_checked) == (
        0,
        at(entries, 8),
        0,
    )


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_chain_without_the_trusted_entry_is_refused(signatures: SignatureScope) -> None:
    entries = chain(9)
    for entries_read, since, error, index in (
        (entries, TipAnchor(4, "ab" * 32), TruncatedChain, 5),
        (entries[:3], at(entries, 4), TruncatedChain, 3),
        ([], at(entries, 4), TruncatedChain, 0),
        (broken(entries, 4), at(entries, 4), HashMismatch, 4),
        (entries[6:], at(entries, 4), SeqGap, 5),
        (entries[5:], TipAnchor(4, "ab" * 32), BrokenChain, 5),
    ):
        with pytest.raises(error) as caught:
            verify_chain(entries_read, PUBLIC, since=since, signatures=signatures)
        assert caught.value.index == index
        if isinstance(caught.value, TruncatedChain):
            assert caught.value.expected_len == 5


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_trusted_entry_must_match_its_hash_and_place(
    signatures: SignatureScope,
) -> None:
    entries = chain(6)
    records, since = [to_record(item) for item in entries], at(entries, 4)
    for changed, error, message in (
        (
            records[4]._replace(prev_hash="x" * 64),
            HexError,
            "prev_hash is 'x+'; expected 64 lower-case hex digits",
        ),
        (records[4]._replace(org_id=str(UUID(int=2))), ForeignOrg, "the chain belongs to"),
    ):
        with pytest.raises(error, match=message) as caught:
            verify_chain([changed, records[5]], PUBLIC, since=since, signatures=signatures)
        assert caught.value.index == 4
    fork = entry(at(entries, 3), payload={"other": True})
    with pytest.raises(Equivocation) as twice:
        verify_chain([entries[4], fork], PUBLIC, since=since, signatures=signatures)
    assert (twice.value.index, twice.value.hashes) == (5, (entries[4].hash, fork.hash))


def test_anchors_before_the_trusted_entry_are_refused() -> None:
    entries = chain(9)
    since = at(entries, 4)
    for anchor in (since, at(entries, 6)):
        verify_chain(entries, PUBLIC, since=since, passes_through=[anchor])
    assert verify_chain_with_anchor(entries, PUBLIC, at(entries, 8), since=since).entries == 4
    with pytest.raises(TruncatedChain) as caught:
        verify_chain_with_anchor(entries[:8], PUBLIC, at(entries, 8), since=since)
    assert (caught.value.reason, caught.value.got_len) == ("short", 8)
    with pytest.raises(InputError, match="is before 4:"):
        verify_chain(entries, PUBLIC, since=since, passes_through=[at(entries, 3)])


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_key_is_the_one_that_signs_after_the_trusted_entry(signatures: SignatureScope) -> None:
    """At a rotation either key may be known: its hash vouches for its content."""
    entries = rotated([(KEY, 2), (OTHER_KEY, 3)])
    for since, key, spans in (
        (at(entries, 1), KEY, [(2, KEY), (3, OTHER_KEY)]),
        (at(entries, 2), KEY, [(2, KEY), (3, OTHER_KEY)]),
        (at(entries, 2), OTHER_KEY, [(3, OTHER_KEY)]),
        (at(entries, 3), OTHER_KEY, [(4, OTHER_KEY)]),
    ):
        verified = verify_chain(entries, key.public_key, since=since, signatures=signatures)
        assert verified.keys == tuple(KeySpan(seq, signer.public_key.hex) for seq, signer in spans)
    looks_alike = [
        *chain(1),
        entry(at(chain(1), 0), payload=rotated([(KEY, 1), (OTHER_KEY, 0)])[1].payload),
    ]
    looks_alike.append(entry(at(looks_alike, 1)))
    assert (
        verify_chain(looks_alike, PUBLIC, since=at(looks_alike, 1), signatures=signatures).entries
        == 1
    )
    with pytest.raises(BadSignature):
        verify_chain(entries, PUBLIC, since=at(entries, 3), signatures=signatures)
    with pytest.raises(BadSignature):
        verify_chain(entries, OTHER_KEY.public_key, since=at(entries, 1), signatures=signatures)


def test_key_distrusted_at_the_trusted_entry() -> None:
    entries = chain(4)
    report = report_on(entries, PUBLIC, since=at(entries, 2), distrust_after=at(entries, 2))
    assert report.first_bad is not None
    assert (report.first_bad.error, report.first_bad.index) == ("DistrustedKey", 3)
    handed = rotated([(KEY, 1), (OTHER_KEY, 2)])  # the old key is distrusted, whichever is known
    for key in (KEY, OTHER_KEY):
        assert (
            verify_chain(
                handed, key.public_key, since=at(handed, 1), distrust_after=at(handed, 1)
            ).entries
            == 2
        )


def test_report_names_the_entries_before_the_trusted_one(tmp_path: Path) -> None:
    entries = chain(9)
    path = tmp_path / "chain.jsonl"
    path.write_bytes(exported(broken(entries, 2)))
    since = at(entries, 4)
    report = verify_file(path, public_key=PUBLIC, since=str(since))
    assert (report.verdict, report.entries, report.since) == ("verified", 4, since)
    assert str(report).startswith("VERIFIED: 4 entries after seq 4\n")
    assert (
        "the entries up to seq 4, which stand and fall with the anchor that was given"
        in report.not_checked
    )
    assert f"  follows   4:\n            {since.hash}\n" in str(report)
    report_of_none = verify_file(path, public_key=PUBLIC, since=at(entries, 8))
    assert report_of_none.not_checked[0] == "anything: no entry follows on the trusted one"


def test_lines_before_the_trusted_entry_are_not_parsed(tmp_path: Path) -> None:
    entries = chain(9)
    lines = exported(entries).split(b"\n")
    lines[2] = lines[2].replace(b"plan.applied", b'"')
    lines[3] = b" " + lines[3]  # not canonical: it must be parsed for its seq
    (tmp_path / "chain.jsonl").write_bytes(b"\n".join(lines))
    assert verify_file(tmp_path / "chain.jsonl", public_key=PUBLIC, since=at(entries, 4)).ok
    _, records = read_chain(tmp_path / "chain.jsonl", since=4)
    assert [record.seq for record in records] == [4, 5, 6, 7, 8]
    with pytest.raises(InputError, match="line 3"):
        verify_file(tmp_path / "chain.jsonl", public_key=PUBLIC)
    with pytest.raises(InputError, match="announces 9 entries, but the file has 8"):
        (tmp_path / "chain.jsonl").write_bytes(b"\n".join(lines[:-2]))
        verify_file(tmp_path / "chain.jsonl", public_key=PUBLIC, since=at(entries, 4))


def test_file_that_ends_before_the_trusted_entry(tmp_path: Path) -> None:
    entries = chain(9)
    (tmp_path / "chain.jsonl").write_bytes(exported(entries[:3]))
    report = verify_file(tmp_path / "chain.jsonl", public_key=PUBLIC, since=at(entries, 4))
    assert report.first_bad is not None
    assert (report.first_bad.reason, report.first_bad.index, report.entries) == ("short", 3, 0)
    assert "expected 5 entries, found 3; it has no entry 4" in report.first_bad.message
