"""Interval after interval of a world, made by the engine's own functions, and how many cover."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.universes.coverage.worlds import MINUTES, CoverageWorld, Draw
from ttplan.engine.intervals.studentised.choose import candidates, choose_unit, variances
from ttplan.engine.intervals.studentised.hall import ratio_interval, total_interval
from ttplan.engine.intervals.studentised.per_month import project_month
from ttplan.engine.intervals.studentised.units import Grouped, Span, UnitSums, sum_units
from ttplan.model.plan import Interval

MONDAY = 4 * MINUTES
"""The first Monday since 1970, in minutes."""
FIGURES = ("pct", "usd", "hits", "month")


class Shown(NamedTuple):
    """A figure as shown, with its interval, and the truth. Of a month, the truth is its own."""

    value: float
    interval: Interval | None
    truth: float


class Coverage(NamedTuple):
    """How a figure fares over many windows of a world.

    `bias` is a share of the truth; `width` is the mean width as a multiple of the best possible,
    3.92 standard errors of the figure; `none` is the share of windows without an interval.
    """

    bias: float
    covered: float
    width: float
    none: float


class Measured(NamedTuple):
    """A world's figures, and how often each unit was chosen."""

    figures: dict[str, Coverage]
    units: Counter[str]


def measure(world: CoverageWorld, seeds: int, first: int = 0) -> Measured:
    """Coverage over the windows of some seeds."""
    shown: dict[str, list[Shown]] = {name: [] for name in FIGURES}
    units: Counter[str] = Counter()
    for seed in range(first, first + seeds):
        rng = np.random.default_rng([zlib.crc32(world.name.encode()), seed])
        unit, figures = show(world, world.window(rng, random=False))
        figures["month"] = show_month(world, world.window(rng, random=True), world.month(rng))
        units[unit] += 1
        for name, figure in figures.items():
            shown[name].append(figure)
    return Measured({name: _coverage(own) for name, own in shown.items()}, units)


def show(world: CoverageWorld, draw: Draw) -> tuple[str, dict[str, Shown]]:
    """The chosen unit, and what is shown of a window."""
    requests, units = _all_units(world, draw)
    choice = choose_unit(variances(*requests.spreads), units)
    share, change, hits = requests.spreads if choice.unit is None else choice.unit.spreads
    carries = share.carriers > 0
    return choice.name, {
        "pct": Shown(share.ratio, ratio_interval(share) if carries else None, world.pct),
        "usd": Shown(change.s, total_interval(change) if carries else None, world.window_usd),
        "hits": Shown(hits.ratio, ratio_interval(hits), world.hits),
    }


def show_month(world: CoverageWorld, draw: Draw, coming: float) -> Shown:
    """What is shown of the month after a window; it saves `coming`."""
    requests, units = _all_units(world, draw)
    compound = requests.compound("actual_change")
    month = project_month(compound, units, units[-1], _span(world), 0.0, None)
    assert month is not None
    return Shown(float(month.change_vs_actual_usd), month.change_vs_actual_usd_95, coming)


def _span(world: CoverageWorld) -> Span:
    return Span(MONDAY * 60, round((MONDAY + world.days * MINUTES) * 60))


def _all_units(world: CoverageWorld, draw: Draw) -> tuple[UnitSums, list[UnitSums]]:
    """Requests, and the other candidates."""
    span = _span(world)
    sessions = _units(draw, draw.session, "session", span)
    by_minute = _grouped(draw, draw.minute + MONDAY, by_minute=True)
    requests = _units(draw, np.arange(len(draw.minute)), "request", span)
    return requests, candidates(sessions, by_minute, span)


def _units(draw: Draw, keys: np.ndarray, name: str, span: Span) -> UnitSums:
    return sum_units(_grouped(draw, keys, by_minute=False), name, 0, span)


def _grouped(draw: Draw, keys: np.ndarray, *, by_minute: bool) -> Grouped:
    saving = np.round(draw.saving * 1e9).astype(np.int64) * 1_000
    columns = {
        "requests": np.ones(len(keys), dtype=np.int64),
        "hits": draw.hit.astype(np.int64),
        "change": saving,
        "baseline": np.round(draw.baseline * 1e9).astype(np.int64) * 1_000,
        "actual_change": saving,
    }
    return Grouped(keys.astype(np.int64), np.zeros(len(keys), dtype=np.int64), columns, by_minute)


def _coverage(shown: Sequence[Shown]) -> Coverage:
    known = [figure for figure in shown if figure.interval is not None]
    intervals = np.array([figure.interval for figure in known]).reshape(-1, 2)
    truths = np.array([figure.truth for figure in known])
    values = np.array([figure.value for figure in shown])
    errors = values - np.array([figure.truth for figure in shown])
    truth = float(np.mean([figure.truth for figure in shown]))
    best = 3.92 * float(errors.std(ddof=1))
    return Coverage(
        bias=float(errors.mean()) / truth if truth else 0.0,
        covered=float(((intervals[:, 0] <= truths) & (truths <= intervals[:, 1])).mean()),
        width=float((intervals[:, 1] - intervals[:, 0]).mean()) / best,
        none=1 - len(known) / len(shown),
    )
