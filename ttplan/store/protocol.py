"""What every store does. Decisions about plans are made above; rows and transactions live here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol
from uuid import UUID

from ttplan.model.audit import StoredEntry, TipAnchor
from ttplan.model.errors import InputError
from ttplan.model.policy import Policy
from ttplan.model.results.quality import QualityResult
from ttplan.model.results.reconciliation import Reconciliation
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import LiveRoute, Status, StoredPlan, UnreadableRoute

if TYPE_CHECKING:  # `ttplan.apply` imports this module and must do without them
    import ibis.expr.types as ir
    import pyarrow as pa


class PlanFilter(NamedTuple):
    """Which plans: those of which all holds that is set. `name` is a part of its name, as it is spelt; `since` (inclusive) and
    `until` (exclusive) bound when a plan was made; `limit` keeps the newest."""

    plan_id: UUID | None = None
    status: Status | None = None
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None


class EntryFilter(NamedTuple):
    """Which entries of a chain: those of which all holds that is set. `plan_id` is what the payload says under that name; `since`
    (inclusive) and `until` (exclusive) bound the entry's own time; `after` is the seq before the first; `limit` keeps the first.
    """

    event: str | None = None
    plan_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int = -1
    limit: int | None = None


MAX_EXAMPLES = 3
OnConflict = Literal["refuse", "skip"]
ConflictKind = Literal["repeated", "repeated differently", "changed"]


class RowConflict(NamedTuple):
    """A row whose id another row has: where it stood in its log (0 is the first), where the other stood (None: in the store), and
    the first column in which they differ (None: they are equal)."""

    id: str
    row: int
    earlier: int | None
    differs: str | None


class RowConflicts(NamedTuple):
    """How many rows are in conflict in one way, and the first of them."""

    kind: ConflictKind
    rows: int
    examples: tuple[RowConflict, ...] = ()


class IngestResult(NamedTuple):
    """What became of rows that were handed to a store: how many are new, how many it held already, equal, and those left out."""

    added: int
    already_there: int
    conflicts: tuple[RowConflicts, ...] = ()


class ConflictingRequests(InputError):
    """Rows that cannot be added, since others have their ids. `conflicts` says which."""

    def __init__(self, message: str, conflicts: RowConflicts) -> None:
        self.conflicts = conflicts
        super().__init__(message)


def conflict_error(
    found: RowConflicts, place: Callable[[int], str] = lambda row: f"row {row + 1}"
) -> ConflictingRequests:
    """The error of rows in conflict; `place` says in words where a row stood."""
    first, more = found.examples[0], found.rows - 1
    others = f" (and {more:,} more such {'row' if more == 1 else 'rows'})" if more else ""
    if first.earlier is None:
        return ConflictingRequests(
            f"request {first.id} ({place(first.row)}) is in the store already with another {first.differs}{others}; expected the "
            "same row, or a new id. Logged requests are never replaced",
            found,
        )
    how = "the same row again" if first.differs is None else f"with another {first.differs}"
    return ConflictingRequests(
        f"the request id {first.id!r} stands in {place(first.earlier)} and in {place(first.row)}, {how}{others}; expected every "
        "id once. Leave out the later ones with on_bad_rows='skip' (--skip-bad-rows)",
        found,
    )


class Snapshot(Protocol):
    """One consistent state of a store, to read from while it is open."""

    def org_id(self) -> UUID | None:
        """The organisation that the store belongs to; None until something decided it."""

    def plan(self, plan_id: UUID) -> StoredPlan | None:
        """The stored plan, or None. StoreError where its row is none any more."""

    def plans(self, org_id: UUID) -> list[StoredPlan]:
        """All plans of an organisation, oldest first (ties by id)."""

    def plan_summaries(self, org_id: UUID, which: PlanFilter) -> pa.Table:
        """What plans come to, oldest first (ties by id), a row a plan, of the schema `ttplan.store.plan_summary.summary_schema()`.

        Of a failed plan all figures are null. StoreError where a plan's row is none any more.
        """

    def live_routes(self, org_id: UUID) -> list[LiveRoute]:
        """The routes that are live, by priority, highest first, ties by route id. StoreError where a row is no route any more."""

    def live_route_rows(self, org_id: UUID) -> list[LiveRoute | UnreadableRoute]:
        """`live_routes` for whoever looks for damage: a row that is no route any more is told, not raised."""

    def statuses(self, org_id: UUID) -> dict[UUID, Status]:
        """Where each plan of an organisation is in its life, oldest first, whatever else its row holds."""

    def tip(self, org_id: UUID) -> TipAnchor | None:
        """The last entry of the organisation's chain; None where it has none."""

    def entries(self, org_id: UUID, *, since: int = 0) -> Iterator[StoredEntry]:
        """The chain's entries from seq `since` on, in the order in which they are stored, streamed."""

    def find_entries(self, org_id: UUID, which: EntryFilter) -> list[StoredEntry]:
        """The chain's entries that are asked for, by seq."""

    def reconciliations(self, org_id: UUID) -> list[Reconciliation]:
        """What plans of an organisation were found to be worth, oldest first."""

    def policy(self) -> Policy | None:
        """What plans are held to when they are applied, or None. StoreError where it is no policy any more."""

    def request_count(self) -> int:
        """How many requests the store holds."""

    def request_orgs(self) -> list[UUID]:
        """The organisations that the logged requests belong to, in order."""

    def requests(self) -> ir.Table:
        """The logged requests as an Ibis table."""


