"""Inputs for both engines, without anything on which ttplan deviates intentionally.

tests/vectors/README.md lists those deviations.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations, pairwise
from typing import Any
from uuid import UUID

import numpy as np

from ttplan.model.plan import PlanConfig, PlanInput
from ttplan.model.pricing import ModelPricing
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

START = datetime(2026, 5, 1, tzinfo=UTC)
ORG = UUID(int=1)
CLOSE = 1e-4
"""The engines round cosines differently, so golden inputs have none this near to a threshold or to
another cosine.
"""


def requests(count: int, seed: int, dimensions: int = 0) -> tuple[RequestLog, ...]:
    """Return requests of three models, with embeddings of `dimensions` numbers unless 0."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        model = chance.choice(["gpt-4o", "gpt-4o", "claude-sonnet-4-5", "gpt-4o-mini"])
        tokens = int(chance.lognormvariate(6, 1)) + 1
        cost = Decimal(tokens * 25 + chance.randrange(4000)).scaleb(-7)
        hit = chance.random() < 0.05
        rows.append(
            RequestLog(
                id=UUID(int=chance.getrandbits(122)),
                org_id=ORG,
                ts=START + timedelta(milliseconds=number * 3_600_000 // count),
                provider="anthropic" if model.startswith("claude") else "openai",
                model=model,
                input_tokens=tokens,
                output_tokens=chance.randrange(500),
                cached_tokens=chance.choice([0, 0, tokens // 2, tokens + 5]),
                cost_usd=Decimal(0) if hit else cost,
                baseline_cost_usd=cost,
                cached=hit,
                cache_layer="l1" if hit else None,
                latency_ms=chance.randrange(50, 5000),
                status=200,
                tag=chance.choice([None, "chat", "code"]),
                body=chance.choice([None, "Please write SQL", "hello"]),
            )
        )
    return _embedded(rows, seed, dimensions) if dimensions else tuple(rows)


def _embedded(rows: list[RequestLog], seed: int, dimensions: int) -> tuple[RequestLog, ...]:
    """Return the rows with embeddings around centres; some have none, zeros or another length."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((len(rows) // 3 + 1, dimensions))
    embedded = []
    for row in rows:
        centre = centres[chance.integers(len(centres))]
        values = centre + chance.choice([0.05, 0.2, 0.4]) * chance.standard_normal(dimensions)
        # Few digits keep the files small. Outcomes vary, because they indicate poisoning.
        whole = [round(value, 3) for value in values.tolist()]
        odd = chance.random()
        embedding = (
            None
            if odd < 0.05
            else [0.0] * dimensions
            if odd < 0.08
            else whole[:-1]
            if odd < 0.12
            else whole
        )
        update = {
            "embedding": embedding,
            "finish_reason": [None, "stop", "stop", "stop", "length"][chance.integers(5)],
            "output_tokens": int(chance.choice([80, 100, 120, 121, 400, 499, 500, 501])),
        }
        embedded.append(row.model_copy(update=update))
    return tuple(embedded)


def ambiguous(plan: PlanInput) -> list[str]:
    """Describe the pairs of cosines, or cosine and threshold, that are too close to compare."""
    known = [row for row in plan.requests if row.embedding is not None]
    problems, by_row = [], dict[UUID, list[float]]()
    for a, b in combinations(known, 2):
        if (a.provider, a.model, len(a.embedding or ())) != (
            b.provider,
            b.model,
            len(b.embedding or ()),
        ):
            continue
        first, other = np.array(a.embedding), np.array(b.embedding)
        norms = float(np.linalg.norm(first) * np.linalg.norm(other))
        cosine = float(first @ other) / norms if norms else 0.0
        problems += [
            f"{a.id} and {b.id}: {cosine}"
            for t in plan.config.l2_threshold_sweep
            if abs(cosine - t) < CLOSE
        ]
        by_row.setdefault(b.id, []).append(cosine)  # rows are in order of time, so b looks a up
    floor = min(plan.config.l2_threshold_sweep)
    for row, cosines in by_row.items():
        near = sorted(cosine for cosine in cosines if cosine > floor - CLOSE)
        problems += [
            f"{row}: {low} and {high}" for low, high in pairwise(near) if high - low < CLOSE
        ]
    return problems


def plan(
    count: int,
    seed: int,
    *,
    resamples: int,
    ttl: int | None = None,
    l2_ttl: int | None = None,
    dimensions: int = 0,
) -> PlanInput:
    """A plan with a route of each kind: cheaper, across providers, with a ceiling, without a price,
    switched off.
    """

    def route(
        number: int, priority: int, target: str, when: RouteConditions, **more: Any
    ) -> ProposedRoute:
        then = RouteAction(target_model=target, max_cost_usd=more.pop("ceiling", None))
        return ProposedRoute(
            id=UUID(int=number),
            name=f"route {number}",
            priority=priority,
            when=when,
            then=then,
            **more,
        )

    return PlanInput(
        plan_id=UUID(int=count),
        org_id=ORG,
        window_start=START,
        window_end=START + timedelta(hours=1),
        requests=requests(count, seed, dimensions),
        proposed_routes=(
            route(5, 50, "gpt-4o", RouteConditions(), enabled=False),
            route(4, 40, "gpt-4o-mini", RouteConditions(tag_equals="chat", input_tokens_lt=800)),
            route(
                3,
                30,
                "claude-haiku-4-5",
                RouteConditions(model_in=("gpt-4o",), prompt_contains_any_of=("sql",)),
            ),
            route(
                2,
                30,
                "gpt-4o-mini",
                RouteConditions(estimated_cost_gt=Decimal("0.004")),
                ceiling=Decimal("0.0003"),
            ),
            route(1, 10, "unpriced", RouteConditions(tag_equals="code", input_tokens_gt=500)),
        ),
        pricing={
            "openai:gpt-4o-mini": ModelPricing(
                input_per_million=Decimal("0.15"),
                output_per_million=Decimal("0.6"),
                cached_input_per_million=Decimal("0.075"),
            ),
            "anthropic:claude-haiku-4-5": ModelPricing(
                input_per_million=Decimal(1), output_per_million=Decimal(5)
            ),
        },
        config=PlanConfig(l1_ttl_seconds=ttl, l2_ttl_seconds=l2_ttl),
        seed=seed,
        bootstrap_iterations=resamples,
    )


CASES: dict[str, Callable[[], PlanInput]] = {
    "small": lambda: plan(60, 1, resamples=500),
    "routed": lambda: plan(900, 2**64 - 3, resamples=300),
    "cached": lambda: plan(900, 42, resamples=300, ttl=600),
    "one": lambda: plan(1, 7, resamples=20),
    "empty": lambda: plan(0, 7, resamples=20),
    "semantic": lambda: plan(72, 20, resamples=20, l2_ttl=4_000, dimensions=8),
    "semantic-brief": lambda: plan(72, 56, resamples=20, ttl=600, l2_ttl=900, dimensions=8),
}
