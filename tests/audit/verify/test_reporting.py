"""The report of a verification claims what was checked, and nothing else."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.audit.chains import (
    KEY,
    ORG,
    OTHER_KEY,
    START,
    altered,
    at,
    broken,
    chain,
    entry,
    exported,
    report_on,
)
from tests.audit.corpus import rotated
from ttplan.audit.entries import to_record
from ttplan.audit.verify.chain import (
    VerifiedPrefix,
)
from ttplan.audit.verify.file import verify_file
from ttplan.audit.verify.options import VerifyOptions
from ttplan.audit.verify.report import ChainReport
from ttplan.audit.verify.resume import ResumeFile
from ttplan.model.audit import AuditEntry, StoredEntry, TipAnchor

PUBLIC = KEY.public_key
ENTRIES = chain(9)
HASHES = "every seq, prev_hash and hash, and that all entries are of one organisation"
ALL = "every signature"
TIP = "the last signature of each key, which vouches for the content of all entries before it"
END = "whether entries are missing at the end: give an anchor for that"
AFTER = "the entries after the first bad one"


def reported(
    entries: list[AuditEntry] | list[StoredEntry] = ENTRIES, **options: Any
) -> ChainReport:
    return report_on(entries, PUBLIC, **options)


@pytest.mark.parametrize(
    ("options", "checks", "not_checked"),
    [
        ({}, (ALL,), (END,)),
        ({"signatures": "tip"}, (TIP,), ("the signatures of the other entries", END)),
        ({"anchor": at(ENTRIES, 8)}, (ALL, "that the chain ends at seq 8 of the anchor"), ()),
        (
            {"passes_through": [at(ENTRIES, 1)]},
            (ALL, "that the chain has the entry of 1 earlier anchor"),
            (END,),
        ),
        (
            {"passes_through": [at(ENTRIES, i) for i in (1, 2)]},
            (ALL, "that the chain has the entries of 2 earlier anchors"),
            (END,),
        ),
        (
            {"distrust_after": at(ENTRIES, 8)},
            (
                ALL,
                "that nothing after seq 8 is signed with the key that is distrusted from there on",
            ),
            (END,),
        ),
        (
            {"own_key": True},
            (ALL,),
            (END, "whose key this is: it came with the chain, so give one from elsewhere"),
        ),
        (
            {"since": at(ENTRIES, 2)},
            (ALL,),
            (END, "the entries up to seq 2, which stand and fall with the anchor that was given"),
        ),
    ],
)
def test_report_of_a_good_chain_names_its_checks(
    options: dict[str, Any], checks: tuple[str, ...], not_checked: tuple[str, ...]
) -> None:
    report = reported(**options)
    assert report.verdict == ("consistent with its own key" if "own_key" in options else "verified")
    assert (report.checks, report.not_checked) == ((HASHES, *checks), not_checked)


def test_report_of_no_entries_says_nothing_was_checked() -> None:
    empty = reported([])
    assert (empty.verdict, empty.exit_code, empty.ok) == ("nothing to verify", 2, False)
    assert empty.checks == ()
    assert empty.not_checked[0].startswith("anything: the chain has no entries.")
    expected = reported([], anchor="empty")
    assert (expected.verdict, expected.exit_code) == ("verified", 0)
    assert expected.checks == ("that the chain has no entries, as the anchor says",)
    longer = reported(ENTRIES[:2], anchor="empty")
    assert longer.first_bad is not None
    assert (longer.verdict, longer.first_bad.reason) == ("broken", "longer")
    assert (
        reported(since=at(ENTRIES, 8)).not_checked[0]
        == "anything: no entry follows on the trusted one"
    )


def test_report_of_a_broken_chain_names_what_passed() -> None:
    bad = broken(ENTRIES, 3)
    last = [*ENTRIES[:8], altered(ENTRIES[8], signature=ENTRIES[7].signature)]
    every, hashes = "seq, prev_hash, hash and signature of the", "seq, prev_hash and hash of the"
    unknown = "any signature: who wrote the entries before it is not known"
    for entries, options, count, checks, not_checked, untrusted in (
        (bad, {}, 3, (f"{every} 3 entries before it",), (END, AFTER), 5),
        (bad[:4], {}, 3, (f"{every} 3 entries before it",), (END, AFTER), 0),
        (broken(ENTRIES, 1), {}, 1, (f"{every} 1 entry before it",), (END, AFTER), 7),
        (broken(ENTRIES, 0), {}, 0, (), (END, AFTER), 8),
        (ENTRIES[3:], {}, 0, (), (END, AFTER), 5),
        (
            bad,
            {"signatures": "tip"},
            3,
            (f"{hashes} 3 entries before it",),
            (unknown, END, AFTER),
            5,
        ),
        (
            last,
            {"signatures": "tip"},
            8,
            (f"{hashes} 8 entries before it",),
            ("the signatures of the other entries", END, AFTER),
            0,
        ),
        (bad, {"anchor": at(ENTRIES, 8)}, 3, (f"{every} 3 entries before it",), (AFTER,), 5),
    ):
        report = reported(entries, **options)
        assert report.first_bad is not None
        assert (report.verdict, report.org_id, report.tip, report.entries) == (
            "broken",
            ORG,
            None,
            count,
        )
        assert (report.checks, report.not_checked, report.first_bad.untrusted) == (
            checks,
            not_checked,
            untrusted,
        )


def test_report_counts_from_the_trusted_entry() -> None:
    since, what = at(ENTRIES, 4), "seq, prev_hash, hash and signature of the 1 entry before it"
    for start in (0, 4, 5):
        report = reported(broken(ENTRIES, 6)[start:], since=since)
        assert report.first_bad is not None
        assert (report.entries, report.checks, report.first_bad.untrusted) == (1, (what,), 2)
    report = reported(broken(ENTRIES, 5), since=since)
    assert (report.entries, report.checks) == (0, ())


def test_chain_that_misses_its_anchor_was_checked() -> None:
    report = reported(ENTRIES[:3], anchor=at(ENTRIES, 4))
    assert report.first_bad is not None
    assert (report.entries, report.first_bad.untrusted, report.first_bad.reason) == (
        3,
        None,
        "short",
    )
    # What failed was not found to be so.
    assert (report.checks, report.not_checked) == ((HASHES, ALL), ())
    through = reported(ENTRIES[:3], passes_through=[at(ENTRIES, 4)])
    assert through.first_bad is not None
    assert through.checks == (HASHES, ALL)
    unknown = reported(ENTRIES[:3], since=at(ENTRIES, 4))
    assert unknown.first_bad is not None
    assert unknown.checks == ()


def test_odd_dates_are_warned_of() -> None:
    entries: list[AuditEntry] = []
    for minutes in (0, 5, 3, 5, 4, 9):
        tip = TipAnchor(len(entries) - 1, entries[-1].hash) if entries else None
        entries.append(entry(tip, timestamp=START + timedelta(minutes=minutes)))
    report = reported(entries, now=START + timedelta(minutes=9))
    (warning,) = report.warnings
    assert report.ok
    assert warning.startswith("2 entries, from 2 on, are dated before an entry that precedes")
    assert "WARNING   2 entries" in str(report)
    assert "are dated before" in report._repr_html_()
    (warning,) = reported(entries[:2], now=START - timedelta(minutes=1)).warnings
    assert warning.startswith(
        "entry 1 is dated in the future (2026-05-01T12:05:00+00:00, now it is"
    )
    assert reported(entries[:2], now=START + timedelta(minutes=1)).warnings == ()


def test_report_names_expected_and_found() -> None:
    hidden = reported([to_record(ENTRIES[0])._replace(org_id="acme")])
    assert (hidden.org_id, hidden.verdict) == (None, "broken")
    gap = reported([*ENTRIES[:2], *ENTRIES[3:]]).first_bad
    assert gap is not None
    assert (gap.error, gap.index, gap.expected, gap.found, gap.reason, gap.hint) == (
        "SeqGap",
        2,
        "2",
        "3",
        None,
        None,
    )
    forged = reported([altered(ENTRIES[0], signature="00" * 64)]).first_bad
    assert forged is not None
    assert (forged.expected, forged.found, forged.message[:8]) == (None, None, "entry 0:")


def test_only_forks_produce_evidence() -> None:
    kept: list[bytes] = []
    assert reported(broken(ENTRIES, 3), on_fork=kept.append).verdict == "broken"
    assert kept == []


def test_resumed_verification_ignores_earlier_anchors(tmp_path: Path) -> None:
    state = ResumeFile(tmp_path / "state")
    state.bind(VerifyOptions(), PUBLIC)
    state.note(VerifiedPrefix(at(ENTRIES, 4), PUBLIC.hex))
    state.write()

    def verdict(**options: Any) -> str:
        state.path.write_bytes(content)
        report = reported(broken(ENTRIES, 2), resume=ResumeFile(state.path), **options)
        return (
            report.verdict
            if report.first_bad is None
            else f"{report.first_bad.error} {report.first_bad.index}"
        )

    content = state.path.read_bytes()
    other = "ab" * 32
    assert (
        verdict()
        == verdict(passes_through=[TipAnchor(3, other)], distrust_after=TipAnchor(3, other))
        == "verified"
    )
    assert verdict(passes_through=[at(ENTRIES, 4), at(ENTRIES, 6)]) == "verified"
    assert (
        verdict(passes_through=[TipAnchor(4, other)])
        == verdict(passes_through=[TipAnchor(6, other)])
        == "TruncatedChain 9"
    )
    assert verdict(distrust_after=at(ENTRIES, 4)) == "DistrustedKey 5"
    assert verdict(distrust_after=at(ENTRIES, 6)) == "DistrustedKey 7"


def test_report_counts_untrusted_entries() -> None:
    entries = chain(9)
    report = report_on(broken(entries, 3), PUBLIC)
    assert report.first_bad is not None
    assert (report.first_bad.index, report.first_bad.untrusted) == (3, 5)
    assert "untrusted: it and the 5 entries after it" in str(report)
    after = report_on(broken(entries, 6), PUBLIC, since=at(entries, 4))
    assert after.first_bad is not None
    assert (after.entries, after.first_bad.untrusted) == (1, 2)
    assert "untrusted: it, which is the last entry" in str(report_on(broken(entries, 8), PUBLIC))


def test_unreadable_rest_is_counted_as_far_as_possible(tmp_path: Path) -> None:
    path = tmp_path / "chain.jsonl"
    path.write_bytes(exported(broken(chain(9), 3)).replace(b'"seq":7', b'"seq":x'))
    report = verify_file(path, public_key=PUBLIC)
    assert report.first_bad is not None
    assert (report.first_bad.index, report.first_bad.untrusted) == (3, 3)
    assert any(
        "how many more there are" in text and "line 9" in text for text in report.not_checked
    )


def test_report_page_is_complete_and_fetches_nothing() -> None:
    entries = chain(5)
    changed = [
        *entries[:2],
        altered(entries[2], event="<script>alert(1)</script>"),
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
