"""Commits a transaction, and finds out whether it was committed if the connection is lost
meanwhile."""

from __future__ import annotations

import time
from typing import NamedTuple
from uuid import UUID, uuid4

import psycopg
from psycopg.pq import TransactionStatus

from ttplan.model.errors import OutcomeUnknown, StoreError
from ttplan.store.postgres.connection import Address, Connection, first_line

_POLL_INTERVAL = 0.05
_GRACE_PERIOD = 1.0
"""How long a session without a client may continue before it is terminated, in seconds."""


class _TransactionMark(NamedTuple):
    """Identifies a transaction after its end: its row in `commits`, its number, and its session."""

    token: UUID
    number: str
    session: int


def commit(connection: Connection, address: Address, lock_timeout: float) -> None:
    """Commit a transaction that wrote something.

    If the connection is lost meanwhile, asks the server for the outcome over another one, for up to
    `lock_timeout` seconds, and returns if it was committed. Raises psycopg.Error and StoreError if
    it was not committed, and OutcomeUnknown if the server cannot be asked.
    """
    if connection.info.transaction_status == TransactionStatus.INERROR:
        raise StoreError(
            f"{address.shown}: the operation failed and nothing was written: a statement in it "
            "had failed"
        )
    token = uuid4()
    query = (
        "INSERT INTO ttplan.commits (token) VALUES (%s) "
        "RETURNING pg_current_xact_id()::text, pg_backend_pid()"
    )
    ((number, session),) = connection.execute(query, [token]).fetchall()
    try:
        connection.execute("COMMIT")
    except psycopg.Error as error:
        if not connection.closed:  # the server refused
            raise
        lost: Exception = error
    except Exception as error:  # such as MemoryError after the server committed
        connection.close()
        lost = error
    else:
        return
    if not _was_committed(address, _TransactionMark(token, number, session), lock_timeout, lost):
        raise StoreError(
            f"{address.shown}: the connection was lost during the commit, and nothing was "
            "written; try again"
        ) from lost


def _was_committed(
    address: Address, mark: _TransactionMark, lock_timeout: float, lost: Exception
) -> bool:
    started = time.monotonic()
    while True:
        try:
            with address.connect(lock_timeout) as connection:
                ended = _has_ended(connection, mark, time.monotonic() - started > _GRACE_PERIOD)
                if ended:
                    query = "SELECT 1 FROM ttplan.commits WHERE token = %s"
                    return connection.execute(query, [mark.token]).fetchone() is not None
        except psycopg.OperationalError as error:  # the server is down, or starting
            lost = error
        if time.monotonic() - started > max(lock_timeout, _GRACE_PERIOD):
            raise OutcomeUnknown(
                f"{address.shown}: the connection was lost during the commit, and the server "
                "cannot be asked for the outcome "
                f"({first_line(lost)}). Either everything was written, or nothing: once the "
                "server is back, look at the plan, "
                "or verify the chain, before you repeat the operation"
            ) from lost
        time.sleep(_POLL_INTERVAL)


def _has_ended(connection: Connection, mark: _TransactionMark, terminate: bool) -> bool:
    """Whether the transaction has ended; with `terminate`, its session without a client is
    terminated."""
    # After a crash, numbers may be reused: an open transaction may be another one, which ends, too.
    query = "SELECT pid FROM pg_stat_activity WHERE backend_xid = %s::xid8::xid"
    row = connection.execute(query, [mark.number]).fetchone()
    if row is None:
        return True
    if terminate and row[0] == mark.session:
        connection.execute("SELECT pg_terminate_backend(%s)", [mark.session])
    return False
