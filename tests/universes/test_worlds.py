"""Projections on worlds with a known truth: `python -m tests.universes` prints them."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.universes.run import Verdict, expected_savings, judge_seed, project
from tests.universes.world import World
from tests.universes.worlds import WORLDS

worlds = pytest.mark.parametrize("world", WORLDS.values(), ids=list(WORLDS))


OFTEN = frozenset(
    [
        "single_turns",
        "target_thinks",
        "context_window",
        "images",
        "long_prompt_tier",
        "gateway_hits",
        "rejected",
        "reunited_sessions",
    ]
)
"""Worlds that every run of the tests tries; the others are slow tests."""
SEEDS = int(os.environ.get("TTPLAN_UNIVERSE_SEEDS", "10"))
"""How many windows of each world the statistics are of.

They are of the worlds above; with the variable, of all: `TTPLAN_UNIVERSE_SEEDS=100` takes hours.
"""
COUNTED = WORLDS if "TTPLAN_UNIVERSE_SEEDS" in os.environ else sorted(OFTEN)
ENOUGH = SEEDS - max(1, SEEDS // 10)
"""How many of them must be right."""
often = [
    pytest.param(world, id=name, marks=[] if name in OFTEN else [pytest.mark.slow])
    for name, world in WORLDS.items()
]


def is_right(world: World, verdict: Verdict) -> bool:
    """Whether a projection tells what a world lets it know."""
    if world.kind == "unknown":
        return verdict.explained
    return verdict.sign and (verdict.covered or world.kind == "sign")


@pytest.mark.parametrize("world", often)
def test_a_projection_is_right(world: World) -> None:
    first = judge_seed(world, 0)
    # One interval in 20 does not cover: then two others must.
    others = [] if is_right(world, first) else [judge_seed(world, seed) for seed in (1, 2)]
    assert all(is_right(world, verdict) for verdict in others), [first, *others]


@pytest.mark.statistics
@pytest.mark.parametrize("name", COUNTED)
def test_most_projections_are_right(name: str) -> None:
    world = WORLDS[name]
    verdicts = [judge_seed(world, seed) for seed in range(SEEDS)]
    if world.kind == "unknown":
        assert sum(v.explained for v in verdicts) >= ENOUGH
        return
    assert sum(v.sign for v in verdicts) >= ENOUGH
    if world.kind == "known":
        assert sum(v.covered for v in verdicts) >= ENOUGH


@pytest.mark.slow
@worlds
def test_flat_rates_err_as_described(world: World) -> None:
    window = world.window(0)
    shown = project(world, window, "reference")
    error = (
        "high"
        if shown.low > window.truth_usd + 1e-9
        else "low"
        if shown.high < window.truth_usd - 1e-9
        else "right"
    )
    assert error == world.flat


@worlds
def test_expected_savings_are_those_of_the_world(world: World) -> None:
    savings = world.savings(10)
    expected = expected_savings(world.name)
    error = np.hypot(expected.error, savings.std(ddof=1) / 10**0.5)
    assert abs(savings.mean() - expected.usd) <= 3 * error + 1e-6
