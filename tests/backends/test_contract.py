"""The contract on other engines than DuckDB: the oracle's money, DuckDB's summary, and the same
JSON to the last byte."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal, localcontext
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.backends.conftest import Engine
from tests.engine.test_full_oracle import RICH
from tests.engine.test_full_oracle import check as check_full
from tests.engine.test_replay_oracle import check
from tests.support import universe
from tests.support.full_plans import full_plan
from tests.support.strategies import ORG, START, plans
from ttplan import replay
from ttplan.engine.dialects import fetch
from ttplan.engine.project import map_requests
from ttplan.engine.replay import replay_table, summarise
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import to_table
from ttplan.model.plan import IntervalMethod, PlanConfig, PlanInput, PlanResult
from ttplan.model.pricing import ModelPricing
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

pytestmark = pytest.mark.slow

# What SQL, a pattern or Spark's own substitution of variables would take for something else than
# text.
HOSTILE = [
    'it\'s; DROP TABLE "x" -- İΣς',
    "",
    "\\",
    "\\' OR 1=1",
    "100%",
    "a_b",
    "${env:HOME}",
    "\\${spark.app.name}",
    "? :id {0} /* */ `t`",
    "two\nlines\tand \\n",
    "é \U0001f600",
]


def run(
    engine: Engine, plan: PlanInput, method: IntervalMethod = "auto", parts: int = 2
) -> PlanResult:
    """The replay of a plan's requests by that engine."""
    return universe.replayed(engine.table(plan.requests, parts), plan, method)


