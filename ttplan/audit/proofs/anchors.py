"""Anchors kept elsewhere: one line each, `<seq>:<hash> <moment>`, appended to a file or handed to a command."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ttplan.audit.entries import format_timestamp, normalize_timestamp
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError
from ttplan.util.commands import parse_command, run_command
from ttplan.util.files import read_small_file

ANCHOR_FILE_VARIABLE = "TTPLAN_ANCHOR_FILE"
"""The environment variable with the file that each new tip is appended to."""
COMMAND_NAME = "TTPLAN_ANCHOR_COMMAND"
"""The environment variable with the command that each new tip is handed to."""
MAX_FILE = 256 * 2**20
"""The largest file of anchors, in bytes, that is read."""
_TIMEOUT = 60.0
PathLike = str | os.PathLike[str]


class RecordedAnchor(NamedTuple):
    """A line of a file of anchors; the moment is as written there, None where none is."""

    anchor: TipAnchor
    at: str | None


def parse_anchor(given: str | TipAnchor | None) -> TipAnchor | None:
    """An anchor that may be given as it is written. Raises InputError where the text is none."""
    return TipAnchor.parse(given) if isinstance(given, str) else given


def anchor_line(anchor: TipAnchor, at: datetime) -> str:
    """An anchor as its line, with the moment in UTC to the second."""
    return f"{anchor} {format_timestamp(at.replace(microsecond=0)).removesuffix('+00:00')}Z\n"


def append_anchor(path: PathLike, anchor: TipAnchor, at: datetime) -> None:
    """Append a line to a file, made where there is none, in one write that is on the disk when this returns.

    Raises InputError where it cannot be written.
    """
    file = Path(path)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        with os.fdopen(handle, "ab", buffering=0) as opened:
            opened.write(anchor_line(anchor, at).encode())
            os.fsync(handle)
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}; expected a file of anchors to append to"
        ) from None


def read_anchors(path: PathLike) -> list[RecordedAnchor]:
    """The anchors of a file, in its order. InputError, naming file and line, where there is none or a line is no anchor."""
    text = read_small_file(path, "anchors, one a line: <seq>:<hash>", limit=MAX_FILE).decode(
        "utf-8", errors="replace"
    )
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        written, _, at = line.partition(" ")
        if not line:
            continue
        try:
            if at and normalize_timestamp(at) is None:
                raise InputError(f"{at[:60]!r} is no moment in UTC")
            found.append(RecordedAnchor(TipAnchor.parse(written), at or None))
        except InputError as error:
            raise InputError(f"{os.fspath(path)}, line {number}: {error}") from None
    if not found:
        raise InputError(f"{os.fspath(path)} has no anchors; expected one a line: <seq>:<hash>")
    return found


def run_anchor_command(command: Sequence[str], anchor: TipAnchor, at: datetime) -> None:
    """Run a command with the anchor's line on its standard input. Raises InputError where it fails or takes over a minute."""
    run_command(command, anchor_line(anchor, at).encode(), timeout=_TIMEOUT)


def publisher_from_env(environ: Mapping[str, str]) -> Callable[[TipAnchor, datetime], None] | None:
    """What hands each new tip to the file and the command that the environment names; None where it names neither."""
    file, text = environ.get(ANCHOR_FILE_VARIABLE), environ.get(COMMAND_NAME)
    if file is None and text is None:
        return None
    command = None if text is None else parse_command(text, COMMAND_NAME)

    def publish(anchor: TipAnchor, at: datetime) -> None:
        if file is not None:
            append_anchor(file, anchor, at)
        if command is not None:
            run_anchor_command(command, anchor, at)

    return publish
