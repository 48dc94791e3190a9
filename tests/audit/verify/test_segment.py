"""A long chain's file in stretches that helpers find: quicker, and never another verdict than entry by entry."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import pytest

from tests.audit.chains import KEY, ORG, OTHER_KEY, SIGNATURE_SCOPES, chain, entry, exported
from tests.audit.corpus import lines, read, rotated
from ttplan.audit.jsonl import LineBlock, read_blocks, read_chain
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify import parallel
from ttplan.audit.verify.file import verify_file
from ttplan.audit.verify.options import SignatureScope
from ttplan.audit.verify.segment import Segment, SegmentBounds, scan_segment
from ttplan.audit.verify.walker import ChainWalker
from ttplan.audit.verify.workers import WorkerPool
from ttplan.model.audit import AuditEntry, StoredEntry, TipAnchor
from ttplan.model.errors import InputError

PUBLIC = KEY.public_key
CORPUS = read()
ENTRIES = chain(12)
"""All actors, and times with 0, 3 and 6 digits."""
LINES = lines(ENTRIES)


class Here:
    """Helpers that are no processes; what each was asked, and whether it found a stretch."""

    def __init__(self) -> None:
        self.asked: list[tuple[VerifyingKey | None, bool]] = []
        self.left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.left = True

    def scan_segment(self, data: bytes, key: VerifyingKey | None) -> SegmentBounds | None:
        found = scan_segment(data, None if key is None else key.raw)
        self.asked.append((key, found is not None))
        return found


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """A few lines are a long file."""
    helpers = Here()
    monkeypatch.setattr(parallel, "PARALLEL_BYTES", 1)
    monkeypatch.setattr(parallel, "start_workers", lambda: helpers)
    monkeypatch.setattr("ttplan.audit.jsonl.BLOCK_BYTES", 2_500)
    return helpers


def told(path: Path, **asked: Any) -> str:
    """All that a verification says, or why it does not begin."""
    try:
        return verify_file(path, progress=False, **asked).model_dump_json()
    except InputError as error:
        return str(error)


def both(path: Path, monkeypatch: pytest.MonkeyPatch, **asked: Any) -> str:
    """What is told in stretches, which has to be what is told entry by entry."""
    found = told(path, **asked)
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "PARALLEL_BYTES", 2**40)
        assert told(path, **asked) == found
    return found


@pytest.mark.parametrize("key", [None, PUBLIC.raw])
def test_good_lines_are_a_stretch(key: bytes | None) -> None:
    length = len(lines(ENTRIES[:-1]))
    expected = SegmentBounds(12, 0, str(ORG).encode(), b"0" * 64, length)
    assert scan_segment(LINES, key) == scan_segment(LINES.removesuffix(b"\n"), key) == expected
    assert scan_segment(lines(ENTRIES[4:5]), key) == SegmentBounds(
        1, 4, str(ORG).encode(), ENTRIES[3].hash.encode(), 0
    )


def test_a_flipped_bit_anywhere_makes_them_none() -> None:
    data = lines(ENTRIES[3:6])
    for place, bit in product(range(len(data) - 1), range(8)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        assert scan_segment(bytes(flipped), PUBLIC.raw) is None, (place, bit)


@pytest.mark.parametrize("key", [None, PUBLIC.raw])
def test_anything_else_among_them_makes_them_none(key: bytes | None) -> None:
    other = entry(TipAnchor(0, ENTRIES[0].hash), org_id=UUID(int=2))
    skipped = entry(TipAnchor(1, ENTRIES[0].hash))
    for data in (
        b"",
        b"\n",
        b"\n" + LINES,
        LINES + b"\n",
        LINES.replace(b"\n", b"\r\n"),
        LINES.replace(b"\n", b" \n", 3),
        LINES.replace(b'"seq":', b'"seq": '),
        lines([*ENTRIES[:2], *ENTRIES[3:]]),
        lines([ENTRIES[0], ENTRIES[0]]),
        lines([ENTRIES[0], other]),
        lines([ENTRIES[0], skipped]),
        lines(rotated([(KEY, 2), (OTHER_KEY, 2)])[:4]),
        lines(ENTRIES[:3]) + b"x\n",
        exported(ENTRIES),
    ):
        assert scan_segment(data, key) is None


def test_only_with_a_key_are_signatures_looked_at() -> None:
    forged = [*ENTRIES[:5], ENTRIES[5].model_copy(update={"signature": "ab" * 64}), *ENTRIES[6:]]
    assert (
        scan_segment(lines(forged), PUBLIC.raw)
        is scan_segment(LINES, OTHER_KEY.public_key.raw)
        is None
    )
    assert scan_segment(lines(forged), None) is not None
    upper = [
        *ENTRIES[:5],
        ENTRIES[5].model_copy(update={"signature": ENTRIES[5].signature.upper()}),
        *ENTRIES[6:],
    ]
    assert scan_segment(lines(upper), None) is scan_segment(lines(upper), PUBLIC.raw) is None


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
@pytest.mark.parametrize("size", [1, 400, 2_500, 2**20])
def test_every_chain_of_the_corpus_gets_the_same_report(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: Here,
    signatures: SignatureScope,
    size: int,
) -> None:
    monkeypatch.setattr("ttplan.audit.jsonl.BLOCK_BYTES", size)
    path = tmp_path / "chain.jsonl"
    for case in CORPUS.values():
        path.write_bytes(case.data)
        both(path, monkeypatch, public_key=case.key, anchor=case.anchor, signatures=signatures)
    assert any(found for _, found in here.asked)


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_a_bad_entry_anywhere_gets_the_same_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Here, signatures: SignatureScope
) -> None:
    path = tmp_path / "chain.jsonl"
    entries = chain(30)
    for index in range(30):
        for change in (
            {"event": "x"},
            {"signature": "ab" * 64},
            {"prev_hash": "cd" * 32},
            {"seq": 77},
        ):
            path.write_bytes(
                exported(
                    [
                        *entries[:index],
                        entries[index].model_copy(update=change),
                        *entries[index + 1 :],
                    ]
                )
            )
            both(path, monkeypatch, public_key=PUBLIC, signatures=signatures)
        path.write_bytes(exported([*entries[:index], *entries[index + 1 :]]))
        both(path, monkeypatch, public_key=PUBLIC, signatures=signatures)


def going_on(entries: list[AuditEntry], length: int, **changes: Any) -> list[AuditEntry]:
    """The chain with so many entries more, which follow on it."""
    grown = list(entries)
    for _ in range(length):
        grown.append(entry(TipAnchor(grown[-1].seq, grown[-1].hash), **changes))
    return grown


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_stretches_that_do_not_belong_together_get_the_same_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Here, signatures: SignatureScope
) -> None:
    path = tmp_path / "chain.jsonl"
    entries, others = chain(24), chain(24, payload={"another": "history"})
    for index in range(1, 24):
        for spliced, said in (
            ([*entries[:index], *others[index:]], "BrokenChain"),
            (going_on(entries[:index], 24 - index, org_id=UUID(int=2)), "ForeignOrg"),
            (going_on(entries[:index], 24 - index, key=OTHER_KEY), "BadSignature"),
        ):
            path.write_bytes(lines(spliced))
            assert said in both(path, monkeypatch, public_key=PUBLIC, signatures=signatures)


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_what_is_good_is_leapt_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Here, signatures: SignatureScope
) -> None:
    path, step, single = tmp_path / "chain.jsonl", ChainWalker.check_next, list[int]()

    def noted(walk: ChainWalker, record: StoredEntry) -> None:
        single.append(record.seq)
        step(walk, record)

    monkeypatch.setattr(ChainWalker, "check_next", noted)
    path.write_bytes(exported(rotated([(KEY, 40), (OTHER_KEY, 40)])))
    report = verify_file(path, public_key=PUBLIC, signatures=signatures, progress=False)
    assert (report.verdict, report.entries) == ("verified", 81)
    assert 40 in single, "the rotation"
    assert len(single) < 40, (
        "the piece with the rotation, and those that were looked at with the key before it"
    )


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_rotations_and_anchors_are_seen_in_the_middle_of_stretches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Here, signatures: SignatureScope
) -> None:
    path = tmp_path / "chain.jsonl"
    entries = rotated([(KEY, 25), (OTHER_KEY, 25)])
    path.write_bytes(exported(entries))
    asked: dict[str, Any] = {"public_key": PUBLIC, "signatures": signatures}
    assert '"verdict":"verified"' in both(path, monkeypatch, **asked)
    signed_by = {key for key, found in here.asked if found}
    assert signed_by == ({PUBLIC, OTHER_KEY.public_key} if signatures == "all" else {None})
    for seq in range(0, 51, 3):
        good, wrong = TipAnchor(seq, entries[seq].hash), TipAnchor(seq, "ab" * 32)
        assert '"verdict":"verified"' in both(path, monkeypatch, passes_through=[good], **asked)
        assert "TruncatedChain" in both(path, monkeypatch, passes_through=[wrong], **asked)
        both(path, monkeypatch, distrust_after=good, **asked)
        both(
            path,
            monkeypatch,
            since=good,
            public_key=PUBLIC if seq < 25 else OTHER_KEY.public_key,
            signatures=signatures,
        )
        both(path, monkeypatch, since=wrong, **asked)
        both(path, monkeypatch, anchor=good, **asked)


def test_a_verification_in_stretches_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Here
) -> None:
    path, state = tmp_path / "chain.jsonl", tmp_path / "state.json"
    entries = chain(40)
    path.write_bytes(
        exported([*entries[:30], entries[30].model_copy(update={"event": "x"}), *entries[31:]])
    )
    assert verify_file(path, public_key=PUBLIC, resume=state, progress=False).first_bad is not None
    path.write_bytes(exported(entries))
    with monkeypatch.context() as patch:
        patch.setattr("ttplan.audit.verify.resume.ResumeFile.finish", lambda self: self.write())
        verify_file(path, public_key=PUBLIC, resume=state, progress=False)
    before = len(here.asked)
    report = verify_file(path, public_key=PUBLIC, resume=state, progress=False)
    assert report.verdict == "verified"
    assert report.since is not None
    assert report.since.seq > 30
    assert len(here.asked) <= before + 1, "what was verified before is not looked at again"


def test_helpers_are_started_once_and_for_a_long_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, started = tmp_path / "chain.jsonl", list[Here]()

    def start() -> Here:
        started.append(Here())
        return started[-1]

    path.write_bytes(exported(chain(30)))
    size = path.stat().st_size - path.read_bytes().index(b"\n") - 1
    monkeypatch.setattr(parallel, "start_workers", start)
    monkeypatch.setattr("ttplan.audit.jsonl.BLOCK_BYTES", 2_500)
    first = len(
        next(
            item.data
            for item in read_blocks(io.BytesIO(path.read_bytes()))[1]
            if isinstance(item, LineBlock)
        )
    )
    for long, helpers in ((size + 1, 0), (size, 1), (first + 1, 1), (first, 1), (1, 1)):
        monkeypatch.setattr(parallel, "PARALLEL_BYTES", long)
        started.clear()
        assert verify_file(path, public_key=PUBLIC, progress=False).verdict == "verified"
        assert len(started) == helpers
        assert all(one.asked and one.left for one in started)
    monkeypatch.setattr(parallel, "start_workers", lambda: None)
    assert verify_file(path, public_key=PUBLIC, progress=False).signatures_checked == 30


def test_an_interruption_ends_the_helpers(tmp_path: Path, here: Here) -> None:
    path = tmp_path / "chain.jsonl"
    path.write_bytes(exported(chain(40)))
    _, pieces = read_blocks(path)
    entries = parallel.read_segments(pieces, PUBLIC, signed=True)
    first = next(entries)
    assert isinstance(first, Segment)
    assert first.signer == PUBLIC.hex
    assert not here.left
    entries.close()
    assert here.left
    pieces.close()


@pytest.mark.parametrize("size", [1, 300, 10_000])
def test_pieces_are_the_lines_and_keep_their_numbers(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("ttplan.audit.jsonl.BLOCK_BYTES", size)
    for data in (
        exported(ENTRIES),
        LINES,
        b"\n \n" + LINES.replace(b"\n", b"\n\n", 3),
        LINES.removesuffix(b"\n"),
    ):
        _, records = read_chain(io.BytesIO(data))
        _, pieces = read_blocks(io.BytesIO(data))
        assert list(flat(pieces)) == list(records)
    spoilt = io.BytesIO(lines(ENTRIES[:7]) + b'{"id"\n')
    with pytest.raises(InputError, match="line 8:"):
        list(flat(read_blocks(spoilt)[1]))
    assert spoilt.closed
    with pytest.raises(InputError, match="line 3: longer than 900 bytes"):
        list(
            flat(
                read_blocks(io.BytesIO(lines(ENTRIES[:2]) + b"x" * 5_000 + b"\n"), max_line=900)[1]
            )
        )


def flat(items: Iterator[StoredEntry | LineBlock] | Any) -> Iterator[StoredEntry]:
    for item in items:
        yield from item.records() if isinstance(item, LineBlock) else (item,)


def test_helpers_in_processes_of_their_own_find_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Segment | None] = []
    find = parallel._find_segment

    def noted(*asked: Any) -> Segment | None:
        found.append(find(*asked))
        return found[-1]

    monkeypatch.setattr(parallel, "PARALLEL_BYTES", 1)
    monkeypatch.setattr("ttplan.audit.jsonl.BLOCK_BYTES", 3_000)
    monkeypatch.setattr(parallel, "_find_segment", noted)
    path = tmp_path / "chain.jsonl"
    bad: list[AuditEntry] = [
        *ENTRIES[:9],
        ENTRIES[9].model_copy(update={"signature": "ab" * 64}),
        *ENTRIES[10:],
    ]
    path.write_bytes(exported(ENTRIES))
    assert verify_file(path, public_key=PUBLIC, progress=False).signatures_checked == 12
    assert all(found)
    assert sum(one.entries for one in found if one is not None) == 12
    path.write_bytes(exported(bad))
    report = verify_file(path, public_key=PUBLIC, progress=False)
    assert report.first_bad is not None
    assert (report.first_bad.index, report.first_bad.error) == (9, "BadSignature")
    assert None in found
    with WorkerPool(1) as helpers:
        assert helpers.scan_segment(lines(bad), None) == scan_segment(LINES, None)
        assert helpers.scan_segment(lines(bad), PUBLIC) is None
        assert helpers.scan_segment(lines(ENTRIES[4:]), PUBLIC) == scan_segment(
            lines(ENTRIES[4:]), None
        )
