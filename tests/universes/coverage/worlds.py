"""Worlds for coverage: traffic whose requests depend on one another, with true savings.

Each draws only what intervals are made of: when requests arrive, their session, cost, saving and
cache hit. Money is USD; a world scales nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import exp

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MINUTES = 1_440
SAVED = 0.94
"""The share of its cost that a moved request saves."""
MONTH = 30.44


@dataclass(frozen=True)
class Draw:
    """Requests: the minute of each since a Monday, its session, baseline, saving and hit."""

    minute: Ints
    session: Ints
    baseline: Floats
    saving: Floats
    hit: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CoverageWorld:
    """Traffic with a known truth.

    Parameters
    ----------
    name, about : str
    days : float
        The length of the window.
    draw : callable
        Draws the requests of that many days, their number `random` or as expected.
    pct, per_day, hits : float
        The true saving as a share of the baseline, in USD per day, and the true share of hits.
    window_usd : float
        The true saving of a window.
    covers : set of str
        The figures whose intervals must cover: `pct`, `usd`, `hits`, `month`.
    """

    name: str
    about: str
    days: float
    draw: Callable[..., Draw]
    pct: float
    window_usd: float
    hits: float = 0.0
    covers: frozenset[str] = frozenset({"pct", "usd", "month"})
    goes_on: Callable[[np.random.Generator], Draw] | None = None
    """Draws the month after the window, if it is not as any other."""

    def window(self, rng: np.random.Generator, *, random: bool) -> Draw:
        """Draws a window; with a `random` number of requests, or with the expected one."""
        return self.draw(rng, self.days, random=random)

    def month(self, rng: np.random.Generator) -> float:
        """What a coming month saves, USD."""
        draw = self.draw(rng, MONTH, random=True) if self.goes_on is None else self.goes_on(rng)
        return float(draw.saving.sum())


def _times(rng: np.random.Generator, count: int, days: float, weekend: float = 1.0) -> Ints:
    """Minutes of arrivals: fewer by night, and `weekend` times as many at weekends."""
    times = np.empty(0, dtype=np.int64)
    while len(times) < count:
        minute = rng.integers(0, max(round(days * MINUTES), 1), 2 * count + 50)
        rate = 1 - 0.8 * np.cos(2 * np.pi * (minute % MINUTES) / MINUTES)
        rate = rate * np.where(minute // MINUTES % 7 >= 5, weekend, 1.0)
        times = np.concatenate([times, minute[rng.random(len(minute)) < rate / 1.8]])
    return times[:count]


def independent(
    rng: np.random.Generator,
    days: float,
    *,
    random: bool,
    per_day: float,
    moved: float,
    sigma: float,
) -> Draw:
    """Independent requests."""
    count = int(rng.poisson(per_day * days)) if random else round(per_day * days)
    baseline = rng.lognormal(0, sigma, count)
    chosen = rng.random(count) < moved
    saving = np.where(chosen, SAVED * baseline, 0)
    hit = rng.random(count) < 0.2
    return Draw(_times(rng, count, days), np.arange(count), baseline, saving, hit)


def bursts(rng: np.random.Generator, days: float, *, random: bool, per_day: float) -> Draw:
    """Sessions of some 25 requests within half an hour that share size, kind and cache hits."""
    count = int(rng.poisson(per_day * days)) if random else round(per_day * days)
    length = 1 + rng.poisson(24, count)
    session = np.repeat(np.arange(count), length)
    start = _times(rng, count, days)
    minute = np.minimum(
        start[session] + rng.integers(0, 30, len(session)), round(days * MINUTES) - 1
    )
    baseline = rng.lognormal(0, 0.5, count)[session] * rng.lognormal(0, 0.3, len(session))
    chosen = (rng.random(count) < 0.5)[session]
    hit = rng.random(len(session)) < rng.beta(0.6, 2.4, count)[session]
    return Draw(minute, session, baseline, np.where(chosen, SAVED * baseline, 0), hit)


def by_day(
    rng: np.random.Generator,
    days: float,
    *,
    random: bool,
    per_day: float,
    shock: float,
    volume: float,
    weekend: float,
    pattern: float,
    growth: float = 0.0,
    first: float = 0.0,
    weekday: int = 0,
) -> Draw:
    """Requests whose number and kind vary from day to day, and between weekdays and weekends.

    With `volume`, their number is always random. `first` is the day of the growth on which they
    begin, `weekday` that of the week.
    """
    whole = int(np.ceil(days))
    day = np.arange(whole)
    share = np.minimum(days - day, 1.0)
    at_weekend = (day + weekday) % 7 >= 5
    rate = per_day * share * np.where(at_weekend, weekend, 1.0) * (1 + growth * (first + day))
    rate = rate * rng.lognormal(-(volume**2) / 2, volume, whole)
    counts = (
        rng.poisson(rate)
        if random or volume
        else rng.multinomial(round(rate.sum()), rate / rate.sum())
    )
    of = np.repeat(day, counts)
    minute = of * MINUTES + _times(rng, len(of), 1)
    moved = 0.5 - np.where(at_weekend, pattern, 0.0) + shock * rng.standard_normal(whole)
    baseline = rng.lognormal(0, 0.8, len(of))
    chosen = rng.random(len(of)) < np.clip(moved, 0.02, 0.98)[of]
    hit = rng.random(len(of)) < 0.2
    saving = np.where(chosen, SAVED * baseline, 0)
    return Draw(minute, np.arange(len(of)), baseline, saving, hit)


def _independent(
    name: str,
    about: str,
    count: int,
    moved: float,
    sigma: float,
    covers: frozenset[str] = frozenset({"pct", "usd", "month", "hits"}),
) -> CoverageWorld:
    days = 28.0
    mean = SAVED * moved * exp(sigma**2 / 2)
    draw = partial(independent, per_day=count / days, moved=moved, sigma=sigma)
    return CoverageWorld(
        name, about, days, draw, SAVED * moved, mean * count, hits=0.2, covers=covers
    )


def _by_day(
    name: str,
    about: str,
    days: float,
    *,
    per_day: float = 200,
    shock: float = 0.0,
    volume: float = 0.0,
    weekend: float = 1.0,
    pattern: float = 0.0,
    growth: float = 0.0,
    covers: frozenset[str] = frozenset({"pct", "usd", "month", "hits"}),
) -> CoverageWorld:
    week = np.where(np.arange(7) >= 5, weekend, 1.0)
    moved = np.where(np.arange(7) >= 5, 0.5 - pattern, 0.5)
    day = np.arange(int(days))
    growing = 1 + growth * day
    cost = exp(0.8**2 / 2)
    draw = partial(
        by_day,
        per_day=per_day,
        shock=shock,
        volume=volume,
        weekend=weekend,
        pattern=pattern,
        growth=growth,
    )
    return CoverageWorld(
        name,
        about,
        days,
        draw,
        SAVED * float((week * moved).sum() / week.sum()),
        SAVED * cost * per_day * float((week[day % 7] * moved[day % 7] * growing).sum()),
        hits=0.2,
        covers=covers,
        goes_on=lambda rng: draw(rng, MONTH, random=True, first=days, weekday=int(rng.integers(7))),
    )


_ALL = frozenset({"pct", "usd", "month", "hits"})
_BURSTS = SAVED * 0.5 * 25 * exp((0.5**2 + 0.3**2) / 2)
COVERAGE_WORLDS = {
    world.name: world
    for world in (
        _independent("independent", "independent requests, 3,000 in 4 weeks", 3_000, 0.5, 0.8),
        _independent("independent_300", "independent requests, 300 in 4 weeks", 300, 0.5, 0.8),
        CoverageWorld(
            "bursts",
            "120 sessions of 25 requests in a week; hits are bursts, too",
            7,
            partial(bursts, per_day=120 / 7),
            SAVED * 0.5,
            _BURSTS * 120,
            hits=0.2,
            covers=frozenset({"pct", "usd", "month", "hits"}),
        ),
        CoverageWorld(
            "few_bursts",
            "40 sessions of 25 requests in 4 weeks",
            28,
            partial(bursts, per_day=40 / 28),
            SAVED * 0.5,
            _BURSTS * 40,
            hits=0.2,
            covers=frozenset({"usd", "month"}),
        ),
        _by_day(
            "day_shocks",
            "8 weeks, number and kind vary from day to day",
            56,
            shock=0.15,
            volume=0.2,
        ),
        _by_day("whole_weeks", "4 weeks, weekends differ", 28, weekend=0.4, pattern=0.3),
        _by_day(
            "shocks_and_weeks",
            "8 weeks, weekends differ and days vary",
            56,
            shock=0.1,
            volume=0.2,
            weekend=0.4,
            pattern=0.3,
        ),
        _by_day(
            "five_weekdays",
            "Monday to Friday of a week whose weekends differ: a caveat tells",
            5,
            weekend=0.4,
            pattern=0.3,
            covers=frozenset(),
        ),
        _by_day(
            "growing",
            "4 weeks, 3 % of the first day's requests more each day",
            28,
            growth=0.03,
        ),
        *(
            _independent(
                f"rare_{count}",
                f"a route for 0.5 % of {count:,} requests",
                count,
                0.005,
                0.8,
                _ALL if count >= 6_000 else frozenset(),
            )
            for count in (250, 1_000, 5_000, 8_000)
        ),
        *(
            _independent(
                f"lognormal_{count}",
                f"costs with sigma 2, {count:,} requests",
                count,
                0.5,
                2,
                _ALL if count >= 1_000 else frozenset(),
            )
            for count in (250, 1_000)
        ),
    )
}
