"""Rows of a PostgreSQL store: what is read and written in one transaction of a connection.

Whoever writes has the lock of an organisation from the first look at it to the end of the transaction, so that what it read is
still so when it writes; another organisation's writers are not held up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ttplan.model.audit import StoredEntry, TipAnchor
from ttplan.model.errors import InputError, PlanNotFound, StoreError
from ttplan.model.policy import Policy
from ttplan.model.results.quality import QualityResult
from ttplan.model.results.reconciliation import Reconciliation
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import (
    LiveRoute,
    Status,
    StoredPlan,
    UnreadableRoute,
    find_replaced_routes,
)
from ttplan.store.plan_summary import incomplete_plans
from ttplan.store.postgres import queries
from ttplan.store.postgres.connection import Connection
from ttplan.store.protocol import EntryFilter, IngestResult, OnConflict, PlanFilter
from ttplan.store.rows import (
    LIVE_COLUMNS,
    PLAN_COLUMNS,
    entry_row,
    first_line,
    live_of,
    live_row,
    only_routes,
    plan_of,
    plan_row,
    record_of,
    write_exact,
)

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

_CHUNK = 5_000
_PLAN_COLUMNS = ", ".join(PLAN_COLUMNS)
_LIVE_COLUMNS = ", ".join(LIVE_COLUMNS)
_NOBODY = UUID(int=0)
"""Whose the settings are that were made before an organisation was decided."""
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('ttplan ' || %s::text, 0))"

OpenRequests = Callable[[], AbstractContextManager["ir.Table"]]
"""Opens the requests where they are, if they are not in the store."""
Explained = Callable[[str], AbstractContextManager[None]]
"""What says in words of ours what goes wrong in a block, which waits for the lock of that name, if any."""


class PostgresSnapshot:
    """What can be read of an open store; with `own` only of that organisation."""

    def __init__(
        self,
        connection: Connection,
        own: UUID | None,
        elsewhere: OpenRequests | None,
        ending: ExitStack,
        explained: Explained,
    ) -> None:
        self._connection = connection
        self._own = own
        self._elsewhere = elsewhere
        self._ending = ending
        self._explained = explained
        self._requests: ir.Table | None = None

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._explained(""):
            return self._connection.execute(query.encode(), values).fetchall()

    def _look_at(self, org_id: UUID) -> None:
        """Before anything of an organisation is read."""

    def org_id(self) -> UUID | None:
        rows = self._rows(
            "SELECT org_id FROM ttplan.settings WHERE name = 'org_id' AND coalesce(org_id = %s, true) ORDER BY org_id LIMIT 2",
            self._own,
        )
        if len(rows) > 1:
            raise StoreError(
                "this database holds several organisations; say which one is meant: open it with org_id, or end its URL in "
                "?org=UUID"
            )
        return rows[0][0] if rows else None

    def plan(self, plan_id: UUID) -> StoredPlan | None:
        org_id = self._org_of(plan_id)
        if org_id is None:
            return None
        self._look_at(org_id)
        rows = self._rows(
            f"SELECT {_PLAN_COLUMNS} FROM ttplan.plan_runs WHERE plan_id = %s", plan_id
        )  # noqa: S608
        return plan_of(rows[0]) if rows else None

    def _org_of(self, plan_id: UUID) -> UUID | None:
        """Whose a plan is; None where there is no such plan."""
        rows = self._rows(
            "SELECT org_id FROM ttplan.plan_runs WHERE plan_id = %s AND coalesce(org_id = %s, true)",
            plan_id,
            self._own,
        )
        return rows[0][0] if rows else None

    def plans(self, org_id: UUID) -> list[StoredPlan]:
        self._look_at(org_id)
        rows = self._rows(
            f"SELECT {_PLAN_COLUMNS} FROM ttplan.plan_runs WHERE org_id = %s ORDER BY created_at, plan_id",  # noqa: S608
            org_id,
        )
        return [plan_of(row) for row in rows]

    def plan_summaries(self, org_id: UUID, which: PlanFilter) -> pa.Table:
        self._look_at(org_id)
        found = queries.plan_summaries(self._rows, org_id, which)
        for plan_id in incomplete_plans(found):
            self.plan(plan_id)  # says what is wrong with it
        return found

    def live_routes(self, org_id: UUID) -> list[LiveRoute]:
        return only_routes(self.live_route_rows(org_id))

    def live_route_rows(self, org_id: UUID) -> list[LiveRoute | UnreadableRoute]:
        self._look_at(org_id)
        rows = self._rows(
            f"SELECT {_LIVE_COLUMNS} FROM ttplan.routes WHERE org_id = %s ORDER BY priority DESC, route_id",  # noqa: S608
            org_id,
        )
        return [live_of(row) for row in rows]

    def statuses(self, org_id: UUID) -> dict[UUID, Status]:
        self._look_at(org_id)
        return dict(
            self._rows(
                "SELECT plan_id, status FROM ttplan.plan_runs WHERE org_id = %s ORDER BY created_at, plan_id",
                org_id,
            )
        )

    def tip(self, org_id: UUID) -> TipAnchor | None:
        self._look_at(org_id)
        rows = self._rows(
            "SELECT seq, hash FROM ttplan.audit_entries WHERE org_id = %s ORDER BY seq DESC LIMIT 1",
            org_id,
        )
        return TipAnchor(*rows[0]) if rows else None

    def entries(self, org_id: UUID, *, since: int = 0) -> Iterator[StoredEntry]:
        start = since
        while True:
            self._look_at(org_id)
            rows = self._rows(
                "SELECT seq, prev_hash, hash, signature, body FROM ttplan.audit_entries WHERE org_id = %s AND seq >= %s "
                "ORDER BY seq LIMIT %s",
                org_id,
                start,
                _CHUNK,
            )
            for row in rows:
                yield record_of(org_id, row)
            if len(rows) < _CHUNK:
                return
            start = rows[-1][0] + 1

    def find_entries(self, org_id: UUID, which: EntryFilter) -> list[StoredEntry]:
        self._look_at(org_id)
        rows = queries.find_entries(self._rows, org_id, which)
        return [record_of(org_id, row) for row in rows]

    def reconciliations(self, org_id: UUID) -> list[Reconciliation]:
        self._look_at(org_id)
        rows = self._rows(
            "SELECT found FROM ttplan.reconciliations WHERE org_id = %s ORDER BY reconciled_at, number",
            org_id,
        )
        return [Reconciliation.model_validate_json(row[0]) for row in rows]

    def policy(self) -> Policy | None:
        rows = self._rows(
            "SELECT value FROM ttplan.settings WHERE name = 'policy' AND org_id = %s",
            self._own or self.org_id() or _NOBODY,
        )
        try:
            return Policy.model_validate_json(rows[0][0]) if rows else None
        except ValueError as error:
            raise StoreError(
                f"the store's policy is none any more: {first_line(error)}; set it anew"
            ) from error

    def request_count(self) -> int:
        if self._elsewhere is not None:
            return int(self.requests().count().to_pyarrow().as_py())
        return int(
            self._rows(
                "SELECT count(*) FROM ttplan.requests WHERE coalesce(org_id = %s, true)", self._own
            )[0][0]
        )

    def request_orgs(self) -> list[UUID]:
        if self._elsewhere is not None:
            found = self.requests().select("org_id").distinct().to_pyarrow()["org_id"].to_pylist()
            return sorted(UUID(str(one)) for one in found if one is not None)
        query = "SELECT DISTINCT org_id FROM ttplan.requests WHERE coalesce(org_id = %s, true) ORDER BY org_id"
        return [row[0] for row in self._rows(query, self._own)]

    def requests(self) -> ir.Table:
        """The logged requests, read into DuckDB for as long as the snapshot is open; where they are elsewhere, there."""
        from ttplan.store.postgres.requests import copied_requests

        if self._requests is None:
            opened = (
                copied_requests(self._connection, self._own)
                if self._elsewhere is None
                else self._elsewhere()
            )
            with self._explained(""):
                self._requests = self._ending.enter_context(opened)
        return self._requests


class PostgresTransaction(PostgresSnapshot):
    """What can be written, in the transaction that is under way. `wrote` says whether anything was."""

    wrote = False

    def __init__(
        self,
        connection: Connection,
        own: UUID | None,
        elsewhere: OpenRequests | None,
        ending: ExitStack,
        explained: Explained,
    ) -> None:
        super().__init__(connection, own, elsewhere, ending, explained)
        self._locked: set[str] = set()

    def _look_at(self, org_id: UUID) -> None:
        self._lock(str(org_id))

    def _lock(self, what: str) -> None:
        """Have the lock of that name until the transaction ends."""
        if what not in self._locked:
            with self._explained(what):
                self._connection.execute(_LOCK.encode(), [what])
            self._locked.add(what)

    def _write(self, query: str, *values: Any) -> int:
        """How many rows were written."""
        self.wrote = True
        with self._explained(""):
            return self._connection.execute(query.encode(), values).rowcount

    def set_org_id(self, org_id: UUID) -> None:
        if self._is_decided(
            org_id
        ):  # for good: whoever makes a plan in one organisation holds up nobody in another
            return
        self._lock(f"settings {self._own or ''}")
        if not self._is_decided(org_id):
            self._write(
                "INSERT INTO ttplan.settings VALUES (%s, 'org_id', %s)", org_id, str(org_id)
            )

    def _is_decided(self, org_id: UUID) -> bool:
        """Whether the store belongs to an organisation already. StoreError where that is another one."""
        found = self.org_id()
        decided = self._own or found
        if decided is not None and decided != org_id:
            raise StoreError(
                f"the store belongs to organisation {decided}, not to {org_id}; use a store of its own for each"
            )
        return found is not None

    def add_requests(
        self, batches: Iterable[pa.RecordBatch], org_id: UUID, on_conflict: OnConflict = "refuse"
    ) -> IngestResult:
        from ttplan.store.postgres.ingest import RequestIngest

        if self._elsewhere is not None:
            raise InputError(
                "this store was opened with its requests in files elsewhere; add to those, or open it without them"
            )
        self._lock(f"requests {self._own or ''}")
        self.wrote = True
        with self._explained(""):
            return RequestIngest(self._connection, on_conflict).add(batches, org_id, self._own)

    def add_plan(self, run: StoredPlan) -> None:
        self._look_at(run.org_id)
        if self._rows("SELECT 1 FROM ttplan.plan_runs WHERE plan_id = %s", run.plan_id):
            raise StoreError(f"there is a plan {run.plan_id} already; expected a new id")
        marks = ", ".join("%s" for _ in PLAN_COLUMNS)
        self._write(
            f"INSERT INTO ttplan.plan_runs ({_PLAN_COLUMNS}) VALUES ({marks})", *plan_row(run)
        )  # noqa: S608

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        run = self.plan(plan_id)
        if run is None:
            return None
        if run.status == "projected":
            landed = tuple(routes)
            replaced = find_replaced_routes(self.live_routes(run.org_id), landed)
            result = run.result.model_copy(update={"proposed_routes": landed})
            self._change(
                "UPDATE ttplan.plan_runs SET status = 'applied', applied_at = %s, replaced = %s, result = coalesce(%s, result) "
                "WHERE plan_id = %s",
                plan_id,
                applied_at,
                write_exact([live.model_dump() for live in replaced]),
                None if landed == run.result.proposed_routes else write_exact(result),
            )
            names = {route.name for route in landed}
            for one in replaced:
                if (
                    one.route.name not in names
                ):  # renamed; those of the same names are replaced where they are
                    self._write(
                        "DELETE FROM ttplan.routes WHERE org_id = %s AND name = %s",
                        run.org_id,
                        one.route.name,
                    )
            for route in landed:
                self._put(
                    run.org_id, LiveRoute(route=route, plan_id=plan_id, applied_at=applied_at)
                )
        return run.status

    def mark_reverted(
        self, plan_id: UUID, reverted_at: datetime, restored: Iterable[LiveRoute]
    ) -> Status | None:
        org_id = self._org_of(plan_id)
        if org_id is None:
            return None
        self._look_at(org_id)
        status: Status = self._rows(
            "SELECT status FROM ttplan.plan_runs WHERE plan_id = %s", plan_id
        )[0][0]
        if status == "applied":
            query = "UPDATE ttplan.plan_runs SET status = 'reverted', reverted_at = %s WHERE plan_id = %s"
            self._change(query, plan_id, reverted_at)
            self._write("DELETE FROM ttplan.routes WHERE plan_id = %s", plan_id)
            for live in restored:
                self._put(org_id, live)
        return status

    def _change(self, query: str, plan_id: UUID, *values: Any) -> None:
        """Change the row of a plan that is there; where rights hide it, that is no success."""
        if self._write(query, *values, plan_id) != 1:
            raise StoreError(
                f"this login may not change plan {plan_id}; docs/postgres.md says which role may do what"
            )

    def set_live_routes(self, org_id: UUID, routes: Iterable[LiveRoute]) -> None:
        self._look_at(org_id)
        self._write("DELETE FROM ttplan.routes WHERE org_id = %s", org_id)
        for live in routes:
            self._put(org_id, live)

    def _put(self, org_id: UUID, live: LiveRoute) -> None:
        """Make a route live, in place of the one of its name."""
        marks = ", ".join("%s" for _ in LIVE_COLUMNS)
        changes = ", ".join(f"{name} = excluded.{name}" for name in LIVE_COLUMNS if name != "name")
        self._write(
            f"INSERT INTO ttplan.routes (org_id, {_LIVE_COLUMNS}) VALUES (%s, {marks}) "  # noqa: S608
            f"ON CONFLICT (org_id, name) DO UPDATE SET {changes}",
            org_id,
            *live_row(live),
        )

    def set_quality(self, plan_id: UUID, quality: QualityResult) -> None:
        run = self.plan(plan_id)
        if run is None:
            raise PlanNotFound(plan_id)
        result = run.result.model_copy(update={"quality": quality})
        self._change(
            "UPDATE ttplan.plan_runs SET result = %s WHERE plan_id = %s",
            plan_id,
            write_exact(result),
        )

    def add_reconciliation(self, org_id: UUID, found: Reconciliation) -> None:
        self._write(
            "INSERT INTO ttplan.reconciliations (org_id, plan_id, reconciled_at, found) VALUES (%s, %s, %s, %s)",
            org_id,
            found.plan_id,
            found.reconciled_at,
            found.model_dump_json(),
        )

    def set_policy(self, policy: Policy | None) -> None:
        org_id = self._own or self.org_id() or _NOBODY
        self._look_at(org_id)
        self._write("DELETE FROM ttplan.settings WHERE name = 'policy' AND org_id = %s", org_id)
        if policy is not None:
            self._write(
                "INSERT INTO ttplan.settings VALUES (%s, 'policy', %s)",
                org_id,
                policy.model_dump_json(),
            )

    def append_entry(self, record: StoredEntry) -> None:
        row = entry_row(record, self.tip(UUID(record.org_id)))
        self._write(
            "INSERT INTO ttplan.audit_entries VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", *row
        )
