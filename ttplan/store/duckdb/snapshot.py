"""Rows of a DuckDB store: what is read and written inside one open file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import duckdb

from ttplan.model.audit import StoredEntry, TipAnchor
from ttplan.model.errors import PlanNotFound, StoreError
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
from ttplan.store.duckdb import queries
from ttplan.store.duckdb.ingest import RequestIngest
from ttplan.store.plan_summary import incomplete_plans
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


class DuckDBSnapshot:
    """What can be read of an open store."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, list(values)).fetchall()

    def org_id(self) -> UUID | None:
        rows = self._rows("SELECT value FROM settings WHERE name = 'org_id'")
        return UUID(rows[0][0]) if rows else None

    def plan(self, plan_id: UUID) -> StoredPlan | None:
        rows = self._rows(f"SELECT {_PLAN_COLUMNS} FROM plan_runs WHERE plan_id = ?", plan_id)  # noqa: S608
        return plan_of(rows[0]) if rows else None

    def plans(self, org_id: UUID) -> list[StoredPlan]:
        rows = self._rows(
            f"SELECT {_PLAN_COLUMNS} FROM plan_runs WHERE org_id = ? ORDER BY created_at, plan_id",  # noqa: S608
            org_id,
        )
        return [plan_of(row) for row in rows]

    def plan_summaries(self, org_id: UUID, which: PlanFilter) -> pa.Table:
        found = queries.plan_summaries(self._connection, org_id, which)
        for plan_id in incomplete_plans(found):
            self.plan(plan_id)  # says what is wrong with it
        return found

    def live_routes(self, org_id: UUID) -> list[LiveRoute]:
        return only_routes(self.live_route_rows(org_id))

    def live_route_rows(self, org_id: UUID) -> list[LiveRoute | UnreadableRoute]:
        rows = self._rows(
            f"SELECT {_LIVE_COLUMNS} FROM routes WHERE org_id = ? ORDER BY priority DESC, route_id",  # noqa: S608
            org_id,
        )
        return [live_of(row) for row in rows]

    def statuses(self, org_id: UUID) -> dict[UUID, Status]:
        rows = self._rows(
            "SELECT plan_id, status FROM plan_runs WHERE org_id = ? ORDER BY created_at, plan_id",
            org_id,
        )
        return dict(rows)

    def tip(self, org_id: UUID) -> TipAnchor | None:
        rows = self._rows(
            "SELECT seq, hash FROM audit_entries WHERE org_id = ? ORDER BY seq DESC LIMIT 1", org_id
        )
        return TipAnchor(*rows[0]) if rows else None

    def entries(self, org_id: UUID, *, since: int = 0) -> Iterator[StoredEntry]:
        start = since
        while True:
            rows = self._rows(
                "SELECT seq, prev_hash, hash, signature, body FROM audit_entries WHERE org_id = ? AND seq >= ? "
                "ORDER BY seq LIMIT ?",
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
        rows = queries.find_entries(self._connection, org_id, which)
        return [record_of(org_id, row) for row in rows]

    def reconciliations(self, org_id: UUID) -> list[Reconciliation]:
        rows = self._rows(
            "SELECT found FROM reconciliations WHERE org_id = ? ORDER BY reconciled_at, rowid",
            org_id,
        )
        return [Reconciliation.model_validate_json(row[0]) for row in rows]

    def policy(self) -> Policy | None:
        rows = self._rows("SELECT value FROM settings WHERE name = 'policy'")
        try:
            return Policy.model_validate_json(rows[0][0]) if rows else None
        except ValueError as error:
            raise StoreError(
                f"the store's policy is none any more: {first_line(error)}; set it anew"
            ) from error

    def request_count(self) -> int:
        return int(self._rows("SELECT count(*) FROM requests")[0][0])

    def request_orgs(self) -> list[UUID]:
        return [
            row[0] for row in self._rows("SELECT DISTINCT org_id FROM requests ORDER BY org_id")
        ]

    def requests(self) -> ir.Table:
        import ibis

        return ibis.duckdb.from_connection(self._connection).table("requests")


class DuckDBTransaction(DuckDBSnapshot):
    """What can be written to an open store, in the transaction that is under way."""

    def set_org_id(self, org_id: UUID) -> None:
        decided = self.org_id()
        if decided is not None and decided != org_id:
            raise StoreError(
                f"the store belongs to organisation {decided}, not to {org_id}; use a store of its own for each"
            )
        if decided is None:
            self._rows("INSERT INTO settings VALUES ('org_id', ?)", str(org_id))

    def add_requests(
        self, batches: Iterable[pa.RecordBatch], org_id: UUID, on_conflict: OnConflict = "refuse"
    ) -> IngestResult:
        return RequestIngest(self._connection, on_conflict).add(batches, org_id)

    def add_plan(self, run: StoredPlan) -> None:
        if self._rows("SELECT 1 FROM plan_runs WHERE plan_id = ?", run.plan_id):
            raise StoreError(f"there is a plan {run.plan_id} already; expected a new id")
        marks = ", ".join("?" for _ in PLAN_COLUMNS)
        self._rows(f"INSERT INTO plan_runs ({_PLAN_COLUMNS}) VALUES ({marks})", *plan_row(run))  # noqa: S608

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        run = self.plan(plan_id)
        if run is None:
            return None
        if run.status == "projected":
            landed = tuple(routes)
            replaced = find_replaced_routes(self.live_routes(run.org_id), landed)
            self._rows(
                "UPDATE plan_runs SET status = 'applied', applied_at = ?, replaced = ? WHERE plan_id = ?",
                applied_at,
                write_exact([live.model_dump() for live in replaced]),
                plan_id,
            )
            if landed != run.result.proposed_routes:
                result = run.result.model_copy(update={"proposed_routes": landed})
                self._rows(
                    "UPDATE plan_runs SET result = ? WHERE plan_id = ?",
                    write_exact(result),
                    plan_id,
                )
            names = {route.name for route in landed}
            for one in replaced:
                if (
                    one.route.name not in names
                ):  # renamed; those of the same names are replaced where they are
                    self._rows(
                        "DELETE FROM routes WHERE org_id = ? AND name = ?",
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
        rows = self._rows("SELECT status, org_id FROM plan_runs WHERE plan_id = ?", plan_id)
        if not rows:
            return None
        status: Status = rows[0][0]
        if status == "applied":
            self._rows(
                "UPDATE plan_runs SET status = 'reverted', reverted_at = ? WHERE plan_id = ?",
                reverted_at,
                plan_id,
            )
            self._rows("DELETE FROM routes WHERE plan_id = ?", plan_id)
            for live in restored:
                self._put(rows[0][1], live)
        return status

    def set_live_routes(self, org_id: UUID, routes: Iterable[LiveRoute]) -> None:
        self._rows("DELETE FROM routes WHERE org_id = ?", org_id)
        for live in routes:
            self._put(org_id, live)

    def _put(self, org_id: UUID, live: LiveRoute) -> None:
        """Make a route live, in place of the one of its name."""
        self._rows(
            f"INSERT OR REPLACE INTO routes (org_id, {_LIVE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            org_id,
            *live_row(live),
        )

    def set_quality(self, plan_id: UUID, quality: QualityResult) -> None:
        run = self.plan(plan_id)
        if run is None:
            raise PlanNotFound(plan_id)
        result = run.result.model_copy(update={"quality": quality})
        self._rows(
            "UPDATE plan_runs SET result = ? WHERE plan_id = ?", write_exact(result), plan_id
        )

    def add_reconciliation(self, org_id: UUID, found: Reconciliation) -> None:
        self._rows(
            "INSERT INTO reconciliations VALUES (?, ?, ?, ?)",
            org_id,
            found.plan_id,
            found.reconciled_at,
            found.model_dump_json(),
        )

    def set_policy(self, policy: Policy | None) -> None:
        self._rows("DELETE FROM settings WHERE name = 'policy'")
        if policy is not None:
            self._rows("INSERT INTO settings VALUES ('policy', ?)", policy.model_dump_json())

    def append_entry(self, record: StoredEntry) -> None:
        row = entry_row(record, self.tip(UUID(record.org_id)))
        self._rows("INSERT INTO audit_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)
