"""The faults of a store in a file: their effect on a process or a folder, and how to undo it."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb

import ttplan
from tests.faults.crash_points import CrashPoints
from tests.faults.scenario import STEPS, WRITING, Clock
from tests.faults.store_location import KEY_FILE, STORE, open_in
from tests.support.postgres import Server
from ttplan.model.errors import StoreLocked

NOBODY = 65534
SMALL_DISK = 12 * 2**20
"""The size of the small disk, in bytes."""


@dataclass
class FaultContext:
    """One scenario in this process: its folder, random numbers, clock and pipes.

    A child reports on `output`. It calls the helper of a fault on `calls`, and the helper replies
    on `answers`. `server` has the database, if there is one.
    """

    folder: Path
    rng: Random
    clock: Clock = field(default_factory=Clock)
    output: int = -1
    calls: int = -1
    answers: int = -1
    crash_points: CrashPoints = field(default_factory=CrashPoints)
    server: Server | None = None

    @property
    def store(self) -> Path:
        return self.folder / STORE

    @property
    def log(self) -> Path:
        return self.folder / f"{STORE}.wal"

    def say(self, **message: Any) -> None:
        """Send a message to the parent: one line in one write, so that lines do not mix."""
        os.write(self.output, json.dumps(message).encode() + b"\n")


@dataclass(frozen=True)
class Fault:
    """A fault.

    `inject` runs in the child at a crash point, `helper` in its own process when the child calls
    it, `begin` in the child before its steps, `before` and `after` in the parent before and after
    the child. `counts` selects crash points, and `point_counts` is their number if not that of the
    step. `allowed` are the errors that the fault may cause, and `steps` the steps that it applies
    to. `dies`: the child ends at the fault. `leaves`: drafts may remain.
    """

    name: str
    weight: int
    inject: Callable[[FaultContext], None]
    helper: Callable[[FaultContext], None] | None = None
    before: Callable[[FaultContext], None] = lambda _context: None
    begin: Callable[[FaultContext], None] = lambda _context: None
    after: Callable[[FaultContext], None] = lambda _context: None
    counts: Callable[[FaultContext], bool] = lambda _context: True
    lock_timeout: float = 60.0
    allowed: tuple[str, ...] = ()
    steps: frozenset[str] = frozenset(STEPS)
    small_disk: bool = False
    unprivileged: bool = False
    dies: bool = False
    leaves: bool = False
    point_counts: int | None = None


def kill(_context: FaultContext) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def call(context: FaultContext) -> None:
    os.write(context.calls, os.getpid().to_bytes(8, "big"))


def call_and_wait(context: FaultContext) -> None:
    call(context)
    os.read(context.answers, 1)


def answer(context: FaultContext, reply: bytes) -> None:
    with suppress(BrokenPipeError):  # the caller has ended, or has its answer
        os.write(context.answers, reply)


def kill_caller(context: FaultContext) -> None:
    """In a helper process: kill the caller, a little later."""
    called = os.read(context.calls, 8)
    if called:
        time.sleep(context.rng.choice((0, 0.0005, 0.002, 0.01)) * context.rng.random())
        os.kill(int.from_bytes(called, "big"), signal.SIGKILL)


def _limit_file_size(context: FaultContext, ending: signal.Handlers) -> None:
    """Limit the size of files: the write that reaches it is cut short, and the next one fails or
    kills the process."""
    size = context.store.stat().st_size if context.store.exists() else 0
    limit = context.rng.randrange(context.rng.choice((200, 3_000, 14_000, size + 300_000)))
    signal.signal(signal.SIGXFSZ, ending)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def _fill_disk(context: FaultContext) -> None:
    """Fill the disk except for a little space, which may or may not suffice."""
    disk = os.statvfs(context.folder)
    room = context.rng.randrange(context.rng.choice((1, 8_192, 300_000, 900_000)))
    taken = disk.f_bavail * disk.f_frsize - room
    handle = os.open(context.folder / "ballast", os.O_WRONLY | os.O_CREAT)
    if taken > 0:
        os.posix_fallocate(handle, 0, taken)
    os.close(handle)


def _free_disk(context: FaultContext) -> None:
    (context.folder / "ballast").unlink(missing_ok=True)


def _remove_permissions(context: FaultContext) -> None:
    store, key = context.store, context.folder / KEY_FILE
    path, mode = context.rng.choice(
        (
            (store, 0o000),
            (store, 0o444),
            (context.folder, 0o555),
            (context.folder, 0o000),
            (key, 0o000),
            (key, 0o644),
        )
    )
    if path.exists():
        path.chmod(mode)


def _restore_permissions(context: FaultContext) -> None:
    context.folder.chmod(0o755)
    for path, mode in ((context.store, 0o644), (context.folder / KEY_FILE, 0o600)):
        if path.exists():
            path.chmod(mode)


def _logged(context: FaultContext) -> bool:
    try:
        return context.log.stat().st_size > 0
    except FileNotFoundError:
        return False


def _truncate(context: FaultContext) -> None:
    if _logged(context):
        os.truncate(context.log, context.rng.randrange(context.log.stat().st_size))


def set_back(context: FaultContext) -> None:
    context.clock.now -= timedelta(
        seconds=context.rng.choice((2, 3_600, 10**7, 10**9)) * context.rng.random()
    )


def _hold(context: FaultContext, seconds: float) -> None:
    """In a helper process: when called, keep the file open for `seconds`, or until the caller ends.

    Answers once the file is open, or if the caller has it open; then it opens it after the caller.
    """
    if not os.read(context.calls, 8):
        return
    if not context.store.exists():  # DuckDB would create one
        answer(context, b"n")
        return
    while True:
        try:
            connection = duckdb.connect(str(context.store))
        except duckdb.Error:
            answer(context, b"n")
            if select.select([context.calls], [], [], 0.002)[0]:
                return
        else:
            answer(context, b"y")
            select.select([context.calls], [], [], seconds)
            connection.close()
            return


def rotate(context: FaultContext) -> None:
    """In a helper process: when called, rotate the key, now or when the caller has released the
    lock."""
    if not os.read(context.calls, 8):
        return
    for lock_timeout in (0.0, 60.0):
        try:
            opened = open_in(context.folder, lock_timeout=lock_timeout)
            entry = opened.evidence.rotate_key()
        except StoreLocked:
            answer(context, b"n")
        except ttplan.TtplanError as error:
            context.say(
                error=type(error).__name__,
                message=str(error),
                step="rotate",
                outcome="nothing",
                helper=True,
            )
            break
        else:
            context.say(also={} if entry is None else {"entry": f"{entry.seq}:{entry.hash}"})
            break
    answer(context, b"y")


def mount_small_disk(place: Path) -> str | None:
    """Mount a small disk at a folder, for this process and its children; return why it cannot, if
    so.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, recursive_private = 0x00020000, 0x4000 | 0x40000
    steps: tuple[tuple[str, Callable[[], int]], ...] = (
        ("unshare", lambda: libc.unshare(new_namespace)),
        ("mount", lambda: libc.mount(b"none", b"/", None, recursive_private, None)),
        (
            "mount",
            lambda: libc.mount(
                b"tmpfs", os.fsencode(place), b"tmpfs", 0, f"size={SMALL_DISK}".encode()
            ),
        ),
    )
    for name, step in steps:
        if step() != 0:
            return f"{name}: {os.strerror(ctypes.get_errno())}"
    return None


