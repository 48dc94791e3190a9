"""Worlds in which providers cache prompts: what a route changes for the calls that stay, too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.universes.gateway import Habits
from tests.universes.measure import Judged
from tests.universes.providers import Model, PromptCache, Rates
from tests.universes.recorder import Recorder
from tests.universes.traffic import Requests, label, pick, sessions
from tests.universes.world import Missing, World
from tests.universes.worlds.common import AUTOMATIC, EXPLICIT, route
from ttplan.model.plan import PlanConfig
from ttplan.model.projection.assumption import Assumption

BY_SESSION = PlanConfig(cluster="session_id")
BY_USER = PlanConfig(cluster="user_id")
LARGE = Model("acme", "large", Rates(3, 15, cached=0.3, write=3.75, write_1h=6), cache=EXPLICIT)
MEDIUM = Model(
    "acme", "medium", Rates(1.5, 8, cached=0.15, write=1.875, write_1h=3), cache=EXPLICIT
)
AUTO = Model("delta", "auto", Rates(2, 8, cached=0.5), cache=AUTOMATIC)
AUTO_MINI = Model("delta", "auto-mini", Rates(1.4, 5.8, cached=0.35), cache=AUTOMATIC)
UNCACHED_MINI = replace(
    AUTO_MINI,
    rates=Rates(0.7, 3, cached=0.175),
    cache=PromptCache("automatic", minimum=4_096, ttl=600),
)


def with_lookups(made: Requests, rng: np.random.Generator, share: float = 0.3) -> Requests:
    """The same conversations, of which some turns are lookups."""
    return made.change(tag=label(pick(rng, len(made), share), "lookup", "agent"))


def agents(rng: np.random.Generator) -> Requests:
    made = sessions(rng, turns=8, first=8_000, grows=3_000)
    return with_lookups(made, rng)


def chats(rng: np.random.Generator) -> Requests:
    return sessions(rng)


def short_chats(rng: np.random.Generator) -> Requests:
    """Prompts of 1,100 to some 3,500 tokens."""
    made = sessions(rng, turns=6, first=1_300, grows=200, answer=60, spread=0.15)
    return made.change(prompt=np.minimum(made.prompt, 3_500))


def slow_agents(rng: np.random.Generator) -> Requests:
    made = sessions(rng, turns=8, first=8_000, grows=3_000, gap=150)
    return with_lookups(made, rng)


def very_slow_agents(rng: np.random.Generator) -> Requests:
    made = sessions(rng, turns=8, first=8_000, grows=3_000, gap=600)
    return with_lookups(made, rng)


def long_agents(rng: np.random.Generator) -> Requests:
    made = sessions(rng, turns=8, first=60_000, grows=25_000)
    return with_lookups(made, rng)


def compacted_agents(rng: np.random.Generator) -> Requests:
    """Conversations whose prompt is rewritten from scratch at some 20,000 tokens."""
    made = sessions(rng, turns=10, first=8_000, grows=3_000)
    epoch = made.prompt // 20_000
    return with_lookups(
        made.change(
            prompt=np.maximum(made.prompt % 20_000, 2_000),
            lineage=made.session * 1_000 + epoch,
        ),
        rng,
    )


def agents_with_system_prompt(rng: np.random.Generator) -> Requests:
    """The first 6,000 tokens of all prompts are the same."""
    made = sessions(rng, turns=6, first=8_000, grows=3_000, days=0.5)
    return with_lookups(made.change(prompt=made.prompt + 6_000, system=6_000), rng)


def agents_with_evictions(rng: np.random.Generator) -> Requests:
    made = agents(rng)
    return made.change(evicted=pick(rng, len(made), 0.08))


def paired_agents(rng: np.random.Generator) -> Requests:
    """Each user has two conversations, which begin in the same two minutes."""
    made = agents(rng)
    first = np.full(made.session.max() + 1, np.inf)
    np.minimum.at(first, made.session, made.ts)
    partner = made.session - made.session % 2
    shift = np.where(made.session % 2, first[partner] - first[made.session] + 120 * 0.5, 0)
    moved = replace(made, ts=np.round(made.ts + shift, 3), session=partner)
    order = np.argsort(moved.ts, kind="stable")
    return replace(moved, **{name: value[order] for name, value in vars(moved).items()})


def whole_sessions(rng: np.random.Generator) -> Requests:
    made = sessions(rng, turns=8, first=8_000, grows=3_000)
    return made.change(tag=label(made.session % 2 == 0, "coding", "support"))


_COLD = World(
    name="single_turns",
    about="agents with a provider cache, single turns rerouted: both caches go cold",
    kind="known",
    flat="high",
    traffic=agents,
    models=(LARGE, MEDIUM),
    routes=(route(MEDIUM, tag_equals="lookup"),),
    config=BY_SESSION,
)
WORLDS = (
    _COLD,
    replace(
        _COLD,
        name="single_turns_automatic",
        about="the same between models that cache by themselves",
        models=(AUTO, AUTO_MINI),
        routes=(route(AUTO_MINI, tag_equals="lookup"),),
    ),
    replace(
        _COLD,
        name="single_turns_of_users",
        about="the same, and the log has users in place of sessions",
        config=BY_USER,
        recorder=Recorder(who="user_id"),
    ),
    replace(
        _COLD,
        name="single_turns_of_nobody",
        about="the same, and the log does not say which requests belong together",
        kind="unknown",
        config=PlanConfig(),
        recorder=Recorder(who=None),
        missing=Missing("cache_fit"),
    ),
    World(
        name="whole_sessions",
        about="half of the sessions move as a whole: their cache is as warm as before",
        kind="known",
        flat="right",
        traffic=whole_sessions,
        models=(LARGE, MEDIUM),
        routes=(route(MEDIUM, tag_equals="coding"),),
        config=BY_SESSION,
    ),
    World(
        name="breakpoints_unset",
        about="the source caches by itself; on the target nobody sets breakpoints",
        kind="known",
        flat="high",
        traffic=lambda rng: sessions(rng, turns=8, first=8_000, grows=2_000),
        models=(
            AUTO,
            Model("acme", "medium", Rates(1.2, 5, cached=0.12, write=1.5), cache=EXPLICIT),
        ),
        routes=(route("medium"),),
        habits=Habits(breakpoints=False),
        config=BY_SESSION,
    ),
    World(
        name="breakpoints_set",
        about="the source caches by itself; on the target the client sets breakpoints",
        kind="known",
        flat="high",
        traffic=lambda rng: sessions(rng, turns=8, first=8_000, grows=2_000),
        models=(AUTO, replace(MEDIUM, rates=Rates(1.2, 5, cached=0.12, write=1.5))),
        routes=(route("medium"),),
        given=(Assumption(name="cache_breakpoints", value=1),),
        config=BY_SESSION,
    ),
    World(
        name="breakpoints_unsaid",
        about="the same, and nobody says that the client sets breakpoints",
        kind="unknown",
        flat="high",
        traffic=lambda rng: sessions(rng, turns=8, first=8_000, grows=2_000),
        models=(AUTO, replace(MEDIUM, rates=Rates(1.2, 5, cached=0.12, write=1.5))),
        routes=(route("medium"),),
        missing=Missing("cache_breakpoints", 1),
        config=BY_SESSION,
    ),
    replace(
        _COLD,
        name="single_turns_at_a_discount",
        about="the same with a discount of 20 % on the source alone",
        factors=(0.8, 1),
        given=(Assumption(name="price_factor", scope="model"),),
    ),
    replace(
        _COLD,
        name="single_turns_to_another_tokenizer",
        about="the same, and the target's tokenizer makes 20 % more tokens",
        models=(LARGE, replace(MEDIUM, tokens=1.2)),
        judged=(Judged("ratio_in"),),
    ),
    replace(
        _COLD,
        name="long_conversations",
        about="conversations grow past the length at which both models charge more",
        traffic=long_agents,
        models=(
            replace(
                LARGE,
                tiers=((150_000, Rates(6, 22.5, cached=0.6, write=7.5)),),
            ),
            replace(
                MEDIUM,
                tiers=((150_000, Rates(3, 12, cached=0.3, write=3.75)),),
            ),
        ),
    ),
    World(
        name="longer_lifetime",
        about="slow users, whose prompts the target keeps for an hour, the source for 5 minutes",
        kind="known",
        flat="low",
        traffic=lambda rng: sessions(rng, turns=8, first=8_000, grows=3_000, gap=500),
        models=(
            replace(AUTO, cache=replace(AUTOMATIC, ttl=300)),
            replace(AUTO_MINI, cache=replace(AUTOMATIC, ttl=3_600)),
        ),
        routes=(route(AUTO_MINI),),
        config=BY_SESSION,
    ),
    World(
        name="cached_in_steps",
        about="providers cache in steps of 128 tokens",
        kind="known",
        flat="high",
        traffic=agents,
        models=tuple(replace(m, cache=replace(AUTOMATIC, step=128)) for m in (AUTO, AUTO_MINI)),
        routes=(route(AUTO_MINI, tag_equals="lookup"),),
        config=BY_SESSION,
    ),
    World(
        name="minimum_lengths",
        about="prompts are long enough to be cached at the source, and not at the target",
        kind="known",
        flat="high",
        traffic=short_chats,
        models=(
            AUTO,
            UNCACHED_MINI,
        ),
        routes=(route(UNCACHED_MINI),),
        config=BY_SESSION,
    ),
    World(
        name="target_without_cache",
        about="the target's provider does not cache",
        kind="known",
        flat="high",
        traffic=chats,
        models=(AUTO, Model("zeta", "uncached", Rates(1.2, 5, cached=0.3))),
        routes=(route("uncached"),),
        config=BY_SESSION,
    ),
    replace(
        _COLD,
        name="hour_writes",
        about="prompts are kept for an hour, at twice the price of input",
        traffic=very_slow_agents,
        habits=Habits(long_writes=True),
        recorder=Recorder(usage=True),
    ),
    replace(
        _COLD,
        name="slow_users",
        about="users often take longer than the cache keeps their prompt",
        traffic=slow_agents,
    ),
    replace(
        _COLD,
        name="users_with_several_sessions",
        about="the log has users only, who often talk in two sessions at once",
        kind="sign",
        traffic=paired_agents,
        config=BY_USER,
        recorder=Recorder(who="user_id"),
    ),
    replace(
        _COLD,
        name="compactions",
        about="agents rewrite their prompts from time to time",
        kind="sign",
        traffic=compacted_agents,
    ),
    replace(
        _COLD,
        name="system_prompts",
        about="all sessions share a long system prompt, which other sessions keep warm",
        kind="sign",
        traffic=agents_with_system_prompt,
    ),
    replace(
        _COLD,
        name="evictions",
        about="the provider drops 8 % of the prompts before their time",
        kind="sign",
        traffic=agents_with_evictions,
    ),
)
