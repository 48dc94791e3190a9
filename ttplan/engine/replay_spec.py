"""What a replay takes and gives: the spec of a plan without its rows, the outcome, and the passes
in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ttplan.model.errors import InputError
from ttplan.model.plan import (
    AUTO,
    DEFAULT_BOOTSTRAP_ITERATIONS,
    IntervalMethod,
    PlanConfig,
    PlanInput,
    PlanResult,
    check_window,
)
from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.assumption import Assumption
from ttplan.model.projection.capabilities import ModelFacts
from ttplan.model.projection.full import ProjectionInputs
from ttplan.model.route import ProposedRoute, find_duplicate, sort_by_precedence
from ttplan.model.stored_plan import CostBasis, StoredPlan
from ttplan.prices.book import PriceBook

COUNTING = "counting the window's requests"
SEMANTIC = "looking up embeddings"
KEEPING = "keeping the window's requests"
ORDERING = "ordering by cache key"
LOOKING_UP = "looking up cache keys"
JOINING = "noting the hits"
LATENCIES = "counting latencies and the largest amounts"
SUMMING = "summing costs"
INFERRING = "computing intervals"


def pass_names(config: PlanConfig) -> list[str]:
    """The passes of a replay with this configuration, in order; a log may need fewer."""
    exact = [ORDERING, LOOKING_UP] if config.l1_ttl_seconds is not None else []
    semantic = [SEMANTIC] if config.l2_ttl_seconds is not None else []
    cached = [KEEPING, *exact, JOINING] if exact or semantic else []
    return [COUNTING, *semantic, *cached, LATENCIES, SUMMING, INFERRING]


class Scope(NamedTuple):
    """The window, inclusive and exclusive, and the organisation of a replay."""

    start: datetime
    end: datetime
    org_id: UUID


class ClusterKey(NamedTuple):
    """A time or a column whose requests are one cluster. If it is null, a request is a cluster of
    its own if `null_alone`, else one with the others."""

    name: str
    null_alone: bool = False


@dataclass(frozen=True)
class ReplaySpec:
    """All that a replay needs, except the rows. `window_start` is inclusive, `window_end`
    exclusive.

    A full projection also takes `inputs`, as an earlier one had them, or else looks them up in
    `book` and the catalogues, with the user's `facts` and `assumptions`; `prices_at` is the plan's
    moment. `unit` is what `config.cluster` "auto" chose before; None if it has to choose.
    """

    plan_id: UUID
    org_id: UUID
    window_start: datetime
    window_end: datetime
    routes: Sequence[ProposedRoute]
    pricing: Mapping[str, ModelPricing]
    config: PlanConfig = field(default_factory=PlanConfig)
    seed: int = 0
    bootstrap_iterations: int = DEFAULT_BOOTSTRAP_ITERATIONS
    interval_method: IntervalMethod = "auto"
    book: PriceBook | None = None
    facts: Mapping[str, ModelFacts] = field(default_factory=dict)
    assumptions: tuple[Assumption, ...] = ()
    prices_at: datetime | None = None
    inputs: ProjectionInputs | None = None
    unit: str | None = None

    @classmethod
    def from_plan(cls, plan: PlanInput, interval_method: IntervalMethod = "auto") -> ReplaySpec:
        """The spec of a plan input."""
        return cls(
            plan_id=plan.plan_id,
            org_id=plan.org_id,
            window_start=plan.window_start,
            window_end=plan.window_end,
            routes=plan.proposed_routes,
            pricing=plan.pricing,
            config=plan.config,
            seed=plan.seed,
            bootstrap_iterations=plan.bootstrap_iterations,
            interval_method=interval_method,
            facts=plan.facts,
            assumptions=plan.assumptions,
        )

    @classmethod
    def from_run(cls, run: StoredPlan) -> ReplaySpec:
        """The spec of a stored plan, with the default interval method."""
        return cls(
            plan_id=run.plan_id,
            org_id=run.org_id,
            window_start=run.result.window_start,
            window_end=run.result.window_end,
            routes=run.result.proposed_routes,
            pricing=run.pricing,
            config=run.config,
            seed=run.seed,
            bootstrap_iterations=run.bootstrap_iterations,
            inputs=None if run.result.full is None else run.result.full.inputs,
            unit=run.result.interval_unit if run.config.cluster == AUTO else None,
        )

    @property
    def is_full(self) -> bool:
        """Whether the projection is the full one."""
        return self.config.projection == "full"

    @property
    def counts_hits(self) -> bool:
        """Whether the column `hit` has the hits of the routed world, else those recorded count."""
        return self.projects_hits or self.is_full

    @property
    def scope(self) -> Scope:
        """Which rows the replay is of."""
        return Scope(self.window_start, self.window_end, self.org_id)

    @property
    def active_routes(self) -> list[ProposedRoute]:
        """The enabled routes in the order in which they are tried."""
        return sort_by_precedence(self.routes)

    @property
    def projects_hits(self) -> bool:
        """Whether cache hits are projected; recorded hits then no longer count."""
        return self.config.l1_ttl_seconds is not None or self.config.l2_threshold is not None

    @property
    def is_auto(self) -> bool:
        """Whether the log has to tell what is resampled."""
        return self.config.cluster == AUTO and self.unit is None

    @property
    def cluster(self) -> str | None:
        """The cluster that is resampled; None if it is the request, or if the log has to tell."""
        if self.config.cluster != AUTO:
            return self.config.cluster
        return None if self.unit == "request" else self.unit

    @property
    def studentises(self) -> bool:
        """Whether intervals are those of method `hall`."""
        defaults = self.is_full or self.config.cluster == AUTO
        return self.interval_method == "hall" or (self.interval_method == "auto" and defaults)

    def cluster_key(self, session: str | None) -> ClusterKey | None:
        """What the column `cluster` is of, in a log with this session column."""
        if self.is_auto:
            return None if session is None else ClusterKey(session, null_alone=True)
        if self.cluster is None:
            return None
        return ClusterKey(self.cluster, null_alone=self.config.cluster == AUTO)

    @property
    def interval_unit(self) -> str:
        """What is resampled: `request`, or the name of the cluster."""
        return self.cluster or "request"

    @property
    def cache_bypassing(self) -> list[int]:
        """Positions in `active_routes` of the routes that neither read nor fill a cache."""
        return [i for i, route in enumerate(self.active_routes) if route.then.disable_cache]

    def without_l2_hits(self) -> ReplaySpec:
        """This spec without a threshold at which semantic hits count for cost."""
        return replace(self, config=self.config.model_copy(update={"l2_threshold": None}))

    def check(self) -> None:
        """Raise InputError for a repeated route, no resamples, or a window that ends before it
        begins."""
        repeat = find_duplicate(self.routes)
        if repeat is not None:
            raise InputError(repeat)
        if self.bootstrap_iterations < 1:
            raise InputError(
                f"bootstrap_iterations is {self.bootstrap_iterations}; expected at least 1"
            )
        try:
            check_window(self.window_start, self.window_end)
        except ValueError as error:
            raise InputError(str(error)) from None


@dataclass(frozen=True)
class ReplayOutcome:
    """The result of a replay, the prices it used and where each comes from, and the basis of the
    log's costs."""

    result: PlanResult
    pricing: Mapping[str, ModelPricing]
    price_sources: Mapping[str, str] = field(default_factory=dict)
    cost_basis: CostBasis | None = None
