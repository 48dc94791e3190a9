"""The store in one DuckDB file.

It keeps no connection open between calls, so other processes can use the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import UUID

import duckdb

from ttplan.model.errors import StoreError
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import Status
from ttplan.store.duckdb.files import create_file, open_connection
from ttplan.store.duckdb.snapshot import DuckDBSnapshot, DuckDBTransaction
from ttplan.util.paths import PathLike

LOCK_TIMEOUT = 30.0
"""How long an operation waits for another process that has the file open, in seconds."""


class DuckDBStore:
    """A store in a DuckDB file. Each operation opens and closes the file; a write is one
    transaction.

    Parameters
    ----------
    path : path-like
        The file.
    lock_timeout : float, default 30.0
        How long to wait for another process that has the file open, in seconds.
    create : bool, default True
        Create the file if it does not exist.

    Raises
    ------
    StoreError
        The file is not a store, has a newer schema, or cannot be created. It is left unchanged.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ttplan import DuckDBStore
    >>> store = DuckDBStore(Path(tempfile.mkdtemp()) / "plans.duckdb")
    >>> with store.read() as snapshot:
    ...     snapshot.request_count()
    0
    """

    def __init__(
        self,
        path: PathLike,
        *,
        lock_timeout: float = LOCK_TIMEOUT,
        create: bool = True,
    ) -> None:
        self.path = Path(path)
        self.lock_timeout = lock_timeout
        # Path.exists raises if the folder may not be entered.
        if create and not os.path.exists(self.path):
            create_file(self.path)
        with self.read():
            pass

    @contextmanager
    def read(self) -> Iterator[DuckDBSnapshot]:
        """A consistent snapshot: while it is open, no other process can write.

        Within a transaction of this thread, the state of the transaction.
        """
        with (
            self._translate_errors(),
            open_connection(
                self.path, read_only=True, lock_timeout=self.lock_timeout
            ) as connection,
        ):
            yield DuckDBSnapshot(connection)

    @contextmanager
    def transaction(self) -> Iterator[DuckDBTransaction]:
        """One transaction, committed when the block ends and rolled back if it raises.

        Raises StoreError if this thread has the file open.
        """
        with (
            self._translate_errors(),
            open_connection(
                self.path, read_only=False, lock_timeout=self.lock_timeout
            ) as connection,
        ):
            connection.execute("BEGIN")
            try:
                yield DuckDBTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        """`DuckDBTransaction.mark_applied` in its own transaction."""
        with self.transaction() as tx:
            return tx.mark_applied(plan_id, applied_at, routes)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise StoreError(
                f"{self.path}: the operation failed and nothing was written: {reason}"
            ) from error

    def __eq__(self, other: object) -> bool:
        """Whether both are in the same file, so that an audit chain in one shares the
        transactions of the other."""
        return isinstance(other, DuckDBStore) and os.path.realpath(self.path) == os.path.realpath(
            other.path
        )

    def __hash__(self) -> int:
        return hash(os.path.realpath(self.path))

    def __repr__(self) -> str:
        return f"DuckDBStore({str(self.path)!r})"


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.execute("ROLLBACK")
    except duckdb.Error:
        # DuckDB has rolled back already if the transaction itself failed.
        return
