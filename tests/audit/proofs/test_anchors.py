"""Anchors kept elsewhere: a file that only grows, a command that receives them, a strict reader."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from ttplan.audit.proofs.anchors import (
    ANCHOR_COMMAND_VARIABLE,
    ANCHOR_FILE_VARIABLE,
    anchor_line,
    append_anchor,
    publisher_from_env,
    read_anchors,
    run_anchor_command,
)
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIRST, SECOND = TipAnchor(0, "ab" * 32), TipAnchor(1, "cd" * 32)
KEEP = f'{sys.executable} -ISc "import sys; open(sys.argv[1], chr(97)).write(sys.stdin.read())"'


def test_anchor_line_has_its_time_in_utc_to_the_second() -> None:
    at = AT.astimezone(timezone(timedelta(hours=2))) + timedelta(microseconds=123456)
    assert anchor_line(FIRST, at) == f"0:{'ab' * 32} 2026-05-01T12:00:00Z\n"


def test_anchor_file_only_grows_and_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, synced, real_fsync = tmp_path / "anchors", list[int](), os.fsync

    def sync(handle: int) -> None:
        real_fsync(handle)
        synced.append(os.fstat(handle).st_size)

    monkeypatch.setattr(os, "fsync", sync)
    old = os.umask(0)
    try:
        append_anchor(file, FIRST, AT)
    finally:
        os.umask(old)
    append_anchor(file, SECOND, AT)
    assert file.read_text() == anchor_line(FIRST, AT) + anchor_line(SECOND, AT)
    assert synced == [file.stat().st_size // 2, file.stat().st_size]
    assert file.stat().st_mode & 0o777 == 0o644
    with pytest.raises(
        InputError,
        match="cannot be written: Is a directory; expected a file of anchors to append to",
    ):
        append_anchor(tmp_path, FIRST, AT)


def test_anchor_file_is_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "anchors"
    file.write_text(f"{FIRST}\n\n{SECOND} 2026-05-01T12:00:00Z\n")
    assert read_anchors(file) == [(FIRST, None), (SECOND, "2026-05-01T12:00:00Z")]
    for text, message in (
        ("", "has no anchors"),
        ("\n\n", "has no anchors"),
        (f"{FIRST}\nx\n", "line 2: 'x' is not an anchor"),
        (f"{FIRST}\n {SECOND}\n", "line 2: '1:cd.*' is not a time"),
        (f"{FIRST} yesterday\n", "line 1: 'yesterday' is not a time"),
        (f"{FIRST} 2026-05-01T12:00:00Z more\n", "line 1: .* is not a time"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            read_anchors(file)
    with pytest.raises(InputError, match="no such file"):
        read_anchors(tmp_path / "none")


def test_anchors_go_where_the_environment_says(tmp_path: Path) -> None:
    file, received = tmp_path / "anchors", tmp_path / "handed"
    command = {ANCHOR_COMMAND_VARIABLE: f"{KEEP} {received}"}
    assert publisher_from_env({}) is None
    for environ, of_file, of_command in (
        ({ANCHOR_FILE_VARIABLE: str(file)}, 1, 0),
        (command, 1, 1),
        ({ANCHOR_FILE_VARIABLE: str(file)} | command, 2, 2),
    ):
        publish = publisher_from_env(environ)
        assert publish is not None
        publish(FIRST, AT)
        assert file.read_text() == anchor_line(FIRST, AT) * of_file
        assert (received.read_text() if of_command else "") == anchor_line(FIRST, AT) * of_command
    with pytest.raises(InputError, match=f"{ANCHOR_COMMAND_VARIABLE} is empty"):
        publisher_from_env({ANCHOR_COMMAND_VARIABLE: ""})
    with pytest.raises(InputError, match=r"failed \(exit code 3\)"):
        run_anchor_command([sys.executable, "-ISc", "import sys; sys.exit(3)"], FIRST, AT)
