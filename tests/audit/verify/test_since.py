"""Verifying from a trusted entry on, going on after an interruption, and the report that says what was left out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import orjson
import pytest

from tests.audit.chains import KEY, OTHER_KEY, SIGNATURE_SCOPES, chain, entry, exported, report_on
from tests.audit.corpus import rotated
from tests.audit.test_jsonl import read
from ttplan.audit.entries import to_record
from ttplan.audit.jsonl import read_chain
from ttplan.audit.lost_digit import find_lost_digit
from ttplan.audit.verify.chain import (
    VerifiedPrefix,
    verify_chain,
    verify_chain_with_anchor,
)
from ttplan.audit.verify.file import open_resume_file, verify_file
from ttplan.audit.verify.options import SignatureScope, VerifyOptions
from ttplan.audit.verify.resume import ResumeFile
from ttplan.audit.verify.walker import KeySpan
from ttplan.model.audit import AuditEntry, TipAnchor
from ttplan.model.errors import (
    BadRotation,
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


def at(entries: list[AuditEntry], seq: int) -> TipAnchor:
    return TipAnchor(seq, entries[seq].hash)


def broken(entries: list[AuditEntry], index: int) -> list[AuditEntry]:
    """The chain with one entry's event changed, and nothing recomputed."""
    return [
        one.model_copy(update={"event": "x"}) if place == index else one
        for place, one in enumerate(entries)
    ]


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_only_what_follows_on_a_trusted_entry_is_checked(signatures: SignatureScope) -> None:
    entries = chain(9)
    since = at(entries, 4)
    for given in (entries, entries[4:], entries[5:], broken(entries, 2)):
        verified = verify_chain(given, PUBLIC, since=since, signatures=signatures)
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
def test_a_chain_that_has_not_the_trusted_entry_is_refused(signatures: SignatureScope) -> None:
    entries = chain(9)
    for given, since, error, index in (
        (entries, TipAnchor(4, "ab" * 32), TruncatedChain, 5),
        (entries[:3], at(entries, 4), TruncatedChain, 3),
        ([], at(entries, 4), TruncatedChain, 0),
        (broken(entries, 4), at(entries, 4), HashMismatch, 4),
        (entries[6:], at(entries, 4), SeqGap, 5),
        (entries[5:], TipAnchor(4, "ab" * 32), BrokenChain, 5),
    ):
        with pytest.raises(error) as caught:
            verify_chain(given, PUBLIC, since=since, signatures=signatures)
        assert caught.value.index == index
        if isinstance(caught.value, TruncatedChain):
            assert caught.value.expected_len == 5


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_the_trusted_entry_itself_is_held_to_its_hash_and_its_place(
    signatures: SignatureScope,
) -> None:
    entries = chain(6)
    records, since = [to_record(one) for one in entries], at(entries, 4)
    for changed, error, said in (
        (
            records[4]._replace(prev_hash="x" * 64),
            HexError,
            "prev_hash is 'x+'; expected 64 lower-case hex digits",
        ),
        (records[4]._replace(org_id=str(UUID(int=2))), ForeignOrg, "the chain belongs to"),
    ):
        with pytest.raises(error, match=said) as caught:
            verify_chain([changed, records[5]], PUBLIC, since=since, signatures=signatures)
        assert caught.value.index == 4
    fork = entry(at(entries, 3), payload={"other": True})
    with pytest.raises(Equivocation) as twice:
        verify_chain([entries[4], fork], PUBLIC, since=since, signatures=signatures)
    assert (twice.value.index, twice.value.hashes) == (5, (entries[4].hash, fork.hash))


