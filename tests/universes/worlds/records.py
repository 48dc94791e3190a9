"""Worlds whose log does not say what was paid, or has rows that no route changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.universes.recorder import Recorder
from tests.universes.traffic import Requests, independent, pick
from tests.universes.world import World
from tests.universes.worlds.common import BIG, SMALL, route


def some_hits(rng: np.random.Generator) -> Requests:
    made = independent(rng)
    return made.change(hit=pick(rng, len(made), 0.4))


def some_failed(rng: np.random.Generator) -> Requests:
    made = independent(rng)
    return made.change(failed=pick(rng, len(made), 0.15))


def some_streamed(rng: np.random.Generator) -> Requests:
    made = independent(rng)
    return made.change(streamed=pick(rng, len(made), 0.5))


def some_aborted(rng: np.random.Generator) -> Requests:
    """Streams that the user stops somewhere in the answer."""
    made = independent(rng)
    aborted = pick(rng, len(made), 0.3)
    part = np.maximum(1, made.answer * rng.random(len(made)))
    return made.change(streamed=True, aborted=aborted, answer=np.where(aborted, part, made.answer))


_HITS = World(
    name="gateway_hits",
    about="40 % are answered by the gateway's cache, which they still are afterwards",
    kind="known",
    flat="low",
    traffic=some_hits,
    models=(BIG, SMALL),
    routes=(route(SMALL),),
)
_PAST_CACHE = route(SMALL)
_PAST_CACHE = _PAST_CACHE.model_copy(
    update={"then": _PAST_CACHE.then.model_copy(update={"disable_cache": True})}
)
_STREAMED = World(
    name="streamed_free",
    about="costs are recorded as 0 for streamed calls, which are half of all",
    kind="known",
    flat="right",
    traffic=some_streamed,
    models=(BIG, SMALL),
    routes=(route(SMALL),),
    recorder=Recorder(streamed_free=True),
    cost="doctor",
)
WORLDS = (
    _HITS,
    replace(
        _HITS,
        name="gateway_hits_bypassed",
        about="the same, and the route bypasses the gateway's cache",
        flat="right",
        routes=(_PAST_CACHE,),
    ),
    World(
        name="failed_at_list_cost",
        about="failed calls are logged with a list cost that nobody bills",
        kind="known",
        flat="high",
        traffic=some_failed,
        models=(BIG, SMALL),
        routes=(route(SMALL),),
        recorder=Recorder(failed_at_list=True),
    ),
    World(
        name="failed_at_no_cost",
        about="failed calls are logged with their tokens and without a cost",
        kind="known",
        flat="low",
        traffic=some_failed,
        models=(BIG, SMALL),
        routes=(route(SMALL),),
    ),
    _STREAMED,
    replace(_STREAMED, name="streamed_free_as_recorded", cost="recorded", flat="low"),
    replace(
        _STREAMED,
        name="aborted_free",
        about="costs are recorded as 0 for aborted streams, which the provider bills",
        traffic=some_aborted,
        recorder=Recorder(aborted_free=True),
    ),
)
