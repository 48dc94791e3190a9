"""Savings at the prices of the requests and of the plan's moment, and changes that are known."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.support import universe
from tests.support.strategies import START
from ttplan.engine.replay import run_replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import to_table
from ttplan.model.errors import InputError
from ttplan.model.plan import PlanConfig, PlanResult, PricesAt
from ttplan.model.pricing import TokenRates
from ttplan.model.projection.full import PricePiece, ProjectionInputs

LATER = START + timedelta(days=30)
"""When the target becomes dearer."""
PIECES = tuple(
    PricePiece(
        provider="openai",
        model=model,
        start=start,
        end=end,
        rates=TokenRates(input_per_million=Decimal(price), output_per_million=4 * Decimal(price)),
    )
    for model, start, end, price in (
        ("gpt-4o", None, None, "2.5"),
        ("gpt-4o-mini", None, LATER, "0.15"),
        ("gpt-4o-mini", LATER, None, "1"),
    )
)
REQUESTS = universe.log(300, seed=1)


def projected(
    at: datetime, prices_at: PricesAt = "request", pieces: tuple[PricePiece, ...] = PIECES
) -> PlanResult:
    """The projection of a plan made at a time."""
    config = PlanConfig(projection="full", prices_at=prices_at)
    spec = ReplaySpec.from_plan(universe.plan(REQUESTS, config=config))
    inputs = ProjectionInputs(prices=pieces, prices_at=at)
    return run_replay(to_table(REQUESTS), replace(spec, inputs=inputs)).result


def cost(price: str) -> Decimal:
    """What the moved requests cost at a price."""
    moved = [request for request in REQUESTS if request.tag == "chat"]
    return sum(
        ((r.input_tokens + 4 * r.output_tokens) * Decimal(price) / 10**6 for r in moved), Decimal(0)
    )


def test_the_reference_method_is_refused() -> None:
    spec = ReplaySpec.from_plan(
        universe.plan(REQUESTS, config=PlanConfig(projection="full")), "tt-plan-core"
    )
    with pytest.raises(InputError, match="draws the costs of a reference projection"):
        run_replay(to_table(REQUESTS), spec)


def test_a_known_change_is_named_before_it_comes() -> None:
    result = projected(START + timedelta(hours=2))
    assert result.full is not None
    assert result.full.prices_change == (LATER,)
    assert any("on 2026-05-31: plan again then" in caveat for caveat in result.caveats)
    figures = result.aggregates
    assert figures.savings_at_plan_prices_usd == figures.change_vs_actual_usd


@pytest.mark.parametrize("prices_at", ["request", "plan"])
def test_savings_are_told_at_both_prices(prices_at: PricesAt) -> None:
    result = projected(LATER + timedelta(days=1), prices_at)
    assert result.full is not None
    assert result.full.prices_change == ()
    figures = result.aggregates
    own, other = figures.change_vs_actual_usd, figures.savings_at_plan_prices_usd
    assert other is not None
    then, now = (own, other) if prices_at == "request" else (other, own)
    assert then - now == pytest.approx(cost("1") - cost("0.15"), abs=Decimal("1e-9"))


@pytest.mark.parametrize("prices_at", ["request", "plan"])
def test_a_cost_that_no_price_explained_then_stays(prices_at: PricesAt) -> None:
    pieces = (PIECES[0].model_copy(update={"start": LATER}), *PIECES[1:])
    figures = projected(LATER + timedelta(days=1), prices_at, pieces).aggregates
    own, other = figures.change_vs_actual_usd, figures.savings_at_plan_prices_usd
    assert other is not None
    then, now = (own, other) if prices_at == "request" else (other, own)
    assert then - now == pytest.approx(cost("1") - cost("0.15"), abs=Decimal("1e-9"))