def test_anchors_after_it_are_looked_for_and_those_before_it_cannot_be() -> None:
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
def test_the_key_is_the_one_that_signs_there(signatures: SignatureScope) -> None:
    """On a rotation one may know either key: what it says is vouched for by its hash."""
    entries = rotated([(KEY, 2), (OTHER_KEY, 3)])
    for since, key, spans in (
        (at(entries, 1), KEY, [(2, KEY), (3, OTHER_KEY)]),
        (at(entries, 2), KEY, [(2, KEY), (3, OTHER_KEY)]),
        (at(entries, 2), OTHER_KEY, [(3, OTHER_KEY)]),
        (at(entries, 3), OTHER_KEY, [(4, OTHER_KEY)]),
    ):
        verified = verify_chain(entries, key.public_key, since=since, signatures=signatures)
        assert verified.keys == tuple(KeySpan(seq, one.public_key.hex) for seq, one in spans)
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


def test_a_key_distrusted_at_the_trusted_entry_signs_nothing_after_it() -> None:
    entries = chain(4)
    report = report_on(entries, PUBLIC, since=at(entries, 2), distrust_after=at(entries, 2))
    assert report.first_bad is not None
    assert (report.first_bad.error, report.first_bad.index) == ("DistrustedKey", 3)
    handed = rotated(
        [(KEY, 1), (OTHER_KEY, 2)]
    )  # here it is the old key that is distrusted, whichever is known
    for key in (KEY, OTHER_KEY):
        assert (
            verify_chain(
                handed, key.public_key, since=at(handed, 1), distrust_after=at(handed, 1)
            ).entries
            == 2
        )


def test_the_report_says_what_came_before_and_was_not_checked(tmp_path: Path) -> None:
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
    nothing = verify_file(path, public_key=PUBLIC, since=at(entries, 8))
    assert nothing.not_checked[0] == "anything: no entry follows on the trusted one"


def test_lines_before_it_are_not_even_read_as_entries(tmp_path: Path) -> None:
    entries = chain(9)
    lines = exported(entries).split(b"\n")
    lines[2] = lines[2].replace(b"plan.applied", b'"')
    lines[3] = b" " + lines[3]  # another spelling: it has to be parsed to know its seq
    (tmp_path / "chain.jsonl").write_bytes(b"\n".join(lines))
    assert verify_file(tmp_path / "chain.jsonl", public_key=PUBLIC, since=at(entries, 4)).ok
    _, records = read_chain(tmp_path / "chain.jsonl", since=4)
    assert [record.seq for record in records] == [4, 5, 6, 7, 8]
    with pytest.raises(InputError, match="line 3"):
        verify_file(tmp_path / "chain.jsonl", public_key=PUBLIC)
    with pytest.raises(InputError, match="announces 9 entries, but the file has 8"):
        (tmp_path / "chain.jsonl").write_bytes(b"\n".join(lines[:-2]))
        verify_file(tmp_path / "chain.jsonl", public_key=PUBLIC, since=at(entries, 4))


def test_a_file_that_ends_before_it_says_where(tmp_path: Path) -> None:
    entries = chain(9)
    (tmp_path / "chain.jsonl").write_bytes(exported(entries[:3]))
    report = verify_file(tmp_path / "chain.jsonl", public_key=PUBLIC, since=at(entries, 4))
    assert report.first_bad is not None
    assert (report.first_bad.reason, report.first_bad.index, report.entries) == ("short", 3, 0)
    assert "expected 5 entries, found 3; it has no entry 4" in report.first_bad.message


class Interrupted(KeyboardInterrupt):
    """What Ctrl-C does."""


