"""Intervals, sequences and alarms on simulated logs whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.engine.reconcile.simulated import (
    OUTPUT_FACTOR,
    RATES,
    SOURCE_RATE,
    TARGET_RATE,
    by_day,
    sessions,
    until,
)
from ttplan.engine.reconcile.readings import Reading, Reconciler

WINDOW, LOOKS, A_DAY, SEEDS = 14, 30, 40, 200
PER_SESSION = {"input": 20 * 800, "output": 20 * 150}
"""Tokens of an average session."""


def looks(
    seed: int, days: tuple[int, ...], *, a_day_window: float = A_DAY, **truth: Any
) -> Iterator[dict[str, Reading]]:
    """What is read of one log at the end of each of these days after the plan went live."""
    draw = np.random.default_rng(seed)
    window, _ = sessions(draw, WINDOW, a_day_window, projected=True)
    live, day = sessions(draw, max(days), A_DAY, projected=False, **truth)
    reconciler = Reconciler(window, RATES, WINDOW, fixed_clusters=False)
    for end in days:
        yield reconciler.compare(until(live, day, end), end)[1]


def excludes_zero(reading: Reading, name: str) -> bool:
    ends = getattr(reading, name)
    return ends is not None and not ends[0] <= 0 <= ends[1]


def covers(reading: Reading, name: str, truth: float) -> bool:
    ends = getattr(reading, name)
    return ends is not None and bool(ends[0] - 1e-9 <= truth <= ends[1] + 1e-9)


def test_few_sessions_have_no_intervals() -> None:
    (first,) = looks(1, (1,), a_day_window=0.3)
    assert (first["plan"].once, first["plan"].sequence) == (None, None)


def test_a_sequence_is_wider_than_one_look() -> None:
    (reading,) = looks(1, (14,), rerouted_output=1.2, prompts=1.1)
    for name in ("volume", "mix", "prompts", "rate", "others", "plan", "savings"):
        once, sequence = reading[name].once, reading[name].sequence
        assert once is not None
        assert sequence is not None
        assert sequence[0] < once[0] < reading[name].value < once[1] < sequence[1]
    assert reading["prices"].once == (0.0, 0.0)


TRUTHS: dict[str, dict[str, Any]] = {
    "nothing changed": {},
    "target wordier": {"rerouted_output": 1.3},
    "others wordier": {"other_output": 1.3},
    "longer prompts": {"prompts": 1.3},
    "dearer": {"price": 1.1},
    "a quarter not rerouted": {"rerouted_share": 0.75},
    "more traffic": {"a_day_window": 25.0},
}


def expected(truth: dict[str, Any]) -> dict[str, float]:
    """The true parts, USD per day: half of the sessions are rerouted."""
    values = {"rerouted_output": 1.0, "other_output": 1.0, "prompts": 1.0, "price": 1.0}
    values |= {"rerouted_share": 1.0, "a_day_window": float(A_DAY)} | truth
    half, share = A_DAY / 2, values["rerouted_share"]
    tokens, output = PER_SESSION["input"], PER_SESSION["output"] * OUTPUT_FACTOR
    sent, left = half * share * TARGET_RATE, half * (2 - share) * SOURCE_RATE
    longer = values["prompts"] - 1
    target = TARGET_RATE * (tokens + output)
    source = SOURCE_RATE * (tokens + output)
    parts = {
        "volume": (A_DAY - values["a_day_window"]) / 2 * (target + source),
        "mix": 0.0,
        "routing": half * (1 - share) * (source - target),
        "prompts": longer * (sent + left) * tokens,
        "rate": (values["rerouted_output"] - 1) * sent * output,
        "others": (values["other_output"] - 1) * left * output,
    }
    priced = sum(parts.values()) + values["a_day_window"] / 2 * (target + source)
    parts["prices"] = (values["price"] - 1) * priced
    return parts


@pytest.mark.statistics
@pytest.mark.parametrize("name", TRUTHS)
def test_intervals_of_parts_cover_the_truth(name: str) -> None:
    truth = expected(TRUTHS[name])
    readings = [next(looks(seed, (14,), **TRUTHS[name])) for seed in range(SEEDS)]
    for part, value in truth.items():
        covered = np.mean([covers(reading[part], "once", value) for reading in readings])
        assert covered >= 0.90, (part, covered)
        always = np.mean([covers(reading[part], "sequence", value) for reading in readings])
        assert always >= 0.98, (part, always)


@pytest.mark.statistics
@pytest.mark.parametrize("name", ["nothing changed", "target wordier", "longer prompts"])
def test_intervals_cover_what_was_saved(name: str) -> None:
    """The savings of the requests that came, which are known here alone."""
    covered = []
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        window, _ = sessions(draw, WINDOW, A_DAY, projected=True)
        live, _ = sessions(draw, 14, A_DAY, projected=False, **TRUTHS[name])
        own = live.rerouted
        truth = float((live.source_usd - live.usd)[own].sum()) / 14
        reading = Reconciler(window, RATES, WINDOW, fixed_clusters=False).compare(live, 14)[1]
        covered.append(covers(reading["savings"], "once", truth))
    assert 0.90 <= np.mean(covered) <= 0.99


@pytest.mark.statistics
@pytest.mark.parametrize("days", [4, 14])
def test_days_that_differ_are_seen_by_day(days: int) -> None:
    """Eight weeks whose prompts and answers are longer on some days than on others."""
    covered: dict[bool, list[bool]] = {True: [], False: []}
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        window, window_day = sessions(draw, 56, A_DAY, projected=True, shock=0.2)
        live, live_day = sessions(draw, days, A_DAY, projected=False, shock=0.2)
        pairs = {False: (window, live), True: (by_day(window, window_day), by_day(live, live_day))}
        for fixed, (before, since) in pairs.items():
            readings = Reconciler(before, RATES, 56, fixed_clusters=fixed).compare(since, days)[1]
            covered[fixed] += [covers(readings[part], "once", 0.0) for part in ("rate", "prompts")]
    assert 0.92 <= np.mean(covered[True]) <= 0.99
    assert np.mean(covered[False]) <= 0.85  # by session


@pytest.mark.statistics
@pytest.mark.parametrize("truth", [{}, {"other_output": 1.3, "prompts": 1.2}, {"a_day_window": 15}])
def test_daily_looks_seldom_raise_a_false_alarm(truth: dict[str, Any]) -> None:
    """30 daily looks at 200 logs in which the plan has no error."""
    days = tuple(range(1, LOOKS + 1))
    alarms = {"sequence": 0, "once": 0}
    for seed in range(SEEDS):
        readings = list(looks(seed, days, **truth))
        for name in alarms:
            alarms[name] += any(excludes_zero(reading["plan"], name) for reading in readings)
    assert alarms["sequence"] <= 0.05 * SEEDS
    assert alarms["once"] >= 0.15 * SEEDS


@pytest.mark.statistics
@pytest.mark.parametrize(
    ("truth", "days"),
    [({"price": 1.1}, 14), ({"rerouted_output": 1.5}, 14), ({"rerouted_share": 0.5}, 7)],
)
def test_a_real_error_is_found_in_days(truth: dict[str, Any], days: int) -> None:
    """At 40 sessions a day, in 95 of 100 logs."""
    found = sum(
        any(
            excludes_zero(reading["plan"], "sequence")
            for reading in looks(seed, tuple(range(1, days + 1)), **truth)
        )
        for seed in range(100)
    )
    assert found >= 95
