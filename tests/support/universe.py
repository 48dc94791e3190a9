"""Synthetic logs and plans of any size for tests that need many rows."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import ibis.expr.types as ir
import numpy as np

from tests.support.strategies import ORG, START
from ttplan.engine.replay import replay_table
from ttplan.model.plan import IntervalMethod, PlanConfig, PlanInput, PlanResult
from ttplan.model.pricing import ModelPricing
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions


def log(n: int, seed: int, sigma: float = 1.0) -> tuple[RequestLog, ...]:
    """`n` requests of lognormal size; `sigma` says how heavy the tail of their costs is."""
    rng = np.random.default_rng(seed)
    size = np.minimum(rng.lognormal(6, sigma, n), 1e9).astype(int) + 1
    output = rng.integers(0, 400, n)
    latency = rng.integers(100, 4000, n)
    second = np.sort(rng.integers(0, 3600, n))
    rows = []
    for i in range(n):
        # Recorded costs differ a little from those of the catalogue.
        cost = Decimal(int(size[i]) * 25 + int(output[i]) * 100).scaleb(-7) * Decimal(
            int(rng.integers(90, 110))
        ).scaleb(-2)
        rows.append(
            RequestLog(
                id=UUID(int=int(rng.integers(0, 2**63)) << 64 | i),
                org_id=ORG,
                ts=START + timedelta(seconds=int(second[i])),
                provider="openai",
                model="gpt-4o",
                input_tokens=int(size[i]),
                output_tokens=int(output[i]),
                cached_tokens=0,
                cost_usd=cost,
                baseline_cost_usd=cost,
                cached=False,
                latency_ms=int(latency[i]),
                status=200,
                tag="chat" if i % 3 else "code",
            )
        )
    return tuple(rows)


def plan(requests: tuple[RequestLog, ...], **changes: object) -> PlanInput:
    """A plan that sends the chat requests to a cheaper model."""
    route = ProposedRoute(
        id=UUID(int=5),
        name="chat to mini",
        priority=1,
        enabled=True,
        when=RouteConditions(tag_equals="chat"),
        then=RouteAction(target_model="gpt-4o-mini"),
    )
    fields: dict[str, object] = {
        "plan_id": UUID(int=99),
        "org_id": ORG,
        "window_start": START,
        "window_end": START + timedelta(hours=1),
        "requests": requests,
        "proposed_routes": (route,),
        "pricing": {
            "openai:gpt-4o-mini": ModelPricing(
                input_per_million=Decimal("0.15"), output_per_million=Decimal("0.6")
            )
        },
        "config": PlanConfig(),
        "seed": 7,
        "bootstrap_iterations": 2000,
    }
    return PlanInput(**(fields | changes))  # type: ignore[arg-type]


def replayed(table: ir.Table, plan: PlanInput, method: IntervalMethod = "auto") -> PlanResult:
    """The result of `replay_table` for a plan and the rows of `table`."""
    return replay_table(
        table,
        plan.proposed_routes,
        plan.pricing,
        plan.config,
        org_id=plan.org_id,
        plan_id=plan.plan_id,
        window_start=plan.window_start,
        window_end=plan.window_end,
        seed=plan.seed,
        bootstrap_iterations=plan.bootstrap_iterations,
        interval_method=method,
    )