def interrupted(
    path: Path, entries: list[AuditEntry], after: int, *, signatures: SignatureScope = "all"
) -> None:
    """A verification of `entries` that is interrupted when so many were read."""

    def stream() -> Iterator[AuditEntry]:
        yield from entries[:after]
        raise Interrupted

    kept = ResumeFile(path)
    kept.bind(VerifyOptions(signatures=signatures), PUBLIC)
    with pytest.raises(Interrupted):
        report_on(stream(), PUBLIC, signatures=signatures, resume=kept)


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_an_interrupted_verification_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signatures: SignatureScope
) -> None:
    monkeypatch.setattr("ttplan.audit.verify.chain._BATCH", 2)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    entries = rotated([(KEY, 12), (OTHER_KEY, 20)])
    state, path = tmp_path / "state", tmp_path / "chain.jsonl"
    path.write_bytes(exported(entries))
    interrupted(state, entries, 24, signatures=signatures)
    assert state.stat().st_mode & 0o777 == 0o600
    kept = json.loads(state.read_bytes())
    seq = TipAnchor.parse(kept["anchor"]).seq
    assert 12 < seq < 24
    assert kept["key"] == OTHER_KEY.public_key.hex
    report = verify_file(path, public_key=PUBLIC, signatures=signatures, resume=state)
    assert (report.verdict, report.entries, report.key) == ("verified", 32 - seq, PUBLIC.hex)
    assert [(one.since, one.key) for one in report.rotations] == [
        (seq + 1, OTHER_KEY.public_key.hex)
    ]
    assert any(f"up to seq {seq}" in text and str(state) in text for text in report.not_checked)
    assert not state.exists(), "a verification that has ended begins anew"
    assert verify_file(path, public_key=PUBLIC, signatures=signatures, resume=state).entries == 33


def test_what_is_no_state_of_this_verification_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ttplan.audit.verify.chain._BATCH", 2)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    entries = chain(20)
    state, path = tmp_path / "state", tmp_path / "chain.jsonl"
    path.write_bytes(exported(entries))
    interrupted(state, entries, 18)
    good = state.read_bytes()
    for options in (
        {"public_key": OTHER_KEY.public_key},
        {"public_key": PUBLIC, "signatures": "tip"},
        {"public_key": PUBLIC, "anchor": at(entries, 19)},
        {"public_key": PUBLIC, "passes_through": [at(entries, 2)]},
        {"public_key": PUBLIC, "distrust_after": at(entries, 19)},
    ):
        with pytest.raises(InputError, match="a verification with other keys, anchors or options"):
            verify_file(path, resume=state, **options)
    for damage in (
        b"",
        b"{}",
        good.replace(b"verification.v1", b"verification.v2"),
        good.replace(b'"key":"', b'"key":"0'),
    ):
        state.write_bytes(damage)
        with pytest.raises(InputError, match="is not a state to continue from"):
            verify_file(path, public_key=PUBLIC, resume=state)
    state.write_bytes(good)
    state.chmod(0o666)
    with pytest.raises(InputError, match="can be written by others"):
        verify_file(path, public_key=PUBLIC, resume=state)
    state.chmod(0o600)
    path.write_bytes(
        exported([*entries[:3], entry(at(entries, 2), payload={})])
    )  # it is not that chain any more
    report = verify_file(path, public_key=PUBLIC, resume=state)
    assert report.is_cut


def test_how_far_it_has_come_is_not_kept_past_an_anchor_that_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ttplan.audit.verify.chain._BATCH", 2)
    entries = chain(12)
    for signatures in SIGNATURE_SCOPES:
        told: list[VerifiedPrefix] = []
        with pytest.raises(TruncatedChain):
            verify_chain(
                entries,
                PUBLIC,
                signatures=signatures,
                passes_through=[TipAnchor(5, "ab" * 32)],
                reached=told.append,
            )
        assert told == [
            VerifiedPrefix(at(entries, 1), PUBLIC.hex),
            VerifiedPrefix(at(entries, 3), PUBLIC.hex),
        ]


def test_nor_is_a_rotation_that_is_none_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttplan.audit.verify.chain._BATCH", 2)
    entries = rotated([(KEY, 3), (OTHER_KEY, 1)], note="x")
    for signatures in SIGNATURE_SCOPES:
        seqs, told = [1, 2] if signatures == "all" else [1], list[VerifiedPrefix]()
        with pytest.raises(BadRotation):
            verify_chain(entries, PUBLIC, signatures=signatures, reached=told.append)
        assert told == [VerifiedPrefix(at(entries, seq), PUBLIC.hex) for seq in seqs]


