"""Intervals cover the truth of simulated traffic as often as they promise."""

from __future__ import annotations

import os
from math import sqrt

import pytest

from tests.universes.coverage.__main__ import describe
from tests.universes.coverage.measure import measure
from tests.universes.coverage.report import chart, page
from tests.universes.coverage.worlds import COVERAGE_WORLDS, CoverageWorld

SEEDS = int(os.environ.get("TTPLAN_COVERAGE_SEEDS", "60"))
"""How many windows of each world; `TTPLAN_COVERAGE_SEEDS=1000` takes some minutes of CPU."""
LEAST = {"pct": 0.92, "usd": 0.90, "hits": 0.92, "month": 0.90}
MOST = {"pct": 0.98, "usd": 1.0, "hits": 0.98, "month": 0.98}
ASKED = [world for world in COVERAGE_WORLDS.values() if world.covers]


@pytest.mark.statistics
@pytest.mark.parametrize("world", ASKED, ids=lambda world: str(world.name))
def test_intervals_cover_the_truth(world: CoverageWorld) -> None:
    measured = measure(world, SEEDS)
    noise = 3 * sqrt(0.95 * 0.05 / SEEDS)
    for name in world.covers:
        covered = measured.figures[name].covered
        assert LEAST[name] - noise <= covered <= MOST[name] + noise, (name, measured)


def test_the_report_has_each_world_and_figure() -> None:
    world = COVERAGE_WORLDS["few_bursts"]
    measured = {world.name: measure(world, 3)}
    assert f"`few_bursts`: {world.about}" in page(measured, 3)
    assert chart(measured).count('r="3.5"') == 4
    assert describe(world.name, measured[world.name]).startswith("few_bursts")
