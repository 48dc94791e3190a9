"""A store in memory, for tests and for programs that store nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, PlanNotFound, StoreError
from ttplan.model.plan import PlanConfig, PlanResult, make_empty_result
from ttplan.model.policy import Policy
from ttplan.model.results.quality import QualityResult
from ttplan.model.results.reconciliation import Reconciliation
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import (
    LiveRoute,
    Status,
    StoredPlan,
    UnreadableRoute,
    find_replaced_routes,
)
from ttplan.store.plan_summary import summary_row, summary_schema
from ttplan.store.protocol import (
    DERIVED,
    KINDS,
    MAX_EXAMPLES,
    MIN_ID_PREFIX,
    REFUSED,
    SAME_ANSWER,
    ConflictKind,
    EditedColumn,
    EntryFilter,
    IngestResult,
    OnConflict,
    PlanFilter,
    RowConflict,
    RowConflicts,
    check_org,
    conflict_error,
)
from ttplan.store.rows import check_next_seq

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa


_SEEDED_ORG = UUID(int=1)
_SEEDED_WINDOW = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


@dataclass
class _State:
    """Everything that is stored. A transaction changes a copy; values are immutable."""

    org_id: UUID | None = None
    plans: dict[UUID, StoredPlan] = field(default_factory=dict)
    routes: dict[tuple[UUID, str], LiveRoute] = field(default_factory=dict)
    chains: dict[UUID, tuple[StoredEntry, ...]] = field(default_factory=dict)
    reconciliations: tuple[tuple[UUID, Reconciliation], ...] = ()
    policy: Policy | None = None
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    request_schema: pa.Schema | None = None

    def draft(self) -> _State:
        """A copy for a transaction."""
        draft = copy(self)
        for name in ("plans", "routes", "chains", "requests"):
            setattr(draft, name, dict(getattr(self, name)))
        return draft


class MemorySnapshot:
    """What can be read of a store."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def org_id(self) -> UUID | None:
        return self._state.org_id

    def plan(self, plan_id: UUID) -> StoredPlan | None:
        return self._state.plans.get(plan_id)

    def plans(self, org_id: UUID) -> list[StoredPlan]:
        own = (run for run in self._state.plans.values() if run.org_id == org_id)
        return sorted(own, key=lambda run: (run.created_at, run.plan_id))

    def find_plan_ids(self, org_id: UUID, text: str) -> list[UUID]:
        has_prefix = len(text) >= MIN_ID_PREFIX
        return sorted(
            run.plan_id
            for run in self.plans(org_id)
            if run.name == text or (has_prefix and str(run.plan_id).startswith(text.lower()))
        )

    def plan_summaries(self, org_id: UUID, filters: PlanFilter) -> pa.Table:
        import pyarrow as pa

        runs = [run for run in self.plans(org_id) if _plan_matches(run, filters)]
        newest = runs if filters.limit is None else runs[max(0, len(runs) - filters.limit) :]
        return pa.Table.from_pylist([summary_row(run) for run in newest], schema=summary_schema())

    def live_routes(self, org_id: UUID) -> list[LiveRoute]:
        own = (live for (org, _), live in self._state.routes.items() if org == org_id)
        return sorted(own, key=lambda live: (-live.route.priority, live.route.id))

    def live_route_rows(self, org_id: UUID) -> list[LiveRoute | UnreadableRoute]:
        return [*self.live_routes(org_id)]

    def statuses(self, org_id: UUID) -> dict[UUID, Status]:
        return {run.plan_id: run.status for run in self.plans(org_id)}

    def tip(self, org_id: UUID) -> TipAnchor | None:
        chain = self._state.chains.get(org_id)
        return TipAnchor(chain[-1].seq, chain[-1].hash) if chain else None

    def entries(self, org_id: UUID, *, since: int = 0) -> Iterator[StoredEntry]:
        return (record for record in self._state.chains.get(org_id, ()) if record.seq >= since)

    def find_entries(self, org_id: UUID, filters: EntryFilter) -> list[StoredEntry]:
        entries = self.entries(org_id, since=filters.after + 1)
        matching = (record for record in entries if _entry_matches(record, filters))
        return list(islice(matching, filters.limit))

    def edited_columns(self, org_id: UUID) -> list[EditedColumn]:
        return []  # it has no columns beside the entries

    def foreign_entries(self, org_id: UUID | None) -> dict[UUID, int]:
        return {org: len(chain) for org, chain in self._state.chains.items() if org != org_id}

    def reconciliations(self, org_id: UUID) -> list[Reconciliation]:
        own = (value for org, value in self._state.reconciliations if org == org_id)
        return sorted(own, key=lambda reconciliation: reconciliation.reconciled_at)

    def policy(self) -> Policy | None:
        return self._state.policy

    def request_count(self) -> int:
        return len(self._state.requests)

    def request_orgs(self) -> list[UUID]:
        return sorted({UUID(row["org_id"]) for row in self._state.requests.values()})

    def requests(self) -> ir.Table:
        import duckdb
        import ibis
        import pyarrow as pa

        schema = self._state.request_schema
        if schema is None:
            raise InputError("the store has no requests; import some first")
        rows = pa.Table.from_pylist(list(self._state.requests.values()), schema=schema)
        connection = duckdb.connect()
        connection.register("rows", rows)
        connection.execute("CREATE TEMP TABLE requests AS FROM rows")
        return ibis.duckdb.from_connection(connection).table("requests")