def test_nor_past_where_the_chain_has_to_end(tmp_path: Path) -> None:
    entries = chain(6)
    kept = ResumeFile(tmp_path / "state")
    kept.bind(VerifyOptions(anchor=at(entries, 3)), PUBLIC)
    kept.note(VerifiedPrefix(at(entries, 4), PUBLIC.hex))
    kept.write()
    assert not os.path.exists(kept.path)
    kept.note(VerifiedPrefix(at(entries, 3), PUBLIC.hex))
    kept.write()
    assert os.path.exists(kept.path)


def test_it_is_kept_every_two_seconds_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, clock = chain(6), [100.0]
    monkeypatch.setattr(
        "ttplan.audit.verify.resume.time", SimpleNamespace(monotonic=lambda: clock[0])
    )
    kept = ResumeFile(tmp_path / "state")
    kept.write()
    kept.note(VerifiedPrefix(at(entries, 5), PUBLIC.hex))
    kept.write()
    assert not kept.path.exists(), "nobody has said yet what was asked"
    kept.bind(VerifyOptions(), PUBLIC)
    found = []
    for seq, clock[0] in enumerate((100.0, 101.9, 102.0, 103.9, 104.0)):
        kept.note(VerifiedPrefix(at(entries, seq), PUBLIC.hex))
        found.append(
            json.loads(kept.path.read_bytes())["anchor"][0] if kept.path.exists() else None
        )
    assert found == [None, None, "2", "2", "4"]
    kept.note(VerifiedPrefix(at(entries, 5), PUBLIC.hex))
    kept.finish()
    kept.finish()
    kept.write()
    assert not kept.path.exists()


def test_the_entry_to_continue_from_is_the_first_one_needed(tmp_path: Path) -> None:
    entries = chain(6)
    kept = ResumeFile(tmp_path / "state")
    for since, seq in ((None, 0), (at(entries, 2), 2)):
        assert kept.first_needed_seq(since) == seq
        assert open_resume_file(VerifyOptions(since=since)) == (None, seq)
    kept.bind(VerifyOptions(), PUBLIC)
    kept.note(VerifiedPrefix(at(entries, 4), PUBLIC.hex))
    kept.write()
    for mode in (0o600, 0o644, 0o611):
        kept.path.chmod(mode)
        assert open_resume_file(VerifyOptions(since=at(entries, 2), resume=kept.path))[1] == 4
    for mode in (0o620, 0o602):
        kept.path.chmod(mode)
        with pytest.raises(InputError, match=f"can be written by others \\(mode {mode:04o}\\)"):
            ResumeFile(kept.path)


def test_it_is_said_how_many_entries_cannot_be_trusted() -> None:
    entries = chain(9)
    report = report_on(broken(entries, 3), PUBLIC)
    assert report.first_bad is not None
    assert (report.first_bad.index, report.first_bad.untrusted) == (3, 5)
    assert "untrusted: it and the 5 entries after it" in str(report)
    after = report_on(broken(entries, 6), PUBLIC, since=at(entries, 4))
    assert after.first_bad is not None
    assert (after.entries, after.first_bad.untrusted) == (1, 2)
    assert "untrusted: it, which is the last entry" in str(report_on(broken(entries, 8), PUBLIC))


def test_a_rest_that_cannot_be_read_is_counted_as_far_as_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "chain.jsonl"
    path.write_bytes(exported(broken(chain(9), 3)).replace(b'"seq":7', b'"seq":x'))
    report = verify_file(path, public_key=PUBLIC)
    assert report.first_bad is not None
    assert (report.first_bad.index, report.first_bad.untrusted) == (3, 3)
    assert any(
        "how many more there are" in text and "line 9" in text for text in report.not_checked
    )


