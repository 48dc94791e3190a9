"""Processes that check signatures for a long chain, so that reading it does not hold them up: threads would wait for each other.

A helper is asked with a key and signatures, each followed by the hash that it is of, and answers with the place of the first bad
one. It runs the same check; what is wrong with a bad one is found out where it was asked.
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
from typing import BinaryIO, Self

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from ttplan.audit import ed25519
from ttplan.audit.keys import VerifyingKey
from ttplan.model.audit import Record

_ENTRY = 64 + 32
_QUESTION = struct.Struct("<32sI")
_ANSWER = struct.Struct("<i")
_ALL_GOOD = -1


class Helpers:
    """Some helpers, each of which answers one question at a time. They end with the block."""

    def __init__(self, count: int) -> None:
        self._processes = [_start() for _ in range(count)]
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._processes:
            self._idle.put(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            process.wait()

    def first_bad(self, batch: Sequence[Record], key: VerifyingKey) -> int | None:
        """The place in a batch of the first signature that is not `key`'s; None where all are. Raises OSError for a helper that
        is not there any more."""
        data = bytes.fromhex("".join([text for record in batch for text in (record.signature, record.hash)]))
        process = self._idle.get()
        try:
            if process.stdin is None or process.stdout is None:
                raise BrokenPipeError
            process.stdin.write(_QUESTION.pack(key.raw, len(batch)) + data)
            process.stdin.flush()
            answer = process.stdout.read(_ANSWER.size)
        finally:
            self._idle.put(process)
        if len(answer) != _ANSWER.size:
            raise BrokenPipeError
        (place,) = _ANSWER.unpack(answer)
        return None if place == _ALL_GOOD else int(place)


def start_helpers() -> Helpers | None:
    """A helper for each core; None where this program cannot start Python, as one that was frozen into a file cannot."""
    if getattr(sys, "frozen", False) or not sys.executable:
        return None
    try:
        return Helpers(os.cpu_count() or 1)
    except OSError:
        return None


def _start() -> subprocess.Popen[bytes]:
    # Isolated: it looks for modules where this process does, and nowhere else.
    paths = [path for path in sys.path if path]
    program = f"import sys; sys.path[:] = {paths!r}; from {__name__} import serve; serve(sys.stdin.buffer, sys.stdout.buffer)"
    return subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, "-I", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer questions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks is interrupted, and ends this
    while len(head := asked.read(_QUESTION.size)) == _QUESTION.size:
        key, count = _QUESTION.unpack(head)
        answers.write(_ANSWER.pack(_first_bad(key, asked.read(count * _ENTRY))))
        answers.flush()


def _first_bad(key: bytes, data: bytes) -> int:
    """`ed25519.verify` of each, without its words: a signature stands before its message, as libsodium wants it."""
    for place in range(len(data) // _ENTRY):
        signed = data[place * _ENTRY : (place + 1) * _ENTRY]
        if signed[:32] in ed25519.SMALL_ORDER:
            return place
        try:
            crypto_sign_open(signed, key)
        except BadSignatureError:
            return place
    return _ALL_GOOD
