"""Method `hall`: moments by brute force, the chosen unit, few carriers, weeks and months."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from scipy.stats import beta, t

from tests.support import universe
from tests.support.bursts import bursts
from tests.support.strategies import START
from ttplan import replay
from ttplan.engine.intervals.studentised.hall import (
    Spread,
    corrected,
    ratio_interval,
    total_interval,
)
from ttplan.engine.intervals.studentised.units import Grouped, Span, sum_units
from ttplan.engine.replay import run_replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import to_table
from ttplan.model.plan import IntervalMethod, PlanConfig, PlanInput, PlanResult
from ttplan.model.request import RequestLog

AUTO = PlanConfig(cluster="auto")
DAY = 86_400


def spread_out(requests: Sequence[RequestLog], every: timedelta) -> tuple[RequestLog, ...]:
    """The requests with one or one session per `every`."""
    return tuple(
        r.model_copy(update={"ts": START + every * int(r.session_id or n)})
        for n, r in enumerate(requests)
    )


def planned(requests: Sequence[RequestLog], config: PlanConfig = AUTO) -> PlanInput:
    last = max(r.ts for r in requests)
    plan = universe.plan(tuple(requests), window_end=last + timedelta(seconds=1))
    return plan.model_copy(update={"config": config})


def spread_of(s: np.ndarray, b: np.ndarray) -> Spread:
    """The spread of the sums of independent pairs, by plain formulas."""
    n, ds, db = len(s), s - s.mean(), b - b.mean()
    moments = {
        (j, k): float((ds**j * db**k).sum()) * n / (n - 1)
        for j in range(4)
        for k in range(4)
        if j + k in (2, 3)
    }
    carriers = float(np.abs(s).sum() ** 2 / (s * s).sum())
    return Spread(n, n - 1, float(s.sum()), float(b.sum()), moments, carriers)


def test_moments_of_strata_are_those_of_plain_loops() -> None:
    rng = np.random.default_rng(1)
    days, n = 21, 3_000
    minutes = rng.integers(0, days * 1_440, n)
    change = rng.integers(-(10**9), 10**10, n)
    grouped = Grouped(
        minutes,
        np.zeros(n, dtype=np.int64),
        {"requests": np.ones(n, dtype=np.int64), "change": change},
        by_minute=True,
    )
    unit = sum_units(grouped, "day", DAY, Span(0, days * DAY))
    sums = np.bincount(minutes // 1_440, weights=change, minlength=days) / 1e12
    expected = {2: 0.0, 3: 0.0}
    for weekday in range(7):
        own = sums[weekday::7]
        for order in expected:
            expected[order] += ((own - own.mean()) ** order).sum() * len(own) / (len(own) - 1)
    spread = unit.spread("change", "requests")
    assert spread.s == pytest.approx(sums.sum())
    assert spread.moments[(2, 0)] == pytest.approx(expected[2], rel=1e-5)
    assert spread.moments[(3, 0)] == pytest.approx(expected[3], rel=1e-4)
    assert spread.degrees == days - 7


def test_the_correction_inverts_halls_transformation() -> None:
    for skewness in (-0.8, 1e-12, 0.3, 1.5):
        for value in (-2.5, -1.96, 0.0, 1.96):
            g = corrected(value, skewness)
            back = g + skewness * (g * g / 3 + 1 / 6) + skewness**2 * g**3 / 27
            assert back == pytest.approx(value, abs=1e-9)


def test_few_carriers_widen_beyond_clopper_and_pearson() -> None:
    n = 1_000
    for carrying in (1, 2, 5, 12, 29):
        s = np.zeros(n)
        s[:carrying] = 2.0
        low, high = total_interval(spread_of(s, np.ones(n)))
        assert low <= 2 * n * beta.ppf(0.025, carrying, n - carrying + 1)
        assert high >= 2 * n * beta.ppf(0.975, carrying + 1, n - carrying)


def test_a_ratio_has_the_wider_of_two_intervals() -> None:
    rng = np.random.default_rng(2)
    b = rng.lognormal(0, 0.5, 400)
    s = np.where(rng.random(400) < 0.5, b, 0.0)
    spread = spread_of(s, b)
    ends = ratio_interval(spread)
    assert ends is not None
    # Without skewness, both are Fieller's: (s - r b)^2 = t^2 variance(r).
    error = t.ppf(0.975, 399) * np.sqrt(spread.variance(spread.ratio)) / spread.b
    assert ends == pytest.approx((spread.ratio - error, spread.ratio + error), rel=0.02)


def test_bursts_are_resampled_by_session() -> None:
    log = bursts(np.random.default_rng(3), 60)
    requests = spread_out(log.requests(), timedelta(minutes=90))
    auto, fixed = (
        replay(planned(requests, PlanConfig(cluster=cluster, projection="full")))
        for cluster in ("auto", "session_id")
    )
    assert (auto.interval_method, auto.interval_unit) == ("hall", "session_id")
    assert auto.clusters is not None
    assert auto.clusters.design_effect is not None
    assert auto.clusters.design_effect > 10
    assert auto.confidence_intervals == fixed.confidence_intervals
    (route,) = auto.per_route_breakdown
    assert route.change_vs_actual_usd_95 == auto.confidence_intervals.change_vs_actual_usd_95


@pytest.mark.parametrize("method", ["limit", "resample"])
def test_other_methods_take_the_unit_that_was_chosen(method: IntervalMethod) -> None:
    requests = spread_out(bursts(np.random.default_rng(3), 40).requests(), timedelta(hours=2))
    auto, fixed = (
        replay(
            planned(requests, PlanConfig(cluster=cluster)).model_copy(
                update={"bootstrap_iterations": 200}
            ),
            interval_method=method,
        )
        for cluster in ("auto", "session_id")
    )
    assert (auto.interval_method, auto.interval_unit) == (method, "session_id")
    assert auto.confidence_intervals == fixed.confidence_intervals


def test_independent_requests_are_resampled_one_by_one() -> None:
    requests = spread_out(universe.log(600, seed=4), timedelta(minutes=20))
    result = replay(planned(requests))
    assert (result.interval_unit, result.clusters) == ("request", None)
    limit = replay(planned(requests, PlanConfig()), interval_method="limit")
    ours, theirs = (
        r.confidence_intervals.projected_change_usd_95 or (0, 0) for r in (result, limit)
    )
    assert ours[1] - ours[0] == pytest.approx(theirs[1] - theirs[0], rel=0.05)


def test_a_request_without_a_session_is_alone() -> None:
    requests = spread_out(universe.log(400, seed=5), timedelta(minutes=5))
    own = ["s" if n < 2 else None for n in range(len(requests))]
    some = [r.model_copy(update={"session_id": s}) for r, s in zip(requests, own, strict=True)]
    assert replay(planned(some)).interval_unit == "request"


@pytest.mark.parametrize("projection", ["full", "reference"])
def test_order_and_threads_change_no_byte(projection: str) -> None:
    log = bursts(np.random.default_rng(6), 40)
    requests = spread_out(log.requests(), timedelta(hours=9))
    plan = planned(
        requests, PlanConfig.model_validate({"cluster": "auto", "projection": projection})
    )
    expected = replay(plan).model_dump_json()
    shuffled = list(plan.requests)
    random.Random(7).shuffle(shuffled)
    table = to_table(shuffled, threads=8)
    assert run_replay(table, ReplaySpec.from_plan(plan)).result.model_dump_json() == expected


def test_no_interval_if_no_request_happens_to_carry_a_saving() -> None:
    requests = [
        r.model_copy(update={"tag": "code"})
        for r in spread_out(universe.log(300, seed=8), timedelta(minutes=20))
    ]
    result = replay(planned(requests))
    assert result.confidence_intervals.change_vs_actual_usd_95 is None
    assert any("at most 1.22%" in caveat for caveat in result.caveats)
    without_routes = planned(requests).model_copy(update={"proposed_routes": ()})
    assert replay(without_routes).confidence_intervals.change_vs_actual_usd_95 == (0.0, 0.0)


def test_one_request_alone_has_no_interval_of_money() -> None:
    chat = next(r for r in universe.log(50, seed=8) if r.tag == "chat")
    result = replay(planned([chat]))
    assert result.aggregates.change_vs_actual_usd > 0
    assert result.confidence_intervals.change_vs_actual_usd_95 is None


def test_few_carrying_requests_are_said() -> None:
    requests = [
        r.model_copy(update={"tag": "code" if n % 75 else "chat"})
        for n, r in enumerate(spread_out(universe.log(900, seed=9), timedelta(minutes=11)))
    ]
    result = replay(planned(requests))
    assert any("rest on 12 of 900 requests" in caveat for caveat in result.caveats), result.caveats


def daily(days: int, per_day: Sequence[int]) -> PlanResult:
    """The result of a log with so many chat requests on each day, of 20 in all."""
    template = universe.log(1, seed=10)[0]
    requests = [
        template.model_copy(
            update={
                "id": type(template.id)(int=day * 100 + n),
                "ts": START + timedelta(days=day, minutes=60 * n + 5),
                "tag": "chat" if n < per_day[day] else "code",
            }
        )
        for day in range(days)
        for n in range(20)
    ]
    plan = universe.plan(tuple(requests), window_end=START + timedelta(days=days))
    return replay(plan.model_copy(update={"config": AUTO}))


def test_a_window_that_is_no_whole_week_says_what_that_changes() -> None:
    per_day = [16 if (START + timedelta(days=d)).weekday() < 5 else 2 for d in range(40)]
    assert not any("week" in caveat for caveat in daily(28, per_day).caveats)
    assert any("weighted equally" in caveat for caveat in daily(31, per_day).caveats)
    missing = "The window has no Wednesday, Thursday, which may save more or less"
    assert any(missing in caveat for caveat in daily(5, per_day).caveats)


def test_a_month_goes_on_as_the_window() -> None:
    result = daily(28, [8, 9, 7, 10] * 7)
    month = result.per_month
    assert month is not None
    rate = float(result.aggregates.change_vs_actual_usd) / 28
    assert float(month.change_vs_actual_usd) == pytest.approx(30.44 * rate)
    assert month.change_vs_actual_usd_95 is not None
    assert (
        month.change_vs_actual_usd_95[0]
        < month.change_vs_actual_usd
        < month.change_vs_actual_usd_95[1]
    )
    assert (month.weekdays, month.trend) == (True, False)


def test_a_month_follows_the_trend() -> None:
    month = daily(28, [2 + d // 2 for d in range(28)]).per_month
    assert month is not None
    assert month.trend
    growing = replay(planned(universe.log(3, seed=1))).per_month
    assert growing is None  # shorter than a day
    assert month.change_vs_actual_usd > Decimal(0)
