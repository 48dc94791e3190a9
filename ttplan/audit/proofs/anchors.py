"""Anchors kept elsewhere: lines `<seq>:<hash> <time>`, appended to a file or piped to a command."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ttplan.audit.entries import format_timestamp, normalize_timestamp
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError
from ttplan.util.commands import parse_command, run_command
from ttplan.util.files import read_small_file
from ttplan.util.paths import PathLike

ANCHOR_FILE_VARIABLE = "TTPLAN_ANCHOR_FILE"
"""The environment variable with the file that each new tip is appended to."""
ANCHOR_COMMAND_VARIABLE = "TTPLAN_ANCHOR_COMMAND"
"""The environment variable with the command that each new tip is piped to."""
MAX_FILE = 256 * 2**20
"""The largest file of anchors, in bytes."""
_TIMEOUT = 60.0
_TAIL_BYTES = 64 * 1024


class RecordedAnchor(NamedTuple):
    """A line of a file of anchors, with the time as written, if any."""

    anchor: TipAnchor
    at: str | None


def anchor_line(anchor: TipAnchor, at: datetime) -> str:
    """Return an anchor as a line, with the time in UTC to the second."""
    return f"{anchor} {format_timestamp(at.replace(microsecond=0)).removesuffix('+00:00')}Z\n"


def append_anchor(path: PathLike, anchor: TipAnchor, at: datetime) -> None:
    """Append a line to a file with one write and sync it to disk. Creates the file if needed.

    Raises InputError if it cannot be written.
    """
    file = Path(path)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        with os.fdopen(handle, "ab", buffering=0) as stream:
            stream.write(anchor_line(anchor, at).encode())
            os.fsync(handle)
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}; expected a file of anchors to append to"
        ) from None


def read_anchors(path: PathLike) -> list[RecordedAnchor]:
    """Return the anchors of a file, in order. Raises InputError that names file and line."""
    data = read_small_file(path, "anchors, one per line: <seq>:<hash>", limit=MAX_FILE)
    anchors = []
    for number, line in enumerate(data.decode("utf-8", errors="replace").split("\n"), 1):
        text, _, at = line.partition(" ")
        if not line:
            continue
        try:
            if at and normalize_timestamp(at) is None:
                raise InputError(f"{at[:60]!r} is not a time in UTC")
            anchors.append(RecordedAnchor(TipAnchor.parse(text), at or None))
        except InputError as error:
            raise InputError(f"{os.fspath(path)}, line {number}: {error}") from None
    if not anchors:
        raise InputError(f"{os.fspath(path)} has no anchors; expected one per line: <seq>:<hash>")
    return anchors


def last_anchors(path: PathLike, count: int = 20) -> list[TipAnchor]:
    """Return the last different anchors of a file, at most `count`, without reading all of it.

    Raises InputError that names the file if it cannot be read or a line is not an anchor.
    """
    try:
        with open(path, "rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
            file.seek(begin)
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError as error:
        raise InputError(
            f"{os.fspath(path)} cannot be read: {error.strerror}; expected a file of anchors"
        ) from None
    if begin:
        del lines[0]  # only its end was read
    anchors: dict[TipAnchor, None] = {}
    for line in lines:
        if line:
            try:
                anchor = TipAnchor.parse(line.partition(" ")[0])
            except InputError as error:
                raise InputError(f"{os.fspath(path)}: {error}") from None
            anchors.pop(anchor, None)
            anchors[anchor] = None
    return list(anchors)[-count:]


def run_anchor_command(command: Sequence[str], anchor: TipAnchor, at: datetime) -> None:
    """Pipe an anchor's line to a command. Raises InputError if it fails or takes over a minute."""
    run_command(command, anchor_line(anchor, at).encode(), timeout=_TIMEOUT)


class TipPublisher:
    """Publishes each new tip to a file of anchors, a command or both, and reads the file back."""

    def __init__(self, file: PathLike | None, command: Sequence[str] | None) -> None:
        self._file = file
        self._command = command

    def __call__(self, anchor: TipAnchor, at: datetime) -> None:
        """Publish a tip. Raises InputError if the file or the command does not take it."""
        if self._file is not None:
            append_anchor(self._file, anchor, at)
        if self._command is not None:
            run_anchor_command(self._command, anchor, at)

    def kept(self) -> tuple[str, list[TipAnchor]]:
        """Return the file's name and its last anchors. Raises InputError if it is malformed."""
        if self._file is None or not os.path.exists(self._file):
            return "", []
        return os.fspath(self._file), last_anchors(self._file)


def publisher_from_env(environ: Mapping[str, str]) -> TipPublisher | None:
    """Return what publishes each new tip as the environment configures, if it does."""
    file, text = environ.get(ANCHOR_FILE_VARIABLE), environ.get(ANCHOR_COMMAND_VARIABLE)
    if file is None and text is None:
        return None
    command = None if text is None else parse_command(text, ANCHOR_COMMAND_VARIABLE)
    return TipPublisher(file, command)