FLOATS = (
    2.5,
    41.37139900000001,
    0.30000000000000004,
    0.1 + 0.7,
    -1.1,
    1.0000000000000002e16,
    5e-324,
)
SPELLED = [orjson.dumps(one) for one in FLOATS]


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
def test_a_digit_that_an_exporter_lost_is_found(
    signed: dict[str, object], written: bytes, field: str | None
) -> None:
    text = exported([entry(None, payload=signed)])
    old = next(
        one
        for one in SPELLED
        if re.search(rb"(?<![0-9.\-])" + re.escape(one) + rb"(?![0-9])", text)
    )
    with pytest.raises(HashMismatch) as caught:
        verify_chain(read(text.replace(old, written, 1)), PUBLIC)
    hint = caught.value.hint
    if field is None:
        assert hint is None
    else:
        assert hint == (
            f"{field} is {written.decode()}, and with {old.decode()}, one unit off, it is what was signed: "
            "whatever exported it lost a digit"
        )


def test_the_search_for_a_lost_digit_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttplan.audit.lost_digit.MAX_BYTES", 2_000)
    made = entry(None, payload={"n": [0.5] * 50, "z": 0.3})
    with pytest.raises(HashMismatch) as caught:
        verify_chain(
            [made.model_copy(update={"payload": {"n": [0.5] * 50, "z": 0.30000000000000004}})],
            PUBLIC,
        )
    assert caught.value.hint is None


@pytest.mark.parametrize(("tries", "found"), [(1, False), (2, True)])
def test_it_is_searched_for_exactly_so_far(
    monkeypatch: pytest.MonkeyPatch, tries: int, found: bool
) -> None:
    good = to_record(entry(None, payload={"z": 0.30000000000000004}))
    lost = good._replace(
        body=good.body.replace(b"0.30000000000000004", b"0.3")
    )  # the second that is tried
    for bytes_more, there in ((-1, found and tries > 2), (0, found)):
        monkeypatch.setattr(
            "ttplan.audit.lost_digit.MAX_BYTES", tries * len(lost.body) + bytes_more
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
def test_in_what_is_no_entry_no_digit_is_lost(body: bytes) -> None:
    assert find_lost_digit(to_record(entry(None))._replace(body=body)) is None


def test_no_number_is_the_neighbour_of_none() -> None:
    none = to_record(entry(None, payload={"n": None}))
    for largest in (b"1.7976931348623157e+308", b"-1.7976931348623157e+308"):
        assert (
            find_lost_digit(none._replace(body=none.body.replace(b'"n":null', b'"n":' + largest)))
            is None
        )


def test_the_report_as_a_page_says_the_same_and_fetches_nothing() -> None:
    entries = chain(5)
    changed = [
        *entries[:2],
        entries[2].model_copy(update={"event": "<script>alert(1)</script>"}),
        *entries[3:],
    ]
    report = report_on(changed, PUBLIC, key_source='a "test" <i>', anchor=at(entries, 4))
    page = report.page("<b>chain</b>.jsonl")
    assert page.startswith("<!doctype html>")
    assert not re.search(r"<script|<link|<img|src=|href=|url\(|@import|http:", page)
    assert "&lt;b&gt;chain&lt;/b&gt;.jsonl" in page
    assert "a &quot;test&quot; &lt;i&gt;" in page
    assert report.first_bad is not None
    for text in (
        report.first_bad.expected,
        report.first_bad.found,
        PUBLIC.hex,
        "HashMismatch",
        "2 entries",
        *report.checks,
    ):
        assert str(text) in page
    assert page.count("NOT checked") == len(report.not_checked)
    good = report_on(rotated([(KEY, 2), (OTHER_KEY, 2)]), PUBLIC, signatures="tip")
    assert "What is wrong" not in good.page("chain.jsonl")
    for text in (*good.checks, good.rotations[0].key, str(good.tip), "signatures checked"):
        assert text in good.page("chain.jsonl")
    assert good._repr_html_().startswith('<div class="jp-RenderedHTMLCommon')
    assert "<html" not in good._repr_html_()
