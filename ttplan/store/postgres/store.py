"""The store in a PostgreSQL database: organisations are written in parallel, each by one writer
at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus

from ttplan.model.errors import InputError, StoreError
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import Status
from ttplan.store.postgres.commit import commit
from ttplan.store.postgres.connection import Address, Connection, Session, translate_error
from ttplan.store.postgres.migrate import check_schema
from ttplan.store.postgres.snapshot import (
    OpenRequests,
    OpenStore,
    PostgresSnapshot,
    PostgresTransaction,
)
from ttplan.store.transactions import run_in_transaction, thread_lock

LOCK_TIMEOUT = 30.0
"""How long an operation waits for another writer of the same organisation, in seconds."""
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
_HOLDER = (
    "SELECT a.usename, a.application_name, a.pid FROM pg_locks l JOIN pg_stat_activity a USING "
    "(pid), "
    "(SELECT hashtextextended('ttplan ' || %s::text, 0) AS key) k WHERE l.locktype = 'advisory' "
    "AND l.granted AND objsubid = 1 "
    "AND l.classid::bigint = (key >> 32) & 4294967295 AND l.objid::bigint = key & 4294967295 AND "
    "l.pid <> pg_backend_pid()"
)


class PostgresStore:
    """A store in a PostgreSQL database, over one connection that threads share in turn.

    A read is a snapshot of one point in time. A transaction locks each organisation that it reads,
    until it ends.

    Parameters
    ----------
    url : str
        The database, with the schema that `ttplan migrate` creates. A parameter `org` in it is as
        `org_id`.
    org_id : UUID, optional
        Only this organisation; rows of others are hidden.
    lock_timeout : float, default 30.0
        How long to wait for another writer of the same organisation, in seconds.
    requests : callable, optional
        Opens the requests if they are not in the store, such as Parquet files.

    Raises
    ------
    InputError
        The URL cannot be read.
    StoreError
        There is no store at the URL, or its schema has another version.
    """

    def __init__(
        self,
        url: str,
        *,
        org_id: UUID | None = None,
        lock_timeout: float = LOCK_TIMEOUT,
        requests: OpenRequests | None = None,
    ) -> None:
        self._address = Address(url)
        if org_id is not None and self._address.org_id not in (None, org_id):
            raise InputError(
                f"the store's URL has org={self._address.org_id}, but org_id is {org_id}; "
                "expected one of them"
            )
        self.org_id = org_id or self._address.org_id
        self.lock_timeout = lock_timeout
        self._session = Session(self._address, lock_timeout)
        self._requests = requests
        self._thread_lock = threading.RLock()
        self._open: PostgresSnapshot | None = None
        with self._exclusive_thread(), self._translate_errors():
            check_schema(self._session.connection(), self._address.shown)

    @contextmanager
    def read(self) -> Iterator[PostgresSnapshot]:
        """A consistent snapshot. Within a transaction of this thread, its state."""
        with self._exclusive_thread():
            if self._open is not None:
                yield self._open
                return
            with self._opened(_READ) as store:
                self._open = PostgresSnapshot(store)
                yield self._open

    @contextmanager
    def transaction(self) -> Iterator[PostgresTransaction]:
        """One transaction, committed when the block ends and rolled back if it raises.

        Raises StoreError if this thread has the store open. If the connection is lost during the
        commit, asks the server for the outcome; raises OutcomeUnknown if the server cannot be
        asked.
        """
        with self._exclusive_thread():
            if self._open is not None:
                state = "written" if isinstance(self._open, PostgresTransaction) else "read"
                raise StoreError(
                    f"{self._address.shown} is being {state} by this thread; end that before "
                    "writing"
                )
            with self._opened(_WRITE) as store:
                self._open = tx = PostgresTransaction(store)
                yield tx
                if tx.wrote:
                    with self._translate_errors():
                        commit(store.connection, self._address, self.lock_timeout)

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        """`PostgresTransaction.mark_applied` in its own transaction, retried on a conflict with
        other writers."""
        new = tuple(routes)
        return run_in_transaction(self, lambda tx: tx.mark_applied(plan_id, applied_at, new))

    def close(self) -> None:
        """Close the connection; the next operation opens another one."""
        with self._exclusive_thread():
            self._session.close()

    @contextmanager
    def _exclusive_thread(self) -> Iterator[None]:
        """Keep other threads out for the duration of the block."""
        with thread_lock(self._thread_lock, self._address.shown, self.lock_timeout):
            yield

    @contextmanager
    def _opened(self, begin: str) -> Iterator[OpenStore]:
        """The store in a transaction, for the duration of the block; what is not committed is
        rolled back."""
        with self._translate_errors():
            connection = self._session.connection()
            try:
                connection.execute(begin.encode())
            except psycopg.OperationalError:
                if not connection.closed:
                    raise
                # The connection was lost while it was idle: open a new one.
                connection = self._session.connection()
                connection.execute(begin.encode())
        try:
            with ExitStack() as resources:
                yield OpenStore(
                    connection, self.org_id, self._requests, resources, self._translate_errors
                )
        finally:
            self._open = None
            _roll_back(connection)

    @contextmanager
    def _translate_errors(self, waits_for: str = "") -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        except psycopg.errors.LockNotAvailable as error:
            waited = time.monotonic() - started
            raise translate_error(
                self._address.shown, error, holder=self._holder(waits_for), waited=waited
            ) from error
        except psycopg.Error as error:
            raise translate_error(self._address.shown, error) from error

    def _holder(self, lock: str) -> str:
        """Who holds the lock of that name; empty if that is unknown."""
        # The current connection is in a failed transaction, so ask over another one.
        with suppress(psycopg.Error), self._address.connect(self.lock_timeout) as connection:
            holder = connection.execute(_HOLDER, [lock]).fetchone()
            if holder is not None:
                user, program, session = holder
                return (
                    f"another session ({user}: {program or 'unnamed program'}, session {session})"
                )
        return ""

    def __eq__(self, other: object) -> bool:
        """Whether both are in the same database, so that an audit chain in one shares the
        transactions of the other."""
        return isinstance(other, PostgresStore) and self._address.key == other._address.key

    def __hash__(self) -> int:
        return hash(self._address.key)

    def __repr__(self) -> str:
        return f"PostgresStore({self._address.shown!r})"


def _roll_back(connection: Connection) -> None:
    """End a transaction that is still open."""
    if connection.closed or connection.info.transaction_status == TransactionStatus.IDLE:
        return
    with suppress(psycopg.Error):  # a lost connection has rolled back
        connection.execute("ROLLBACK")
