"""Reads of a store in an SQL database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from ttplan.model.audit import TipAnchor
from ttplan.model.errors import StoreError
from ttplan.model.policy import Policy
from ttplan.model.results.reconciliation import Reconciliation
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import LiveRoute, Status, StoredPlan, UnreadableRoute
from ttplan.store.plan_summary import incomplete_plans
from ttplan.store.protocol import MIN_ID_PREFIX, EditedColumn, EntryFilter, PlanFilter
from ttplan.store.rows import (
    LIVE_COLUMNS,
    PLAN_COLUMNS,
    edited_columns_from_row,
    first_line,
    live_route_from_row,
    plan_from_row,
    readable_routes,
    record_from_row,
)
from ttplan.store.sql.queries import (
    Dialect,
    Query,
    select_edited_columns,
    select_entries,
    select_plans,
)

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

_CHUNK = 5_000
"""How many entries one query of `entries` fetches."""
_MAX_EDITED = 100
"""How many entries with edited columns are reported."""


class SQLSnapshot(ABC):
    """What can be read of an open store. With `own_org` set, only that organisation's rows."""

    dialect: ClassVar[Dialect]
    own_org: UUID | None = None

    @abstractmethod
    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a query with `?` placeholders and return its rows."""

    @abstractmethod
    def _setting(self, name: str) -> str | None:
        """The value of a setting."""

    @abstractmethod
    def _summary_table(self, selection: Query) -> pa.Table:
        """The summaries of the selected plans, oldest first; null if a value cannot be read."""

    @abstractmethod
    def org_id(self) -> UUID | None: ...

    @abstractmethod
    def requests(self) -> ir.Table: ...

    def _lock_org(self, org_id: UUID) -> None:  # noqa: B027 - only writers of some back ends lock
        """Called before rows of an organisation are read; a transaction may lock it."""

    def _select(self, columns: str, table: str, rest: str, *values: Any) -> list[tuple[Any, ...]]:
        query = f"SELECT {columns} FROM {self.dialect.tables}{table} {rest}"  # noqa: S608
        return self._rows(query, *values)

    def _select_own(self, columns: str, table: str, rest: str = "") -> list[tuple[Any, ...]]:
        """As `_select`, of `own_org` only if it is set."""
        if self.own_org is None:
            return self._select(columns, table, rest)
        return self._select(columns, table, f"WHERE org_id = ? {rest}", self.own_org)

    def _org_of(self, plan_id: UUID) -> UUID | None:
        """The organisation of a plan; None if there is no such plan."""
        rows = self._select("org_id", "plan_runs", "WHERE plan_id = ?", plan_id)
        return rows[0][0] if rows and self.own_org in (None, rows[0][0]) else None

    def plan(self, plan_id: UUID) -> StoredPlan | None:
        org_id = self._org_of(plan_id)
        if org_id is None:
            return None
        self._lock_org(org_id)
        rows = self._select(", ".join(PLAN_COLUMNS), "plan_runs", "WHERE plan_id = ?", plan_id)
        return plan_from_row(rows[0]) if rows else None

    def find_plan_ids(self, org_id: UUID, text: str) -> list[UUID]:
        self._lock_org(org_id)
        matches, values = "name = ?", [text]
        if len(text) >= MIN_ID_PREFIX:
            matches, values = (
                f"({matches} OR starts_with(CAST(plan_id AS TEXT), ?))",
                [text, text.lower()],
            )
        rest = f"WHERE org_id = ? AND {matches} ORDER BY plan_id"
        return [row[0] for row in self._select("plan_id", "plan_runs", rest, org_id, *values)]

    def plans(self, org_id: UUID) -> list[StoredPlan]:
        self._lock_org(org_id)
        oldest_first = "WHERE org_id = ? ORDER BY created_at, plan_id"
        rows = self._select(", ".join(PLAN_COLUMNS), "plan_runs", oldest_first, org_id)
        return [plan_from_row(row) for row in rows]

    def plan_summaries(self, org_id: UUID, filters: PlanFilter) -> pa.Table:
        self._lock_org(org_id)
        summaries = self._summary_table(select_plans(self.dialect, org_id, filters))
        for plan_id in incomplete_plans(summaries):
            self.plan(plan_id)  # raises the error that says what is wrong with the row
        return summaries

    def live_routes(self, org_id: UUID) -> list[LiveRoute]:
        return readable_routes(self.live_route_rows(org_id))

    def live_route_rows(self, org_id: UUID) -> list[LiveRoute | UnreadableRoute]:
        self._lock_org(org_id)
        by_priority = "WHERE org_id = ? ORDER BY priority DESC, route_id"
        rows = self._select(", ".join(LIVE_COLUMNS), "routes", by_priority, org_id)
        return [live_route_from_row(row) for row in rows]

    def statuses(self, org_id: UUID) -> dict[UUID, Status]:
        self._lock_org(org_id)
        oldest_first = "WHERE org_id = ? ORDER BY created_at, plan_id"
        return dict(self._select("plan_id, status", "plan_runs", oldest_first, org_id))

    def tip(self, org_id: UUID) -> TipAnchor | None:
        self._lock_org(org_id)
        last = "WHERE org_id = ? ORDER BY seq DESC LIMIT 1"
        rows = self._select("seq, hash", "audit_entries", last, org_id)
        return TipAnchor(*rows[0]) if rows else None

    def entries(self, org_id: UUID, *, since: int = 0) -> Iterator[StoredEntry]:
        after = since - 1
        while True:
            page = self.find_entries(org_id, EntryFilter(after=after, limit=_CHUNK))
            yield from page
            if len(page) < _CHUNK:
                return
            after = page[-1].seq

    def find_entries(self, org_id: UUID, filters: EntryFilter) -> list[StoredEntry]:
        self._lock_org(org_id)
        query = select_entries(self.dialect, org_id, filters)
        return [record_from_row(org_id, row) for row in self._rows(query.text, *query.values)]

    def edited_columns(self, org_id: UUID) -> list[EditedColumn]:
        self._lock_org(org_id)
        query = select_edited_columns(self.dialect, org_id, _MAX_EDITED)
        return [
            edited
            for row in self._rows(query.text, *query.values)
            for edited in edited_columns_from_row(row)
        ]

    def foreign_entries(self, org_id: UUID | None) -> dict[UUID, int]:
        rest = "WHERE org_id IS DISTINCT FROM ? GROUP BY org_id ORDER BY org_id"
        return dict(self._select("org_id, count(*)", "audit_entries", rest, org_id))

    def reconciliations(self, org_id: UUID) -> list[Reconciliation]:
        self._lock_org(org_id)
        order = f"WHERE org_id = ? ORDER BY reconciled_at, {self.dialect.insertion_order}"
        rows = self._select("found", "reconciliations", order, org_id)
        return [Reconciliation.model_validate_json(row[0]) for row in rows]

    def policy(self) -> Policy | None:
        text = self._setting("policy")
        try:
            return None if text is None else Policy.model_validate_json(text)
        except ValueError as error:
            raise StoreError(
                f"the stored policy is corrupt ({first_line(error)}); set it again with `ttplan "
                "policy set FILE`"
            ) from error

    def request_count(self) -> int:
        return int(self._select_own("count(*)", "requests")[0][0])

    def request_orgs(self) -> list[UUID]:
        return [
            row[0] for row in self._select_own("DISTINCT org_id", "requests", "ORDER BY org_id")
        ]
