"""Reads and writes of a PostgreSQL store, in a transaction of its connection.

A writer takes the lock of an organisation before it first reads or writes rows of it, and holds the
lock until the transaction ends: what it read is still true when it writes. Writers of other
organisations do not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from ttplan.model.errors import InputError, StoreError
from ttplan.store.postgres.connection import Connection
from ttplan.store.postgres.summaries import summary_table
from ttplan.store.protocol import IngestResult, OnConflict, check_org
from ttplan.store.sql.queries import Dialect, Query
from ttplan.store.sql.snapshot import SQLSnapshot
from ttplan.store.sql.transaction import SQLTransaction

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

_NO_ORG = UUID(int=0)
"""The organisation of settings that were made before the store had one."""
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('ttplan ' || ?::text, 0))"
_SETTINGS = ("org_id", "name", "value")

_TIMESTAMP = (
    "CASE WHEN ttplan.read_json(body) ->> 'timestamp' ~"
    r" '^\d{4}-\d\d-\d\dT[0-2]\d:[0-5]\d:[0-5]\d(\.\d+|)\+00:00$'"
    " THEN (ttplan.read_json(body) ->> 'timestamp')::timestamptz END"
)
"""An entry's time in its body; null if it is not one."""

OpenRequests = Callable[[], AbstractContextManager["ir.Table"]]
"""Opens requests that are not in the store, such as Parquet files."""
TranslateErrors = Callable[[str], AbstractContextManager[None]]
"""Translates psycopg errors of a block into ttplan errors. The argument names the lock being
acquired, or is empty."""


class OpenStore(NamedTuple):
    """What an open store passes to its snapshots."""

    connection: Connection
    own_org: UUID | None
    external_requests: OpenRequests | None
    resources: ExitStack
    """Closed when the snapshot closes."""
    translate_errors: TranslateErrors


class PostgresSnapshot(SQLSnapshot):
    """What can be read of an open store; with `own_org` set, only that organisation's rows."""

    dialect = Dialect(
        tables="ttplan.",
        insertion_order="number",
        name_contains="position(? IN name) > 0",
        payload_plan_id="ttplan.read_json(body) #>> '{payload,plan_id}'",
        event="ttplan.read_json(body) ->> 'event'",
        timestamp=_TIMESTAMP,
        logged_at="logged_at",
    )

    def __init__(self, store: OpenStore) -> None:
        self._store = store
        self.own_org = store.own_org
        self._requests: ir.Table | None = None

    def foreign_entries(self, org_id: UUID | None) -> dict[UUID, int]:
        return {}  # one database holds the chains of several organisations

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._store.translate_errors(""):
            return self._store.connection.execute(_sql(query), values).fetchall()

    def _setting(self, name: str) -> str | None:
        rows = self._select(
            "value", "settings", "WHERE name = ? AND org_id = ?", name, self._settings_org()
        )
        return rows[0][0] if rows else None

    def _settings_org(self) -> UUID:
        return self.own_org or self.org_id() or _NO_ORG

    def _summary_table(self, selection: Query) -> pa.Table:
        return summary_table(self._rows, selection)

    def org_id(self) -> UUID | None:
        is_own = "coalesce(org_id = ?, true)"
        rows = self._select(
            "org_id", "settings", f"WHERE name = 'org_id' AND {is_own} LIMIT 2", self.own_org
        )
        if len(rows) > 1:
            raise StoreError(
                "this database holds several organisations; say which one: open it with org_id, "
                "or end its URL with "
                "?org=UUID"
            )
        return rows[0][0] if rows else None

    def request_count(self) -> int:
        if self._store.external_requests is not None:
            return int(self.requests().count().to_pyarrow().as_py())
        return super().request_count()

    def request_orgs(self) -> list[UUID]:
        if self._store.external_requests is not None:
            orgs = self.requests().select("org_id").distinct().to_pyarrow()["org_id"].to_pylist()
            return sorted(UUID(str(org_id)) for org_id in orgs if org_id is not None)
        return super().request_orgs()

    def requests(self) -> ir.Table:
        """The requests, copied into DuckDB until the snapshot closes, or the external ones."""
        from ttplan.store.postgres.requests import copied_requests

        if self._requests is None:
            external = self._store.external_requests
            table = (
                copied_requests(self._store.connection, self.own_org)
                if external is None
                else external()
            )
            with self._store.translate_errors(""):
                self._requests = self._store.resources.enter_context(table)
        return self._requests


class PostgresTransaction(PostgresSnapshot, SQLTransaction):
    """What can be written, in the open transaction. `wrote` says whether anything was."""

    wrote = False

    def __init__(self, store: OpenStore) -> None:
        super().__init__(store)
        self._locked: set[str] = set()

    def _lock_org(self, org_id: UUID) -> None:
        self._lock(str(org_id))

    def _lock(self, name: str) -> None:
        """Acquire the lock of that name until the transaction ends."""
        if name not in self._locked:
            with self._store.translate_errors(name):
                self._store.connection.execute(_sql(_LOCK), [name])
            self._locked.add(name)

    def _write(self, query: str, *values: Any) -> int:
        self.wrote = True
        with self._store.translate_errors(""):
            return self._store.connection.execute(_sql(query), values).rowcount

    def _set_setting(self, name: str, value: str | None) -> None:
        org_id = self._settings_org()
        self._lock_org(org_id)
        self._write("DELETE FROM ttplan.settings WHERE name = ? AND org_id = ?", name, org_id)
        if value is not None:
            self._insert("settings", _SETTINGS, (org_id, name, value))

    def set_org_id(self, org_id: UUID) -> None:
        if self._is_decided(org_id):  # it never changes, so no lock is needed
            return
        self._lock(f"settings {self.own_org or ''}")
        if not self._is_decided(org_id):
            self._insert("settings", _SETTINGS, (org_id, "org_id", str(org_id)))

    def _is_decided(self, org_id: UUID) -> bool:
        """Whether the store has an organisation. StoreError if it is another one."""
        stored = self.org_id()
        check_org(self.own_org or stored, org_id)
        return stored is not None

    def add_requests(
        self, batches: Iterable[pa.RecordBatch], org_id: UUID, on_conflict: OnConflict = "refuse"
    ) -> IngestResult:
        from ttplan.store.postgres.ingest import PostgresIngest

        if self._store.external_requests is not None:
            raise InputError(
                "this store was opened with its requests in external files; add to those, or open "
                "it without them"
            )
        self._lock(f"requests {self.own_org or ''}")
        self.wrote = True
        with self._store.translate_errors(""):
            ingest = PostgresIngest(self._store.connection, on_conflict)
            return ingest.add(batches, org_id, self.own_org)


def _sql(query: str) -> bytes:
    """A query with psycopg's placeholder."""
    return query.replace("?", "%s").encode()
