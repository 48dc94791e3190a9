"""Worker processes that check parts of a long chain; threads would wait for the interpreter lock.

A request holds a key and signatures, each followed by the hash that it signs; the response is the
position of the first bad one. Or it holds lines of an exported chain; the response is the result of
`scan_segment`. Workers run the same checks as this process, which works out what is wrong with a
bad entry.
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

_SIGNED_HASH_BYTES = 64 + 32
_REQUEST = struct.Struct("<B32sI")
_POSITION = struct.Struct("<i")
_BOUNDS = struct.Struct("<IQ36s64sI35s")
_SIGNATURES, _LINES, _SIGNED_LINES = range(3)
_ALL_GOOD = -1
_NO_KEY = bytes(32)


class WorkerPool:
    """Worker processes, each of which handles one request at a time. They end with the block."""

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
        """Find the first signature of a batch that `key` did not make; None if all are good.

        Raises OSError if the worker was killed.
        """
        texts = [text for record in batch for text in (record.signature, record.hash)]
        data = bytes.fromhex("".join(texts))
        (position,) = _POSITION.unpack(self._request(_SIGNATURES, key.raw, data, _POSITION.size))
        return None if position == _ALL_GOOD else int(position)

    def scan_segment(self, lines: bytes, key: VerifyingKey | None) -> SegmentBounds | None:
        """Run `scan_segment` in a worker. Raises OSError if the worker was killed."""
        kind, raw = (_LINES, _NO_KEY) if key is None else (_SIGNED_LINES, key.raw)
        bounds = SegmentBounds(*_BOUNDS.unpack(self._request(kind, raw, lines, _BOUNDS.size)))
        padded = bounds.first_time
        return bounds._replace(first_time=padded.rstrip(b"\0")) if bounds.entries else None

    def _request(self, kind: int, key: bytes, data: bytes, response_size: int) -> bytes:
        process = self._idle.get()
        try:
            if process.stdin is None or process.stdout is None:
                raise BrokenPipeError
            process.stdin.write(_REQUEST.pack(kind, key, len(data)))
            process.stdin.write(data)
            process.stdin.flush()
            response = process.stdout.read(response_size)
        finally:
            self._idle.put(process)
        if len(response) != response_size:
            raise BrokenPipeError
        return response


def start_workers() -> WorkerPool | None:
    """Start a worker for each core; None if this program cannot start Python (a frozen one)."""
    if getattr(sys, "frozen", False) or not sys.executable:
        return None
    try:
        return WorkerPool(os.cpu_count() or 1)
    except OSError:
        return None


def _start() -> subprocess.Popen[bytes]:
    # Isolated: the worker looks for modules where this process does, and nowhere else.
    paths = [path for path in sys.path if path]
    program = (
        f"import sys; sys.path[:] = {paths!r}; from {__name__} import serve; "
        "serve(sys.stdin.buffer, sys.stdout.buffer)"
    )
    return subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, "-I", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def serve(requests: BinaryIO, responses: BinaryIO) -> None:
    """Handle requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends the worker
    while len(head := requests.read(_REQUEST.size)) == _REQUEST.size:
        kind, key, size = _REQUEST.unpack(head)
        data = requests.read(size)
        if kind == _SIGNATURES:
            responses.write(_POSITION.pack(_first_bad(key, data)))
        else:
            bounds = scan_segment(data, key if kind == _SIGNED_LINES else None)
            responses.write(_BOUNDS.pack(*(bounds or SegmentBounds(0, 0, b"", b"", 0, b""))))
        responses.flush()


def _first_bad(key: bytes, data: bytes) -> int:
    for position in range(len(data) // _SIGNED_HASH_BYTES):
        at = position * _SIGNED_HASH_BYTES
        if not ed25519.is_valid_signature(data[at : at + _SIGNED_HASH_BYTES], key):
            return position
    return _ALL_GOOD
