"""Helpers check signatures of a long chain in processes of their own: the verdicts are the same, and nothing hangs on them."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys

import pytest

from tests.audit.chains import KEY, OTHER_KEY, chain
from tests.audit.corpus import SMALL, rotated
from ttplan.audit.entries import to_record
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.chain import verify_chain
from ttplan.audit.verify.workers import WorkerPool, serve, start_workers
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import BadSignature

RECORDS = [to_record(one) for one in chain(12)]


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> list[WorkerPool]:
    """A few entries count as a long chain; the helpers that were started for it."""
    started: list[WorkerPool] = []

    def start() -> WorkerPool:
        started.append(WorkerPool(1))
        return started[-1]

    monkeypatch.setattr("ttplan.audit.verify.chain._BATCH", 3)
    monkeypatch.setattr("ttplan.audit.verify.chain._PARALLEL_THRESHOLD", 3)
    monkeypatch.setattr("ttplan.audit.verify.chain.start_workers", start)
    return started


def test_a_helper_finds_the_first_bad_signature() -> None:
    bad = [
        RECORDS[0],
        RECORDS[1]._replace(signature=RECORDS[2].signature),
        RECORDS[2]._replace(signature=SMALL + "00" * 32),
    ]
    with WorkerPool(1) as helpers:
        assert helpers.first_bad(RECORDS, KEY.public_key) is None
        assert helpers.first_bad(RECORDS[:1], OTHER_KEY.public_key) == 0
        assert helpers.first_bad(bad, KEY.public_key) == 1
        assert helpers.first_bad(bad[2:], KEY.public_key) == 0
    assert all(process.returncode is not None for process in helpers._processes)


class Pipe(io.BytesIO):
    """What was written, as far as it was flushed."""

    sent = b""

    def flush(self) -> None:
        self.sent = self.getvalue()


def question(batch: list[StoredEntry], key: VerifyingKey) -> bytes:
    entries = b"".join(bytes.fromhex(record.signature + record.hash) for record in batch)
    return struct.pack("<B32sI", 0, key.raw, len(entries)) + entries


def served(data: bytes) -> bytes:
    """What a helper answers to all that it is asked."""
    answers, before = Pipe(), signal.getsignal(signal.SIGINT)
    try:
        serve(io.BytesIO(data), answers)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN, (
            "who asks is interrupted, not the helper"
        )
    finally:
        signal.signal(signal.SIGINT, before)
    return answers.sent


SMALL_R = RECORDS[1]._replace(signature=SMALL + "00" * 32)


def test_a_helper_answers_until_it_is_asked_no_more() -> None:
    asked = [
        RECORDS,
        [*RECORDS[:2], SMALL_R],
        [*RECORDS[:1], RECORDS[1]._replace(signature="ab" * 64), SMALL_R],
        RECORDS[:1],
        [],
    ]
    data = b"".join(question(batch, KEY.public_key) for batch in asked) + question(
        RECORDS[:1], OTHER_KEY.public_key
    )
    assert struct.unpack("<6i", served(data + b"cut off")) == (-1, 2, 1, -1, -1, 0)


def test_an_r_of_small_order_is_refused_whatever_libsodium_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have been built to be lenient."""
    monkeypatch.setattr("ttplan.audit.keys.ed25519.crypto_sign_open", lambda signed, key: b"")
    assert struct.unpack("<i", served(question([RECORDS[0], SMALL_R], KEY.public_key))) == (1,)


@pytest.mark.parametrize(("cores", "count"), [(2, 2), (None, 1)])
def test_there_is_one_for_each_core(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, count: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    helpers = start_workers()
    assert helpers is not None
    with helpers:
        assert len(helpers._processes) == count
    pipes = [pipe for process in helpers._processes for pipe in (process.stdin, process.stdout)]
    assert all(pipe is not None and pipe.closed for pipe in pipes)
    assert all(process.returncode == -signal.SIGKILL for process in helpers._processes)


def test_a_long_chain_gets_the_same_verdicts(long: list[WorkerPool]) -> None:
    entries = rotated([(KEY, 9), (OTHER_KEY, 9)])
    verified = verify_chain(entries, KEY.public_key)
    assert (verified.entries, verified.signatures_checked) == (19, 19)
    for index in (2, 5, 18):
        broken = [
            one.model_copy(update={"signature": "00" * 64}) if one.seq == index else one
            for one in entries
        ]
        with pytest.raises(BadSignature) as caught:
            verify_chain(broken, KEY.public_key)
        assert (caught.value.index, caught.value.reason) == (index, "its R is of small order")
    assert len(long) == 4
    assert all(process.returncode is not None for one in long for process in one._processes)


def test_a_helper_that_is_gone_is_done_without(
    monkeypatch: pytest.MonkeyPatch, long: list[WorkerPool]
) -> None:
    def start() -> WorkerPool:
        helpers = WorkerPool(1)
        for process in helpers._processes:
            process.kill()
            process.wait()
        return helpers

    monkeypatch.setattr("ttplan.audit.verify.chain.start_workers", start)
    assert verify_chain(RECORDS, KEY.public_key).entries == 12
    with pytest.raises(BadSignature) as caught:
        verify_chain(
            [*RECORDS[:8], RECORDS[8]._replace(signature="ab" * 64), *RECORDS[9:]], KEY.public_key
        )
    assert caught.value.index == 8


def test_where_none_can_be_started_a_long_chain_is_verified_without(
    monkeypatch: pytest.MonkeyPatch, long: list[WorkerPool]
) -> None:
    asked: list[bool] = []

    def start() -> None:
        asked.append(True)

    monkeypatch.setattr("ttplan.audit.verify.chain.start_workers", start)
    assert verify_chain(RECORDS, KEY.public_key).entries == 12
    assert (asked, long) == ([True], [])


@pytest.mark.parametrize("answer", ["", "no"])
def test_a_helper_that_ends_with_its_answer_half_given_is_gone(
    monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    def start() -> subprocess.Popen[bytes]:
        script = f"import sys; sys.stdin.buffer.read(133); sys.stdout.write({answer!r})"
        return subprocess.Popen(
            [sys.executable, "-ISc", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    monkeypatch.setattr("ttplan.audit.verify.workers._start", start)
    with WorkerPool(1) as helpers, pytest.raises(BrokenPipeError):
        helpers.first_bad(RECORDS[:1], KEY.public_key)


def test_a_program_that_cannot_start_python_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in ("", None, "/nonexistent/python"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", there)
            assert start_workers() is None
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert start_workers() is None
