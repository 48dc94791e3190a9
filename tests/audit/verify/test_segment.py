"""A long chain's file in segments: faster, with the same verdicts as entry by entry."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import pytest

from tests.audit.chains import (
    KEY,
    ORG,
    OTHER_KEY,
    SIGNATURE_SCOPES,
    START,
    altered,
    chain,
    entry,
    exported,
)
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


class InProcessWorkers:
    """Workers without processes that record each request, and whether it was a segment."""

    def __init__(self) -> None:
        self.requests: list[tuple[VerifyingKey | None, bool]] = []
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
        bounds = scan_segment(data, None if key is None else key.raw)
        self.requests.append((key, bounds is not None))
        return bounds


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> InProcessWorkers:
    """Make a few lines count as a long file."""
    workers = InProcessWorkers()
    monkeypatch.setattr(parallel, "PARALLEL_BYTES", 1)
    monkeypatch.setattr(parallel, "start_workers", lambda: workers)
    monkeypatch.setattr("ttplan.audit.jsonl.BLOCK_BYTES", 2_500)
    return workers


def verification_outcome(path: Path, **options: Any) -> str:
    """The report of a verification, or the error that prevents it."""
    try:
        report = verify_file(path, progress=False, **options)
        return json.dumps(report.to_dict(), separators=(",", ":"))
    except InputError as error:
        return str(error)


def compare_outcomes(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    """The outcome in segments, which must equal the outcome entry by entry."""
    outcome = verification_outcome(path, **options)
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "PARALLEL_BYTES", 2**40)
        assert verification_outcome(path, **options) == outcome
    return outcome


def time_of(entry: AuditEntry) -> bytes:
    return entry.timestamp.encode()


def test_lines_dated_against_their_order_are_no_segment() -> None:
    entries: list[AuditEntry] = []
    for minutes in (0, 5, 3):
        tip = TipAnchor(len(entries) - 1, entries[-1].hash) if entries else None
        entries.append(entry(tip, timestamp=START + timedelta(minutes=minutes)))
    assert scan_segment(lines(entries[:2]), PUBLIC.raw) is not None
    assert scan_segment(lines(entries), PUBLIC.raw) is None


@pytest.mark.parametrize("key", [None, PUBLIC.raw])
def test_good_lines_are_a_segment(key: bytes | None) -> None:
    length = len(lines(ENTRIES[:-1]))
    expected = SegmentBounds(12, 0, str(ORG).encode(), b"0" * 64, length, time_of(ENTRIES[0]))
    assert scan_segment(LINES, key) == scan_segment(LINES.removesuffix(b"\n"), key) == expected
    assert scan_segment(lines(ENTRIES[4:5]), key) == SegmentBounds(
        1, 4, str(ORG).encode(), ENTRIES[3].hash.encode(), 0, time_of(ENTRIES[4])
    )


def test_any_flipped_bit_is_no_segment() -> None:
    data = lines(ENTRIES[3:6])
    for place, bit in product(range(len(data) - 1), range(8)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        assert scan_segment(bytes(flipped), PUBLIC.raw) is None, (place, bit)


@pytest.mark.parametrize("key", [None, PUBLIC.raw])
def test_other_lines_are_no_segment(key: bytes | None) -> None:
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


def test_signatures_are_checked_only_with_a_key() -> None:
    forged = [*ENTRIES[:5], altered(ENTRIES[5], signature="ab" * 64), *ENTRIES[6:]]
    assert (
        scan_segment(lines(forged), PUBLIC.raw)
        is scan_segment(LINES, OTHER_KEY.public_key.raw)
        is None
    )
    assert scan_segment(lines(forged), None) is not None
    upper = [
        *ENTRIES[:5],
        altered(ENTRIES[5], signature=ENTRIES[5].signature.upper()),
        *ENTRIES[6:],
    ]
    assert scan_segment(lines(upper), None) is scan_segment(lines(upper), PUBLIC.raw) is None


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
@pytest.mark.parametrize("size", [1, 400, 2_500, 2**20])
def test_corpus_gets_the_same_reports_in_segments(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: InProcessWorkers,
    signatures: SignatureScope,
    size: int,
) -> None:
    monkeypatch.setattr("ttplan.audit.jsonl.BLOCK_BYTES", size)
    path = tmp_path / "chain.jsonl"
    for case in CORPUS.values():
        path.write_bytes(case.data)
        compare_outcomes(
            path, monkeypatch, public_key=case.key, anchor=case.anchor, signatures=signatures
        )
    assert any(is_segment for _, is_segment in workers.requests)


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_bad_entry_anywhere_gets_the_same_report(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: InProcessWorkers,
    signatures: SignatureScope,
) -> None:
    path = tmp_path / "chain.jsonl"
    entries = chain(30)
    for index in (*range(0, 30, 3), 29):
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
                        altered(entries[index], **change),
                        *entries[index + 1 :],
                    ]
                )
            )
            compare_outcomes(path, monkeypatch, public_key=PUBLIC, signatures=signatures)
        path.write_bytes(exported([*entries[:index], *entries[index + 1 :]]))
        compare_outcomes(path, monkeypatch, public_key=PUBLIC, signatures=signatures)


def continued(entries: list[AuditEntry], length: int, **changes: Any) -> list[AuditEntry]:
    """The chain with more entries that follow it."""
    grown = list(entries)
    for _ in range(length):
        grown.append(entry(TipAnchor(grown[-1].seq, grown[-1].hash), **changes))
    return grown


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_unrelated_segments_get_the_same_report(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: InProcessWorkers,
    signatures: SignatureScope,
) -> None:
    path = tmp_path / "chain.jsonl"
    entries, others = chain(24), chain(24, payload={"another": "history"})
    for index in range(1, 24, 2):
        for spliced, error in (
            ([*entries[:index], *others[index:]], "BrokenChain"),
            (continued(entries[:index], 24 - index, org_id=UUID(int=2)), "ForeignOrg"),
            (continued(entries[:index], 24 - index, key=OTHER_KEY), "BadSignature"),
        ):
            path.write_bytes(lines(spliced))
            assert error in compare_outcomes(
                path, monkeypatch, public_key=PUBLIC, signatures=signatures
            )


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_good_segments_are_skipped(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: InProcessWorkers,
    signatures: SignatureScope,
) -> None:
    path, step, single = tmp_path / "chain.jsonl", ChainWalker.check_next, list[int]()

    def record_call(walk: ChainWalker, record: StoredEntry) -> None:
        single.append(record.seq)
        step(walk, record)

    monkeypatch.setattr(ChainWalker, "check_next", record_call)
    path.write_bytes(exported(rotated([(KEY, 40), (OTHER_KEY, 40)])))
    report = verify_file(path, public_key=PUBLIC, signatures=signatures, progress=False)
    assert (report.verdict, report.entries) == ("verified", 81)
    assert 40 in single, "the rotation"
    assert len(single) < 40, (
        "the piece with the rotation, and those that were looked at with the key before it"
    )


@pytest.mark.parametrize("signatures", SIGNATURE_SCOPES)
def test_rotations_and_anchors_inside_segments_are_seen(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: InProcessWorkers,
    signatures: SignatureScope,
) -> None:
    path = tmp_path / "chain.jsonl"
    entries = rotated([(KEY, 25), (OTHER_KEY, 25)])
    path.write_bytes(exported(entries))
    requests: dict[str, Any] = {"public_key": PUBLIC, "signatures": signatures}
    assert '"verdict":"verified"' in compare_outcomes(path, monkeypatch, **requests)
    signed_by = {key for key, is_segment in workers.requests if is_segment}
    assert signed_by == ({PUBLIC, OTHER_KEY.public_key} if signatures == "all" else {None})
    for seq in (0, 7, 24, 25, 26, 33, 50):
        good, wrong = TipAnchor(seq, entries[seq].hash), TipAnchor(seq, "ab" * 32)
        assert '"verdict":"verified"' in compare_outcomes(
            path, monkeypatch, passes_through=[good], **requests
        )
        assert "TruncatedChain" in compare_outcomes(
            path, monkeypatch, passes_through=[wrong], **requests
        )
        compare_outcomes(path, monkeypatch, distrust_after=good, **requests)
        compare_outcomes(
            path,
            monkeypatch,
            since=good,
            public_key=PUBLIC if seq < 25 else OTHER_KEY.public_key,
            signatures=signatures,
        )
        compare_outcomes(path, monkeypatch, since=wrong, **requests)
        compare_outcomes(path, monkeypatch, anchor=good, **requests)


def test_verification_in_segments_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: InProcessWorkers
) -> None:
    path, state = tmp_path / "chain.jsonl", tmp_path / "state.json"
    entries = chain(40)
    path.write_bytes(exported([*entries[:30], altered(entries[30], event="x"), *entries[31:]]))
    assert verify_file(path, public_key=PUBLIC, resume=state, progress=False).first_bad is not None
    path.write_bytes(exported(entries))
    with monkeypatch.context() as patch:
        patch.setattr("ttplan.audit.verify.resume.ResumeFile.finish", lambda self: self.write())
        verify_file(path, public_key=PUBLIC, resume=state, progress=False)
    before = len(workers.requests)
    report = verify_file(path, public_key=PUBLIC, resume=state, progress=False)
    assert report.verdict == "verified"
    assert report.since is not None
    assert report.since.seq > 30
    assert len(workers.requests) <= before + 1, "the verified entries are not checked again"


def test_workers_start_once_and_only_for_long_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, started = tmp_path / "chain.jsonl", list[InProcessWorkers]()

    def start() -> InProcessWorkers:
        started.append(InProcessWorkers())
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
    for long, workers in ((size + 1, 0), (size, 1), (first + 1, 1), (first, 1), (1, 1)):
        monkeypatch.setattr(parallel, "PARALLEL_BYTES", long)
        started.clear()
        assert verify_file(path, public_key=PUBLIC, progress=False).verdict == "verified"
        assert len(started) == workers
        assert all(pool.requests and pool.left for pool in started)
    monkeypatch.setattr(parallel, "start_workers", lambda: None)
    assert verify_file(path, public_key=PUBLIC, progress=False).signatures_checked == 30


def test_interruption_ends_the_workers(tmp_path: Path, workers: InProcessWorkers) -> None:
    path = tmp_path / "chain.jsonl"
    path.write_bytes(exported(chain(40)))
    _, blocks = read_blocks(path)
    entries = parallel.read_segments(blocks, PUBLIC, signed=True)
    first = next(entries)
    assert isinstance(first, Segment)
    assert first.signer == PUBLIC.hex
    assert not workers.left
    entries.close()
    assert workers.left
    blocks.close()


@pytest.mark.parametrize("size", [1, 300, 10_000])
def test_blocks_contain_the_lines_and_their_numbers(
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
        _, blocks = read_blocks(io.BytesIO(data))
        assert list(flat(blocks)) == list(records)
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


def test_worker_processes_find_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments: list[Segment | None] = []
    find = parallel._find_segment

    def record_call(*arguments: Any) -> Segment | None:
        segments.append(find(*arguments))
        return segments[-1]

    monkeypatch.setattr(parallel, "PARALLEL_BYTES", 1)
    monkeypatch.setattr("ttplan.audit.jsonl.BLOCK_BYTES", 3_000)
    monkeypatch.setattr(parallel, "_find_segment", record_call)
    path = tmp_path / "chain.jsonl"
    bad: list[AuditEntry] = [
        *ENTRIES[:9],
        altered(ENTRIES[9], signature="ab" * 64),
        *ENTRIES[10:],
    ]
    path.write_bytes(exported(ENTRIES))
    assert verify_file(path, public_key=PUBLIC, progress=False).signatures_checked == 12
    assert all(segments)
    assert sum(segment.entries for segment in segments if segment is not None) == 12
    path.write_bytes(exported(bad))
    report = verify_file(path, public_key=PUBLIC, progress=False)
    assert report.first_bad is not None
    assert (report.first_bad.index, report.first_bad.error) == (9, "BadSignature")
    assert None in segments
    with WorkerPool(1) as workers:
        assert workers.scan_segment(lines(bad), None) == scan_segment(LINES, None)
        assert workers.scan_segment(lines(bad), PUBLIC) is None
        assert workers.scan_segment(lines(ENTRIES[4:]), PUBLIC) == scan_segment(
            lines(ENTRIES[4:]), None
        )
