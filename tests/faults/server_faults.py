"""The faults of a PostgreSQL store: in the client, the connection, the server and other clients."""

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

from tests.faults.faults import (
    Fault,
    FaultContext,
    answer,
    call,
    call_and_wait,
    kill,
    kill_caller,
    rotate,
    set_back,
)
from tests.faults.store_location import URL, place_of
from tests.store.postgres.cutting_proxy import Cutting
from tests.support.postgres import Server
from ttplan.model.errors import StoreError
from ttplan.store.postgres.store import PostgresStore

_COMMIT = b"COMMIT\x00"
_CHANGES = re.compile(rb"\s*(INSERT|UPDATE|DELETE|COMMIT|SELECT pg_advisory)")
_CONFLICTS = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


def _interrupt(_context: FaultContext) -> NoReturn:
    raise KeyboardInterrupt("injected")


def _no_memory(_context: FaultContext) -> NoReturn:
    raise MemoryError("injected")


def _conflict(context: FaultContext) -> NoReturn:
    raise context.rng.choice(_CONFLICTS)("injected")


def _is_change(context: FaultContext) -> bool:
    """Whether the crash point precedes a statement that may conflict with other writers."""
    query = context.crash_points.arguments[1:2]
    return (
        context.crash_points.before
        and bool(query)
        and isinstance(query[0], bytes | str)
        and bool(_CHANGES.match(_bytes(query[0])))
    )


def _bytes(query: bytes | str) -> bytes:
    return query if isinstance(query, bytes) else query.encode()


def _server(context: FaultContext) -> Server:
    assert context.server is not None
    return context.server


# --- the connection, through a proxy ---


def _proxy(context: FaultContext) -> Path:
    return context.folder.parent / "proxy"


def _connect_by_proxy(context: FaultContext) -> None:
    """Make the child connect through a proxy."""
    _proxy(context).mkdir(exist_ok=True)
    named = context.folder / URL
    org = named.read_text().rpartition("&")[2]
    url = _server(context).url(folder=_proxy(context))
    named.write_text(f"{url}&sslmode=disable&gssencmode=disable&{org}")


def _connect_directly(context: FaultContext) -> None:
    """Undo `_connect_by_proxy` for the check."""
    named = context.folder / URL
    named.write_text(f"{_server(context).url()}&{named.read_text().rpartition('&')[2]}")


def _wait(context: FaultContext) -> None:
    os.read(context.answers, 1)


def _cut(context: FaultContext, saying: bytes) -> None:
    """In a helper process: run the proxy and, when called, cut one of the next messages."""
    with suppress(FileNotFoundError):
        (_proxy(context) / ".s.PGSQL.5432").unlink()
    with Cutting(_proxy(context), _server(context).folder) as cutting:
        answer(context, b"y")
        if not os.read(context.calls, 8):
            return
        cut_at = 1 if saying else context.rng.randint(1, 4)
        away = context.rng.random() < 0.15
        cutting.arm(cut_at, context.rng.choice(("before", "after")), saying=saying, away=away)
        answer(context, b"y")
        os.read(context.calls, 8)


# --- the server ---


def _sessions(process: int) -> str:
    return f"FROM pg_stat_activity WHERE application_name LIKE 'ttplan, process {process} on %'"


def _end_session(context: FaultContext) -> None:
    """In a helper process: end the sessions of the caller, a little later."""
    with psycopg.connect(_server(context).url(), autocommit=True) as admin:
        called = os.read(context.calls, 8)
        if called:
            time.sleep(context.rng.choice((0, 0.0005, 0.002, 0.01)) * context.rng.random())
            query = (
                f"SELECT pg_terminate_backend(pid, 1000) {_sessions(int.from_bytes(called, 'big'))}"
            )
            admin.execute(query.encode())
            answer(context, b"y")


def _restart_server(context: FaultContext) -> None:
    """In a helper process: when called, end the server in one of three ways and restart it."""
    called = os.read(context.calls, 8)
    if not called:
        return
    server, how = (
        _server(context),
        context.rng.choice(("as a power cut does", "at once", "a session of it")),
    )
    if how == "a session of it":  # the server then ends all others and restarts
        with psycopg.connect(server.url(), autocommit=True) as admin:
            sessions = admin.execute(
                f"SELECT pid {_sessions(int.from_bytes(called, 'big'))}".encode()
            ).fetchall()
        for (process,) in sessions:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05 if sessions else 0)
        _until_there(server)
    else:
        (server.kill if how == "as a power cut does" else server.stop)()
        answer(context, b"y")
        time.sleep(context.rng.choice((0, 0.1)))
        server.start()
    answer(context, b"y")


