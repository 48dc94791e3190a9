"""A plan's input and its result."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, field_validator, model_validator

from ttplan.model.base import FrozenModel, LenientModel, OmitsDefaults, UtcDatetime
from ttplan.model.money import Money, SignedMoney
from ttplan.model.pricing import ModelPricing, split_price_key
from ttplan.model.projection.assumption import Assumption, AssumptionEffect
from ttplan.model.projection.capabilities import ModelFacts
from ttplan.model.projection.full import FullProjection
from ttplan.model.request import RequestLog
from ttplan.model.results.parts import (
    CacheHits,
    ChangeByCause,
    L1UpperBound,
    L2Projection,
    PerMonth,
    PoisoningCandidate,
    SavingsByCause,
)
from ttplan.model.results.quality import QualityResult
from ttplan.model.route import ProposedRoute, find_duplicate

IntervalMethod = Literal["auto", "hall", "limit", "resample", "tt-plan-core"]
UsedIntervalMethod = Literal["hall", "limit", "resample", "tt-plan-core", "limit+resample", "none"]
"""How a result's intervals were computed. `limit+resample`: those of money were resampled because
few requests carry the cost. `none`: too few clusters for intervals."""
Projection = Literal["reference", "full"]
"""`reference`: logged tokens at three flat rates, as the ecosystem's engine computes it. `full`: at
the target's whole price, with limits, caches and named assumptions."""
Interval = tuple[float, float]
PricesAt = Literal["request", "plan"]
Seconds = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Threshold = Annotated[float, Field(ge=-1, le=1)]
ColumnName = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
MAX_THRESHOLDS = 32
Thresholds = Annotated[tuple[Threshold, ...], Field(max_length=MAX_THRESHOLDS)]
DEFAULT_BOOTSTRAP_ITERATIONS = 10_000
AUTO = "auto"
"""The cluster that is chosen by the log."""


class PlanConfig(OmitsDefaults, LenientModel):
    """What a plan assumes besides its routes.

    Parameters
    ----------
    l1_ttl_seconds, l2_ttl_seconds : int, optional
        Lifetime of an entry of the exact (L1) and of the semantic (L2) cache. None switches the
        cache off; 0 is a valid lifetime.
    l2_threshold_sweep : sequence of float
        Similarities, -1 to 1, at which the semantic cache is projected.
    l2_threshold : float, optional
        The value of the sweep whose hits count for cost. Without it, the semantic cache is
        reported but does not affect costs.
    cluster : str, optional
        Requests that are resampled together: `auto`, `minute`, `quarter_hour`, `hour`, `day` (all
        UTC), or a column such as `tag` or `session_id`. `auto` chooses among requests, sessions
        and these times. `Workspace.plan` sets ``"auto"`` for a full projection
        unless the config names one.
    projection : {"reference", "full"}
        How costs are projected. `Workspace.plan` sets ``"full"`` unless the config names one.
    prices_at : {"request", "plan"}
        Whether a full projection uses prices at the time of each request or of the plan.
    session : str, optional
        The column whose requests share a provider's prompt cache. By default `session_id`,
        `user_id` or `api_key_id`, the first that has values.
    l1_upper_bound_ignores : sequence of {"tag", "input_tokens"}
        Of requests without a hash of the prompt, a full projection gives the most that can be L1
        hits: those of the same model, tag and input tokens. These are left out of that key.

    Examples
    --------
    >>> import ttplan
    >>> ttplan.PlanConfig(l1_ttl_seconds=300).l1_ttl_seconds
    300
    """

    l1_ttl_seconds: Seconds | None = None
    l2_threshold_sweep: Thresholds = (0.85, 0.90, 0.92, 0.95)
    l2_ttl_seconds: Seconds | None = None
    l2_threshold: Threshold | None = None
    cluster: ColumnName | None = None
    projection: Projection = "reference"
    prices_at: PricesAt = "request"
    session: ColumnName | None = None
    l1_upper_bound_ignores: tuple[Literal["tag", "input_tokens"], ...] = ()

    OMITTED: ClassVar[frozenset[str]] = frozenset(
        {"projection", "prices_at", "session", "l1_upper_bound_ignores"}
    )

    @model_validator(mode="after")
    def _check_threshold(self) -> Self:
        if self.l2_threshold is None:
            return self
        if self.l2_ttl_seconds is None:
            raise ValueError(
                "l2_threshold is set and l2_ttl_seconds is not; expected both, or neither"
            )
        if self.l2_threshold not in self.l2_threshold_sweep:
            sweep = ", ".join(map(str, self.l2_threshold_sweep))
            raise ValueError(
                f"l2_threshold is {self.l2_threshold}; expected one of l2_threshold_sweep: {sweep}"
            )
        return self


