"""Worlds in which three flat rates are not the target's price, or list prices not what is paid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.universes.measure import Judged
from tests.universes.providers import Model, Rates
from tests.universes.recorder import Recorder
from tests.universes.traffic import DAY, Requests, Traffic, independent, label, pick
from tests.universes.world import Missing, World
from tests.universes.worlds.common import BIG, SMALL, route
from ttplan.model.plan import PlanConfig
from ttplan.model.projection.assumption import Assumption

AT_PLAN = PlanConfig(prices_at="plan")


def plain(rng: np.random.Generator) -> Requests:
    return independent(rng)


def some_long_prompts(rng: np.random.Generator) -> Requests:
    made = independent(rng, prompt=60_000)
    return made.change(prompt=np.where(pick(rng, len(made), 0.3), 250_000, made.prompt))


def prompts_near_the_tier(rng: np.random.Generator) -> Requests:
    return independent(rng, prompt=150_000, spread=0.3)


def searching(rng: np.random.Generator) -> Requests:
    made = independent(rng)
    return made.change(searches=rng.poisson(0.6, len(made)))


def from_two_models(rng: np.random.Generator) -> Requests:
    made = independent(rng)
    return made.change(source=pick(rng, len(made), 0.5))


def half_in(tier: str) -> Traffic:
    """Requests half of which run in a service tier."""

    def traffic(rng: np.random.Generator) -> Requests:
        made = independent(rng)
        return made.change(tier=label(pick(rng, len(made), 0.5), tier, ""))

    return traffic


def offering(model: Model, tier: str, factor: float) -> Model:
    """A model with a service tier at a factor of its rates."""
    return replace(model, services={tier: model.rates.scaled(factor)})


def billed(name: str, about: str, factors: tuple[float, float], **fields: object) -> World:
    """A world in which another amount than the list price is paid."""
    world = World(
        name=name,
        about=about,
        kind="known",
        flat="high",
        traffic=plain,
        models=(BIG, SMALL),
        routes=(route(SMALL),),
        factors=factors,
    )
    return replace(world, **fields)  # type: ignore[arg-type]


GATEWAY = (Assumption(name="price_factor", scope="gateway"),)
SOURCE = (Assumption(name="price_factor", scope="model"),)
UNSAID = Missing("price_factor")
_SEARCHES = World(
    name="search_fees",
    about="the recorded cost contains a fee per web search, which the target charges as well",
    kind="known",
    flat="high",
    traffic=searching,
    models=(
        replace(BIG, search_usd=0.01, lists_searches=True),
        replace(SMALL, search_usd=0.01, lists_searches=True),
    ),
    routes=(route(SMALL),),
    recorder=Recorder(usage=True),
)
_UNLISTED_SEARCHES = replace(
    _SEARCHES,
    name="search_fees_unlisted",
    about="the same, and neither price file nor usage has them; the user says that they stay",
    models=(replace(BIG, search_usd=0.01), replace(SMALL, search_usd=0.01)),
    recorder=Recorder(),
    given=(Assumption(name="rest", scope="gateway"),),
)
_RISE = World(
    name="target_rose_since",
    about="the target's price rose after the window; the window's prices count",
    kind="known",
    flat="low",
    traffic=plain,
    models=(BIG, replace(SMALL, later=((10 * DAY, Rates(3, 13)),))),
    routes=(route(SMALL),),
)
_CUT = World(
    name="source_price_cut",
    about="the source's price was cut to the target's within the window; what counts is next",
    kind="known",
    flat="high",
    traffic=plain,
    models=(replace(BIG, later=((3.5 * DAY, SMALL.rates),)), SMALL),
    routes=(route(SMALL),),
    config=AT_PLAN,
    at_plan_prices=True,
)
WORLDS = (
    World(
        name="one_discounted_source",
        about="two models move, one of which has a discount of 30 %",
        kind="known",
        flat="right",
        traffic=from_two_models,
        models=(BIG, replace(BIG, name="other"), SMALL),
        routes=(route(SMALL),),
        factors=(0.7, 1, 1),
        given=SOURCE,
    ),
    World(
        name="long_prompt_tier",
        about="the target charges more for long prompts",
        kind="known",
        flat="high",
        traffic=some_long_prompts,
        models=(BIG, replace(SMALL, tiers=((200_000, Rates(4, 12)),))),
        routes=(route(SMALL),),
    ),
    World(
        name="tier_and_tokenizer",
        about="the target's tokenizer lifts prompts over the threshold of a dearer tier",
        kind="known",
        flat="high",
        traffic=prompts_near_the_tier,
        models=(BIG, replace(SMALL, tokens=1.2, tiers=((200_000, Rates(2, 8)),))),
        routes=(route(SMALL),),
        judged=(Judged("ratio_in"),),
    ),
    World(
        name="source_tier",
        about="the source charges more for long prompts, the target does not",
        kind="known",
        flat="right",
        traffic=some_long_prompts,
        models=(replace(BIG, tiers=((200_000, Rates(5, 15)),)), SMALL),
        routes=(route(SMALL),),
    ),
    World(
        name="free_target",
        about="the target costs nothing",
        kind="known",
        flat="right",
        traffic=plain,
        models=(BIG, replace(SMALL, rates=Rates(0, 0))),
        routes=(route(SMALL),),
    ),
    World(
        name="unlisted_source",
        about="no price of the source is known, only what was paid",
        kind="known",
        flat="right",
        traffic=plain,
        models=(replace(BIG, listed=False), SMALL),
        routes=(route(SMALL),),
    ),
    World(
        name="rounded_costs",
        about="costs are recorded to a millionth of a dollar, for small requests",
        kind="known",
        flat="right",
        traffic=lambda rng: independent(rng, prompt=60, answer=8),
        models=(BIG, SMALL),
        routes=(route(SMALL),),
        recorder=Recorder(rounded=True),
    ),
    _SEARCHES,
    _UNLISTED_SEARCHES,
    replace(
        _UNLISTED_SEARCHES,
        name="search_fees_unsaid",
        about="the same, and nobody says whether the target charges them",
        kind="unknown",
        given=(),
        missing=Missing("rest"),
    ),
    World(
        name="request_fee",
        about="the target charges a fee per request",
        kind="known",
        flat="high",
        traffic=plain,
        models=(BIG, replace(SMALL, rates=Rates(1, 4, request_usd=0.002))),
        routes=(route(SMALL),),
    ),
    replace(
        _CUT,
        name="source_price_cut_beside",
        about="the same, and the headline is about the window's prices",
        config=PlanConfig(),
        beside=True,
    ),
    _CUT,
    _RISE,
    replace(
        _RISE,
        name="target_rose_for_next_month",
        about="the target's price rose after the window; the new price counts",
        flat="right",
        config=AT_PLAN,
        at_plan_prices=True,
    ),
    World(
        name="batch_at_both",
        about="half of the traffic ran as batch at half the price, which the target has, too",
        kind="known",
        flat="low",
        traffic=half_in("batch"),
        models=(offering(BIG, "batch", 0.5), offering(SMALL, "batch", 0.5)),
        routes=(route(SMALL),),
    ),
    World(
        name="flex_at_both",
        about="half of the traffic ran as flex, which the target has at other rates",
        kind="known",
        flat="low",
        traffic=half_in("flex"),
        models=(offering(BIG, "flex", 0.5), offering(SMALL, "flex", 0.7)),
        routes=(route(SMALL),),
    ),
    World(
        name="batch_not_offered",
        about="half of the traffic ran as batch, which the target does not have",
        kind="known",
        flat="right",
        traffic=half_in("batch"),
        models=(offering(BIG, "batch", 0.5), SMALL),
        routes=(route(SMALL),),
    ),
    World(
        name="priority_not_offered",
        about="half of the traffic ran with priority, which the target does not have",
        kind="known",
        flat="right",
        traffic=half_in("priority"),
        models=(offering(BIG, "priority", 1.7), SMALL),
        routes=(route(SMALL),),
    ),
    billed("euro", "costs are recorded in euros", (0.92, 0.92), given=GATEWAY, flat="low"),
    billed(
        "euro_unsaid",
        "costs are recorded in euros, and nobody says so",
        (0.92, 0.92),
        kind="unknown",
        missing=UNSAID,
        flat="low",
    ),
    billed("margin", "the gateway adds 20 % to every price", (1.2, 1.2), given=GATEWAY),
    billed(
        "margin_unsaid",
        "the gateway adds 20 % to every price, and nobody says so",
        (1.2, 1.2),
        kind="unknown",
        missing=UNSAID,
    ),
    billed(
        "source_discount",
        "the organisation has a discount of 30 % on the source alone",
        (0.7, 1),
        given=SOURCE,
        flat="right",
    ),
    billed(
        "source_discount_unsaid",
        "a discount of 30 % on the source alone, and nobody says so",
        (0.7, 1),
        kind="unknown",
        missing=UNSAID,
        flat="right",
    ),
)
