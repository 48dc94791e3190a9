"""Processes that check a long chain in parts: threads would wait for each other.

A helper is asked with a key and signatures, each followed by the hash that it is of, and answers with the place of the first bad
one; or with lines of an exported chain, and answers with what `scan_segment` says of them. It runs the same checks; what is wrong
with a bad one is found out where it was asked.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from ttplan.audit.keys import ed25519
from ttplan.audit.verify.segment import SegmentBounds, scan_segment

if TYPE_CHECKING:
    from ttplan.audit.keys.key_files import VerifyingKey
    from ttplan.model.stored_entry import StoredEntry

_ENTRY = 64 + 32
_QUESTION = struct.Struct("<B32sI")
_PLACE = struct.Struct("<i")
_FOUND = struct.Struct("<IQ36s64sI")
_SIGNATURES, _LINES, _SIGNED_LINES = range(3)
_ALL_GOOD = -1
_NO_KEY = bytes(32)


class WorkerPool:
    """Some helpers, each of which answers one question at a time. They end with the block."""

    def __init__(self, count: int) -> None:
        self._processes = [_start() for _ in range(count)]
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._processes:
            self._idle.put(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            process.wait()

    def first_bad(self, batch: Sequence[StoredEntry], key: VerifyingKey) -> int | None:
        """The place in a batch of the first signature that is not `key`'s; None where all are. Raises OSError for a helper that
        is not there any more."""
        data = bytes.fromhex(
            "".join([text for record in batch for text in (record.signature, record.hash)])
        )
        (place,) = _PLACE.unpack(self._ask(_SIGNATURES, key.raw, data, _PLACE.size))
        return None if place == _ALL_GOOD else int(place)

    def scan_segment(self, lines: bytes, key: VerifyingKey | None) -> SegmentBounds | None:
        """`ttplan.audit.verify.segment.scan_segment`. Raises OSError for a helper that is not there any more."""
        kind, raw = (_LINES, _NO_KEY) if key is None else (_SIGNED_LINES, key.raw)
        found = SegmentBounds(*_FOUND.unpack(self._ask(kind, raw, lines, _FOUND.size)))
        return found if found.entries else None

    def _ask(self, kind: int, key: bytes, data: bytes, answer_size: int) -> bytes:
        process = self._idle.get()
        try:
            if process.stdin is None or process.stdout is None:
                raise BrokenPipeError
            process.stdin.write(_QUESTION.pack(kind, key, len(data)))
            process.stdin.write(data)
            process.stdin.flush()
            answer = process.stdout.read(answer_size)
        finally:
            self._idle.put(process)
        if len(answer) != answer_size:
            raise BrokenPipeError
        return answer


def start_workers() -> WorkerPool | None:
    """A helper for each core; None where this program cannot start Python, as one that was frozen into a file cannot."""
    if getattr(sys, "frozen", False) or not sys.executable:
        return None
    try:
        return WorkerPool(os.cpu_count() or 1)
    except OSError:
        return None


def _start() -> subprocess.Popen[bytes]:
    # Isolated: it looks for modules where this process does, and nowhere else.
    paths = [path for path in sys.path if path]
    program = f"import sys; sys.path[:] = {paths!r}; from {__name__} import serve; serve(sys.stdin.buffer, sys.stdout.buffer)"
    return subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, "-I", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer questions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks is interrupted, and ends this
    while len(head := asked.read(_QUESTION.size)) == _QUESTION.size:
        kind, key, size = _QUESTION.unpack(head)
        data = asked.read(size)
        answers.write(
            _PLACE.pack(_first_bad(key, data)) if kind == _SIGNATURES else _stretch(kind, key, data)
        )
        answers.flush()


def _first_bad(key: bytes, data: bytes) -> int:
    for place in range(len(data) // _ENTRY):
        if not ed25519.is_valid_signature(data[place * _ENTRY : (place + 1) * _ENTRY], key):
            return place
    return _ALL_GOOD


def _stretch(kind: int, key: bytes, lines: bytes) -> bytes:
    found = scan_segment(lines, key if kind == _SIGNED_LINES else None)
    return _FOUND.pack(*(found or SegmentBounds(0, 0, b"", b"", 0)))
