"""Whether a window has each day of the week equally often, and what that changes if not."""

from __future__ import annotations

from typing import NamedTuple

from ttplan.engine.intervals.studentised.choose import WINS_BY
from ttplan.engine.intervals.studentised.hall import Spread
from ttplan.engine.intervals.studentised.units import DAY, Span, UnitSums, weekday

_TOLERANCE = 0.25
"""A window may be longer or shorter than whole weeks by as many days."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class WeekFinding(NamedTuple):
    """A window that is no whole number of weeks. Savings are in percent of the baseline: as they
    are, with the days of the week weighted equally, and on the best and worst of these."""

    days: float
    missing: tuple[str, ...]
    savings: float
    weighted: float
    low: float
    high: float


def check_weeks(days: UnitSums, span: Span, share: Spread) -> WeekFinding | None:
    """What a log's window leaves out of a week; None if it is whole weeks, shorter than a day, or
    its days do not differ. `share` is the spread of the savings by the unit that is resampled."""
    rest = abs(span.days - 7 * round(span.days / 7))
    if span.days < 1 or (span.days > 6 and rest <= _TOLERANCE):
        return None
    of_week = weekday(days.keys * DAY).tolist()
    pairs = zip(days.columns["change"].tolist(), days.columns["baseline"].tolist(), strict=True)
    by_day: dict[int, list[tuple[int, int]]] = {}
    for day, pair in zip(of_week, pairs, strict=True):
        by_day.setdefault(day, []).append(pair)
    means = {
        day: (sum(s for s, _ in own) / len(own), sum(b for _, b in own) / len(own))
        for day, own in by_day.items()
    }
    ratios = [100 * s / b for s, b in means.values() if b]
    baseline = sum(b for _, b in means.values())
    missing = tuple(name for day, name in enumerate(WEEKDAYS) if day not in means)
    if not baseline or not (missing or _differ(days, share)):
        return None
    return WeekFinding(
        days=span.days,
        missing=missing,
        savings=100 * share.ratio,
        weighted=100 * sum(s for s, _ in means.values()) / baseline,
        low=min(ratios),
        high=max(ratios),
    )


def _differ(days: UnitSums, share: Spread) -> bool:
    """Whether the savings of days vary more than those of the unit explain."""
    by_day = days.without_strata().spread("change", "baseline")
    noise = WINS_BY * days.noise
    return len(days) >= 3 and by_day.variance(by_day.ratio) > share.variance(share.ratio) * (
        1 + noise
    )
