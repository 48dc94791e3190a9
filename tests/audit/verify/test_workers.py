"""Worker processes check a long chain: the verdicts are the same, and they are optional."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys

import pytest

from tests.audit.chains import KEY, OTHER_KEY, altered, chain
from tests.audit.corpus import SMALL, rotated
from ttplan.audit.entries import to_record
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.chain import verify_chain
from ttplan.audit.verify.workers import WorkerPool, serve, start_workers
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import BadSignature

RECORDS = [to_record(item) for item in chain(12)]


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[WorkerPool]:
    """Make a few entries count as a long chain, and return the pools that it starts."""
    started: list[WorkerPool] = []

    def start() -> WorkerPool:
        started.append(WorkerPool(1))
        return started[-1]

    monkeypatch.setattr("ttplan.audit.verify.chain._BATCH", 3)
    monkeypatch.setattr("ttplan.audit.verify.chain._PARALLEL_THRESHOLD", 3)
    monkeypatch.setattr("ttplan.audit.verify.chain.start_workers", start)
    return started


def test_worker_finds_the_first_bad_signature() -> None:
    bad = [
        RECORDS[0],
        RECORDS[1]._replace(signature=RECORDS[2].signature),
        RECORDS[2]._replace(signature=SMALL + "00" * 32),
    ]
    with WorkerPool(1) as workers:
        assert workers.first_bad(RECORDS, KEY.public_key) is None
        assert workers.first_bad(RECORDS[:1], OTHER_KEY.public_key) == 0
        assert workers.first_bad(bad, KEY.public_key) == 1
        assert workers.first_bad(bad[2:], KEY.public_key) == 0
    assert all(process.returncode is not None for process in workers._processes)


class Pipe(io.BytesIO):
    """Keeps what was written and flushed."""

    sent = b""

    def flush(self) -> None:
        self.sent = self.getvalue()


def request(batch: list[StoredEntry], key: VerifyingKey) -> bytes:
    entries = b"".join(bytes.fromhex(record.signature + record.hash) for record in batch)
    return struct.pack("<B32sI", 0, key.raw, len(entries)) + entries


def responses_to(data: bytes) -> bytes:
    """The responses of a worker to some requests."""
    answers, before = Pipe(), signal.getsignal(signal.SIGINT)
    try:
        serve(io.BytesIO(data), answers)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN, "only the parent is interrupted"
    finally:
        signal.signal(signal.SIGINT, before)
    return answers.sent


SMALL_R = RECORDS[1]._replace(signature=SMALL + "00" * 32)


def test_worker_serves_until_the_requests_end() -> None:
    batches = [
        RECORDS,
        [*RECORDS[:2], SMALL_R],
        [*RECORDS[:1], RECORDS[1]._replace(signature="ab" * 64), SMALL_R],
        RECORDS[:1],
        [],
    ]
    data = b"".join(request(batch, KEY.public_key) for batch in batches) + request(
        RECORDS[:1], OTHER_KEY.public_key
    )
    assert struct.unpack("<6i", responses_to(data + b"cut off")) == (-1, 2, 1, -1, -1, 0)


def test_small_order_r_is_refused_even_by_a_lenient_libsodium(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """libsodium can be built to be lenient."""
    monkeypatch.setattr("ttplan.audit.keys.ed25519.crypto_sign_open", lambda signed, key: b"")
    assert struct.unpack("<i", responses_to(request([RECORDS[0], SMALL_R], KEY.public_key))) == (1,)


@pytest.mark.parametrize(("cores", "count"), [(2, 2), (None, 1)])
def test_one_worker_per_core(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, count: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    workers = start_workers()
    assert workers is not None
    with workers:
        assert len(workers._processes) == count
    pipes = [pipe for process in workers._processes for pipe in (process.stdin, process.stdout)]
    assert all(pipe is not None and pipe.closed for pipe in pipes)
    assert all(process.returncode == -signal.SIGKILL for process in workers._processes)


def test_long_chain_gets_the_same_verdicts(pools: list[WorkerPool]) -> None:
    entries = rotated([(KEY, 9), (OTHER_KEY, 9)])
    verified = verify_chain(entries, KEY.public_key)
    assert (verified.entries, verified.signatures_checked) == (19, 19)
    for index in (2, 5, 18):
        broken = [
            altered(item, signature="00" * 64) if item.seq == index else item for item in entries
        ]
        with pytest.raises(BadSignature) as caught:
            verify_chain(broken, KEY.public_key)
        assert (caught.value.index, caught.value.reason) == (index, "its R is of small order")
    assert len(pools) == 4
    assert all(process.returncode is not None for item in pools for process in item._processes)


def test_killed_workers_are_not_needed(
    monkeypatch: pytest.MonkeyPatch, pools: list[WorkerPool]
) -> None:
    def start() -> WorkerPool:
        workers = WorkerPool(1)
        for process in workers._processes:
            process.kill()
            process.wait()
        return workers

    monkeypatch.setattr("ttplan.audit.verify.chain.start_workers", start)
    assert verify_chain(RECORDS, KEY.public_key).entries == 12
    with pytest.raises(BadSignature) as caught:
        verify_chain(
            [*RECORDS[:8], RECORDS[8]._replace(signature="ab" * 64), *RECORDS[9:]], KEY.public_key
        )
    assert caught.value.index == 8


def test_long_chain_is_verified_without_workers(
    monkeypatch: pytest.MonkeyPatch, pools: list[WorkerPool]
) -> None:
    starts: list[bool] = []

    def start() -> None:
        starts.append(True)

    monkeypatch.setattr("ttplan.audit.verify.chain.start_workers", start)
    assert verify_chain(RECORDS, KEY.public_key).entries == 12
    assert (starts, pools) == ([True], [])


@pytest.mark.parametrize("answer", ["", "no"])
def test_incomplete_response_is_a_broken_pipe(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    def start() -> subprocess.Popen[bytes]:
        script = f"import sys; sys.stdin.buffer.read(133); sys.stdout.write({answer!r})"
        return subprocess.Popen(
            [sys.executable, "-ISc", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    monkeypatch.setattr("ttplan.audit.verify.workers._start", start)
    with WorkerPool(1) as workers, pytest.raises(BrokenPipeError):
        workers.first_bad(RECORDS[:1], KEY.public_key)


def test_program_without_python_has_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in ("", None, "/nonexistent/python"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", there)
            assert start_workers() is None
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert start_workers() is None