def check_window(start: datetime, end: datetime) -> None:
    """Raise ValueError if a window does not end after its start."""
    if end <= start:
        raise ValueError(
            f"the window ends at {end.isoformat()}, which is not after its start "
            f"{start.isoformat()}; expected window_start < window_end"
        )


class PlanInput(OmitsDefaults, LenientModel):
    """Everything that a replay depends on.

    Parameters
    ----------
    plan_id, org_id : UUID
    window_start, window_end : datetime
        Time zone required. The start is inclusive, the end exclusive.
    requests : sequence of RequestLog
    proposed_routes : sequence of ProposedRoute
    pricing : dict of str to ModelPricing
        Keys are `provider:model`.
    config : PlanConfig, optional
    seed : int
        Seed of the random draws, 0 to 2**64 - 1.
    bootstrap_iterations : int
        Number of resamples.
    assumptions : sequence of Assumption, optional
        Of a full projection: they take precedence over what the log shows.
    facts : dict of str to ModelFacts, optional
        Of a full projection: limits and cache rules by `provider:model`, over the catalogues'.

    Examples
    --------
    >>> from uuid import UUID
    >>> import ttplan
    >>> plan = ttplan.PlanInput(
    ...     plan_id=UUID(int=1),
    ...     org_id=UUID(int=2),
    ...     window_start="2026-05-01T00:00:00Z",
    ...     window_end="2026-06-01T00:00:00Z",
    ...     requests=[],
    ...     proposed_routes=[],
    ...     pricing={},
    ...     seed=0,
    ...     bootstrap_iterations=1_000,
    ... )
    >>> ttplan.replay(plan).sample_size
    0
    """

    plan_id: UUID
    org_id: UUID
    window_start: UtcDatetime
    window_end: UtcDatetime
    requests: tuple[RequestLog, ...]
    proposed_routes: tuple[ProposedRoute, ...]
    pricing: dict[str, ModelPricing]
    config: PlanConfig = PlanConfig()
    seed: int = Field(strict=True, ge=0, lt=2**64)
    bootstrap_iterations: int = Field(strict=True, ge=1, lt=2**32)
    assumptions: tuple[Assumption, ...] = ()
    facts: dict[str, ModelFacts] = Field(default_factory=dict)

    OMITTED: ClassVar[frozenset[str]] = frozenset({"assumptions", "facts"})

    @field_validator("pricing")
    @classmethod
    def _check_price_keys(cls, pricing: dict[str, ModelPricing]) -> dict[str, ModelPricing]:
        for key in pricing:
            split_price_key(key)
        return pricing

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        check_window(self.window_start, self.window_end)
        duplicate = find_duplicate(self.proposed_routes)
        if duplicate is not None:
            raise ValueError(duplicate)
        seen: set[UUID] = set()
        for row, request in enumerate(self.requests):
            if request.id in seen:
                raise ValueError(
                    f"requests[{row}]: id {request.id} appears twice; expected every request id "
                    "once"
                )
            seen.add(request.id)
        return self


