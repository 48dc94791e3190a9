"""A queue of the processes that wait for a file: first come, first served, so that none starves.

It is advisory: only the lock of DuckDB keeps two processes from opening the file at once. Without
a queue (another user's process, no folder for temporary files) each process retries on its own.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # without it there is no queue
    fcntl = None  # type: ignore[assignment]

STALE_AFTER = 5.0
"""How long a process that does not poll blocks those behind it, in seconds."""


class LockQueue:
    """The place of this process in the queue for a file, from `enter` to `leave`.

    A place is an empty file in a temporary folder of this user, named by the time of arrival and
    locked by its process. No method raises: after an OSError there is no queue.
    """

    def __init__(self, path: Path) -> None:
        self._folder = _folder_for(path)
        self._place: Path | None = None
        self._handle = -1

    def is_turn(self) -> bool:
        """Whether no other process that waits for the file arrived earlier."""
        if self._folder is None:
            return True
        if self._place is not None:
            with suppress(OSError):
                os.utime(self._place)
        try:
            if not _is_own(self._folder.parent):
                return True
            names = sorted(name for name in os.listdir(self._folder) if not name.startswith("."))
        except OSError:  # no process has waited yet
            return True
        own = None if self._place is None else self._place.name
        return not any(
            self._is_waiting(self._folder / name) for name in names if own is None or name < own
        )

    def enter(self) -> None:
        """Take a place at the end of the queue, unless this process has one."""
        if self._folder is None or self._place is not None:
            return
        name = f"{time.monotonic_ns():020}-{os.getpid()}-{secrets.token_hex(4)}"
        draft = self._folder / f".{name}"
        try:
            with suppress(FileExistsError):
                self._folder.parent.mkdir(mode=0o700)
            if not _is_own(self._folder.parent):
                self._folder = None
                return
            self._folder.mkdir(exist_ok=True)
            self._handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            # Lock it before others see it: an unlocked place belongs to a process that ended.
            draft.rename(self._folder / name)
            self._place = self._folder / name
        except OSError:
            self._folder = None

    def leave(self) -> None:
        """Leave the queue."""
        if self._place is not None and self._folder is not None:
            with suppress(OSError):
                self._place.unlink()
            with suppress(OSError):  # not empty: other processes wait
                self._folder.rmdir()
            self._place = None
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _is_waiting(self, place: Path) -> bool:
        """Whether the process of a place is alive and polls. Removes the place of a dead one."""
        try:
            age = time.time() - place.stat().st_mtime
            handle = os.open(place, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            place.unlink()
            return False
        except OSError:
            return age < STALE_AFTER
        finally:
            os.close(handle)


def _folder_for(path: Path) -> Path | None:
    """The folder with the places for a file, created by the first process that waits; None if there
    cannot be one."""
    if fcntl is None:
        return None
    try:
        file = path.stat()
        own = Path(tempfile.gettempdir()) / f"ttplan-{os.geteuid()}"
    except OSError:
        return None
    return own / f"{file.st_dev:x}-{file.st_ino:x}"


def _is_own(folder: Path) -> bool:
    """Whether only this user can write to a folder: another user may have created one with its
    name."""
    status = folder.lstat()
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & 0o077
    )
