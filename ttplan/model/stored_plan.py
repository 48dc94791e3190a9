"""A plan as stored, and a route as it is live."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple
from uuid import UUID

from pydantic import Field

from ttplan.model.base import ActorField, FrozenModel, Hex64, UtcDatetime
from ttplan.model.money import Money
from ttplan.model.plan import PlanConfig, PlanResult
from ttplan.model.pricing import ModelPricing
from ttplan.model.route import ProposedRoute

Status = Literal["projected", "applied", "reverted", "failed"]


class LiveRoute(FrozenModel):
    """A route that the gateway follows now, and which plan made it live when."""

    route: ProposedRoute
    plan_id: UUID
    applied_at: UtcDatetime


class UnreadableRoute(NamedTuple):
    """A row of the live routes that is not a valid route: it was not written by ttplan."""

    name: str
    reason: str


class SeenRoute(FrozenModel):
    """A route that was live when a plan was computed: its name, its plan, its content's digest."""

    name: str
    plan_id: UUID
    digest: Hex64


class CostBasis(FrozenModel):
    """How many requests of the window have a recorded cost, how many a recomputed one.

    `by_doctor` of the recomputed ones had a record that was certainly wrong; the others were
    recomputed because all costs had to be. USD per window; `was_recorded_usd` is the recorded cost
    of the recomputed ones.
    """

    recorded: int
    recomputed: int
    by_doctor: int = 0
    recorded_usd: Money
    recomputed_usd: Money
    was_recorded_usd: Money


class StoredPlan(FrozenModel):
    """A stored plan: its result, what it was computed with, and its status.

    Fields that are None were not kept when the row was written. `price_sources` names the source
    of each price, `cost_basis` what the log's costs consist of. `nonce` (32 bytes, hex) blinds the
    commitment to the plan's routes in the audit chain; it never leaves the store. `live_seen` are
    the routes that were live when the plan was computed, `replaced` those that its own routes
    replaced when it was applied. `failure` says why a failed plan has no result (its figures are
    zeros). `author` is the actor who made it, if known.
    """

    plan_id: UUID
    org_id: UUID
    name: str
    status: Status = "projected"
    created_at: UtcDatetime
    applied_at: UtcDatetime | None = None
    reverted_at: UtcDatetime | None = None
    nonce: Hex64 = Field(repr=False)
    seed: int
    bootstrap_iterations: int
    config: PlanConfig
    pricing: dict[str, ModelPricing]
    price_sources: dict[str, str] | None = None
    cost_basis: CostBasis | None = None
    live_seen: tuple[SeenRoute, ...] | None = None
    replaced: tuple[LiveRoute, ...] | None = None
    failure: str | None = None
    author: ActorField | None = None
    result: PlanResult


def find_previous_names(
    live: Iterable[LiveRoute], routes: Iterable[ProposedRoute]
) -> dict[str, str]:
    """Map the new name of each renamed route to its live name. A route's id is its identity.

    An id that is live under several names is skipped: earlier versions identified routes by name.
    """
    live_names: dict[UUID, list[str]] = defaultdict(list)
    for live_route in live:
        live_names[live_route.route.id].append(live_route.route.name)
    return {
        route.name: live_names[route.id][0]
        for route in routes
        if len(live_names[route.id]) == 1 and live_names[route.id][0] != route.name
    }


def find_replaced_routes(
    live: Iterable[LiveRoute], routes: Iterable[ProposedRoute]
) -> list[LiveRoute]:
    """Return the live routes that `routes` replace, by name or by id after a rename.

    The order is that of `routes`, then the previous names that no new route takes.
    """
    by_name, new_routes = {entry.route.name: entry for entry in live}, list(routes)
    names = [route.name for route in new_routes]
    names += find_previous_names(by_name.values(), new_routes).values()
    return [by_name[name] for name in dict.fromkeys(names) if name in by_name]
