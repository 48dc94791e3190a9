"""The faults of a store in a file: what each does to a process or a folder at a moment, and how that is put right afterwards."""

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
from tests.faults.life import STEPS, WRITING, Clock
from tests.faults.places import KEY_FILE, STORE, open_in
from tests.faults.points import Points
from tests.support.postgres import Server
from ttplan.model.errors import StoreLocked

NOBODY = 65534
ROOM = 12 * 2**20
"""The size of the small disk, in bytes."""


@dataclass
class Scene:
    """One run: its folder, what decides its choices, its clock, and the pipes of the process that this is.

    A child says what it does on `told`; a kind's helper is called by way of `calls` and answers by way of `answers`. `points` are
    those of the child, and `server` is where its database is, if it has one.
    """

    folder: Path
    chance: Random
    clock: Clock = field(default_factory=Clock)
    told: int = -1
    calls: int = -1
    answers: int = -1
    points: Points = field(default_factory=Points)
    server: Server | None = None

    @property
    def store(self) -> Path:
        return self.folder / STORE

    @property
    def log(self) -> Path:
        return self.folder / f"{STORE}.wal"

    def say(self, **said: Any) -> None:
        """Tell the parent. One line is one write, so that those of several processes do not mix."""
        os.write(self.told, json.dumps(said).encode() + b"\n")


@dataclass(frozen=True)
class Kind:
    """A fault.

    `strike` runs in the child at the moment; `helper`, a process of its own, once the child calls it; `before` in the parent, and
    `after`, when the child has ended; `begin` in the child, before it lives. `counts` says which moments are meant, `moments` how
    many those are, if not all of a step's, `allowed` to which errors the fault may lead, `steps` which steps it is for, `dies`
    that the child is meant to end there, `leaves` that drafts may be left behind.
    """

    name: str
    often: int
    strike: Callable[[Scene], None]
    helper: Callable[[Scene], None] | None = None
    before: Callable[[Scene], None] = lambda _scene: None
    begin: Callable[[Scene], None] = lambda _scene: None
    after: Callable[[Scene], None] = lambda _scene: None
    counts: Callable[[Scene], bool] = lambda _scene: True
    lock_timeout: float = 60.0
    allowed: tuple[str, ...] = ()
    steps: frozenset[str] = frozenset(STEPS)
    small_disk: bool = False
    unprivileged: bool = False
    dies: bool = False
    leaves: bool = False
    moments: int | None = None


def kill(_scene: Scene) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def call(scene: Scene) -> None:
    os.write(scene.calls, os.getpid().to_bytes(8, "big"))


def call_and_wait(scene: Scene) -> None:
    call(scene)
    os.read(scene.answers, 1)


def answer(scene: Scene, said: bytes) -> None:
    with suppress(BrokenPipeError):  # whoever called has ended, or has its answer
        os.write(scene.answers, said)


def kill_caller(scene: Scene) -> None:
    """In a process of its own: kill whoever calls, a little later."""
    called = os.read(scene.calls, 8)
    if called:
        time.sleep(scene.chance.choice((0, 0.0005, 0.002, 0.01)) * scene.chance.random())
        os.kill(int.from_bytes(called, "big"), signal.SIGKILL)


def _no_more_than(scene: Scene, ending: signal.Handlers) -> None:
    """Files that do not grow past a size: at its end, a write stops in the middle, and the next one fails or kills."""
    size = scene.store.stat().st_size if scene.store.exists() else 0
    limit = scene.chance.randrange(scene.chance.choice((200, 3_000, 14_000, size + 300_000)))
    signal.signal(signal.SIGXFSZ, ending)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def _fill(scene: Scene) -> None:
    """Take all room but a little, which is as large as what is written, or not."""
    found = os.statvfs(scene.folder)
    room = scene.chance.randrange(scene.chance.choice((1, 8_192, 300_000, 900_000)))
    taken = found.f_bavail * found.f_frsize - room
    handle = os.open(scene.folder / "ballast", os.O_WRONLY | os.O_CREAT)
    if taken > 0:
        os.posix_fallocate(handle, 0, taken)
    os.close(handle)


def _make_room(scene: Scene) -> None:
    (scene.folder / "ballast").unlink(missing_ok=True)


def _forbid(scene: Scene) -> None:
    store, key = scene.store, scene.folder / KEY_FILE
    path, mode = scene.chance.choice(
        (
            (store, 0o000),
            (store, 0o444),
            (scene.folder, 0o555),
            (scene.folder, 0o000),
            (key, 0o000),
            (key, 0o644),
        )
    )
    if path.exists():
        path.chmod(mode)


