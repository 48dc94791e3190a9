"""The simulator itself: bills computed by hand, and what must hold of any world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml

from tests.universes.gateway import Habits, choose_models, serve
from tests.universes.providers import Model, PromptCache, Rates, Usage, bill
from tests.universes.traffic import DAY, Requests, independent, sessions
from tests.universes.world import World
from tests.universes.worlds import WORLDS
from tests.universes.worlds.common import BIG, SMALL, route

LARGE = Model(
    "acme",
    "large",
    Rates(3, 15, cached=0.3, write=3.75, write_1h=6, image=4, reasoning=20, request_usd=0.001),
    tiers=((200_000, Rates(6, 30)),),
    services={"batch": Rates(1.5, 7.5)},
    later=((DAY, Rates(2, 10)),),
)
RNG = np.random.default_rng(1)
worlds = pytest.mark.parametrize("world", WORLDS.values(), ids=list(WORLDS))


def conversation(*turns: tuple[float, int]) -> Requests:
    """One session: the second and the prompt of each turn, with answers of 100 tokens."""
    seconds, prompts = zip(*turns, strict=True)
    made = independent(RNG, len(turns))
    return made.change(ts=seconds, prompt=prompts, answer=100, session=0, lineage=0, noise=0)


def price(model: Model = LARGE, *, ts: float = 0, tier: str = "", **usage: int) -> float:
    """The price in USD of a call that used so many tokens."""
    tokens = Usage(*(np.array([usage.get(name, 0)]) for name in Usage._fields))
    none = np.array([0])
    return int(bill(model, tokens, np.array([ts]), np.array([tier], object), none)[0]) / 10**12


@pytest.mark.parametrize(
    ("call", "usd"),
    [
        ({"input": 1_000, "output": 100}, 0.003 + 0.0015 + 0.001),
        ({"input": 1_000, "cached": 600, "written": 300}, 0.0003 + 0.00018 + 0.001125 + 0.001),
        ({"input": 1_000, "written": 1_000, "long_written": 400}, 0.00225 + 0.0024 + 0.001),
        ({"input": 1_000, "image": 250}, 0.00225 + 0.001 + 0.001),
        ({"input": 0, "output": 100, "reasoning": 60}, 0.0006 + 0.0012 + 0.001),
        ({"input": 200_000}, 0.6 + 0.001),
        ({"input": 200_001}, 1.200006),
        ({"input": 1_000, "output": 100, "tier": "batch"}, 0.0015 + 0.00075),
        ({"input": 1_000, "output": 100, "tier": "flex"}, 0.003 + 0.0015 + 0.001),
        ({"input": 1_000, "output": 100, "ts": DAY}, 0.002 + 0.001),
    ],
)
def test_bills_are_those_computed_by_hand(call: dict[str, int], usd: float) -> None:
    assert price(**call) == pytest.approx(usd, abs=1e-12)  # type: ignore[arg-type]


def test_a_provider_keeps_a_prompt_for_its_time_to_live() -> None:
    cache = PromptCache("explicit", minimum=1_000, ttl=300)
    turns = conversation((0, 900), (10, 2_000), (310, 3_000), (611, 4_000), (612, 3_500))
    usage = serve(turns, [replace(BIG, cache=cache)], turns.source).usage
    assert usage.cached.tolist() == [0, 0, 2_000, 0, 3_500]
    assert usage.written.tolist() == [0, 2_000, 1_000, 4_000, 0]


def test_a_cache_that_works_by_itself_has_no_writes() -> None:
    turns = conversation((0, 2_000), (10, 3_000))
    automatic = replace(BIG, cache=PromptCache("automatic", minimum=1_024, ttl=600))
    usage = serve(turns, [automatic], turns.source, Habits(breakpoints=False)).usage
    assert (usage.cached.tolist(), usage.written.tolist()) == ([0, 2_000], [0, 0])


def test_without_breakpoints_nothing_is_cached() -> None:
    turns = conversation((0, 2_000), (10, 3_000))
    explicit = replace(BIG, cache=PromptCache("explicit"))
    usage = serve(turns, [explicit], turns.source, Habits(breakpoints=False)).usage
    assert not usage.cached.any()
    assert not usage.written.any()


def test_a_turn_elsewhere_makes_both_caches_colder() -> None:
    models = [replace(m, cache=PromptCache("explicit", ttl=300)) for m in (BIG, SMALL)]
    turns = conversation((0, 2_000), (10, 3_000), (20, 4_000))
    usage = serve(turns, models, np.array([0, 1, 0])).usage
    assert usage.cached.tolist() == [0, 0, 2_000]
    assert usage.written.tolist() == [2_000, 3_000, 2_000]


def test_a_system_prompt_is_shared_between_sessions() -> None:
    turns = conversation((0, 5_000), (10, 6_000)).change(lineage=[1, 2], system=3_000)
    cached = replace(BIG, cache=PromptCache("explicit"))
    assert serve(turns, [cached], turns.source).usage.cached.tolist() == [0, 3_000]


def test_requests_that_a_target_refuses_cost_what_they_did() -> None:
    turns = conversation((0, 5_000), (10, 50_000))
    models = [BIG, replace(SMALL, context=10_000)]
    served = serve(turns, models, np.array([1, 1]))
    assert served.model.tolist() == [1, 0]
    assert served.per_request(2).tolist() == [
        ((5_000 * 1 + 100 * 4.5) * 10**6),
        round((50_000 * 2.5 + 100 * 10) * 10**6),
    ]


@pytest.mark.parametrize("billed", [True, False])
def test_an_answer_that_is_cut_is_asked_again(billed: bool) -> None:
    turns = conversation((0, 1_000)).change(answer=5_000)
    models = [BIG, replace(SMALL, longest=2_000)]
    served = serve(turns, models, np.array([1]), Habits(truncated_billed=billed))
    attempt = (1_000 * 1 + 2_000 * 4.5) * 10**6
    again = round((1_000 * 2.5 + 5_000 * 10) * 10**6)
    assert served.per_request(1).tolist() == [again + attempt * billed]


def test_rejected_answers_are_paid_twice() -> None:
    turns = conversation((0, 1_000), (9, 1_000)).change(luck=[0.1, 0.9])
    served = serve(turns, [BIG, SMALL], np.array([1, 1]), Habits(redo=0.2))
    assert served.request.tolist() == [0, 0, 1]
    assert served.model.tolist() == [1, 0, 1]


def test_hits_and_failures_are_not_billed() -> None:
    turns = conversation((0, 1_000), (9, 1_000), (10, 1_000))
    turns = turns.change(hit=[True, False, False], failed=[False, True, False])
    served = serve(turns, [BIG], turns.source)
    assert served.request.tolist() == [1, 2]
    assert served.cost.tolist() == [0, round((1_000 * 2.5 + 100 * 10) * 10**6)]


def test_a_sticky_route_asks_the_first_request_of_a_session() -> None:
    turns = conversation((0, 1_000), (10, 9_000))
    chosen = [
        choose_models(turns, [BIG, SMALL], [route(SMALL, sticky=s, input_tokens_lt=5_000)])[0]
        for s in (False, True)
    ]
    assert [c.tolist() for c in chosen] == [[1, 0], [1, 1]]


def test_routes_are_tried_by_precedence() -> None:
    asked = conversation((0, 1_000), (10, 9_000)).change(tag=["chat", "code"])
    routes = [route(BIG, priority=1), route(SMALL, priority=2, tag_equals="chat")]
    assert choose_models(asked, [BIG, SMALL], routes)[0].tolist() == [1, 0]


def test_prompts_of_a_session_grow() -> None:
    made = sessions(RNG, 30)
    assert (np.diff(made.ts) >= 0).all()
    for session in range(30):
        prompts = made.prompt[made.session == session]
        assert (np.diff(prompts) > 0).all()


@worlds
def test_each_request_is_answered(world: World) -> None:
    window = world.window(0)
    for served in (window.actual, window.routed):
        answered = np.unique(served.request)
        assert (window.requests.hit[np.setdiff1d(np.arange(len(window.requests)), answered)]).all()
        usage = served.usage
        assert (usage.cached + usage.written + usage.image <= usage.input).all()
        assert (usage.reasoning <= usage.output).all()
        assert (served.cost >= 0).all()


@worlds
def test_a_world_without_routes_saves_nothing(world: World) -> None:
    window = replace(world, routes=(), judged=()).window(0)
    assert window.truth_usd == 0


@worlds
def test_the_same_seed_makes_the_same_log(world: World) -> None:
    assert world.log(world.window(3)).equals(world.log(world.window(3)))


@worlds
def test_files_describe_all_models(world: World) -> None:
    listed = [model.key for model in world.models if model.listed]
    assert list(yaml.safe_load(world.price_file())) == listed
    assert list(yaml.safe_load(world.facts_file())) == [model.key for model in world.models]
