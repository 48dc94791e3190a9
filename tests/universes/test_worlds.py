"""Projections on worlds with a known truth: `python -m tests.universes` prints them."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from tests.universes.run import Verdict, expected_savings, judge_seed, project
from tests.universes.world import World
from tests.universes.worlds import WORLDS

ENGINE = find_spec("ttplan.engine.full.project") is not None
"""Whether there is an engine for full projections."""
worlds = pytest.mark.parametrize("world", WORLDS.values(), ids=list(WORLDS))


def is_right(world: World, verdict: Verdict) -> bool:
    """Whether a projection tells what a world lets it know."""
    if world.kind == "unknown":
        return verdict.explained
    return verdict.sign and (verdict.covered or world.kind == "sign")


@worlds
def test_two_of_three_projections_are_right(world: World, request: pytest.FixtureRequest) -> None:
    if not ENGINE and (world.flat != "right" or world.kind == "unknown"):
        request.applymarker(pytest.mark.xfail(strict=True))
    wrong: list[Verdict] = []
    for seed in range(3):
        verdict = judge_seed(world, seed)
        if not is_right(world, verdict):
            wrong.append(verdict)
        # One interval in 20 does not cover. The third seed decides only if the others differ.
        assert len(wrong) < 2, wrong
        if seed - len(wrong) == 1:
            return


@pytest.mark.statistics
@worlds
def test_ninety_of_a_hundred_are_right(world: World) -> None:
    verdicts = [judge_seed(world, seed) for seed in range(100)]
    if world.kind == "unknown":
        assert sum(v.explained for v in verdicts) >= 90
        return
    assert sum(v.sign for v in verdicts) >= 90
    if world.kind == "known":
        assert sum(v.covered for v in verdicts) >= 90


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