def _permit(scene: Scene) -> None:
    scene.folder.chmod(0o755)
    for path, mode in ((scene.store, 0o644), (scene.folder / KEY_FILE, 0o600)):
        if path.exists():
            path.chmod(mode)


def _logged(scene: Scene) -> bool:
    try:
        return scene.log.stat().st_size > 0
    except FileNotFoundError:
        return False


def _truncate(scene: Scene) -> None:
    if _logged(scene):
        os.truncate(scene.log, scene.chance.randrange(scene.log.stat().st_size))


def set_back(scene: Scene) -> None:
    scene.clock.now -= timedelta(
        seconds=scene.chance.choice((2, 3_600, 10**7, 10**9)) * scene.chance.random()
    )


def _hold(scene: Scene, seconds: float) -> None:
    """In a process of its own: when called, have the file open for so long, or until the caller has ended.

    The answer comes once it is open, or cannot be, since the caller has it: then it is, as soon as that lets go.
    """
    if not os.read(scene.calls, 8):
        return
    if not scene.store.exists():  # DuckDB would make one
        answer(scene, b"n")
        return
    while True:
        try:
            held = duckdb.connect(str(scene.store))
        except duckdb.Error:
            answer(scene, b"n")
            if select.select([scene.calls], [], [], 0.002)[0]:
                return
        else:
            answer(scene, b"y")
            select.select([scene.calls], [], [], seconds)
            held.close()
            return


def rotate(scene: Scene) -> None:
    """In a process of its own: when called, hand the chain over to another key, at once or when the caller has let go."""
    if not os.read(scene.calls, 8):
        return
    for lock_timeout in (0.0, 60.0):
        try:
            opened = open_in(scene.folder, lock_timeout=lock_timeout)
            entry = opened.evidence.rotate_key()
        except StoreLocked:
            answer(scene, b"n")
        except ttplan.TtplanError as error:
            scene.say(
                error=type(error).__name__,
                message=str(error),
                step="rotate",
                outcome="nothing",
                helper=True,
            )
            break
        else:
            scene.say(also={} if entry is None else {"entry": f"{entry.seq}:{entry.hash}"})
            break
    answer(scene, b"y")


def room_for(place: Path) -> str | None:
    """Mount a small disk at a folder, for this process and its children alone; or why that cannot be."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, recursive_private = 0x00020000, 0x4000 | 0x40000
    steps: tuple[tuple[str, Callable[[], int]], ...] = (
        ("unshare", lambda: libc.unshare(new_namespace)),
        ("mount", lambda: libc.mount(b"none", b"/", None, recursive_private, None)),
        (
            "mount",
            lambda: libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, f"size={ROOM}".encode()),
        ),
    )
    for name, step in steps:
        if step() != 0:
            return f"{name}: {os.strerror(ctypes.get_errno())}"
    return None


NO_ROOM = ("StoreError", "AuditError", "KeyFileError", "InputError", "ReplayFailed")
KINDS = (
    Kind("kill", 30, kill, dies=True),
    Kind("kill within a call", 16, call, kill_caller, dies=True),
    Kind("kill within a write", 14, lambda scene: _no_more_than(scene, signal.SIG_DFL), dies=True),
    Kind(
        "log truncated",
        12,
        kill,
        after=_truncate,
        counts=_logged,
        steps=WRITING,
        dies=True,
        moments=2,
    ),
    Kind("disk full", 10, _fill, after=_make_room, allowed=NO_ROOM, small_disk=True),
    Kind("write refused", 6, lambda scene: _no_more_than(scene, signal.SIG_IGN), allowed=NO_ROOM),
    Kind(
        "no permission", 8, _forbid, after=_permit, allowed=NO_ROOM, unprivileged=True, leaves=True
    ),
    Kind(
        "lock held",
        4,
        call_and_wait,
        lambda scene: _hold(scene, 300),
        lock_timeout=0.1,
        allowed=("StoreLocked", "AuditError"),
    ),
    Kind("lock given up", 4, call_and_wait, lambda scene: _hold(scene, scene.chance.random() / 5)),
    Kind("clock set back", 4, set_back),
    Kind(
        "key rotated",
        6,
        call_and_wait,
        rotate,
        allowed=("AuditError", "KeyFileError", "InputError"),
    ),
)
"""All faults of a store in a file, and how often each is chosen."""
