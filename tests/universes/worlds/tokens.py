"""Worlds in which the target counts, writes or thinks in another way, or has to be asked again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.universes.gateway import Habits
from tests.universes.measure import Judged
from tests.universes.providers import Rates
from tests.universes.traffic import Requests, independent, pick
from tests.universes.world import Missing, World
from tests.universes.worlds.common import BIG, SMALL, route

CHEAP_THINKER = replace(SMALL, name="thinker", thinks=1.0)


def plain(rng: np.random.Generator) -> Requests:
    return independent(rng)


def light(rng: np.random.Generator) -> Requests:
    """Short answers, and 800 hidden tokens on a model that thinks."""
    made = independent(rng, prompt=800, answer=120)
    return made.change(thought=rng.gamma(4, 200, len(made)))


def from_two_models(rng: np.random.Generator) -> Requests:
    made = independent(rng, answer=400)
    return made.change(source=pick(rng, len(made), 0.5))


def light_and_some_there(rng: np.random.Generator) -> Requests:
    made = light(rng)
    return made.change(source=pick(rng, len(made), 0.2))


def heavy(rng: np.random.Generator) -> Requests:
    """Requests that a thinking model thinks about at length."""
    made = independent(rng, answer=200)
    return made.change(thought=rng.gamma(2, 1_000, len(made)))


def thinking_aloud(rng: np.random.Generator) -> Requests:
    """Both think, on average 1,500 tokens."""
    made = independent(rng, answer=200)
    return made.change(thought=rng.gamma(2, 750, len(made)))


def plain_and_thinking(rng: np.random.Generator) -> Requests:
    made = independent(rng, answer=300)
    return made.change(thought=rng.gamma(2, 300, len(made)) * pick(rng, len(made), 0.5))


_THINKS = World(
    name="target_thinks",
    about="the target thinks, 800 hidden tokens a call; the source does not",
    kind="known",
    flat="high",
    traffic=light,
    models=(BIG, CHEAP_THINKER),
    routes=(route(CHEAP_THINKER),),
    judged=(Judged("reasoning_tokens"),),
)
_VERBOSE = World(
    name="verbose",
    about="the target writes 60 % more",
    kind="known",
    flat="high",
    traffic=plain,
    models=(BIG, replace(SMALL, verbosity=1.6, spread=0.4)),
    routes=(route(SMALL),),
    judged=(Judged("ratio_out"),),
)
_TOKENIZER = World(
    name="tokenizer",
    about="the target's tokenizer makes 25 % more tokens",
    kind="known",
    flat="high",
    traffic=plain,
    models=(BIG, replace(SMALL, tokens=1.25)),
    routes=(route(SMALL),),
    judged=(Judged("ratio_in"),),
)
_REJECTED = World(
    name="rejected",
    about="15 % of the target's answers are rejected and asked again on the source",
    kind="known",
    flat="high",
    traffic=plain,
    models=(BIG, SMALL),
    routes=(route(SMALL),),
    habits=Habits(redo=0.15),
    judged=(Judged("redo"),),
)
WORLDS = (
    _THINKS,
    replace(
        _THINKS,
        name="target_thinks_unmeasured",
        about="the same, and nobody counted the hidden tokens",
        kind="unknown",
        judged=(),
        missing=Missing("reasoning_tokens", 800),
    ),
    World(
        name="thinker_in_log",
        about="the same, and a fifth of the traffic runs on the target, which the log shows",
        kind="known",
        flat="high",
        traffic=light_and_some_there,
        models=(BIG, CHEAP_THINKER),
        routes=(route(CHEAP_THINKER),),
    ),
    World(
        name="source_thinks",
        about="the source thinks; the target does not, and costs more per token",
        kind="known",
        flat="low",
        traffic=heavy,
        models=(replace(CHEAP_THINKER, name="old-thinker"), replace(BIG, name="plain")),
        routes=(route("plain"),),
    ),
    World(
        name="both_think",
        about="both think, the target half as much",
        kind="known",
        flat="low",
        traffic=plain_and_thinking,
        models=(replace(BIG, thinks=1), replace(SMALL, thinks=0.5)),
        routes=(route(SMALL),),
        judged=(Judged("ratio_reasoning"),),
    ),
    _TOKENIZER,
    _VERBOSE,
    replace(
        _VERBOSE,
        name="verbose_unmeasured",
        about="the target writes three times as much, and nobody counted it",
        kind="unknown",
        models=(BIG, replace(SMALL, verbosity=3, spread=0.4)),
        traffic=lambda rng: independent(rng, prompt=300, answer=500),
        judged=(),
        missing=Missing("ratio_out", 3),
    ),
    _REJECTED,
    replace(
        _REJECTED,
        name="rejected_unmeasured",
        about="70 % of the target's answers are asked again on the source; nobody judged them",
        kind="unknown",
        habits=Habits(redo=0.7),
        judged=(),
        missing=Missing("redo", 0.7),
    ),
    World(
        name="reasoning_at_its_own_rate",
        about="both think, and the target bills hidden tokens at half the rate of the answer",
        kind="known",
        flat="low",
        traffic=thinking_aloud,
        models=(
            replace(BIG, thinks=1),
            replace(SMALL, thinks=1, rates=Rates(1, 4, reasoning=2)),
        ),
        routes=(route(SMALL),),
        judged=(Judged("ratio_reasoning"),),
    ),
    World(
        name="two_sources",
        about="two models move to one, which writes more than one of them and less than the other",
        kind="known",
        flat="low",
        traffic=from_two_models,
        models=(
            BIG,
            replace(BIG, name="chatty", verbosity=2, spread=0.3),
            replace(SMALL, verbosity=1.2, spread=0.3),
        ),
        routes=(route(SMALL),),
        judged=(Judged("ratio_out", source="big"), Judged("ratio_out", source="chatty")),
    ),
    World(
        name="everything_judged",
        about="25 % more input tokens, 40 % more output, 10 % asked again",
        kind="known",
        flat="high",
        traffic=plain,
        models=(BIG, replace(SMALL, tokens=1.25, verbosity=1.4, spread=0.3)),
        routes=(route(SMALL),),
        habits=Habits(redo=0.1),
        judged=(Judged("ratio_in"), Judged("ratio_out"), Judged("redo")),
    ),
)
