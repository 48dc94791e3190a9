"""Hypothesis strategies for plans: small alphabets, so that rows collide, tie and straddle every
bound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import strategies as st

from ttplan.model.plan import PlanConfig, PlanInput
from ttplan.model.pricing import ModelPricing
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

START = datetime(2026, 5, 1, tzinfo=UTC)
ORG, OTHER_ORG = UUID(int=1), UUID(int=2)
MODELS = ["gpt-4o", "gpt-4o-mini", "claude-sonnet", "ft:small"]
PROVIDERS = ["openai", "anthropic", "azure"]
TAGS = [None, "", "chat", "code", 'it\'s; DROP TABLE "x" -- İΣς']
BODIES = [None, "", "Write SQL", "ΟΔΟΣ İstanbul", "please translate"]
EMBEDDINGS = [
    None,
    [1.0, 0.0],
    [3.0, 4.0],
    [4.0, 3.0],
    [0.0, 0.0],
    [1.0, 0.001],
    [1.0],
    [-1.0, 0.5],
]
KEYWORDS = ["sql", "ΟΔΟΣ", "i̇stanbul", "TRANSLATE", ""]

tokens = st.integers(0, 40) | st.integers(0, 5000) | st.sampled_from([0, 999_999_999_999])
money = st.integers(0, 3 * 10**12).map(lambda n: Decimal(n).scaleb(-12)) | st.sampled_from(
    [Decimal(0), Decimal("0.01")]
)
prices = st.integers(0, 10**11).map(lambda n: Decimal(n).scaleb(-9)) | st.sampled_from(
    [Decimal(0), Decimal("0.000000001")]
)
bounds = money | st.sampled_from(
    [Decimal("0.0100000000000001"), Decimal("1e300"), Decimal(0), Decimal("-1")]
)


def optional(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """None, most of the time."""
    return st.none() | st.none() | strategy


conditions = st.builds(
    RouteConditions,
    model_in=st.just(()) | st.lists(st.sampled_from([*MODELS, "none"]), max_size=3).map(tuple),
    input_tokens_lt=optional(st.sampled_from([0, 1, 20, 1000, 2**62])),
    input_tokens_gt=optional(st.sampled_from([0, 1, 20, 1000])),
    tag_equals=optional(st.sampled_from(TAGS)),
    has_images=st.sampled_from([None] * 9 + [True, False]),
    has_audio=st.sampled_from([None] * 9 + [True, False]),
    prompt_contains_any_of=st.just(()) | st.lists(st.sampled_from(KEYWORDS), max_size=2).map(tuple),
    estimated_cost_gt=optional(bounds),
    estimated_cost_lt=optional(bounds),
)
actions = st.builds(
    RouteAction,
    target_model=st.sampled_from([*MODELS, "small", "unpriced"]),
    fallbacks=st.just(()),
    disable_cache=st.booleans(),
    max_cost_usd=optional(bounds),
)


@st.composite
def routes(draw: st.DrawFn) -> tuple[ProposedRoute, ...]:
    """Up to four routes with equal priorities and unsorted ids."""
    count = draw(st.integers(0, 4))
    ids = draw(st.permutations(range(count)))
    return tuple(
        ProposedRoute(
            id=UUID(int=ids[i] + 10),
            name=f"route {i}",
            priority=draw(st.sampled_from([0, 1, 1, 2**32 - 1])),
            enabled=draw(st.sampled_from([True, True, True, False])),
            when=draw(conditions),
            then=draw(actions),
        )
        for i in range(count)
    )


@st.composite
def requests(draw: st.DrawFn, max_size: int = 30) -> tuple[RequestLog, ...]:
    """Requests around the window's ends, some of another organisation, with equal times and
    keys."""
    count = draw(st.integers(0, max_size))
    ids = draw(st.permutations(range(count)))
    rows = []
    for i in range(count):
        cached = draw(st.booleans())
        rows.append(
            RequestLog(
                id=UUID(int=ids[i] << 64 | 7),
                org_id=draw(st.sampled_from([ORG] * 9 + [OTHER_ORG])),
                ts=START
                + timedelta(
                    seconds=draw(st.integers(-2, 62)),
                    microseconds=draw(st.sampled_from([0, 0, 1, 999_999])),
                ),
                provider=draw(st.sampled_from(PROVIDERS)),
                model=draw(st.sampled_from(MODELS)),
                input_tokens=draw(tokens),
                output_tokens=draw(tokens),
                cached_tokens=draw(tokens),
                cost_usd=draw(money),
                baseline_cost_usd=draw(money),
                cached=cached,
                cache_layer="l1" if cached else None,
                latency_ms=draw(st.none() | st.integers(0, 3) | st.integers(0, 5000)),
                status=draw(st.sampled_from([200, 429, 500])),
                tag=draw(st.sampled_from(TAGS)),
                body=draw(st.sampled_from(BODIES)),
                finish_reason=draw(st.sampled_from([None, "stop", "length"])),
                embedding=draw(st.sampled_from(EMBEDDINGS)),
                session_id=draw(st.sampled_from([None, "", "a", "b", "c"])),
            )
        )
    return tuple(rows)


ttls = st.none() | st.sampled_from([0, 1, 5, 30, 2**32 - 1])


@st.composite
def configs(draw: st.DrawFn) -> PlanConfig:
    """Caches on and off, with a threshold that counts or none, and clusters."""
    sweep = draw(st.sampled_from([(0.85, 0.9), (0.6, 0.96, 1.0), (), (-1.0, 0.0)]))
    l2_ttl = draw(ttls)
    return PlanConfig(
        l1_ttl_seconds=draw(ttls),
        l2_ttl_seconds=l2_ttl,
        l2_threshold_sweep=sweep,
        l2_threshold=draw(st.none() | st.sampled_from(sweep))
        if sweep and l2_ttl is not None
        else None,
        cluster=draw(st.sampled_from([None, None, "hour", "day", "tag", "session_id"])),
    )


pricing = st.dictionaries(
    st.sampled_from(
        [f"{p}:{m}" for p in PROVIDERS for m in MODELS] + ["openai:ft:small", "zeta:small"]
    ),
    st.builds(
        ModelPricing,
        input_per_million=prices,
        output_per_million=prices,
        cached_input_per_million=st.none() | prices,
    ),
    max_size=6,
)


@st.composite
def plans(draw: st.DrawFn, max_size: int = 30) -> PlanInput:
    """Whole plan inputs over a window of one minute."""
    return PlanInput(
        plan_id=UUID(int=99),
        org_id=ORG,
        window_start=START,
        window_end=START + timedelta(seconds=60),
        requests=draw(requests(max_size)),
        proposed_routes=draw(routes()),
        pricing=draw(pricing),
        config=draw(configs()),
        seed=draw(st.sampled_from([0, 42, 2**64 - 1])),
        bootstrap_iterations=draw(st.sampled_from([1, 7, 40])),
    )
