"""The `Store` protocol: what each store does with rows and transactions.

Decisions about plans are made above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, get_args
from uuid import UUID

from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, StoreError
from ttplan.model.policy import Policy
from ttplan.model.results.quality import QualityResult
from ttplan.model.results.reconciliation import Reconciliation
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import LiveRoute, Status, StoredPlan, UnreadableRoute

if TYPE_CHECKING:  # `ttplan.apply` imports this module and must work without these two
    import ibis.expr.types as ir
    import pyarrow as pa


class PlanFilter(NamedTuple):
    """Selects plans; all conditions that are set must hold.

    `name` is a part of the name, case-sensitive. `since` (inclusive) and `until` (exclusive) bound
    when the plan was created. `limit` keeps the newest.
    """

    plan_id: UUID | None = None
    status: Status | None = None
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None


class EntryFilter(NamedTuple):
    """Selects entries of a chain; all conditions that are set must hold.

    `plan_id` is the one in the payload. `since` (inclusive) and `until` (exclusive) bound the
    timestamp. Only entries with a seq above `after` match. `limit` keeps the first ones.
    """

    event: str | None = None
    plan_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int = -1
    limit: int | None = None


class EditedColumn(NamedTuple):
    """A column that repeats a part of a signed entry and no longer says what the entry says.

    `stored` and `signed` are the two values as text.
    """

    seq: int
    column: str
    stored: str
    signed: str


MIN_ID_PREFIX = 4
"""How many characters of a plan's id are enough to find it, if no other plan has them."""
DERIVED = ("prompt_hash", "answer_hash")
"""Columns that do not tell requests apart: a store from before them has the same ones without."""
MAX_EXAMPLES = 3
OnConflict = Literal["refuse", "skip"]
ConflictKind = Literal["snapshot", "repeated", "repeated differently", "changed"]
"""A row is an unfinished state of the answer that another row has; equal to another row; different
from another row with its id; different from the stored row with its id."""
KINDS: tuple[ConflictKind, ...] = get_args(ConflictKind)
REFUSED: tuple[ConflictKind, ...] = ("repeated differently", "changed")
"""The kinds that are an error unless they are skipped; the others are left out and counted."""
SAME_ANSWER = ("provider", "model", "input_tokens", "cached_tokens", "tag")
"""The columns in which states of one answer agree: loggers write a streamed answer several times
under one id. The last or largest is kept."""


class RowConflict(NamedTuple):
    """A row whose id is taken.

    `row` is its position in the log, from 0. `earlier` is the position of the row that has the id;
    None if that one is in the store. `differs` is the first column in which the two differ; None if
    they are equal.
    """

    id: str
    row: int
    earlier: int | None
    differs: str | None


class RowConflicts(NamedTuple):
    """How many rows are in conflict in one way, and the first examples."""

    kind: ConflictKind
    rows: int
    examples: tuple[RowConflict, ...] = ()


class IngestResult(NamedTuple):
    """How many rows were added, how many equal ones were stored already, the conflicts that were
    left out, and the ids of rows that the store has with another content."""

    added: int
    already_there: int
    conflicts: tuple[RowConflicts, ...] = ()
    changed: tuple[str, ...] = ()


class ConflictingRequests(InputError):
    """Rows cannot be added because other rows have their ids. `conflicts` lists them."""

    def __init__(self, message: str, conflicts: RowConflicts) -> None:
        self.conflicts = conflicts
        super().__init__(message)


def conflict_error(
    conflicts: RowConflicts, describe_row: Callable[[int], str] = lambda row: f"row {row + 1}"
) -> ConflictingRequests:
    """The error for rows in conflict; `describe_row` puts the position of a row into words."""
    first, more = conflicts.examples[0], conflicts.rows - 1
    others = f" (and {more:,} more such {'row' if more == 1 else 'rows'})" if more else ""
    row = describe_row(first.row)
    if first.earlier is None:
        return ConflictingRequests(
            f"request {first.id} ({row}) is in the store already with another "
            f"{first.differs}{others}; expected the "
            "same row, or a new id. Logged requests are never replaced",
            conflicts,
        )
    return ConflictingRequests(
        f"the request id {first.id!r} is in {describe_row(first.earlier)} and in {row}, "
        f"with another {first.differs}{others}; expected each id "
        "once. Leave out the later ones with on_bad_rows='skip'",
        conflicts,
    )


def check_org(stored: UUID | None, org_id: UUID) -> UUID | None:
    """Return the organisation of a store. StoreError if it has one other than `org_id`."""
    if stored is not None and stored != org_id:
        raise StoreError(
            f"the store belongs to organisation {stored}, not to {org_id}; use a separate store "
            "for each"
        )
    return stored