WRITE_FAILURES = ("StoreError", "AuditError", "KeyFileError", "InputError", "ReplayFailed")
FILE_FAULTS = (
    Fault("kill", 30, kill, dies=True),
    Fault("kill within a call", 16, call, kill_caller, dies=True),
    Fault(
        "kill within a write",
        14,
        lambda context: _limit_file_size(context, signal.SIG_DFL),
        dies=True,
    ),
    Fault(
        "log truncated",
        12,
        kill,
        after=_truncate,
        counts=_logged,
        steps=WRITING,
        dies=True,
        point_counts=2,
    ),
    Fault("disk full", 10, _fill_disk, after=_free_disk, allowed=WRITE_FAILURES, small_disk=True),
    Fault(
        "write refused",
        6,
        lambda context: _limit_file_size(context, signal.SIG_IGN),
        allowed=WRITE_FAILURES,
    ),
    Fault(
        "no permission",
        8,
        _remove_permissions,
        after=_restore_permissions,
        allowed=WRITE_FAILURES,
        unprivileged=True,
        leaves=True,
    ),
    Fault(
        "lock held",
        4,
        call_and_wait,
        lambda context: _hold(context, 300),
        lock_timeout=0.1,
        allowed=("StoreLocked", "AuditError"),
    ),
    Fault(
        "lock given up", 4, call_and_wait, lambda context: _hold(context, context.rng.random() / 5)
    ),
    Fault("clock set back", 4, set_back),
    Fault(
        "key rotated",
        6,
        call_and_wait,
        rotate,
        allowed=("AuditError", "KeyFileError", "InputError"),
    ),
)
"""All faults of a store in a file, with their weights."""
