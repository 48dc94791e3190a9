"""What a replay is asked, apart from the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ttplan.model.errors import InputError
from ttplan.model.plan import IntervalMethod, PlanConfig, PlanInput, check_window
from ttplan.model.pricing import ModelPricing
from ttplan.model.route import ProposedRoute, sort_by_precedence
from ttplan.model.stored_plan import StoredPlan


def require_window(start: datetime, end: datetime) -> None:
    """Raise InputError where a window ends before it begins."""
    try:
        check_window(start, end)
    except ValueError as error:
        raise InputError(str(error)) from None


@dataclass(frozen=True)
class Question:
    """A plan without its rows. `window_start` is inclusive, `window_end` exclusive."""

    plan_id: UUID
    org_id: UUID
    window_start: datetime
    window_end: datetime
    routes: Sequence[ProposedRoute]
    pricing: Mapping[str, ModelPricing]
    config: PlanConfig = field(default_factory=PlanConfig)
    seed: int = 0
    bootstrap_iterations: int = 10_000
    interval_method: IntervalMethod = "limit"

    @property
    def tried(self) -> list[ProposedRoute]:
        """The enabled routes in the order in which they are tried."""
        return sort_by_precedence(self.routes)

    @property
    def projects_hits(self) -> bool:
        """Whether cache hits are projected, so that hits as recorded count no more."""
        return self.config.l1_ttl_seconds is not None or self.config.l2_threshold is not None

    @property
    def unit(self) -> str:
        """What is resampled: a request, or the name of the cluster."""
        return self.config.cluster or "request"

    @property
    def bypassing(self) -> list[int]:
        """The positions in `tried` of the routes whose requests neither read nor fill a cache."""
        return [i for i, route in enumerate(self.tried) if route.then.disable_cache]

    @classmethod
    def asked_by(cls, run: StoredPlan) -> Question:
        """What a stored plan asked, by the default method."""
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
        )

    @classmethod
    def of(cls, plan: PlanInput, interval_method: IntervalMethod) -> Question:
        """What `plan` asks."""
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
        )
