"""Writes to a store in an SQL database, within the transaction that is open."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from ttplan.model.errors import PlanNotFound, StoreError
from ttplan.model.policy import Policy
from ttplan.model.results.quality import QualityResult
from ttplan.model.results.reconciliation import Reconciliation
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import LiveRoute, Status, StoredPlan, find_replaced_routes
from ttplan.store.rows import (
    LIVE_COLUMNS,
    PLAN_COLUMNS,
    entry_row,
    live_route_row,
    plan_row,
    write_exact,
)
from ttplan.store.sql.snapshot import SQLSnapshot


class SQLTransaction(SQLSnapshot):
    """What can be written to an open store."""

    @abstractmethod
    def _write(self, query: str, *values: Any) -> int:
        """Run a statement with `?` placeholders and return how many rows it changed."""

    @abstractmethod
    def _set_setting(self, name: str, value: str | None) -> None:
        """Set a setting, or remove it."""

    def _insert(self, table: str, columns: Iterable[str], values: Iterable[Any]) -> None:
        names, parameters = tuple(columns), tuple(values)
        placeholders = ", ".join("?" for _ in parameters)
        into = f"{self.dialect.tables}{table} ({', '.join(names)})"
        self._write(f"INSERT INTO {into} VALUES ({placeholders})", *parameters)  # noqa: S608

    def _delete_routes(self, rest: str, *values: Any) -> None:
        self._write(f"DELETE FROM {self.dialect.tables}routes WHERE {rest}", *values)  # noqa: S608

    def _update_plan(self, plan_id: UUID, **changes: Any) -> None:
        assignments = ", ".join(f"{name} = ?" for name in changes)
        table = f"{self.dialect.tables}plan_runs"
        query = f"UPDATE {table} SET {assignments} WHERE plan_id = ?"  # noqa: S608
        # The plan was just read: if no row changes, the rights of this login hide it from writes.
        if self._write(query, *changes.values(), plan_id) != 1:
            raise StoreError(
                f"this login may not change plan {plan_id}; docs/postgres.md lists the rights of "
                "each role"
            )

    def _put_route(self, org_id: UUID, live: LiveRoute) -> None:
        """Make a route live, in place of the one with its name."""
        names = ("org_id", *LIVE_COLUMNS)
        placeholders = ", ".join("?" for _ in names)
        changes = ", ".join(f"{name} = excluded.{name}" for name in LIVE_COLUMNS if name != "name")
        self._write(
            f"INSERT INTO {self.dialect.tables}routes ({', '.join(names)}) VALUES "  # noqa: S608
            f"({placeholders}) "
            f"ON CONFLICT (org_id, name) DO UPDATE SET {changes}",
            org_id,
            *live_route_row(live),
        )

    def add_plan(self, run: StoredPlan) -> None:
        self._lock_org(run.org_id)
        if self._select("1", "plan_runs", "WHERE plan_id = ?", run.plan_id):
            raise StoreError(f"plan {run.plan_id} exists already; expected a new id")
        self._insert("plan_runs", PLAN_COLUMNS, plan_row(run))

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        run = self.plan(plan_id)
        if run is None:
            return None
        if run.status != "projected":
            return run.status
        new = tuple(routes)
        replaced = find_replaced_routes(self.live_routes(run.org_id), new)
        changes = {"replaced": write_exact([live.model_dump() for live in replaced])}
        if new != run.result.proposed_routes:
            changes["result"] = write_exact(run.result.model_copy(update={"proposed_routes": new}))
        self._update_plan(plan_id, status="applied", applied_at=applied_at, **changes)
        names = {route.name for route in new}
        for live in replaced:
            if live.route.name not in names:  # it is renamed: its row has the old name
                self._delete_routes("org_id = ? AND name = ?", run.org_id, live.route.name)
        for route in new:
            live = LiveRoute(route=route, plan_id=plan_id, applied_at=applied_at)
            self._put_route(run.org_id, live)
        return run.status

    def mark_reverted(
        self, plan_id: UUID, reverted_at: datetime, restored: Iterable[LiveRoute]
    ) -> Status | None:
        org_id = self._org_of(plan_id)
        if org_id is None:
            return None
        self._lock_org(org_id)
        rows = self._select("status", "plan_runs", "WHERE plan_id = ?", plan_id)
        status: Status = rows[0][0]
        if status == "applied":
            self._update_plan(plan_id, status="reverted", reverted_at=reverted_at)
            self._delete_routes("plan_id = ?", plan_id)
            for live in restored:
                self._put_route(org_id, live)
        return status

    def set_live_routes(self, org_id: UUID, routes: Iterable[LiveRoute]) -> None:
        self._lock_org(org_id)
        self._delete_routes("org_id = ?", org_id)
        for live in routes:
            self._put_route(org_id, live)

    def set_quality(self, plan_id: UUID, quality: QualityResult) -> None:
        run = self.plan(plan_id)
        if run is None:
            raise PlanNotFound(plan_id)
        result = run.result.model_copy(update={"quality": quality})
        self._update_plan(plan_id, result=write_exact(result))

    def add_reconciliation(self, org_id: UUID, reconciliation: Reconciliation) -> None:
        self._insert(
            "reconciliations",
            ("org_id", "plan_id", "reconciled_at", "found"),
            (
                org_id,
                reconciliation.plan_id,
                reconciliation.reconciled_at,
                reconciliation.model_dump_json(),
            ),
        )

    def set_policy(self, policy: Policy | None) -> None:
        self._set_setting("policy", None if policy is None else policy.model_dump_json())

    def append_entry(self, record: StoredEntry) -> None:
        row = entry_row(record, self.tip(UUID(record.org_id)))
        self._insert("audit_entries", row._fields, row)
