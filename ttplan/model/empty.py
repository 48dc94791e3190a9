"""The result of a plan that found nothing: every figure is zero, and nothing has an interval."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ttplan.model.plan import Aggregates, ConfidenceIntervals, PlanResult
from ttplan.model.route import ProposedRoute


def empty_result(plan_id: UUID, org_id: UUID, window: tuple[datetime, datetime], routes: tuple[ProposedRoute, ...]) -> PlanResult:
    """A result over no request at all. `window` is (inclusive, exclusive)."""
    zero: Any = 0
    money = ("total_baseline_cost_usd", "total_actual_cost_usd", "total_projected_cost_usd", "projected_savings_usd")
    other = ("projected_savings_pct", "projected_change_usd", "change_vs_actual_usd", "cache_hit_rate_projected")
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
