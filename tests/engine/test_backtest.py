"""Back-tests: a plan on one period, held against the next."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.support import universe
from tests.support.strategies import START
from ttplan.display.backtest import BacktestCard
from ttplan.engine.backtest import backtest, consistent, figure
from ttplan.engine.replay import replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import to_table
from ttplan.model.errors import InputError
from ttplan.model.plan import PlanConfig
from ttplan.model.request import RequestLog
from ttplan.model.results.backtest import METRICS, Backtest

HOUR = timedelta(hours=1)


def run(requests: tuple[RequestLog, ...], period: timedelta = HOUR / 6, **changes: Any) -> Backtest:
    plan = universe.plan(requests, bootstrap_iterations=200, seed=0, **changes)
    return backtest(to_table(requests), ReplaySpec.from_plan(plan), period)


def test_each_period_is_held_against_the_next() -> None:
    requests = universe.log(1_500, seed=1)
    backtests = run(requests)
    assert (len(backtests.comparisons), backtests.skipped) == (5 * len(METRICS), 0)
    alone = [
        replay(
            universe.plan(
                requests,
                window_start=START + HOUR / 6 * n,
                window_end=START + HOUR / 6 * (n + 1),
                bootstrap_iterations=200,
                seed=0,
            )
        )
        for n in range(6)
    ]
    for n, (result, following) in enumerate(pairwise(alone)):
        for metric in METRICS:
            comparison = backtests.of(metric)[n]
            assert (comparison.period_start, comparison.next_start) == (
                result.window_start,
                following.window_start,
            )
            assert (comparison.projected, comparison.projected_95) == figure(result, metric)
            assert (comparison.found, comparison.found_95) == figure(following, metric)
            ends = comparison.projected_95
            assert ends is not None
            assert comparison.inside == (ends[0] <= comparison.found <= ends[1])


def test_steady_traffic_is_consistent_and_a_change_is_not() -> None:
    steady = run(universe.log(6_000, seed=2), period=HOUR / 12)
    counts = {
        metric: (inside, agreeing, total) for metric, inside, agreeing, total in steady.counts()
    }
    inside, agreeing, total = counts["savings_pct"]
    assert total == 11
    assert inside <= agreeing
    assert agreeing >= 9
    requests = universe.log(3_000, seed=3)
    changed = tuple(
        r.model_copy(update={"tag": "code"}) if r.ts >= START + HOUR / 2 else r for r in requests
    )
    judged = run(changed, period=HOUR / 2).of("savings_pct")
    assert [(comparison.inside, comparison.consistent) for comparison in judged] == [(False, False)]


def test_empty_periods_are_left_out() -> None:
    requests = tuple(
        r for r in universe.log(3_000, seed=4) if not HOUR / 6 <= r.ts - START < HOUR / 2
    )
    backtests = run(requests)
    assert backtests.skipped == 2
    assert len(backtests.of("savings_pct")) == 3


def test_what_is_no_two_whole_periods_is_an_error() -> None:
    requests = universe.log(300, seed=5)
    with pytest.raises(
        InputError,
        match=r"has 1 whole periods of 0:40:00; expected 2 to 1,000: choose a shorter period",
    ):
        run(requests, period=timedelta(minutes=40))
    with pytest.raises(InputError, match="choose a longer period"):
        run(requests, period=timedelta(seconds=1))
    with pytest.raises(InputError, match="expected a second or more"):
        run(requests, period=timedelta(0))


def test_without_an_interval_nothing_is_judged() -> None:
    backtests = run(universe.log(2_000, seed=6), config=PlanConfig(cluster="tag"))
    assert {comparison.inside for comparison in backtests.comparisons} == {None}
    assert {total for *_, total in backtests.counts()} == {0}
    assert "no interval" in repr(BacktestCard(backtests))


@pytest.mark.parametrize(
    ("a", "a_ends", "b", "b_ends", "expected"),
    [
        (10, (8, 12), 13, (11, 15), False),  # 3 apart, hypot(2, 2) = 2.83
        (10, (8, 12), 12.8, (10.8, 14.8), True),
        (13, (11, 15), 10, (8, 12), False),
        (10, (10, 10), 10, (10, 10), True),
        (10, (4, 11), 14, (12, 30), False),  # the sides that face each other count: 1 and 2
        (10, (9, 16), 14, (4, 15), True),
    ],
)
def test_consistent_counts_the_sides_that_face_each_other(
    a: float, a_ends: tuple[float, float], b: float, b_ends: tuple[float, float], expected: bool
) -> None:
    assert consistent(a, a_ends, b, b_ends) is expected


def test_a_back_test_shows_itself_in_80_columns_and_as_a_frame() -> None:
    shown = BacktestCard(run(universe.log(3_000, seed=7)))
    text = repr(shown)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "back-test: 5 pairs of periods of 10 minutes" in text
    assert "of 5" in text
    assert "of 5" in shown._repr_html_()
    frame = shown.frame()
    assert len(frame) == 20
    assert str(frame["inside"].dtype) == "boolean"
    assert frame["projected_lo"].le(frame["projected"]).all()
