"""Stored plans for tests of stores and of apply."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid5

from ttplan.model.plan import Aggregates, ConfidenceIntervals, PlanConfig, PlanResult
from ttplan.model.pricing import ModelPricing
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions
from ttplan.model.stored_plan import StoredPlan

ORG = UUID(int=1)
CREATED = datetime(2026, 5, 2, tzinfo=UTC)


def route(number: int, **changes: object) -> ProposedRoute:
    """A route with something in every field."""
    fields: dict[str, object] = {
        "id": UUID(int=number),
        "name": f"route {number}",
        "priority": number,
        "enabled": True,
        "when": RouteConditions(
            model_in=("gpt-4o",),
            input_tokens_lt=100,
            tag_equals="",
            estimated_cost_gt=Decimal("0.0123456789012345"),
        ),
        "then": RouteAction(
            target_model="gpt-4o-mini",
            fallbacks=("x",),
            disable_cache=True,
            max_cost_usd=Decimal("0.5"),
        ),
    }
    return ProposedRoute(**(fields | changes))  # type: ignore[arg-type]


def named(name: str, **changes: object) -> ProposedRoute:
    """A route with that name and its own id; its priority is the length of the name."""
    return route(len(name), **({"id": uuid5(ORG, name), "name": name} | changes))


def result(
    plan_id: UUID,
    routes: tuple[ProposedRoute, ...] = (),
    savings: str = "12.345678901234",
    org_id: UUID = ORG,
) -> PlanResult:
    """A result that saves something."""
    amount = Decimal(savings)
    return PlanResult(
        plan_id=plan_id,
        org_id=org_id,
        window_start=datetime(2026, 5, 1, tzinfo=UTC),
        window_end=CREATED,
        sample_size=1234,
        aggregates=Aggregates(
            total_baseline_cost_usd=amount * 2,
            total_actual_cost_usd=amount * 2,
            total_projected_cost_usd=amount,
            projected_savings_usd=amount,
            projected_savings_pct=50.0,
            projected_change_usd=amount,
            change_vs_actual_usd=amount,
            cache_hit_rate_projected=0.25,
            p50_latency_ms_projected=800.0,
            p95_latency_ms_projected=2000.0,
            requests_rerouted=1000,
            requests_unchanged=234,
            requests_unprice_able=0,
        ),
        confidence_intervals=ConfidenceIntervals(
            savings_usd_95=(11.0, 13.0),
            savings_pct_95=(48.0, 52.0),
            cache_hit_rate_95=(0.2, 0.3),
            p50_latency_ms_95=(790.0, 810.0),
            p95_latency_ms_95=(1900.0, 2100.0),
        ),
        interval_method="limit",
        interval_unit="request",
        per_route_breakdown=(),
        caveats=("a caveat",),
        proposed_routes=routes,
    )


def run(number: int, routes: tuple[ProposedRoute, ...] = (), **changes: object) -> StoredPlan:
    """A projected plan."""
    plan_id = UUID(int=number)
    fields: dict[str, object] = {
        "plan_id": plan_id,
        "org_id": ORG,
        "name": f"plan {number}",
        "created_at": CREATED,
        "nonce": f"{number:064x}",
        "seed": 2**64 - 1,
        "bootstrap_iterations": 10_000,
        "config": PlanConfig(l1_ttl_seconds=60),
        "pricing": {
            "openai:gpt-4o-mini": ModelPricing(
                input_per_million=Decimal("0.15"), output_per_million=Decimal("0.6")
            )
        },
        "result": result(plan_id, routes),
    }
    return StoredPlan(**(fields | changes))
