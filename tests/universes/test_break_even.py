"""Slopes and break-evens against replays with other values."""

from __future__ import annotations

from functools import cache

import pytest

from tests.universes.run import Shown, project
from tests.universes.worlds import WORLDS
from ttplan.model.projection.assumption import Assumption, AssumptionName

CASES: list[tuple[str, AssumptionName]] = [
    ("everything_judged", "ratio_in"),
    ("everything_judged", "ratio_out"),
    ("everything_judged", "redo"),
    ("both_think", "ratio_reasoning"),
    ("target_thinks", "reasoning_tokens"),
    ("output_limit_unsaid", "paid_attempts"),
    ("single_turns", "cache_fit"),
]


@cache
def shown(world: str, given: Assumption | None = None) -> Shown:
    """What is shown for a world whose assumptions include a given one."""
    window = WORLDS[world].window(0)
    if given is not None:
        others = tuple(a for a in window.assumptions if a.name != given.name)
        window = window._replace(assumptions=(*others, given))
    return project(WORLDS[world], window)


@pytest.mark.parametrize(
    ("world", "name"),
    [*CASES[:3], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[3:])],
)
def test_replays_save_what_slopes_say(world: str, name: AssumptionName) -> None:
    """At the break-even it saves nothing; without one, what the slope says."""
    base = shown(world)
    effect = next(a for a in base.assumptions if a.name == name)
    assert effect.value is not None
    assert effect.slope_usd is not None
    value = 0.5 if effect.break_even is None else effect.break_even
    told = base.savings + effect.slope_usd * (value - float(effect.value))
    assert effect.break_even is None or told == pytest.approx(0, abs=1e-6)
    found = shown(world, Assumption(name=name, value=value)).savings
    # Tokens are whole: reasoning tokens of each answer, and each count times a ratio.
    assert found == pytest.approx(told, abs=0.002)
