"""A plan as it is stored, and a route as it is live."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ttplan.model.audit import Actor, Hex64
from ttplan.model.money import Money
from ttplan.model.plan import PlanConfig, PlanResult
from ttplan.model.pricing import ModelPricing
from ttplan.model.request import UtcDatetime
from ttplan.model.route import ProposedRoute

Status = Literal["projected", "applied", "reverted", "failed"]


class LiveRoute(BaseModel):
    """A route that the gateway follows now, and which plan put it there when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: ProposedRoute
    plan_id: UUID
    applied_at: UtcDatetime


class UnreadableRoute(NamedTuple):
    """A row of the live routes that is no route any more: somebody wrote to it past ttplan."""

    name: str
    reason: str


class SeenRoute(BaseModel):
    """A route that was live when a plan was computed: its name, the plan that had put it there, and the digest of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    plan_id: UUID
    digest: Hex64


class CostBasis(BaseModel):
    """How many requests of the window have a cost as it was recorded, how many a recomputed one, and what they cost.

    `by_doctor` of the recomputed ones were so since their record was certainly wrong, the others since all were to be.

    USD per window. `was_recorded_usd` is what the log had recorded for those that were recomputed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recorded: int
    recomputed: int
    by_doctor: int = 0
    recorded_usd: Money
    recomputed_usd: Money
    was_recorded_usd: Money


class StoredPlan(BaseModel):
    """A stored plan: what it found, what it was computed with, and where it is in its life.

    `price_sources` say where each of its prices came from, `cost_basis` what its log's costs are made of; None where that was not
    kept. `nonce` (32 bytes, hex) blinds the commitment to the plan's routes in the audit chain; it never leaves the store.
    `live_seen` are the routes that were live when it was computed, `replaced` those that its own took the place of when it was
    applied; None in rows from before they were kept. `failure` says why a failed one has no result (its figures are zeros then).
    `author` is who made it, where somebody was named.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    author: Actor | None = None
    result: PlanResult


def find_previous_names(
    live: Iterable[LiveRoute], routes: Iterable[ProposedRoute]
) -> dict[str, str]:
    """The names that routes had until now, by those that they get: the route of an id is the same one under any name.

    An id that is live under several names tells none of them: earlier versions knew routes by their names alone.
    """
    names: dict[UUID, list[str]] = defaultdict(list)
    for one in live:
        names[one.route.id].append(one.route.name)
    until_now = {route.name: names[route.id][0] for route in routes if len(names[route.id]) == 1}
    return {new: old for new, old in until_now.items() if new != old}


def find_replaced_routes(
    live: Iterable[LiveRoute], routes: Iterable[ProposedRoute]
) -> list[LiveRoute]:
    """The live routes that `routes` take the place of: those of their names, and those that they were under another name.

    In the order of `routes`; what one was until now comes last, unless another of `routes` takes its name.
    """
    by_name, landing = {one.route.name: one for one in live}, list(routes)
    names = dict.fromkeys(
        [
            *(route.name for route in landing),
            *find_previous_names(by_name.values(), landing).values(),
        ]
    )
    return [by_name[name] for name in names if name in by_name]
