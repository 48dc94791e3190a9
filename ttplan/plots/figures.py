"""Latency then and now, the semantic cache at each threshold, and a plan held against what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttplan.display.plan import Plan
from ttplan.display.reconciliation import FIGURE_NAMES, ReconciliationCard
from ttplan.model.errors import InputError
from ttplan.model.plan import Interval
from ttplan.plots.axes import (
    BLUE,
    GREEN,
    GREY,
    VERMILLION,
    axes_for,
    few_ticks,
    legend_above,
    name_rows,
    one_plan,
    require,
    say_nothing,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_PERCENTILES = (50, 95)


def latency(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Which share of the requests took at most how long, and would take with the plan; dotted lines are at p50 and p95.

    `frame` is what `ws.latencies(plan)` returns. Raises InputError for another frame.
    """
    require(frame, ["plan_id", "latency_ms", "then", "now"], "ws.latencies(plan)")
    one_plan(frame, "ws.latencies(plan)")
    ax = axes_for(ax)
    ax.set_xlabel("latency, ms")
    ax.set_ylabel("requests at or below, %")
    if not len(frame):
        say_nothing(ax, "no request has a latency")
        return ax
    values = frame["latency_ms"].to_numpy(dtype=np.int64)
    for column, said, colour, line in (
        ("then", "then", VERMILLION, "--"),
        ("now", "with the plan", BLUE, "-"),
    ):
        counts = frame[column].to_numpy(dtype=np.int64)
        shares = 100 * np.cumsum(counts) / max(1, counts.sum())
        ax.step(
            np.concatenate([values[:1], values]),
            np.concatenate([[0.0], shares]),
            where="post",
            color=colour,
            ls=line,
            label=said,
        )
    for percent in _PERCENTILES:
        ax.axhline(percent, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    ax.set_ylim(0, 102)
    ax.set_yticks([0, 25, *_PERCENTILES[:1], 75, *_PERCENTILES[1:]])
    if values[0] > 0:
        ax.set_xscale("log")
    legend_above(ax)
    return ax


def sweep(plan: Plan, *, ax: Axes | None = None) -> Axes:
    """How often a semantic cache would answer at each threshold, and how often with an answer that may be wrong.

    In percent of the requests that could be looked up. Raises InputError for what is no plan.
    """
    if not isinstance(plan, Plan):
        raise InputError(
            f"a sweep is drawn of a plan, not of a {type(plan).__name__}; expected what ws.plan(…) or ws.get(…) returns"
        )
    ax = axes_for(ax)
    ax.set_xlabel("similarity threshold, cosine")
    ax.set_ylabel("of requests looked up, %")
    rows = sorted(plan.result.aggregates.l2_projections, key=lambda row: row.threshold)
    if not rows:
        say_nothing(ax, "no semantic cache was projected")
        return ax
    places = [row.threshold for row in rows]
    hits = [100 * row.projected_l2_hit_rate for row in rows]
    wrong = [100 * row.poisoning_candidates / max(1, row.total) for row in rows]
    ax.plot(places, hits, color=BLUE, marker="o", label="hits")
    ax.plot(
        places, wrong, color=VERMILLION, marker="s", linestyle="--", label="hits that may be wrong"
    )
    ax.set_ylim(bottom=0)
    few_ticks(ax)
    legend_above(ax)
    return ax


def projected_actual(found: ReconciliationCard, *, ax: Axes | None = None) -> Axes:
    """What happened once a plan was live, in percent of what it had projected for the traffic that came, with both intervals.

    `found` is what `ws.reconcile(plan)` returns. A figure of which 0 was expected has no such percent, and is left out. Raises
    InputError for anything else.
    """
    if not isinstance(found, ReconciliationCard):
        said = type(found).__name__
        raise InputError(
            f"projected against actual is drawn of a reconciliation, not of a {said}; expected what ws.reconcile(plan) returns"
        )
    figures = [figure for figure in found.result.figures if figure.expected > 0]
    ax = axes_for(ax, len(figures))
    ax.set_xlabel("% of what was expected\n(with 95 % intervals)")
    if not figures:
        say_nothing(ax, "nothing was expected")
        return ax
    ax.axvline(100, color=GREY, linewidth=0.8, zorder=0)
    for place, figure in enumerate(figures):
        scale = 100 / figure.expected
        for value, ends, colour, marker, shift, said in (
            (figure.expected, figure.expected_95, GREEN, "s", -0.1, "expected"),
            (figure.actual, figure.actual_95, BLUE, "o", 0.18, "actual"),
        ):
            low, high = _reach(value, ends)
            label = said if place == 0 else f"_{said}"
            reach = [[low * scale], [high * scale]]
            style: dict[str, Any] = {
                "marker": marker,
                "color": colour,
                "capsize": 3,
                "linestyle": "none",
                "markersize": 5,
                "label": label,
            }
            ax.errorbar([value * scale], [place + shift], xerr=reach, **style)
    name_rows(ax, [FIGURE_NAMES[figure.name] for figure in figures])
    few_ticks(ax)
    legend_above(ax)
    return ax


def _reach(value: float, ends: Interval | None) -> tuple[float, float]:
    return (0.0, 0.0) if ends is None else (max(0.0, value - ends[0]), max(0.0, ends[1] - value))
