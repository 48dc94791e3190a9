"""What a coming month saves: the rate of the window, and a prediction interval of the total."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import fsum, hypot, sqrt
from typing import NamedTuple

import numpy as np

from ttplan.engine.intervals.moments import UPPER
from ttplan.engine.intervals.studentised.choose import ENOUGH, WINS_BY
from ttplan.engine.intervals.studentised.hall import Spread, corrected, student
from ttplan.engine.intervals.studentised.units import DAY, Span, UnitSums, weekday
from ttplan.engine.summary import PICO
from ttplan.model.money import round_money
from ttplan.model.plan import Interval
from ttplan.model.results.parts import PerMonth

MONTH_DAYS = 30.44
"""The days of a month, on average."""
LEAST_DAYS = 1.0
"""A shorter log says nothing of other hours."""
_TREND = 0.995
"""A trend counts if its t value exceeds this quantile."""


class Daily(NamedTuple):
    """The mean change of a day, with the days of the week weighted equally, and its trend, USD per
    day and day, with its variance; `middle` is the mean of the days, `variance` that of one.
    `weekdays` is the standard deviation of a month's sum of means over the day that it begins."""

    mean: float
    middle: float
    trend: float
    trend_variance: float
    variance: float
    weekdays: float
    degrees: int
    days: int


def project_month(
    requests: Spread,
    units: Sequence[UnitSums],
    days: UnitSums,
    span: Span,
    standard_error: float,
    at_plan_prices: float | None,
) -> PerMonth | None:
    """The change against what is paid per 30.44 days after the window.

    `requests` is the compound spread by requests, `days` are the sums of days, `standard_error`
    (USD) is that of assumptions, and `at_plan_prices` the window's change at the prices of the
    plan's moment. None if the log is shorter than a day.
    """
    if span.days < LEAST_DAYS or not len(days):
        return None
    name, spread = _unit(requests, units)
    factor = span.days / MONTH_DAYS
    daily = _daily(days, span) if span.by_weekday else None
    point, extra = spread.s / factor, 0.0
    if daily is not None:
        point = daily.mean * MONTH_DAYS
        extra = daily.weekdays
        if daily.trend:
            ahead = span.end / DAY + MONTH_DAYS / 2 - daily.middle
            point += daily.trend * ahead * MONTH_DAYS
            extra = hypot(extra, MONTH_DAYS * ahead * sqrt(daily.trend_variance))
            name = "day"
            spread = spread_of_days(spread, daily)
    interval = _prediction(spread, point, 1 / factor, extra)
    error = standard_error / factor
    scale = 1.0 if at_plan_prices is None or not spread.s else at_plan_prices / spread.s
    if interval is not None:
        low, high = sorted(scale * end for end in interval)
        half = student(UPPER, 1e6) * error
        low, high = (
            scale * point - hypot(scale * point - low, half),
            scale * point + hypot(high - scale * point, half),
        )
        interval = low, high
    return PerMonth(
        change_vs_actual_usd=round_money(Decimal(repr(round(scale * point, 6)))),
        change_vs_actual_usd_95=interval,
        unit=name,
        weekdays=daily is not None,
        trend=daily is not None and daily.trend != 0,
    )


def spread_of_days(spread: Spread, daily: Daily) -> Spread:
    """The spread of days about their trend."""
    moments = dict.fromkeys(spread.moments, 0.0)
    moments[(2, 0)] = daily.variance * daily.days
    return Spread(daily.days, daily.degrees, spread.s, spread.b, moments, spread.carriers)


def _unit(requests: Spread, units: Sequence[UnitSums]) -> tuple[str, Spread]:
    """The unit by which totals vary most: as `choose_unit`, of the compound spread."""
    name, chosen = "request", requests
    for unit in units:
        if unit.effective < ENOUGH:
            continue
        own = unit.compound("actual_change")
        if own.variance() > chosen.variance() * (1 + WINS_BY * unit.noise):
            name, chosen = unit.name, own
    return name, chosen


def _prediction(spread: Spread, point: float, times: float, extra: float) -> Interval | None:
    """The interval of a total over `times` the window: that of the rate (method `hall`) and that
    of the coming sum, combined as by G. Y. Zou and A. Donner, Construction of confidence limits
    about effect measures (2008)."""
    if not spread.carriers:
        return None
    error, skewness = sqrt(spread.variance()), spread.skewness()
    t = student(UPPER, spread.t_degrees)
    ends = []
    for side in (-1, 1):
        rate = abs(corrected(-side * t, skewness))
        coming = side * min(max(skewness / sqrt(times), -1.0), 1.0)
        # As far as the rate's at least: what is not known of the variance matters to both.
        month = max(rate, t + (t * t - 1) * max(coming, 0.0) / 6)
        distance = error * hypot(times * rate, sqrt(times) * month)
        ends.append(point + side * hypot(distance, t * extra))
    return ends[0], ends[1]


def _weekday_spread(means: Sequence[float]) -> float:
    """How far the sum of a month's means varies with the day of the week on which it begins."""
    whole = int(MONTH_DAYS)
    shares = [1.0] * whole + [MONTH_DAYS - whole]
    sums = [
        fsum(share * means[(first + i) % 7] for i, share in enumerate(shares)) for first in range(7)
    ]
    centre = fsum(sums) / 7
    return sqrt(fsum((total - centre) ** 2 for total in sums) / 7)


def _daily(days: UnitSums, span: Span) -> Daily | None:
    """The mean of whole days, and the trend if it is more than noise; None if there are too few."""
    first, last = -(-span.start // DAY), span.end // DAY
    count = last - first
    if count < 14:
        return None
    at = np.arange(first, last)
    totals = np.zeros(count)
    inside = (days.keys >= first) & (days.keys < last)
    change = days.columns["actual_change"][inside].tolist()
    totals[days.keys[inside] - first] = [value / PICO for value in change]
    of_week = weekday(at * DAY)
    means = [fsum(totals[of_week == d].tolist()) / int((of_week == d).sum()) for d in range(7)]
    x, y = at.astype(np.float64), totals - np.array(means)[of_week]
    for d in range(7):
        x[of_week == d] -= float(at[of_week == d].mean())
    squares = fsum((x * x).tolist())
    slope = fsum((x * y).tolist()) / squares
    degrees = count - 8
    variance = fsum(((y - slope * x) ** 2).tolist()) / degrees
    trend_variance = variance / squares
    is_trend = slope * slope > student(_TREND, degrees) ** 2 * trend_variance
    return Daily(
        mean=fsum(means) / 7,
        middle=(first + last) / 2,
        trend=slope if is_trend else 0.0,
        trend_variance=trend_variance if is_trend else 0.0,
        variance=variance,
        weekdays=_weekday_spread(means),
        degrees=degrees,
        days=count,
    )
