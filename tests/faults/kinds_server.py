"""The faults of a store in a PostgreSQL database: of the client, of the connection, of the server, and of others who use it."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psycopg

from tests.faults.kinds import (
    Kind,
    Scene,
    answer,
    call,
    call_and_wait,
    kill,
    kill_caller,
    rotate,
    set_back,
)
from tests.faults.places import URL, place_of
from tests.store.postgres.cutting_proxy import Cutting
from tests.support.postgres import Server
from ttplan.model.errors import StoreError
from ttplan.store.postgres.store import PostgresStore

_COMMIT = b"COMMIT\x00"
_CHANGES = re.compile(rb"\s*(INSERT|UPDATE|DELETE|COMMIT|SELECT pg_advisory)")
_AGAIN = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


def _interrupt(_scene: Scene) -> NoReturn:
    raise KeyboardInterrupt("injected")


def _no_memory(_scene: Scene) -> NoReturn:
    raise MemoryError("injected")


def _stand_in_the_way(scene: Scene) -> NoReturn:
    raise scene.chance.choice(_AGAIN)("injected")


def _is_change(scene: Scene) -> bool:
    """Whether the moment is before a statement that PostgreSQL may refuse since others wrote, too."""
    query = scene.points.arguments[1:2]
    return (
        scene.points.before
        and bool(query)
        and isinstance(query[0], bytes | str)
        and bool(_CHANGES.match(_bytes(query[0])))
    )


def _bytes(query: bytes | str) -> bytes:
    return query if isinstance(query, bytes) else query.encode()


def _server(scene: Scene) -> Server:
    assert scene.server is not None
    return scene.server


# --- the connection, by way of a proxy -------------------------------------------------------------------------------


def _proxy(scene: Scene) -> Path:
    return scene.folder.parent / "proxy"


def _by_proxy(scene: Scene) -> None:
    """Have the child go by way of a proxy."""
    _proxy(scene).mkdir(exist_ok=True)
    named = scene.folder / URL
    org = named.read_text().rpartition("&")[2]
    url = _server(scene).url(folder=_proxy(scene))
    named.write_text(f"{url}&sslmode=disable&gssencmode=disable&{org}")


def _directly(scene: Scene) -> None:
    """Undo `_by_proxy`, for who looks afterwards."""
    named = scene.folder / URL
    named.write_text(f"{_server(scene).url()}&{named.read_text().rpartition('&')[2]}")


def _wait(scene: Scene) -> None:
    os.read(scene.answers, 1)


def _cut(scene: Scene, saying: bytes) -> None:
    """In a process of its own: be the proxy, and once called cut one of the messages to come, on either side of it."""
    with suppress(FileNotFoundError):
        (_proxy(scene) / ".s.PGSQL.5432").unlink()
    with Cutting(_proxy(scene), _server(scene).folder) as cutting:
        answer(scene, b"y")
        if not os.read(scene.calls, 8):
            return
        cut_at = 1 if saying else scene.chance.randint(1, 4)
        away = scene.chance.random() < 0.15
        cutting.arm(cut_at, scene.chance.choice(("before", "after")), saying=saying, away=away)
        answer(scene, b"y")
        os.read(scene.calls, 8)


# --- the server ------------------------------------------------------------------------------------------------------


def _sessions(process: int) -> str:
    return f"FROM pg_stat_activity WHERE application_name LIKE 'ttplan, process {process} on %'"


def _end_session(scene: Scene) -> None:
    """In a process of its own: end the sessions of whoever calls, a little later."""
    with psycopg.connect(_server(scene).url(), autocommit=True) as admin:
        called = os.read(scene.calls, 8)
        if called:
            time.sleep(scene.chance.choice((0, 0.0005, 0.002, 0.01)) * scene.chance.random())
            query = (
                f"SELECT pg_terminate_backend(pid, 1000) {_sessions(int.from_bytes(called, 'big'))}"
            )
            admin.execute(query.encode())
            answer(scene, b"y")


def _take_server_away(scene: Scene) -> None:
    """In a process of its own: when called, end the server in one of three ways, and have it there again."""
    called = os.read(scene.calls, 8)
    if not called:
        return
    server, how = (
        _server(scene),
        scene.chance.choice(("as a power cut does", "at once", "a session of it")),
    )
    if how == "a session of it":  # the server then ends all others, and starts anew
        with psycopg.connect(server.url(), autocommit=True) as admin:
            found = admin.execute(
                f"SELECT pid {_sessions(int.from_bytes(called, 'big'))}".encode()
            ).fetchall()
        for (process,) in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05 if found else 0)
        _until_there(server)
    else:
        (server.kill if how == "as a power cut does" else server.stop)()
        answer(scene, b"y")
        time.sleep(scene.chance.choice((0, 0.1)))
        server.start()
    answer(scene, b"y")


def _lose_server(scene: Scene) -> None:
    """Have the server ended: now, or while the calls to come are under way."""
    scene.chance.choice((call, call_and_wait))(scene)


def _until_there(server: Server) -> None:
    while True:
        try:
            psycopg.connect(server.url()).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return


def _configure(scene: Scene, statement: str) -> None:
    with psycopg.connect(_server(scene).url(), autocommit=True) as admin:
        admin.execute("SET transaction_read_only = off")
        admin.execute(statement.encode())
        admin.execute("SELECT pg_reload_conf()")


def _read_only(scene: Scene) -> None:
    """From now on new transactions can only read, as those of a standby."""
    _configure(scene, "ALTER SYSTEM SET default_transaction_read_only = on")


def _writable(scene: Scene) -> None:
    _configure(scene, "ALTER SYSTEM RESET default_transaction_read_only")
    with psycopg.connect(
        _server(scene).url(), autocommit=True
    ) as admin:  # which a server does when it comes to it
        while admin.execute("SHOW default_transaction_read_only").fetchone() != ("off",):
            time.sleep(0.005)


# --- others ----------------------------------------------------------------------------------------------------------


def _hold_chain(scene: Scene, seconds: float) -> None:
    """In a process of its own: when called, have the lock of the organisation for so long, or until the caller has ended.

    The answer comes once it is had, or cannot be, since the caller has it: then it is, as soon as that lets go.
    """
    if not os.read(scene.calls, 8):
        return
    store = PostgresStore(place_of(scene.folder), lock_timeout=0.02)
    assert store.org_id is not None
    while True:
        try:
            with store.transaction() as tx:
                tx.tip(store.org_id)
                answer(scene, b"y")
                select.select([scene.calls], [], [], seconds)
                return
        except StoreError:
            answer(scene, b"n")
            if select.select([scene.calls], [], [], 0.002)[0]:
                return


LOST = ("StoreError", "AuditError", "OutcomeUnknown")
INJECTED = (
    "KeyboardInterrupt",
    "MemoryError",
    "StoreError",
    "AuditError",
    "KeyFileError",
    "InputError",
    "ReplayFailed",
)
SERVER_KINDS = (
    Kind("kill", 22, kill, dies=True),
    Kind("kill within a call", 14, call, kill_caller, dies=True),
    Kind("interrupted", 8, _interrupt, allowed=INJECTED, leaves=True),
    Kind("no memory", 6, _no_memory, allowed=INJECTED, leaves=True),
    Kind("others in the way", 8, _stand_in_the_way, counts=_is_change, moments=7),
    Kind(
        "connection cut",
        14,
        call_and_wait,
        lambda scene: _cut(scene, b""),
        before=_by_proxy,
        begin=_wait,
        after=_directly,
        lock_timeout=1.0,
        allowed=LOST,
    ),
    Kind(
        "cut in the commit",
        12,
        call_and_wait,
        lambda scene: _cut(scene, _COMMIT),
        before=_by_proxy,
        begin=_wait,
        after=_directly,
        lock_timeout=1.0,
        allowed=LOST,
        moments=10,
    ),
    Kind("session ended", 10, call, _end_session, allowed=LOST),
    Kind("server lost", 8, _lose_server, _take_server_away, lock_timeout=20.0, allowed=LOST),
    Kind("read-only", 4, _read_only, after=_writable, allowed=LOST),
    Kind(
        "lock held",
        4,
        call_and_wait,
        lambda scene: _hold_chain(scene, 300),
        lock_timeout=0.1,
        allowed=("StoreLocked", "AuditError"),
    ),
    Kind(
        "lock given up",
        4,
        call_and_wait,
        lambda scene: _hold_chain(scene, scene.chance.random() / 5),
    ),
    Kind("clock set back", 3, set_back),
    Kind(
        "key rotated",
        5,
        call_and_wait,
        rotate,
        allowed=("AuditError", "KeyFileError", "InputError"),
    ),
)
"""All faults of a store in a database, and how often each is chosen."""