class MemoryTransaction(MemorySnapshot):
    """What can be written, to a copy that becomes the state of the store when the block ends."""

    def __init__(self, state: _State, *, fail_route_write: bool) -> None:
        super().__init__(state)
        self._fail_route_write = fail_route_write

    def set_org_id(self, org_id: UUID) -> None:
        check_org(self._state.org_id, org_id)
        self._state.org_id = org_id

    def add_requests(
        self, batches: Iterable[pa.RecordBatch], org_id: UUID, on_conflict: OnConflict = "refuse"
    ) -> IngestResult:
        groups: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        count = known = 0
        for batch in batches:
            names = [name for name in batch.schema.names if name != "row"]
            self._state.request_schema = batch.select(names).schema
            for row in batch.to_pylist():
                position = row.pop("row", count)
                row["org_id"] = row["org_id"] or str(org_id)
                groups.setdefault(row["id"], []).append((position, row))
                count += 1
        examples: dict[ConflictKind, list[RowConflict]] = {kind: [] for kind in KINDS}
        stored, new, changed = self._state.requests, {}, []
        for id_, rows in groups.items():
            place, kept = _fullest(rows)
            for position, row in rows:
                if row is not kept:
                    differs = _first_difference(row, kept)
                    kind: ConflictKind = "repeated"
                    if differs is not None:
                        is_alike = _answer(row) == _answer(rows[0][1])
                        kind = "snapshot" if is_alike else "repeated differently"
                    name = row["source_id"] or id_
                    examples[kind].append(RowConflict(name, position, place, differs))
            if id_ not in stored:
                new[id_] = kept
            elif (differs := _first_difference(kept, stored[id_])) is None:
                known += 1
            else:
                changed.append(id_)
                name = kept["source_id"] or id_
                examples["changed"].append(RowConflict(name, place, None, differs))
        conflicts = tuple(
            RowConflicts(kind, len(found), tuple(sorted(found, key=lambda c: c.row)[:MAX_EXAMPLES]))
            for kind, found in examples.items()
            if found
        )
        refused = [conflict for conflict in conflicts if conflict.kind in REFUSED]
        if refused and on_conflict == "refuse":
            raise conflict_error(refused[0])
        self._state.requests |= new
        return IngestResult(len(new), known, conflicts, tuple(changed))

    def add_plan(self, run: StoredPlan) -> None:
        if run.plan_id in self._state.plans:
            raise StoreError(f"plan {run.plan_id} exists already; expected a new id")
        self._state.plans[run.plan_id] = run

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        run = self._state.plans.get(plan_id)
        if run is None:
            return None
        if run.status == "projected":
            self._refuse_route_write()
            new = tuple(routes)
            replaced = tuple(find_replaced_routes(self.live_routes(run.org_id), new))
            self._state.plans[plan_id] = run.model_copy(
                update={
                    "status": "applied",
                    "applied_at": applied_at,
                    "replaced": replaced,
                    "result": run.result.model_copy(update={"proposed_routes": new}),
                }
            )
            for live in replaced:
                del self._state.routes[(run.org_id, live.route.name)]
            for route in new:
                self._state.routes[(run.org_id, route.name)] = LiveRoute(
                    route=route, plan_id=plan_id, applied_at=applied_at
                )
        return run.status

    def mark_reverted(
        self, plan_id: UUID, reverted_at: datetime, restored: Iterable[LiveRoute]
    ) -> Status | None:
        run = self._state.plans.get(plan_id)
        if run is None:
            return None
        if run.status == "applied":
            self._refuse_route_write()
            self._state.plans[plan_id] = run.model_copy(
                update={"status": "reverted", "reverted_at": reverted_at}
            )
            self._state.routes = {
                key: live for key, live in self._state.routes.items() if live.plan_id != plan_id
            }
            self._state.routes |= {(run.org_id, live.route.name): live for live in restored}
        return run.status

    def set_live_routes(self, org_id: UUID, routes: Iterable[LiveRoute]) -> None:
        self._refuse_route_write()
        others = {key: live for key, live in self._state.routes.items() if key[0] != org_id}
        self._state.routes = others | {(org_id, live.route.name): live for live in routes}

    def _refuse_route_write(self) -> None:
        if self._fail_route_write:
            raise StoreError(
                "the route write failed, as this store was created to do; nothing was written"
            )

    def set_quality(self, plan_id: UUID, quality: QualityResult) -> None:
        run = self._state.plans.get(plan_id)
        if run is None:
            raise PlanNotFound(plan_id)
        self._state.plans[plan_id] = run.model_copy(
            update={"result": run.result.model_copy(update={"quality": quality})}
        )

    def add_reconciliation(self, org_id: UUID, reconciliation: Reconciliation) -> None:
        self._state.reconciliations = (*self._state.reconciliations, (org_id, reconciliation))

    def set_policy(self, policy: Policy | None) -> None:
        self._state.policy = policy

    def append_entry(self, record: StoredEntry) -> None:
        org_id = UUID(record.org_id)
        chain = self._state.chains.get(org_id, ())
        check_next_seq(record, len(chain))
        self._state.chains[org_id] = (*chain, record)