class Aggregates(OmitsDefaults, FrozenModel):
    """A plan's point estimates over its window.

    Money is USD per window, a percentage 0 to 100, a rate 0 to 1, a latency ms.

    Attributes
    ----------
    projected_savings_usd, projected_savings_pct
        Baseline minus projected cost, clipped at 0.
    projected_change_usd, change_vs_actual_usd
        Baseline, and actual, minus projected cost. Not clipped: negative if the plan costs more.
    p50_latency_ms_actual, p95_latency_ms_actual
        Latencies as logged; None if the log, or an older result, has none.
    requests_ineligible, requests_failed : int or None
        Matched requests that the target cannot serve, and that failed. None for a reference
        projection, as for the next.
    savings_at_plan_prices_usd : Decimal or None
        Actual minus projected cost at the other of `prices_at`: by default, at the plan's moment.
    saved_already_usd : Decimal or None
        Baseline minus actual cost: what today's routing and caches save without the plan.
    """

    total_baseline_cost_usd: Money
    total_actual_cost_usd: Money
    total_projected_cost_usd: Money
    projected_savings_usd: Money
    projected_savings_pct: float
    projected_change_usd: SignedMoney
    change_vs_actual_usd: SignedMoney
    cache_hit_rate_projected: float
    p50_latency_ms_projected: float
    p95_latency_ms_projected: float
    requests_rerouted: int
    requests_unchanged: int
    requests_unprice_able: int
    l2_projections: tuple[L2Projection, ...] = ()
    l2_poisoning_candidates: int = 0
    p50_latency_ms_actual: float | None = None
    p95_latency_ms_actual: float | None = None
    requests_ineligible: int | None = None
    requests_failed: int | None = None
    savings_at_plan_prices_usd: SignedMoney | None = None
    saved_already_usd: SignedMoney | None = None

    OMITTED: ClassVar[frozenset[str]] = frozenset(
        {
            "requests_ineligible",
            "requests_failed",
            "savings_at_plan_prices_usd",
            "saved_already_usd",
        }
    )


class ConfidenceIntervals(OmitsDefaults, FrozenModel):
    """95 % intervals `[low, high]` in the units of their estimates; None if unavailable.

    Savings are clipped at 0 (and at 100 for the percentage). Changes are not; the method
    `tt-plan-core` has none. `savings_by_cause_95`, of method `hall` only, has intervals by the
    names of `SavingsByCause`, and of `FullProjection.kept_cache_usd` as `kept_cache`; only that
    method has one of the projected cost, and `change_by_cause_95`, by the names of `ChangeByCause`.
    """

    savings_usd_95: Interval | None = None
    savings_pct_95: Interval | None = None
    cache_hit_rate_95: Interval | None = None
    p50_latency_ms_95: Interval | None = None
    p95_latency_ms_95: Interval | None = None
    projected_change_usd_95: Interval | None = None
    projected_change_pct_95: Interval | None = None
    change_vs_actual_usd_95: Interval | None = None
    savings_by_cause_95: dict[str, Interval | None] = Field(default_factory=dict)
    total_projected_cost_usd_95: Interval | None = None
    change_by_cause_95: dict[str, Interval | None] = Field(default_factory=dict)

    OMITTED: ClassVar[frozenset[str]] = frozenset(
        {"savings_by_cause_95", "total_projected_cost_usd_95", "change_by_cause_95"}
    )


class PerRouteBreakdown(OmitsDefaults, FrozenModel):
    """The effect of one route. Money is USD per window; savings are clipped at 0.

    `change_vs_actual_usd_95` is the interval of what was paid minus projected, of method `hall`.
    """

    route_id: UUID
    route_name: str
    matched: int
    baseline_cost_usd: Money
    projected_cost_usd: Money
    savings_usd: Money
    change_vs_actual_usd_95: Interval | None = None

    OMITTED: ClassVar[frozenset[str]] = frozenset({"change_vs_actual_usd_95"})


class Clusters(OmitsDefaults, FrozenModel):
    """The resampled clusters: their number, effective number, and the largest share (0 to 1).

    `effective` is (sum x)^2 / sum x^2 (L. Kish, Survey Sampling, 1965), where x is each cluster's
    baseline or request count, whichever is worse; `largest_share` is of the same x.
    `design_effect` is the variance of the savings by cluster as a multiple of that by request.
    """

    count: int
    effective: float
    largest_share: float
    design_effect: float | None = None

    OMITTED: ClassVar[frozenset[str]] = frozenset({"design_effect"})


