"""The store in a PostgreSQL database: many write at once, one at a time in each organisation."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus

from ttplan.model.errors import InputError, StoreError, StoreLocked
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import Status
from ttplan.store.postgres.commit import commit
from ttplan.store.postgres.connection import Address, Connection, Session, explained
from ttplan.store.postgres.migrate import check_schema
from ttplan.store.postgres.snapshot import OpenRequests, PostgresSnapshot, PostgresTransaction
from ttplan.store.transactions import run_in_transaction
from ttplan.util.waiting import tell_waiting

LOCK_TIMEOUT = 30.0
"""How long, in seconds, an operation waits for another that writes to the same organisation."""
_THREAD = "another thread of this process"
_LOOK = 0.05
"""Seconds after which a thread that waits for another looks whether it is still to wait."""
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
_HOLDER = (
    "SELECT a.usename, a.application_name, a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid), "
    "(SELECT hashtextextended('ttplan ' || %s::text, 0) AS key) k WHERE l.locktype = 'advisory' AND l.granted AND objsubid = 1 "
    "AND l.classid::bigint = (key >> 32) & 4294967295 AND l.objid::bigint = key & 4294967295 AND l.pid <> pg_backend_pid()"
)


class PostgresStore:
    """A store in a PostgreSQL database, over one connection, which threads take turns with.

    A read is a snapshot of one moment. A transaction has the lock of each organisation that it looks at, until it ends.
    """

    def __init__(
        self,
        url: str,
        *,
        org_id: UUID | None = None,
        lock_timeout: float = LOCK_TIMEOUT,
        requests: OpenRequests | None = None,
    ) -> None:
        """Open the store at `url`, which `ttplan migrate` has made.

        With `org_id`, or a parameter `org` in the URL, it is that organisation's alone, and nothing of others shows. `requests`
        opens the requests where they are, if they are not in the store.

        Raises InputError where the URL is none, and StoreError where there is no store, or one of another schema.
        """
        self._address = Address(url)
        if org_id is not None and self._address.org_id not in (None, org_id):
            raise InputError(
                f"the store's URL says org={self._address.org_id}, and asked for is {org_id}; expected one of them"
            )
        self.org_id = org_id or self._address.org_id
        self.lock_timeout = lock_timeout
        self._session = Session(self._address, lock_timeout)
        self._requests = requests
        self._turn = threading.RLock()
        self._open: PostgresSnapshot | None = None
        with self._taken(), self._explained():
            check_schema(self._session.connection(), self._address.shown)

    @contextmanager
    def read(self) -> Iterator[PostgresSnapshot]:
        """A consistent snapshot of this moment. Inside a transaction of this thread, its state."""
        with self._taken():
            if self._open is not None:
                yield self._open
                return
            with self._begun(_READ) as connection, ExitStack() as ending:
                self._open = PostgresSnapshot(
                    connection, self.org_id, self._requests, ending, self._explained
                )
                yield self._open

    @contextmanager
    def transaction(self) -> Iterator[PostgresTransaction]:
        """One transaction, committed when the block ends and rolled back where it raises. They do not nest: StoreError.

        Where the connection is lost during the commit, the server is asked what became of it: OutcomeUnknown where it cannot be.
        """
        with self._taken():
            if self._open is not None:
                doing = "written" if isinstance(self._open, PostgresTransaction) else "read"
                raise StoreError(
                    f"{self._address.shown} is being {doing} by this very thread; end that before writing"
                )
            with self._begun(_WRITE) as connection, ExitStack() as ending:
                self._open = opened = PostgresTransaction(
                    connection, self.org_id, self._requests, ending, self._explained
                )
                yield opened
                if opened.wrote:
                    with self._explained():
                        commit(connection, self._address, self.lock_timeout)

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        """`PostgresTransaction.mark_applied` as a transaction of its own, tried again where others stood in the way."""
        landed = tuple(routes)

        return run_in_transaction(self, lambda tx: tx.mark_applied(plan_id, applied_at, landed))

    def close(self) -> None:
        """Let go of the connection; the next operation makes another."""
        with self._taken():
            self._session.close()

    @contextmanager
    def _taken(self) -> Iterator[None]:
        """The turn of this thread."""
        started = time.monotonic()
        while not self._turn.acquire(
            timeout=min(max(self.lock_timeout - (time.monotonic() - started), 0), _LOOK)
        ):
            if time.monotonic() - started >= self.lock_timeout:
                shown = self._address.shown
                raise StoreLocked(
                    f"{shown} is in use by {_THREAD}; waited {self.lock_timeout:.1f} s for it. Try again"
                )
            tell_waiting(_THREAD)
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _begun(self, how: str) -> Iterator[Connection]:
        """The connection, in a transaction for the block; what is not committed in it is rolled back."""
        with self._explained():
            connection = self._session.connection()
            try:
                connection.execute(how.encode())
            except psycopg.OperationalError:
                if not connection.closed:
                    raise
                # It was lost while nobody used it: another is as good.
                connection = self._session.connection()
                connection.execute(how.encode())
        try:
            yield connection
        finally:
            self._open = None
            _roll_back(connection)

    @contextmanager
    def _explained(self, waits_for: str = "") -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        except psycopg.errors.LockNotAvailable as error:
            waited = time.monotonic() - started
            raise explained(
                self._address.shown, error, holder=self._holder(waits_for), waited=waited
            ) from error
        except psycopg.Error as error:
            raise explained(self._address.shown, error) from error

    def _holder(self, lock: str) -> str:
        """Who has the lock of that name, in words; nothing where that cannot be seen."""
        # The connection at hand has failed in its transaction, and must not go on outside of it.
        with suppress(psycopg.Error), self._address.connect(self.lock_timeout) as connection:
            found = connection.execute(_HOLDER, [lock]).fetchone()
            if found is not None:
                return f"another session ({found[0]}: {found[1] or 'a program without a name'}, session {found[2]})"
        return ""

    def __eq__(self, other: object) -> bool:
        """Whether both are the store in the same database, so that an audit chain in one is in the other's transactions."""
        return isinstance(other, PostgresStore) and self._address.key == other._address.key

    def __hash__(self) -> int:
        return hash(self._address.key)

    def __repr__(self) -> str:
        return f"PostgresStore({self._address.shown!r})"


def _roll_back(connection: Connection) -> None:
    """End a transaction that is still under way."""
    if connection.closed or connection.info.transaction_status == TransactionStatus.IDLE:
        return
    with suppress(psycopg.Error):  # a connection that is lost has rolled back by that
        connection.execute("ROLLBACK")
