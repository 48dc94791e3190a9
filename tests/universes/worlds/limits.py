"""Worlds in which the target cannot serve all requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.universes.gateway import Habits
from tests.universes.measure import Judged
from tests.universes.providers import Rates
from tests.universes.traffic import Requests, independent, pick
from tests.universes.world import Missing, World
from tests.universes.worlds.common import BIG, SMALL, route
from ttplan.model.projection.assumption import Assumption


def some_long_prompts(rng: np.random.Generator) -> Requests:
    made = independent(rng, prompt=4_000)
    return made.change(prompt=np.where(pick(rng, len(made), 0.1), 150_000, made.prompt))


def some_long_answers(rng: np.random.Generator) -> Requests:
    made = independent(rng, answer=300)
    long = rng.integers(10_000, 30_000, len(made))
    return made.change(answer=np.where(pick(rng, len(made), 0.1), long, made.answer))


def some_images(rng: np.random.Generator) -> Requests:
    made = independent(rng)
    image = np.where(pick(rng, len(made), 0.3), 1_100, 0)
    return made.change(image=image, prompt=made.prompt + image)


_LONG_ANSWERS = World(
    name="output_limit",
    about="10 % of the answers exceed the target's limit: it bills them, and the source answers",
    kind="known",
    flat="high",
    traffic=some_long_answers,
    models=(BIG, replace(SMALL, longest=4_096)),
    routes=(route(SMALL),),
    given=(Assumption(name="paid_attempts", value=1),),
)
WORLDS = (
    World(
        name="context_window",
        about="10 % of the prompts are longer than the target's context window",
        kind="known",
        flat="high",
        traffic=some_long_prompts,
        models=(BIG, replace(SMALL, context=128_000)),
        routes=(route(SMALL),),
    ),
    _LONG_ANSWERS,
    replace(
        _LONG_ANSWERS,
        name="output_limit_unpaid",
        about="the same, and the target bills no answer that it cuts",
        habits=Habits(truncated_billed=False),
        given=(Assumption(name="paid_attempts", value=0),),
    ),
    replace(
        _LONG_ANSWERS,
        name="output_limit_unsaid",
        about="the same, and nobody says whether the target bills answers that it cuts",
        kind="unknown",
        given=(),
        missing=Missing("paid_attempts", 1),
    ),
    World(
        name="tokenizer_fills_the_window",
        about="the target's tokenizer makes some prompts longer than its context window",
        kind="known",
        flat="high",
        traffic=lambda rng: independent(rng, prompt=90_000, spread=0.3),
        models=(BIG, replace(SMALL, tokens=1.25, context=128_000)),
        routes=(route(SMALL),),
        judged=(Judged("ratio_in"),),
    ),
    World(
        name="images",
        about="30 % have images that the target cannot read",
        kind="known",
        flat="high",
        traffic=some_images,
        models=(BIG, replace(SMALL, images=False)),
        routes=(route(SMALL),),
    ),
    World(
        name="image_prices",
        about="30 % have images, which cost six times as much as text on the target",
        kind="known",
        flat="high",
        traffic=some_images,
        models=(BIG, replace(SMALL, rates=Rates(1, 4, image=6))),
        routes=(route(SMALL),),
    ),
)
