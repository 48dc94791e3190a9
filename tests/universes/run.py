"""Projects a window of a world with the public API, and compares what it shows with the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

import ttplan
from tests.universes.traffic import START
from tests.universes.world import Window, World
from ttplan.model.plan import Projection
from ttplan.model.projection.assumption import AssumptionEffect

EXPECTED = Path(__file__).parent / "expected.json"
"""Mean saving of many windows of each world, and its standard error: `make_expected`."""
WINDOWS = 400
ROUNDING_USD = 1e-9


class Expected(NamedTuple):
    """What a plan saves on average in windows of a world, and the standard error of that. USD."""

    usd: float
    error: float


class Shown(NamedTuple):
    """What a projection shows. USD per window."""

    savings: float
    low: float
    high: float
    at_plan_prices: float | None
    assumptions: tuple[AssumptionEffect, ...]
    caveats: tuple[str, ...]


class Verdict(NamedTuple):
    """What a projection shows, and whether that is right."""

    shown: Shown
    window_usd: float
    """What the plan saves in this window."""
    expected_usd: float
    """What it saves on average."""
    sign: bool
    covered: bool
    """Whether the interval contains the average."""
    explained: bool
    """Of an unknown world: whether the missing assumption tells what the plan may save."""


def project(world: World, window: Window, projection: Projection = "full") -> Shown:
    """What `ttplan` shows for a window, on a store of its own."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        pq.write_table(world.log(window), path / "log.parquet")
        (path / "prices.yaml").write_text(world.price_file())
        (path / "facts.yaml").write_text(world.facts_file())
        prices, facts = (
            path / name if world.files else None for name in ("prices.yaml", "facts.yaml")
        )
        made_at = START + timedelta(days=world.plan_day)
        ws = ttplan.open(path / "plans.duckdb", clock=lambda: made_at)
        ws.import_logs(
            path / "log.parquet",
            cost=world.cost,
            prices=prices,
            check=False,
            progress=False,
        )
        plan = ws.plan(
            tuple(world.routes),
            name=world.name,
            prices=prices,
            facts=facts,
            assumptions=window.assumptions,
            config=world.config.model_copy(update={"projection": projection}),
            bootstrap_iterations=2_000,
            progress=False,
        )
    result = plan.result
    interval = result.confidence_intervals.change_vs_actual_usd_95
    assert interval is not None
    other = result.aggregates.savings_at_plan_prices_usd
    return Shown(
        float(result.aggregates.change_vs_actual_usd),
        *interval,
        None if other is None else float(other),
        result.assumptions,
        result.caveats,
    )


def judge_seed(world: World, seed: int, projection: Projection = "full") -> Verdict:
    """Project the window of a seed and judge what is shown."""
    window = world.window(seed)
    shown = project(world, window, projection)
    expected = expected_savings(world.name)
    if world.beside:
        # A figure without an interval: that of this window.
        beside = shown.at_plan_prices
        right = beside is not None and abs(beside - window.truth_usd) <= ROUNDING_USD
        return Verdict(shown, window.truth_usd, expected.usd, right, right, False)
    # A truth within the error of its own estimate has no sign: 0 must not be excluded.
    no_sign = abs(expected.usd) <= 3 * expected.error + ROUNDING_USD
    return Verdict(
        shown,
        window.truth_usd,
        expected.usd,
        sign=(
            shown.low - ROUNDING_USD <= 0 <= shown.high + ROUNDING_USD
            if no_sign
            else bool(np.sign(shown.savings) == np.sign(expected.usd))
        ),
        covered=shown.low - ROUNDING_USD <= expected.usd <= shown.high + ROUNDING_USD,
        explained=_explains(world, shown, window.truth_usd),
    )


def _explains(world: World, shown: Shown, truth: float) -> bool:
    """Whether a shown assumption is the missing one, and the truth of this window is between its
    ends, or its break-even separates the shown sign from the true one."""
    missing = world.missing
    if missing is None:
        return False
    slack = 0.001 * abs(truth) + ROUNDING_USD
    for effect in shown.assumptions:
        if effect.name != missing.name:
            continue
        if effect.low_usd is not None and effect.high_usd is not None:
            low, high = sorted((float(effect.low_usd), float(effect.high_usd)))
            if low - slack <= truth <= high + slack:
                return True
        if missing.value is not None and _separates(effect, missing.value, shown.savings, truth):
            return True
    return False


def _separates(effect: AssumptionEffect, true_value: float, shown: float, truth: float) -> bool:
    if effect.value is None:
        return False
    assumed, point = float(effect.value), effect.break_even
    beyond = point is not None and min(assumed, true_value) < point < max(assumed, true_value)
    return beyond == ((shown > 0) != (truth > 0))


@cache
def _expected() -> dict[str, Expected]:
    return {name: Expected(*pair) for name, pair in json.loads(EXPECTED.read_text()).items()}


def expected_savings(name: str) -> Expected:
    """What a world's plan saves on average."""
    return _expected()[name]


def make_expected(worlds: Sequence[World], windows: int = WINDOWS) -> dict[str, Expected]:
    """Simulate what each world's plan saves on average."""
    savings = {world.name: world.savings(windows) for world in worlds}
    return {
        name: Expected(round(float(s.mean()), 6), round(float(s.std() / windows**0.5), 6))
        for name, s in savings.items()
    }