class Transaction(Snapshot, Protocol):
    """A snapshot that one can also write to. All of it is committed when the block ends, or, after an error, none."""

    def set_org_id(self, org_id: UUID) -> None:
        """Decide which organisation the store belongs to. StoreError where another one was decided."""

    def add_requests(
        self, batches: Iterable[pa.RecordBatch], org_id: UUID, on_conflict: OnConflict = "refuse"
    ) -> IngestResult:
        """Add request rows; those that name no organisation get `org_id`.

        An id that is there already with the same content is passed over. Where it comes twice, or is there with another content,
        it is a `ConflictingRequests`, or, with `on_conflict` of "skip", left out and counted: a row that is stored is never replaced. A
        column `row` says where a row stood in its log, and is not kept.
        """

    def add_plan(self, run: StoredPlan) -> None:
        """Add a plan. StoreError where its id is taken."""

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        """The plan's status until now, None where there is no such plan.

        If and only if it was `projected`, the plan is `applied` now, `applied_at` is set and the routes are live, each in
        place of the live one of the same name, and of what it was under another name until now: exactly those of
        `ttplan.model.stored_plan.find_replaced_routes` are live no more. The row keeps `routes`, and those that they replaced.
        """

    def mark_reverted(
        self, plan_id: UUID, reverted_at: datetime, restored: Iterable[LiveRoute]
    ) -> Status | None:
        """The plan's status until now, None where there is no such plan.

        If and only if it was `applied`, the plan is `reverted` now, `reverted_at` is set, the routes that it had put live are not
        live any more, and `restored` are.
        """

    def set_live_routes(self, org_id: UUID, routes: Iterable[LiveRoute]) -> None:
        """Make an organisation's live routes exactly these, whatever they were."""

    def set_quality(self, plan_id: UUID, quality: QualityResult) -> None:
        """Keep with a plan what was found of its answers' quality, in place of what was kept before. PlanNotFound."""

    def add_reconciliation(self, org_id: UUID, found: Reconciliation) -> None:
        """Keep what a plan was found to be worth, beside what was found earlier."""

    def set_policy(self, policy: Policy | None) -> None:
        """Hold plans to this from now on, or to nothing."""

    def append_entry(self, record: StoredEntry) -> None:
        """Append to the chain of `record.org_id`. StoreError where `record.seq` is not the next one."""


class Store(Protocol):
    """Where plans, live routes, the audit chain and the logged requests are kept."""

    def read(self) -> AbstractContextManager[Snapshot]:
        """A consistent snapshot. StoreError where the store cannot be read; waits for a writer, up to its lock time-out."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """One transaction. StoreError where it cannot be had or committed; it is rolled back then."""

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        """`Transaction.mark_applied` as a transaction of its own."""