class PlanResult(OmitsDefaults, FrozenModel):
    """The result of a replay.

    `model_dump_json()` is byte-identical for the same input.

    Attributes
    ----------
    window_start, window_end : datetime
        UTC; the start is inclusive, the end exclusive.
    sample_size : int
        Number of requests in the window.
    aggregates : Aggregates
    confidence_intervals : ConfidenceIntervals
    interval_method, interval_unit : str
        How the intervals were computed, and what was resampled.
    per_route_breakdown : tuple of PerRouteBreakdown
        Sorted by route id.
    caveats : tuple of str
        What a reader has to know before trusting the numbers.
    quality : QualityResult or None
        Judged answers, once there are some.
    assumptions : tuple of AssumptionEffect
        What a full projection rests on, by the size of the effect.
    full : FullProjection or None
        What a full projection was made of; None for a reference projection.
    per_month : PerMonth or None
        What a coming month would save. None if the log is shorter than a day, and for methods
        other than `hall`.
    change_by_cause : ChangeByCause or None
        `change_vs_actual_usd` of a full projection, split by cause.
    l1_upper_bound : L1UpperBound or None
        What an exact cache could answer at most of the requests without a hash of the prompt. None
        if all have one, without `l1_ttl_seconds`, and for a reference projection.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from uuid import UUID
    >>> from ttplan.model.plan import make_empty_result
    >>> window = (datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC))
    >>> make_empty_result(UUID(int=1), UUID(int=2), window, ()).interval_method
    'none'
    """

    plan_id: UUID
    org_id: UUID
    window_start: UtcDatetime
    window_end: UtcDatetime
    sample_size: int
    aggregates: Aggregates
    confidence_intervals: ConfidenceIntervals
    interval_method: UsedIntervalMethod
    interval_unit: str
    clusters: Clusters | None = None
    per_route_breakdown: tuple[PerRouteBreakdown, ...]
    caveats: tuple[str, ...]
    quality: QualityResult | None = None
    cache_hits: CacheHits | None = None
    savings_by_cause: SavingsByCause | None = None
    poisoning_candidates: tuple[PoisoningCandidate, ...] = ()
    proposed_routes: tuple[ProposedRoute, ...] = ()
    assumptions: tuple[AssumptionEffect, ...] = ()
    full: FullProjection | None = None
    per_month: PerMonth | None = None
    change_by_cause: ChangeByCause | None = None
    l1_upper_bound: L1UpperBound | None = None

    OMITTED: ClassVar[frozenset[str]] = frozenset(
        {"assumptions", "full", "per_month", "change_by_cause", "l1_upper_bound"}
    )


def change_pct_95(result: PlanResult) -> Interval | None:
    """Return the interval of the change against what was paid, in percent of that."""
    interval = result.confidence_intervals.change_vs_actual_usd_95
    paid = float(result.aggregates.total_actual_cost_usd)
    if interval is None or not paid:
        return None
    return interval[0] / paid * 100, interval[1] / paid * 100


def make_empty_result(
    plan_id: UUID,
    org_id: UUID,
    window: tuple[datetime, datetime],
    routes: tuple[ProposedRoute, ...],
) -> PlanResult:
    """Return the result over no requests. `window` is (inclusive, exclusive)."""
    zeros = {name: 0 for name, field in Aggregates.model_fields.items() if field.is_required()}
    return PlanResult(
        plan_id=plan_id,
        org_id=org_id,
        window_start=window[0],
        window_end=window[1],
        sample_size=0,
        aggregates=Aggregates.model_validate(zeros),
        confidence_intervals=ConfidenceIntervals(),
        interval_method="none",
        interval_unit="request",
        per_route_breakdown=(),
        caveats=(),
        proposed_routes=routes,
    )
