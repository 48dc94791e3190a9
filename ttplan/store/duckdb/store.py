"""The store in one DuckDB file. It holds no connection between calls, so that others can read and write in turn."""

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

LOCK_TIMEOUT = 30.0
"""How long, in seconds, an operation waits for another process that has the file open."""


class DuckDBStore:
    """A store in a DuckDB file. Each operation opens the file and closes it; a write is one transaction."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        lock_timeout: float = LOCK_TIMEOUT,
        create: bool = True,
    ) -> None:
        """Open `path`, or make it where there is none.

        Raises StoreError where it is not a store, has a newer schema, or cannot be made; the file is left as it was.
        """
        self.path = Path(path)
        self.lock_timeout = lock_timeout
        # Not Path.exists, which raises where a folder may not be entered.
        if create and not os.path.exists(self.path):
            create_file(self.path)
        with self.read():
            pass

    @contextmanager
    def read(self) -> Iterator[DuckDBSnapshot]:
        """A consistent snapshot: while it is open, no other process can write. Inside a transaction of this thread, its state."""
        with (
            self._explained(),
            open_connection(
                self.path, read_only=True, lock_timeout=self.lock_timeout
            ) as connection,
        ):
            yield DuckDBSnapshot(connection)

    @contextmanager
    def transaction(self) -> Iterator[DuckDBTransaction]:
        """One transaction, committed when the block ends and rolled back where it raises. They do not nest: StoreError."""
        with (
            self._explained(),
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
        """`DuckDBTransaction.mark_applied` as a transaction of its own."""
        with self.transaction() as tx:
            return tx.mark_applied(plan_id, applied_at, routes)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise StoreError(
                f"{self.path}: the operation failed and nothing was written: {reason}"
            ) from error

    def __eq__(self, other: object) -> bool:
        """Whether both are the store in the same file, so that an audit chain in one is in the other's transactions."""
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
        # DuckDB has rolled back already where the transaction itself failed.
        return
