"""Worlds of models that the catalogues know: no price file and no facts file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.universes.gateway import Habits
from tests.universes.providers import Model, PromptCache, Rates
from tests.universes.traffic import Requests, independent, pick, sessions
from tests.universes.world import World
from tests.universes.worlds.caches import BY_SESSION, agents
from tests.universes.worlds.common import route
from ttplan.model.projection.assumption import Assumption

SONNET = Model(
    "anthropic",
    "claude-sonnet-4-5",
    Rates(3, 15, cached=0.3, write=3.75, write_1h=6),
    cache=PromptCache("explicit", minimum=1_024, ttl=300, long_ttl=3_600),
)
HAIKU = Model(
    "anthropic",
    "claude-haiku-4-5",
    Rates(1, 5, cached=0.1, write=1.25, write_1h=2),
    cache=PromptCache("explicit", minimum=4_096, ttl=300, long_ttl=3_600),
)
OLD_HAIKU = replace(
    HAIKU, name="claude-3-5-haiku-latest", rates=Rates(0.8, 4), longest=8_192, context=200_000
)
GPT = Model(
    "openai",
    "gpt-4o",
    Rates(2.5, 10, cached=1.25),
    cache=PromptCache("automatic", minimum=1_024, ttl=300, step=128),
)


def some_long_answers(rng: np.random.Generator) -> Requests:
    made = independent(rng, prompt=600)
    return made.change(answer=np.where(pick(rng, len(made), 0.1), 12_000, made.answer))


WORLDS = (
    World(
        name="sonnet_to_haiku",
        about="agents on Claude Sonnet 4.5, single turns rerouted to Claude Haiku 4.5",
        kind="known",
        flat="high",
        traffic=agents,
        models=(SONNET, HAIKU),
        routes=(route(HAIKU, tag_equals="lookup"),),
        config=BY_SESSION,
        files=False,
    ),
    World(
        name="gpt_to_haiku",
        about="sessions on GPT-4o move to Claude Haiku 4.5, where nobody sets breakpoints",
        kind="known",
        flat="high",
        traffic=lambda rng: sessions(rng, turns=8, first=8_000, grows=2_000),
        models=(GPT, HAIKU),
        routes=(route(HAIKU),),
        habits=Habits(breakpoints=False),
        config=BY_SESSION,
        files=False,
    ),
    World(
        name="gpt_to_old_haiku",
        about="10 % of the answers of GPT-4o are longer than those of Claude Haiku 3.5 can be",
        kind="known",
        flat="high",
        traffic=some_long_answers,
        models=(GPT, OLD_HAIKU),
        routes=(route(OLD_HAIKU),),
        given=(Assumption(name="paid_attempts", value=1),),
        files=False,
    ),
)
