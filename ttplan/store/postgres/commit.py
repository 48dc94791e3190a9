"""The end of a transaction, and the truth about it where the connection was lost just then."""

from __future__ import annotations

import time
from typing import NamedTuple
from uuid import UUID, uuid4

import psycopg
from psycopg.pq import TransactionStatus

from ttplan.model.errors import OutcomeUnknown, StoreError
from ttplan.store.postgres.connection import Address, Connection, first_line

_PAUSE = 0.05
_PATIENCE = 1.0
"""How many seconds a session whose client is gone may go on by itself, before it is ended."""


class _Mark(NamedTuple):
    """What tells a transaction afterwards: its row of `commits`, its number, and the session that it ran in."""

    token: UUID
    number: str
    session: int


def commit(connection: Connection, address: Address, lock_timeout: float) -> None:
    """Commit a transaction that wrote something.

    Where the connection is lost meanwhile, the server is asked over another one what became of it, for as long as `lock_timeout`
    seconds: nothing is raised if it was committed. Raises psycopg.Error and StoreError where it was not, OutcomeUnknown where the
    server cannot be asked.
    """
    if connection.info.transaction_status == TransactionStatus.INERROR:
        raise StoreError(
            f"{address.shown}: the operation failed and nothing was written: a statement in it had failed"
        )
    token = uuid4()
    query = "INSERT INTO ttplan.commits (token) VALUES (%s) RETURNING pg_current_xact_id()::text, pg_backend_pid()"
    ((number, session),) = connection.execute(query, [token]).fetchall()
    try:
        connection.execute("COMMIT")
    except psycopg.Error as error:
        if not connection.closed:  # the server has said no
            raise
        lost: Exception = error
    except Exception as error:  # such as no memory for the server's answer, which may have been yes
        connection.close()
        lost = error
    else:
        return
    if not _was_committed(address, _Mark(token, number, session), lock_timeout, lost):
        raise StoreError(
            f"{address.shown}: the connection was lost during the commit, and nothing was written; try again"
        ) from lost


def _was_committed(address: Address, mark: _Mark, lock_timeout: float, lost: Exception) -> bool:
    started = time.monotonic()
    while True:
        try:
            with address.connect(lock_timeout) as connection:
                ended = _ended(connection, mark, time.monotonic() - started > _PATIENCE)
                if ended:
                    query = "SELECT 1 FROM ttplan.commits WHERE token = %s"
                    return connection.execute(query, [mark.token]).fetchone() is not None
        except psycopg.OperationalError as error:  # the server is away, or not up again yet
            lost = error
        if time.monotonic() - started > max(lock_timeout, _PATIENCE):
            raise OutcomeUnknown(
                f"{address.shown}: the connection was lost during the commit, and the server cannot be asked what became of it "
                f"({first_line(lost)}). All of it was written, or nothing: once the server is there again, look at the plan, or "
                "verify the chain, before doing it again"
            ) from lost
        time.sleep(_PAUSE)


def _ended(connection: Connection, mark: _Mark, hurry: bool) -> bool:
    """Whether the transaction has come to an end; with `hurry` its session, which nobody listens to any more, is told to."""
    # The numbers of a server that crashed may be given out again: one that is in progress may be another's, and ends, too.
    query = "SELECT pid FROM pg_stat_activity WHERE backend_xid = %s::xid8::xid"
    found = connection.execute(query, [mark.number]).fetchone()
    if found is None:
        return True
    if hurry and found[0] == mark.session:
        connection.execute("SELECT pg_terminate_backend(%s)", [mark.session])
    return False
