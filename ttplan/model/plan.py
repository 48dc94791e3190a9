"""A plan's input and its result."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ttplan.model.money import Money, SignedMoney
from ttplan.model.pricing import ModelPricing, split_price_key
from ttplan.model.request import RequestLog, UtcDatetime
from ttplan.model.results.quality import QualityResult
from ttplan.model.route import ProposedRoute, find_duplicate

IntervalMethod = Literal["auto", "limit", "resample", "tt-plan-core"]
UsedIntervalMethod = Literal["auto", "limit", "resample", "tt-plan-core", "limit+resample", "none"]
"""What gave a result's intervals; `limit+resample`: those of money were resampled since few requests carry the cost; `none`:
there are none, since the requests come in too few clusters."""
Interval = tuple[float, float]
Seconds = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Threshold = Annotated[float, Field(ge=-1, le=1)]

_IN = ConfigDict(frozen=True, extra="ignore")
_OUT = ConfigDict(frozen=True, extra="forbid")


ColumnName = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
MAX_THRESHOLDS = 32
DEFAULT_BOOTSTRAP_ITERATIONS = 10_000
"""How many resamples a plan asks for where nobody says."""


class PlanConfig(BaseModel):
    """What a plan assumes besides its routes. A TTL of None switches that cache level off; 0 is a TTL.

    `l2_threshold`, one of the sweep's, is the one whose hits count for cost; without it the semantic cache only informs.
    `cluster` names what is resampled together: `hour`, `day` (both UTC), or a column such as `tag` or `session_id`.
    """

    model_config = _IN

    l1_ttl_seconds: Seconds | None = None
    l2_threshold_sweep: Annotated[tuple[Threshold, ...], Field(max_length=MAX_THRESHOLDS)] = (
        0.85,
        0.90,
        0.92,
        0.95,
    )
    l2_ttl_seconds: Seconds | None = None
    l2_threshold: Threshold | None = None
    cluster: ColumnName | None = None

    @model_validator(mode="after")
    def _threshold_is_swept(self) -> Self:
        if self.l2_threshold is None:
            return self
        if self.l2_ttl_seconds is None:
            raise ValueError(
                "l2_threshold is set and l2_ttl_seconds is not; expected both, or neither"
            )
        if self.l2_threshold not in self.l2_threshold_sweep:
            swept = ", ".join(map(str, self.l2_threshold_sweep))
            raise ValueError(
                f"l2_threshold is {self.l2_threshold}; expected one of l2_threshold_sweep: {swept}"
            )
        return self


def check_window(start: datetime, end: datetime) -> None:
    """Raise ValueError where a window ends before it begins."""
    if end <= start:
        raise ValueError(
            f"the window ends at {end.isoformat()}, which is not after its start {start.isoformat()}; "
            "expected window_start < window_end"
        )


class PlanInput(BaseModel):
    """Everything that a replay depends on. `window_start` is inclusive, `window_end` exclusive."""

    model_config = _IN

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

    @field_validator("pricing")
    @classmethod
    def _keys_have_a_colon(cls, pricing: dict[str, ModelPricing]) -> dict[str, ModelPricing]:
        for key in pricing:
            split_price_key(key)
        return pricing

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_window(self.window_start, self.window_end)
        repeat = find_duplicate(self.proposed_routes)
        if repeat is not None:
            raise ValueError(repeat)
        seen: set[UUID] = set()
        for row, request in enumerate(self.requests):
            if request.id in seen:
                raise ValueError(
                    f"requests[{row}]: id {request.id} appears twice; expected every request id once"
                )
            seen.add(request.id)
        return self


class L2Projection(BaseModel):
    """What a semantic cache at one similarity threshold would have done. `projected_l2_hit_rate` is 0..1.

    `total` counts the requests that could be looked up. Ours besides: how many of the hits the projected L1 cache has too, and
    what the others would save (USD per window).
    """

    model_config = _OUT

    threshold: float
    total: int
    projected_l2_hits: int
    projected_l2_hit_rate: float
    poisoning_candidates: int
    also_l1_hits: int = 0
    saves_usd: SignedMoney = Decimal(0)


class PoisoningCandidate(BaseModel):
    """A projected semantic hit whose two sides ended differently: what it was served may be wrong.

    `thresholds` are those of the sweep at which this source serves it.
    """

    model_config = _OUT

    request_id: UUID
    source_id: UUID
    thresholds: tuple[float, ...]
    cosine: float
    finish_reason: str | None
    source_finish_reason: str | None
    output_tokens: int
    source_output_tokens: int


class CacheHits(BaseModel):
    """Projected hits by cache level, each as if alone, and together. `l2` is at the threshold that counts for cost, else None."""

    model_config = _OUT

    l1: int | None
    l2: int | None
    both: int
    either: int


class SavingsByCause(BaseModel):
    """Baseline minus projected cost, split in this order; the parts add up to it. USD per window; negative: it costs more.

    `already`: what routing and caching recorded in the log saves on requests that the plan leaves alone. `routes`: the target's
    price, with no discount for cached tokens. `provider_cache`: that discount. `l1_cache`, `l2_cache`: what a hit would have cost
    by then; a hit of both levels is L1's.
    """

    model_config = _OUT

    already: SignedMoney
    routes: SignedMoney
    provider_cache: SignedMoney
    l1_cache: SignedMoney
    l2_cache: SignedMoney


class Aggregates(BaseModel):
    """A plan's point estimates over its window. Money is USD per window; pct is 0..100, a rate 0..1, latency in ms.

    `projected_savings_*` are clipped at 0. `projected_change_usd` (baseline minus projected) and `change_vs_actual_usd`
    (actual minus projected) are not: negative means that the plan costs more. `p*_latency_ms_actual` are of the latencies as they
    were logged; None where there are none, and in results from before they were kept.
    """

    model_config = _OUT

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


class ConfidenceIntervals(BaseModel):
    """95 % intervals `[lo, hi]`, in the units of the estimates that they belong to; None where there is none to be had.

    The ends of savings are clipped to 0 (and 100 for the pct); those of the changes, which method `tt-plan-core` does not
    give, are not.
    """

    model_config = _OUT

    savings_usd_95: Interval | None = None
    savings_pct_95: Interval | None = None
    cache_hit_rate_95: Interval | None = None
    p50_latency_ms_95: Interval | None = None
    p95_latency_ms_95: Interval | None = None
    projected_change_usd_95: Interval | None = None
    projected_change_pct_95: Interval | None = None
    change_vs_actual_usd_95: Interval | None = None


class PerRouteBreakdown(BaseModel):
    """What one route does. Money is USD per window; savings are clipped at 0."""

    model_config = _OUT

    route_id: UUID
    route_name: str
    matched: int
    baseline_cost_usd: Money
    projected_cost_usd: Money
    savings_usd: Money


class Clusters(BaseModel):
    """The clusters that were resampled: how many, how many equal ones they are worth, and the largest one's share (0..1).

    `effective` is (sum x)^2 / sum x^2 (L. Kish, Survey Sampling, 1965) of the clusters' baselines or of their requests, and
    `largest_share` is of those, whichever is worse.
    """

    model_config = _OUT

    count: int
    effective: float
    largest_share: float


class PlanResult(BaseModel):
    """What a replay found. `model_dump_json()` is the same to the byte for the same input."""

    model_config = _OUT

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


def make_empty_result(
    plan_id: UUID,
    org_id: UUID,
    window: tuple[datetime, datetime],
    routes: tuple[ProposedRoute, ...],
) -> PlanResult:
    """A result over no request at all. `window` is (inclusive, exclusive)."""
    zero: Any = 0
    money = (
        "total_baseline_cost_usd",
        "total_actual_cost_usd",
        "total_projected_cost_usd",
        "projected_savings_usd",
    )
    other = (
        "projected_savings_pct",
        "projected_change_usd",
        "change_vs_actual_usd",
        "cache_hit_rate_projected",
    )
    latency = ("p50_latency_ms_projected", "p95_latency_ms_projected")
    counts = ("requests_rerouted", "requests_unchanged", "requests_unprice_able")
    return PlanResult(
        plan_id=plan_id,
        org_id=org_id,
        window_start=window[0],
        window_end=window[1],
        sample_size=0,
        aggregates=Aggregates(**dict.fromkeys((*money, *other, *latency, *counts), zero)),
        confidence_intervals=ConfidenceIntervals(),
        interval_method="none",
        interval_unit="request",
        per_route_breakdown=(),
        caveats=(),
        proposed_routes=routes,
    )