class Snapshot(Protocol):
    """One consistent state of a store, readable while it is open."""

    def org_id(self) -> UUID | None:
        """The organisation that the store belongs to; None if it has none yet."""

    def plan(self, plan_id: UUID) -> StoredPlan | None:
        """The stored plan, or None. StoreError if its row is corrupt."""

    def find_plan_ids(self, org_id: UUID, text: str) -> list[UUID]:
        """The ids of an organisation's plans whose name is `text`, or whose id begins with it (at
        least `MIN_ID_PREFIX` characters, in upper or lower case), in order."""

    def plans(self, org_id: UUID) -> list[StoredPlan]:
        """All plans of an organisation, oldest first (ties by id)."""

    def plan_summaries(self, org_id: UUID, filters: PlanFilter) -> pa.Table:
        """One row per plan, oldest first (ties by id), in the schema
        `ttplan.store.plan_summary.summary_schema()`.

        The figures of a failed plan are null. StoreError if a plan's row is corrupt.
        """

    def live_routes(self, org_id: UUID) -> list[LiveRoute]:
        """The live routes by priority, highest first (ties by route id).

        StoreError if a row is corrupt.
        """

    def live_route_rows(self, org_id: UUID) -> list[LiveRoute | UnreadableRoute]:
        """As `live_routes`, but corrupt rows are returned instead of raised."""

    def statuses(self, org_id: UUID) -> dict[UUID, Status]:
        """The status of each plan of an organisation, oldest first, even if the rest of its row
        is corrupt."""

    def tip(self, org_id: UUID) -> TipAnchor | None:
        """The last entry of the organisation's chain; None if the chain is empty."""

    def entries(self, org_id: UUID, *, since: int = 0) -> Iterator[StoredEntry]:
        """The chain's entries from seq `since` on, in stored order, streamed."""

    def find_entries(self, org_id: UUID, filters: EntryFilter) -> list[StoredEntry]:
        """The chain's entries that match, by seq."""

    def edited_columns(self, org_id: UUID) -> list[EditedColumn]:
        """The columns of the chain's entries that contradict the signed body, by seq; the first
        ones if there are many."""

    def foreign_entries(self, org_id: UUID | None) -> dict[UUID, int]:
        """How many entries of other organisations a store of one organisation has, by id."""

    def reconciliations(self, org_id: UUID) -> list[Reconciliation]:
        """The reconciliations of an organisation's plans, oldest first."""

    def policy(self) -> Policy | None:
        """The policy that plans must meet to be applied, or None. StoreError if it is corrupt."""

    def request_count(self) -> int:
        """How many requests the store has."""

    def request_orgs(self) -> list[UUID]:
        """The organisations of the logged requests, in order."""

    def requests(self) -> ir.Table:
        """The logged requests as an Ibis table."""


class Transaction(Snapshot, Protocol):
    """A snapshot that can be written to.

    It commits when the block ends, and rolls back after an error.
    """

    def set_org_id(self, org_id: UUID) -> None:
        """Set the organisation of the store. StoreError if it belongs to another one."""

    def add_requests(
        self, batches: Iterable[pa.RecordBatch], org_id: UUID, on_conflict: OnConflict = "refuse"
    ) -> IngestResult:
        """Add request rows; rows without an organisation get `org_id`.

        A row that is stored already is passed over. If an id is repeated, or stored with other
        content, the call raises ConflictingRequests, or, with `on_conflict="skip"`, leaves the row
        out and counts it: a stored row is never replaced. An optional column `row` has the position
        of each row in its log; it is not stored.
        """

    def add_plan(self, run: StoredPlan) -> None:
        """Add a plan. StoreError if its id exists."""

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        """Return the plan's previous status; None if there is no such plan.

        If and only if that was `projected`, the plan becomes `applied`, `applied_at` is set, and
        the routes become live. Each replaces the live route of its name, and the one that it was
        under another name: exactly those of `ttplan.model.stored_plan.replaced_by`. The row keeps
        `routes`, and the routes that they replaced.
        """

    def mark_reverted(
        self, plan_id: UUID, reverted_at: datetime, restored: Iterable[LiveRoute]
    ) -> Status | None:
        """Return the plan's previous status; None if there is no such plan.

        If and only if that was `applied`, the plan becomes `reverted`, `reverted_at` is set, the
        plan's routes stop being live, and `restored` become live.
        """

    def set_live_routes(self, org_id: UUID, routes: Iterable[LiveRoute]) -> None:
        """Replace all live routes of an organisation."""

    def set_quality(self, plan_id: UUID, quality: QualityResult) -> None:
        """Store the quality result of a plan, in place of an earlier one.

        PlanNotFound if there is no such plan.
        """

    def add_reconciliation(self, org_id: UUID, reconciliation: Reconciliation) -> None:
        """Add a reconciliation of a plan to the earlier ones."""

    def set_policy(self, policy: Policy | None) -> None:
        """Set the policy that plans must meet from now on, or remove it."""

    def append_entry(self, record: StoredEntry) -> None:
        """Append to the chain of `record.org_id`. StoreError if its seq is not the next one."""


class Store(Protocol):
    """A store of plans, live routes, the audit chain and the logged requests."""

    def read(self) -> AbstractContextManager[Snapshot]:
        """A consistent snapshot.

        Waits for a writer up to the lock timeout. StoreError if the store cannot be read.
        """

    def transaction(self) -> AbstractContextManager[Transaction]:
        """One transaction. StoreError if it cannot be opened or committed."""

    def mark_applied(
        self, plan_id: UUID, applied_at: datetime, routes: Iterable[ProposedRoute]
    ) -> Status | None:
        """`Transaction.mark_applied` in its own transaction."""
