"""A verification that was interrupted continues from its state file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.audit.chains import (
    KEY,
    OTHER_KEY,
    SIGNATURE_SCOPES,
    at,
    chain,
    entry,
    exported,
    report_on,
)
from tests.audit.corpus import rotated
from ttplan.audit.verify.chain import (
    VerifiedPrefix,
    verify_chain,
)
from ttplan.audit.verify.file import open_resume_file, verify_file
from ttplan.audit.verify.options import SignatureScope, VerifyOptions
from ttplan.audit.verify.resume import ResumeFile
from ttplan.model.audit import AuditEntry, TipAnchor
from ttplan.model.errors import (
    BadRotation,
    InputError,
    TruncatedChain,
)

PUBLIC = KEY.public_key


class Interrupted(KeyboardInterrupt):
    """Raised by Ctrl-C."""


def interrupted(
    path: Path, entries: list[AuditEntry], after: int, *, signatures: SignatureScope = "all"
) -> None:
    """A verification of `entries` that is interrupted after some of them."""

    def stream() -> Iterator[AuditEntry]:
        yield from entries[:after]
        raise Interrupted

    kept = ResumeFile(path)
    kept.bind(VerifyOptions(signatures=signatures), PUBLIC)
    with pytest.raises(Interrupted):
        report_on(stream(), PUBLIC, signatures=signatures, resume=kept)


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_interrupted_verification_continues(
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
    assert [(span.since, span.key) for span in report.rotations] == [
        (seq + 1, OTHER_KEY.public_key.hex)
    ]
    assert any(f"up to seq {seq}" in text and str(state) in text for text in report.not_checked)
    assert not state.exists(), "a finished verification starts again"
    assert verify_file(path, public_key=PUBLIC, signatures=signatures, resume=state).entries == 33


def test_state_of_another_verification_is_refused(
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
    path.write_bytes(exported([*entries[:3], entry(at(entries, 2), payload={})]))  # another chain
    report = verify_file(path, public_key=PUBLIC, resume=state)
    assert report.is_cut


def test_progress_stops_at_an_anchor_that_does_not_match(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ttplan.audit.verify.chain._BATCH", 2)
    entries = chain(12)
    for signatures in SIGNATURE_SCOPES:
        prefixes: list[VerifiedPrefix] = []
        with pytest.raises(TruncatedChain):
            verify_chain(
                entries,
                PUBLIC,
                signatures=signatures,
                passes_through=[TipAnchor(5, "ab" * 32)],
                reached=prefixes.append,
            )
        assert prefixes == [
            VerifiedPrefix(at(entries, 1), PUBLIC.hex),
            VerifiedPrefix(at(entries, 3), PUBLIC.hex),
        ]


def test_progress_stops_before_an_invalid_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttplan.audit.verify.chain._BATCH", 2)
    entries = rotated([(KEY, 3), (OTHER_KEY, 1)], note="x")
    for signatures in SIGNATURE_SCOPES:
        seqs, prefixes = [1, 2] if signatures == "all" else [1], list[VerifiedPrefix]()
        with pytest.raises(BadRotation):
            verify_chain(entries, PUBLIC, signatures=signatures, reached=prefixes.append)
        assert prefixes == [VerifiedPrefix(at(entries, seq), PUBLIC.hex) for seq in seqs]


def test_progress_stops_at_the_required_end(tmp_path: Path) -> None:
    entries = chain(6)
    kept = ResumeFile(tmp_path / "state")
    kept.bind(VerifyOptions(anchor=at(entries, 3)), PUBLIC)
    kept.note(VerifiedPrefix(at(entries, 4), PUBLIC.hex))
    kept.write()
    assert not os.path.exists(kept.path)
    kept.note(VerifiedPrefix(at(entries, 3), PUBLIC.hex))
    kept.write()
    assert os.path.exists(kept.path)


def test_state_is_written_every_two_seconds(
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
    assert not kept.path.exists(), "not bound yet"
    kept.bind(VerifyOptions(), PUBLIC)
    anchors = []
    for seq, clock[0] in enumerate((100.0, 101.9, 102.0, 103.9, 104.0)):
        kept.note(VerifiedPrefix(at(entries, seq), PUBLIC.hex))
        anchors.append(
            json.loads(kept.path.read_bytes())["anchor"][0] if kept.path.exists() else None
        )
    assert anchors == [None, None, "2", "2", "4"]
    kept.note(VerifiedPrefix(at(entries, 5), PUBLIC.hex))
    kept.finish()
    kept.finish()
    kept.write()
    assert not kept.path.exists()


def test_first_needed_entry_is_the_one_to_continue_from(tmp_path: Path) -> None:
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