def _lose_server(context: FaultContext) -> None:
    """End the server now, or during the next calls."""
    context.rng.choice((call, call_and_wait))(context)


def _until_there(server: Server) -> None:
    while True:
        try:
            psycopg.connect(server.url()).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return


def _configure(context: FaultContext, statement: str) -> None:
    with psycopg.connect(_server(context).url(), autocommit=True) as admin:
        admin.execute("SET transaction_read_only = off")
        admin.execute(statement.encode())
        admin.execute("SELECT pg_reload_conf()")


def _read_only(context: FaultContext) -> None:
    """Make new transactions read-only, as those of a standby."""
    _configure(context, "ALTER SYSTEM SET default_transaction_read_only = on")


def _writable(context: FaultContext) -> None:
    _configure(context, "ALTER SYSTEM RESET default_transaction_read_only")
    with psycopg.connect(_server(context).url(), autocommit=True) as admin:
        # The server reloads its configuration a little later.
        while admin.execute("SHOW default_transaction_read_only").fetchone() != ("off",):
            time.sleep(0.005)


# --- other clients ---


def _hold_chain(context: FaultContext, seconds: float) -> None:
    """In a helper process: when called, hold the lock of the organisation for `seconds`, or until
    the caller ends.

    Answers once it has the lock, or if the caller has it; then it acquires it after the caller.
    """
    if not os.read(context.calls, 8):
        return
    store = PostgresStore(place_of(context.folder), lock_timeout=0.02)
    assert store.org_id is not None
    while True:
        try:
            with store.transaction() as tx:
                tx.tip(store.org_id)
                answer(context, b"y")
                select.select([context.calls], [], [], seconds)
                return
        except StoreError:
            answer(context, b"n")
            if select.select([context.calls], [], [], 0.002)[0]:
                return


LOST_CONNECTION = ("StoreError", "AuditError", "OutcomeUnknown")
INJECTED = (
    "KeyboardInterrupt",
    "MemoryError",
    "StoreError",
    "AuditError",
    "KeyFileError",
    "InputError",
    "ReplayFailed",
)
SERVER_FAULTS = (
    Fault("kill", 22, kill, dies=True),
    Fault("kill within a call", 14, call, kill_caller, dies=True),
    Fault("interrupted", 8, _interrupt, allowed=INJECTED, leaves=True),
    Fault("no memory", 6, _no_memory, allowed=INJECTED, leaves=True),
    Fault("others in the way", 8, _conflict, counts=_is_change, point_counts=7),
    Fault(
        "connection cut",
        14,
        call_and_wait,
        lambda context: _cut(context, b""),
        before=_connect_by_proxy,
        begin=_wait,
        after=_connect_directly,
        lock_timeout=1.0,
        allowed=LOST_CONNECTION,
    ),
    Fault(
        "cut in the commit",
        12,
        call_and_wait,
        lambda context: _cut(context, _COMMIT),
        before=_connect_by_proxy,
        begin=_wait,
        after=_connect_directly,
        lock_timeout=1.0,
        allowed=LOST_CONNECTION,
        point_counts=10,
    ),
    Fault("session ended", 10, call, _end_session, allowed=LOST_CONNECTION),
    Fault(
        "server lost",
        8,
        _lose_server,
        _restart_server,
        lock_timeout=20.0,
        allowed=LOST_CONNECTION,
    ),
    Fault("read-only", 4, _read_only, after=_writable, allowed=LOST_CONNECTION),
    Fault(
        "lock held",
        4,
        call_and_wait,
        lambda context: _hold_chain(context, 300),
        lock_timeout=0.1,
        allowed=("StoreLocked", "AuditError"),
    ),
    Fault(
        "lock given up",
        4,
        call_and_wait,
        lambda context: _hold_chain(context, context.rng.random() / 5),
    ),
    Fault("clock set back", 3, set_back),
    Fault(
        "key rotated",
        5,
        call_and_wait,
        rotate,
        allowed=("AuditError", "KeyFileError", "InputError"),
    ),
)
"""All faults of a store in a database, with their weights."""