def test_generated_plans_have_duckdbs_bytes(engine: Engine) -> None:
    @seed(1)
    @settings(
        max_examples=engine.plans,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(plans())
    def every(plan: PlanInput) -> None:
        result = check(plan, engine.table(plan.requests, 2))
        assert result.model_dump_json() == replay(plan).model_dump_json()

    every()


def test_full_projections_have_duckdbs_bytes(engine: Engine) -> None:
    for number in [1, *RICH[: engine.full_plans - 1]]:
        full = full_plan(number)
        result = check_full(full, engine.table(full.plan.requests, 2))
        assert result.model_dump_json() == check_full(full).model_dump_json()


@pytest.mark.parametrize("ttl", [None, 60])
def test_summaries_are_equal_whatever_the_parts(engine: Engine, ttl: int | None) -> None:
    requests = universe.log(5000, seed=11)
    spec = ReplaySpec.from_plan(universe.plan(requests, config=PlanConfig(l1_ttl_seconds=ttl)))
    with map_requests(to_table(requests), spec) as mapped:
        expected = summarise(mapped, spec)
    assert expected.total.requests == 5000
    assert bool(expected.total.projected_hits) == (ttl is not None)
    for parts in (1, 2, 7):
        with map_requests(engine.table(requests[parts:] + requests[:parts], parts), spec) as mapped:
            assert summarise(mapped, spec) == expected


@pytest.mark.parametrize("method", ["auto", "limit", "resample", "tt-plan-core"])
def test_every_method_gives_duckdbs_bytes(engine: Engine, method: IntervalMethod) -> None:
    requests = universe.log(5000, seed=12)
    plan = universe.plan(requests, bootstrap_iterations=50, config=PlanConfig(l1_ttl_seconds=60))
    expected = replay(plan, interval_method=method).model_dump_json()
    shuffled = plan.model_copy(update={"requests": requests[::-1]})
    assert run(engine, shuffled, method, parts=7).model_dump_json() == expected


def test_the_largest_amounts_keep_every_digit(engine: Engine) -> None:
    most = Decimal(10) ** 12 - Decimal("0.000000000001")
    price = ModelPricing(
        input_per_million=Decimal("999999999.999999999"),
        output_per_million=Decimal("999999999.999999998"),
        cached_input_per_million=Decimal("0.000000001"),
    )
    requests = tuple(
        request.model_copy(
            update={
                "cost_usd": most - Decimal(i).scaleb(-12),
                "baseline_cost_usd": most - Decimal(3 * i).scaleb(-12),
                "input_tokens": 10**12 - 1 - i,
                "output_tokens": 10**12 - 1 - 7 * i,
                "cached_tokens": 2 * i,
                "latency_ms": 2**53 - 1 - i if i % 5 else None,
            }
        )
        for i, request in enumerate(universe.log(300, seed=13))
    )
    plan = universe.plan(requests, pricing={"openai:gpt-4o-mini": price}, bootstrap_iterations=40)
    with localcontext(prec=60):  # the oracle's own arithmetic
        result = check(plan, engine.table(requests, 2))
    assert result.aggregates.total_projected_cost_usd > 10**17
    assert result == run(engine, plan)
    assert result.model_dump_json() == replay(plan).model_dump_json()
    assert (
        run(engine, plan, "resample").model_dump_json()
        == replay(plan, interval_method="resample").model_dump_json()
    )


def test_costs_round_half_away_from_zero(engine: Engine) -> None:
    half = ModelPricing(input_per_million=Decimal("0.000000001"), output_per_million=Decimal(0))
    requests = tuple(
        request.model_copy(
            update={"tag": "chat", "input_tokens": 500 + 1000 * i, "output_tokens": 0}
        )
        for i, request in enumerate(universe.log(10, seed=14))
    )
    plan = universe.plan(requests, pricing={"openai:gpt-4o-mini": half}, bootstrap_iterations=5)
    result = check(plan, engine.table(requests, 2))
    assert result.aggregates.total_projected_cost_usd == Decimal(55).scaleb(-12)


def test_hostile_text_is_text(engine: Engine) -> None:
    requests = tuple(
        RequestLog.model_validate(
            {
                **universe.log(1, seed=15)[0].model_dump(),
                "id": UUID(int=i),
                "ts": START + timedelta(seconds=i % 60),
                "provider": text or "none",
                "model": text or "none",
                "tag": text,
                "body": f"Before {text} after",
            }
        )
        for i, text in enumerate(HOSTILE * 3)
    )
    whens = [
        when
        for text in HOSTILE
        for when in (RouteConditions(model_in=(text, "x")), RouteConditions(tag_equals=text))
    ]
    whens += [RouteConditions(prompt_contains_any_of=(f"E {text} A",)) for text in HOSTILE]
    for offset in range(3):
        routes = tuple(
            ProposedRoute(
                id=UUID(int=i + 1),
                name=f"route {i}",
                priority=i * 7 % 5,
                enabled=True,
                when=when,
                then=RouteAction(target_model="mini", disable_cache=i % 4 == 0),
            )
            for i, when in enumerate(whens[offset::3])
        )
        price = ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(2))
        pricing = {f"{text}:mini": price for text in HOSTILE if text and ":" not in text} | {
            "zeta:mini": price
        }
        plan = universe.plan(
            requests,
            proposed_routes=routes,
            pricing=pricing,
            bootstrap_iterations=5,
            config=PlanConfig(l1_ttl_seconds=20),
        )
        result = check(plan, engine.table(requests, 2))
        assert result.aggregates.requests_rerouted > 0
        assert result.model_dump_json() == replay(plan).model_dump_json()


def test_an_empty_table_and_one_outside_the_window_are_zeros(engine: Engine) -> None:
    requests = universe.log(3, seed=16)
    for plan in (
        universe.plan(()),
        universe.plan(
            requests, window_start=START + timedelta(hours=2), window_end=START + timedelta(hours=3)
        ),
        universe.plan(requests, org_id=UUID(int=77)),
    ):
        assert run(engine, plan).model_dump_json() == replay(plan).model_dump_json()


def test_the_rows_of_the_table_stay_as_they_were(engine: Engine) -> None:
    requests = universe.log(50, seed=17)
    table = engine.table(requests, 2)
    before = sorted(engine.backend.list_tables())
    config = PlanConfig(l1_ttl_seconds=3600)
    replay_table(
        table, universe.plan(()).proposed_routes, {}, config, org_id=ORG, bootstrap_iterations=5
    )
    left = [
        name
        for name in engine.backend.list_tables()
        if name not in before and not name.startswith("ibis_")
    ]
    assert left == []
    assert fetch(table.select("id")).num_rows == 50
