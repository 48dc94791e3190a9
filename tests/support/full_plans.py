"""Random plans of the full projection, with all that it knows of models. A seed gives the same plan
everywhere; strategies of Hypothesis would fill their buffer with a few requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from tests.oracle_full import FullOracle
from tests.oracle_rates import Key, money, rounded
from tests.support.strategies import ORG, OTHER_ORG, START
from ttplan.model.plan import PlanConfig, PlanInput
from ttplan.model.pricing import ModelPricing, TokenRates
from ttplan.model.projection.assumption import Assumption, AssumptionName
from ttplan.model.projection.capabilities import CacheRule, Capabilities, ModelFacts
from ttplan.model.projection.full import PricePiece, ProjectionInputs
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

MODELS = ["big", "mid", "ft:small"]
PROVIDERS = ["openai", "anthropic"]
SEARCHED = '{"server_tool_use": {"web_search_requests": 2}}'
HOURLY = '{"cache_creation":{"ephemeral_1h_input_tokens": 300}, "input_tokens": 1}'
BODIES = [None, "hello", '{"messages": [{"Type": "image_url"}]}', '{"Tools": []}', 'x "image_url"']
PRICES = ["0", "0.000000001", "0.15", "0.6", "2.5", "10", "1.234567891", "99.999999999"]
RATIOS = ["0", "0.5", "0.999999", "1", "1.333333", "3"]
SHARES = ["0", "0.25", "0.5", "1"]
OTHER_RATES = [name for name in TokenRates.model_fields if name.endswith("_per_million")][2:]
PARTS = [
    *("cache_write_tokens", "reasoning_tokens", "input_audio_tokens", "input_image_tokens"),
    *("output_audio_tokens", "output_image_tokens"),
]
T = TypeVar("T")


@dataclass(frozen=True)
class FullPlan:
    """A plan and all that a full projection of it knows of models."""

    plan: PlanInput
    inputs: ProjectionInputs


def full_plan(shape: int, rows: int | None = None, size: int = 40) -> FullPlan:
    """The plan of a seed over a window of one minute. `rows` is the seed of the requests: plans
    that differ only in it have the same queries."""
    rng = Random(shape)
    inputs = projection_inputs(rng)
    if shape % 3 == 0:
        attempts = Assumption(name="paid_attempts", value=Decimal("0.3"))
        inputs = inputs.model_copy(update={"assumptions": (*inputs.assumptions, attempts)})
    routes, config = full_routes(rng), full_config(rng)
    plain = rng.random() < 0.3
    rng = Random(shape if rows is None else rows)
    flat = ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(2))
    plan = PlanInput(
        plan_id=UUID(int=99),
        org_id=ORG,
        window_start=START,
        window_end=START + timedelta(seconds=60),
        requests=full_requests(rng, size, plain),
        proposed_routes=routes,
        pricing={f"{p.provider}:{p.model}": flat for p in inputs.prices},
        config=config,
        seed=0,
        bootstrap_iterations=3,
    )
    plan = with_hashes(plan, shape)
    factor = rng.choice([None, Fraction(1), Fraction("1.2"), Fraction("0.8")])
    if factor is not None:
        plan = paid_by_price(plan, inputs, factor, rng.choice([None, Fraction("0.001")]))
    return FullPlan(plan, inputs)


def with_hashes(plan: PlanInput, shape: int) -> PlanInput:
    """The plan with hashes of few prompts and answers; some logs have none, some in every row."""
    rng = Random(f"hashes {shape}")
    share = rng.choice([0.0, 0.7, 1.0])
    ignored = rng.choice([(), (), ("tag",), ("input_tokens",), ("tag", "input_tokens")])
    requests = tuple(
        r.model_copy(
            update={
                "prompt_hash": rarely(rng, rng.choice("pqr"), share),
                "answer_hash": rarely(rng, rng.choice("ab"), share),
            }
        )
        for r in plan.requests
    )
    config = plan.config.model_copy(update={"l1_upper_bound_ignores": ignored})
    return plan.model_copy(update={"requests": requests, "config": config})


def paid_by_price(
    plan: PlanInput, inputs: ProjectionInputs, factor: Fraction, more: Fraction | None
) -> PlanInput:
    """The plan with the price of the tokens times a factor as recorded costs. One in eleven costs
    `more`; without such, one is recorded at no cost."""
    explained = {row.request.id: row.explained for row in FullOracle(plan, inputs).rows}

    def paid(i: int, r: RequestLog) -> RequestLog:
        price = explained.get(r.id)
        if price is None:
            return r
        cost = rounded(price * factor)
        if i % 11 == 3:
            cost = cost + more if more else Fraction(0)
        costs = {"cost_usd": money(cost), "baseline_cost_usd": 2 * money(cost)}
        return r.model_copy(update=costs)

    requests = tuple(paid(i, r) for i, r in enumerate(plan.requests))
    return plan.model_copy(update={"requests": requests})


def rarely(rng: Random, value: T, share: float = 0.3) -> T | None:
    """None, most of the time."""
    return value if rng.random() < share else None


def price(rng: Random) -> Decimal:
    """USD per million."""
    return Decimal(rng.choice(PRICES[2:] if rng.random() < 0.9 else PRICES))


def rates(rng: Random) -> TokenRates:
    """All rates, some of them those of their side."""
    return TokenRates(
        input_per_million=price(rng),
        output_per_million=price(rng),
        **{name: rarely(rng, price(rng), 0.6) for name in OTHER_RATES},
        request_usd=rarely(rng, Decimal(rng.choice(["0.001", "0.000000000001"]))),
        web_search_usd=rarely(rng, Decimal("0.01")),
    )


def schedule(rng: Random, key: Key) -> list[PricePiece]:
    """The pieces of one key: by time, second of the day and prompt length, a few missing."""
    half = START + timedelta(seconds=30)
    times = [None, half, None] if rng.random() < 0.3 else [None, None]
    seconds = [0, 20, 86_400] if rng.random() < 0.3 else [0, 86_400]
    lengths = [-1, 1000, None] if rng.random() < 0.3 else [-1, None]
    return [
        PricePiece(
            provider=key.provider,
            model=key.model,
            endpoint=key.endpoint,
            service_tier=key.tier,
            start=start,
            end=end,
            day_from=day_from,
            day_until=day_until,
            over_input_tokens=-1 if over is None else over,
            up_to_input_tokens=up_to,
            rates=rates(rng),
        )
        for start, end in pairwise(times)
        for day_from, day_until in pairwise(seconds)
        for over, up_to in pairwise(lengths)
        if rng.random() < 0.97
    ]


def facts(rng: Random) -> ModelFacts:
    """Limits and a cache rule, often unknown."""

    def lacks(share: float = 0.2) -> bool | None:
        return rng.choice([None, True]) if rng.random() > share else False

    rule = CacheRule(
        mode=rng.choice(["automatic", "explicit", "explicit", "none"]),
        minimum_tokens=rng.choice([0, 20, 1000]),
        ttl_seconds=rng.choice([5, 30]),
        long_ttl_seconds=rng.choice([None, 60]),
    )
    limits = Capabilities(
        context_tokens=rng.choice([None, None, 4000, 12_000]),
        output_tokens=rng.choice([None, None, 3000]),
        images=lacks(),
        audio=lacks(),
        tools=lacks(),
        structured_output=lacks(),
        reasoning=lacks(),
    )
    return ModelFacts(
        capabilities=limits if rng.random() < 0.5 else Capabilities(),
        cache=rarely(rng, rule, 0.8),
    )


def assumptions(rng: Random) -> tuple[Assumption, ...]:
    """Some assumptions, general and about one source, target or route."""
    names: list[AssumptionName] = [
        *("ratio_in", "ratio_out", "ratio_reasoning", "reasoning_tokens", "redo"),
        *("price_factor", "rest", "cache_fit", "cache_breakpoints", "unrecorded_cost"),
    ]
    return tuple(_assumption(rng, rng.choice(names)) for _ in range(rng.choice([0, 0, 2, 4])))


def _assumption(rng: Random, name: AssumptionName) -> Assumption:
    scoped = name in ("price_factor", "rest")
    scope = rng.choice([None, "gateway", "model"]) if scoped else None
    value = Decimal(rng.choice(RATIOS if name.startswith(("ratio", "price")) else SHARES))
    value *= 100 if name == "reasoning_tokens" else 1
    return Assumption(
        name=name,
        value=None if scope and rng.random() < 0.5 else value,
        scope=scope,
        standard_error=rng.choice([None, 0.1]),
        source_model=rarely(rng, rng.choice([*MODELS, "openai:big"])),
        target_model=rarely(rng, rng.choice([*MODELS, "anthropic:mid"])),
        route=rarely(rng, rng.choice(["route 0", "route 1"])),
    )


def tokens(rng: Random) -> int:
    """Few, some, or a round number."""
    return rng.choice([rng.randint(0, 40), rng.randint(0, 5000), 1000 * rng.randint(0, 8)])


def full_requests(rng: Random, size: int, plain: bool) -> tuple[RequestLog, ...]:
    """Requests of few sessions, some failed, some answered by a gateway's cache; `plain` ones have
    no parts with rates of their own."""
    ids = rng.sample(range(size), size)
    models = rng.sample([(p, m) for p in PROVIDERS for m in MODELS], rng.randint(1, 4))
    return tuple(_request(rng, i, plain, models) for i in ids)


def _request(rng: Random, i: int, plain: bool, models: Sequence[tuple[str, str]]) -> RequestLog:
    cost = Decimal(rng.randint(0, 10**11)).scaleb(-12)
    parts: dict[str, Any] = {n: rarely(rng, tokens(rng)) for n in PARTS if not plain}
    provider, model = rng.choice(models)
    microseconds = rng.choice([0, 0, 1, 999_999])
    return RequestLog(
        id=UUID(int=i << 64 | 7),
        org_id=rng.choice([ORG] * 19 + [OTHER_ORG]),
        ts=START + timedelta(seconds=rng.randint(-1, 60), microseconds=microseconds),
        provider=provider,
        model=model,
        input_tokens=tokens(rng),
        output_tokens=tokens(rng),
        cached_tokens=rng.choice([0, tokens(rng)]),
        cost_usd=cost,
        baseline_cost_usd=cost,
        cached=rng.random() < 0.1,
        latency_ms=rng.choice([None, rng.randint(0, 5000)]),
        status=rng.choice([200] * 18 + [400, 500]),
        tag=rng.choice([None, "chat", "code"]),
        body=rng.choice(BODIES),
        finish_reason=rng.choice([None, *["stop"] * 10, "error"]),
        session_id=rng.choice([None, "", "a", "b", "c"]),
        user_id=rng.choice([None, "u"]),
        service_tier=rng.choice([None, None, None, "", "default", "batch"]),
        endpoint=rng.choice([None] * 7 + ["us-east-1"]),
        provider_usage=rng.choice([None, None, SEARCHED, HOURLY]),
        embedding=rng.choice([None, None, [1.0, 0.0], [1.0, 0.001]]),
        **parts,
    )


def full_routes(rng: Random) -> tuple[ProposedRoute, ...]:
    """Up to three routes, some of whole sessions."""
    return tuple(
        ProposedRoute(
            id=UUID(int=10 - i),
            name=f"route {i}",
            priority=rng.choice([0, 1]),
            enabled=rng.random() < 0.9,
            when=RouteConditions(
                model_in=rarely(rng, tuple(rng.sample(MODELS, 2))) or (),
                input_tokens_lt=rarely(rng, rng.choice([20, 1000, 4000])),
                tag_equals=rarely(rng, rng.choice(["chat", "code"])),
            ),
            then=RouteAction(
                target_model=rng.choice([*MODELS, *MODELS, "unpriced"]),
                disable_cache=rng.random() < 0.2,
                max_cost_usd=rarely(rng, Decimal(rng.choice(["0.01", "0.0001"]))),
            ),
            sticky=rarely(rng, "session", 0.4),
        )
        for i in range(rng.choice([0, 1, 2, 2, 3]))
    )


def full_config(rng: Random) -> PlanConfig:
    """The full projection, half of the time without caches of the gateway."""
    caches = rng.random() < 0.5
    l2 = caches and rng.random() < 0.5
    return PlanConfig(
        projection="full",
        prices_at=rng.choice(["request", "request", "plan"]),
        session=rng.choice([None, None, None, "user_id", "tag"]),
        l1_ttl_seconds=rng.choice([None, 0, 5, 30]) if caches else None,
        l2_ttl_seconds=10 if l2 else None,
        l2_threshold_sweep=(0.85, 1.0),
        l2_threshold=rng.choice([None, 0.85]) if l2 else None,
        cluster=rng.choice([None, None, None, "tag"]),
    )


def projection_inputs(rng: Random) -> ProjectionInputs:
    """Prices of most models in some service tiers, what they serve, how they cache."""
    chances = {None: 0.95, "default": 0.95, "batch": 0.6}
    keys = [
        Key(provider, model, None, tier)
        for provider in PROVIDERS
        for model in MODELS
        for tier, chance in chances.items()
        if rng.random() < chance
    ]
    keys += [Key("openai", model, "us-east-1", None) for model in MODELS[:2]]
    return ProjectionInputs(
        prices=tuple(piece for key in keys for piece in schedule(rng, key)),
        facts={
            f"{provider}:{model}": facts(rng)
            for provider in PROVIDERS
            for model in MODELS
            if rng.random() < 0.8
        },
        assumptions=assumptions(rng),
        prices_at=rng.choice([None, START + timedelta(seconds=40)]),
    )
