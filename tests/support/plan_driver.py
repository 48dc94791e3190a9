"""Applies and reverts plans on a store, and reads everything that this can write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from tests.audit.chains import KEY
from tests.support import plans
from ttplan.apply import StoreChain, apply_plan, revert_plan
from ttplan.history.timeline import seen_routes
from ttplan.model.audit import AuditEntry, User
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import LiveRoute, StoredPlan
from ttplan.store.protocol import Store

ORG = plans.ORG
AT = datetime(2026, 5, 3, 12, tzinfo=UTC)
PERSON = User(UUID(int=7))


class StoreState(NamedTuple):
    """Everything that operations on plans write."""

    plans: list[StoredPlan]
    live: list[LiveRoute]
    entries: list[StoredEntry]


def store_state(store: Store) -> StoreState:
    """The state of a store."""
    with store.read() as snapshot:
        return StoreState(
            snapshot.plans(ORG), snapshot.live_routes(ORG), list(snapshot.entries(ORG))
        )


def plan_ids_by_route(store: Store) -> dict[str, int]:
    """The number of the plan of each live route, by name."""
    return {row.route.name: row.plan_id.int for row in store_state(store).live}


class PlanDriver:
    """A store, its chain, and a clock that advances by a minute with each call."""

    def __init__(self, store: Store, key: Any = KEY) -> None:
        self.store = store
        self.now = AT
        self.chain = StoreChain(store, key, clock=self.clock)
        with store.transaction() as tx:
            tx.set_org_id(ORG)

    def clock(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now

    def project(self, number: int, *routes: ProposedRoute, **changes: object) -> StoredPlan:
        """Add a plan that was computed against the current live routes."""
        with self.store.transaction() as tx:
            fields: dict[str, object] = {
                "live_seen": seen_routes(tx.live_routes(ORG)),
                "created_at": self.clock(),
            }
            run = plans.run(number, routes, **(fields | changes))
            tx.add_plan(run)
        return run

    def apply(self, number: int, **options: Any) -> AuditEntry:
        with self.store.read() as snapshot:
            run = snapshot.plan(UUID(int=number))
        assert run is not None
        return apply_plan(self.store, self.chain, run.result, PERSON, clock=self.clock, **options)

    def live(self, number: int, *routes: ProposedRoute) -> AuditEntry:
        """Add a plan and apply it."""
        self.project(number, *routes)
        return self.apply(number)

    def revert(self, number: int) -> AuditEntry:
        return revert_plan(self.store, self.chain, UUID(int=number), PERSON, clock=self.clock)