class MemoryStore:
    """A store that ends with the process.

    With `fail_route_write`, each route write fails before anything changes.

    Examples
    --------
    >>> from uuid import UUID
    >>> from ttplan import MemoryStore
    >>> store = MemoryStore()
    >>> result = store.seed_projected(UUID(int=7))
    >>> store.status(result.plan_id)
    'projected'
    """

    def __init__(self, *, fail_route_write: bool = False) -> None:
        self._state = _State()
        self._draft: _State | None = None
        self._lock = threading.RLock()
        self._fail_route_write = fail_route_write

    @contextmanager
    def read(self) -> Iterator[MemorySnapshot]:
        """The current state, without later writes.

        Within a transaction of this thread, the state of the transaction.
        """
        with self._lock:
            state = self._draft or self._state
        yield MemorySnapshot(state)

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        """One transaction; other threads wait for it.

        Raises StoreError if this thread has one open.
        """
        with self._lock:
            if self._draft is not None:
                raise StoreError(
                    "this thread has a transaction open; write in that one, or end it first"
                )
            self._draft = draft = self._state.draft()
            try:
                yield MemoryTransaction(draft, fail_route_write=self._fail_route_write)
                self._state = draft
            finally:
                self._draft = None

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        """`MemoryTransaction.mark_applied` in its own transaction."""
        with self.transaction() as tx:
            return tx.mark_applied(plan_id, applied_at, routes)

    def seed_projected(
        self,
        plan_id: UUID,
        *,
        org_id: UUID = _SEEDED_ORG,
        name: str = "seeded",
        routes: Iterable[ProposedRoute] = (),
    ) -> PlanResult:
        """Add a projected plan with an empty result, and return the result."""
        result = make_empty_result(plan_id, org_id, _SEEDED_WINDOW, tuple(routes))
        run = StoredPlan(
            plan_id=plan_id,
            org_id=org_id,
            name=name,
            created_at=result.window_end,
            nonce=uuid4().hex + uuid4().hex,
            seed=0,
            bootstrap_iterations=1,
            config=PlanConfig(),
            pricing={},
            result=result,
        )
        with self.transaction() as tx:
            tx.add_plan(run)
        return result

    def status(self, plan_id: UUID) -> Status | None:
        """A plan's status; None if there is no such plan."""
        run = self._state.plans.get(plan_id)
        return None if run is None else run.status

    def applied_at(self, plan_id: UUID) -> datetime | None:
        """When a plan was applied; None if it was not."""
        run = self._state.plans.get(plan_id)
        return None if run is None else run.applied_at

    def applied_routes(self, plan_id: UUID) -> list[ProposedRoute]:
        """The live routes of a plan, by precedence."""
        routes = (live.route for live in self._state.routes.values() if live.plan_id == plan_id)
        return sorted(routes, key=lambda route: (-route.priority, route.id))


def _plan_matches(run: StoredPlan, filters: PlanFilter) -> bool:
    return (
        filters.plan_id in (None, run.plan_id)
        and filters.status in (None, run.status)
        and (filters.name is None or filters.name in run.name)
        and (filters.since is None or run.created_at >= filters.since)
        and (filters.until is None or run.created_at < filters.until)
    )


def _entry_matches(record: StoredEntry, filters: EntryFilter) -> bool:
    body = json.loads(record.body)
    timestamp = datetime.fromisoformat(body["timestamp"])
    return (
        filters.event in (None, body["event"])
        and (filters.plan_id is None or body["payload"].get("plan_id") == str(filters.plan_id))
        and (filters.since is None or timestamp >= filters.since)
        and (filters.until is None or timestamp < filters.until)
    )


def _answer(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in SAME_ANSWER]


def _fullest(rows: list[tuple[int, dict[str, Any]]]) -> tuple[int, dict[str, Any]]:
    """The last or largest of the states of the answer that the first row has."""
    alike = [entry for entry in rows if _answer(entry[1]) == _answer(rows[0][1])]
    return max(alike, key=lambda entry: (entry[1]["output_tokens"], entry[1]["ts"]))


def _first_difference(row: dict[str, Any], other: dict[str, Any]) -> str | None:
    names = (name for name in row if name not in DERIVED)
    return next((name for name in names if row[name] != other[name]), None)
