"""Worlds with several routes, sticky routes, and routes that undo others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.universes.gateway import Habits
from tests.universes.providers import Rates
from tests.universes.recorder import Recorder
from tests.universes.traffic import Requests, independent, label, pick, sessions
from tests.universes.world import World
from tests.universes.worlds.caches import (
    AUTO,
    AUTO_MINI,
    BY_SESSION,
    LARGE,
    MEDIUM,
    agents,
    with_lookups,
)
from tests.universes.worlds.common import BIG, SMALL, route
from ttplan.model.plan import PlanConfig
from ttplan.model.projection.assumption import Assumption

TINY = replace(SMALL, name="tiny", rates=Rates(0.2, 0.8), longest=1_024, context=16_000)


def two_tags(rng: np.random.Generator) -> Requests:
    made = independent(rng, answer=500)
    return made.change(tag=label(pick(rng, len(made), 0.7), "chat", "code"))


def two_sources(rng: np.random.Generator) -> Requests:
    made = two_tags(rng)
    return made.change(source=pick(rng, len(made), 0.5))


def split_sessions(rng: np.random.Generator) -> Requests:
    """Conversations of which a route sends every other turn to another model."""
    made = sessions(rng, turns=8, first=8_000, grows=3_000)
    return made.change(source=pick(rng, len(made), 0.5))


def mixed_sessions(rng: np.random.Generator) -> Requests:
    return sessions(rng, turns=8, first=6_000, grows=3_000, spread=0.5)


def messy(rng: np.random.Generator) -> Requests:
    """Sessions with failures, hits of the gateway, images, and answers that are too long."""
    made = with_lookups(sessions(rng, turns=7, first=8_000, grows=3_000), rng)
    n = len(made)
    image = np.where(pick(rng, n, 0.05), 1_100, 0)
    return made.change(
        failed=pick(rng, n, 0.05),
        hit=pick(rng, n, 0.1),
        image=image,
        answer=np.where(pick(rng, n, 0.03), 9_000, made.answer),
    )


_CHEAPER_AUTO = replace(AUTO, name="cheaper", rates=Rates(1.3, 5.5, cached=0.325))
WORLDS = (
    World(
        name="two_routes",
        about="two routes to two targets, one of which is too small for some requests",
        kind="known",
        flat="high",
        traffic=two_tags,
        models=(BIG, SMALL, replace(TINY, longest=700)),
        routes=(
            route(TINY, priority=20, tag_equals="chat", input_tokens_lt=2_000),
            route(SMALL, tag_equals="chat"),
        ),
        given=(Assumption(name="paid_attempts", value=1),),
    ),
    World(
        name="both_ways",
        about="chat moves to the small model and code to the big one",
        kind="known",
        flat="right",
        traffic=two_sources,
        models=(BIG, SMALL),
        routes=(route(SMALL, tag_equals="chat"), route(BIG, tag_equals="code")),
    ),
    World(
        name="sticky_sessions",
        about="sessions with a short first prompt move as a whole",
        kind="known",
        flat="right",
        traffic=mixed_sessions,
        models=(LARGE, MEDIUM),
        routes=(route(MEDIUM, sticky=True, input_tokens_lt=6_000),),
        config=BY_SESSION,
    ),
    World(
        name="reunited_sessions",
        about="sessions that a route had split are put back together on the dearer model",
        kind="known",
        flat="low",
        traffic=split_sessions,
        models=(AUTO, _CHEAPER_AUTO),
        routes=(route(AUTO, model_in=["cheaper"]),),
        config=BY_SESSION,
    ),
    World(
        name="messy",
        about="agents with failures, gateway hits, images and long answers; lookups move",
        kind="known",
        flat="high",
        traffic=messy,
        models=(AUTO, replace(AUTO_MINI, images=False, longest=4_096)),
        routes=(route(AUTO_MINI, tag_equals="lookup"),),
        habits=Habits(truncated_billed=False),
        given=(Assumption(name="paid_attempts", value=0),),
        config=BY_SESSION,
        recorder=Recorder(failed_at_list=True),
    ),
    World(
        name="same_model",
        about="the route's target is the model that requests use already",
        kind="known",
        flat="high",
        traffic=agents,
        models=(LARGE, MEDIUM),
        routes=(route(LARGE),),
        config=BY_SESSION,
    ),
    World(
        name="split_by_length",
        about="only short prompts move: each session begins on one model and ends on another",
        kind="known",
        flat="high",
        traffic=lambda rng: sessions(rng, turns=6, first=4_000, grows=4_000),
        models=(LARGE, MEDIUM),
        routes=(route(MEDIUM, input_tokens_lt=10_000),),
        config=PlanConfig(cluster="session_id"),
    ),
)
