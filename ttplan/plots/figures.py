"""Latency, the semantic cache at each threshold, and a plan compared with what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ttplan.display.plan import Plan
from ttplan.display.reconciliation import FIGURE_NAMES, ReconciliationCard
from ttplan.model.errors import InputError
from ttplan.model.plan import Interval
from ttplan.model.results.parts import L2Projection
from ttplan.model.results.quality import QualityResult
from ttplan.plots.axes import (
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    axes_for,
    draw_empty,
    label_rows,
    legend_above,
    limit_ticks,
    require_columns,
    require_one_plan,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_PERCENTILES = (50, 95)


def latency(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the cumulative share of requests by latency, in ms, as logged and with the plan.

    Parameters
    ----------
    frame : DataFrame
        What `ws.latencies(plan)` returns. Dotted lines mark p50 and p95.
    ax : Axes, optional
        Where to draw; a new figure if it is not given.

    Returns
    -------
    Axes
        The axes with the plot.

    Raises
    ------
    InputError
        If `frame` lacks a column, or has several plans.

    Examples
    --------
    >>> import pandas as pd
    >>> from ttplan import plots
    >>> rows = [("p", 300, 1, 4), ("p", 900, 3, 0)]
    >>> frame = pd.DataFrame(rows, columns=["plan_id", "latency_ms", "then", "now"])
    >>> plots.latency(frame).get_xlabel()
    'latency, ms'
    """
    require_columns(frame, ["plan_id", "latency_ms", "then", "now"], "ws.latencies(plan)")
    require_one_plan(frame, "ws.latencies(plan)")
    ax = axes_for(ax)
    ax.set_xlabel("latency, ms")
    ax.set_ylabel("requests at or below, %")
    if not len(frame):
        draw_empty(ax, "no request has a latency")
        return ax
    values = frame["latency_ms"].to_numpy(dtype=np.int64)
    series = (("then", "then", VERMILION, "--"), ("now", "with the plan", BLUE, "-"))
    for column, label, colour, line in series:
        counts = frame[column].to_numpy(dtype=np.int64)
        shares = 100 * np.cumsum(counts) / max(1, counts.sum())
        ax.step(
            np.concatenate([values[:1], values]),
            np.concatenate([[0.0], shares]),
            where="post",
            color=colour,
            ls=line,
            label=label,
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
    """Draw how often a semantic cache would answer at each threshold, and perhaps wrongly.

    Parameters
    ----------
    plan : Plan
        What `ws.plan(…)` or `ws.show(…)` returns. Shares are in percent of the requests that could
        be looked up.
    ax : Axes, optional
        Where to draw; a new figure if it is not given.

    Returns
    -------
    Axes
        The axes with the plot.

    Raises
    ------
    InputError
        If `plan` is not a plan.

    Examples
    --------
    >>> from ttplan import plots
    >>> plots.sweep("p")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    InputError: sweep draws a plan, not a str; expected what ws.plan(…) or ws.show(…) returns
    """
    if not isinstance(plan, Plan):
        raise InputError(
            f"sweep draws a plan, not a {type(plan).__name__}; expected what ws.plan(…) or "
            "ws.show(…) returns"
        )
    ax = axes_for(ax)
    ax.set_xlabel("similarity threshold, cosine")
    ax.set_ylabel("of requests looked up, %")
    projections = sorted(plan.result.aggregates.l2_projections, key=lambda row: row.threshold)
    if not projections:
        draw_empty(ax, "no semantic cache was projected")
        return ax
    thresholds = [row.threshold for row in projections]
    hits = [100 * row.projected_l2_hit_rate for row in projections]
    wrong = [100 * row.poisoning_candidates / max(1, row.total) for row in projections]
    ax.plot(thresholds, hits, color=BLUE, marker="o", label="hits")
    ax.plot(
        thresholds,
        wrong,
        color=VERMILION,
        marker="s",
        linestyle="--",
        label="hits that may be wrong",
    )
    if plan.result.quality is not None:
        _draw_judged_hits(ax, projections, plan.result.quality)
    ax.set_ylim(bottom=0)
    limit_ticks(ax)
    legend_above(ax)
    return ax


def _draw_judged_hits(
    ax: Axes, projections: Sequence[L2Projection], quality: QualityResult
) -> None:
    """The share of wrong hits that a judge found, of requests looked up, with its interval."""
    rates = {row.threshold: row.projected_l2_hit_rate for row in projections}
    bars = [
        (at.threshold, rates[at.threshold] * np.array([at.share_pct, *at.interval_pct]))
        for at in quality.cache_hits
        if at.threshold in rates and at.share_pct is not None and at.interval_pct is not None
    ]
    if bars:
        share, low, high = np.transpose([bar for _, bar in bars])
        ax.errorbar(
            [threshold for threshold, _ in bars],
            share,
            yerr=[share - low, high - share],
            color=GREEN,
            marker="D",
            linestyle="none",
            capsize=3,
            label="wrong hits, as judged",
        )


def projected_actual(reconciliation: ReconciliationCard, *, ax: Axes | None = None) -> Axes:
    """Draw what happened while a plan was live, in percent of what was expected, with both
    intervals.

    Parameters
    ----------
    reconciliation : ReconciliationCard
        What `ws.reconcile(plan)` returns. A figure whose expected value is 0 is left out.
    ax : Axes, optional
        Where to draw; a new figure if it is not given.

    Returns
    -------
    Axes
        The axes with the plot.

    Raises
    ------
    InputError
        If `reconciliation` is not a reconciliation.

    Examples
    --------
    >>> from ttplan import plots
    >>> plots.projected_actual("p")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    InputError: projected_actual draws a reconciliation, not a str
    """
    if not isinstance(reconciliation, ReconciliationCard):
        raise InputError(
            f"projected_actual draws a reconciliation, not a {type(reconciliation).__name__}; "
            "expected what ws.reconcile(plan) returns"
        )
    figures = [figure for figure in reconciliation.result.figures if figure.expected > 0]
    ax = axes_for(ax, len(figures))
    ax.set_xlabel("% of what was expected\n(with 95 % intervals)")
    if not figures:
        draw_empty(ax, "nothing was expected")
        return ax
    ax.axvline(100, color=GREY, linewidth=0.8, zorder=0)
    for place, figure in enumerate(figures):
        for value, interval, colour, marker, shift, label in (
            (figure.expected, figure.expected_95, GREEN, "s", -0.1, "expected"),
            (figure.actual, figure.actual_95, BLUE, "o", 0.18, "actual"),
        ):
            scale = 100 / figure.expected
            lower, upper = _error_bars(value, interval)
            style: dict[str, Any] = {
                "marker": marker,
                "color": colour,
                "capsize": 3,
                "linestyle": "none",
                "markersize": 5,
                "label": label if place == 0 else f"_{label}",
            }
            errors = [[lower * scale], [upper * scale]]
            ax.errorbar([value * scale], [place + shift], xerr=errors, **style)
    label_rows(ax, [FIGURE_NAMES[figure.name] for figure in figures])
    limit_ticks(ax)
    legend_above(ax)
    return ax


def _error_bars(value: float, interval: Interval | None) -> tuple[float, float]:
    """The distances from a value to the ends of its interval."""
    if interval is None:
        return 0.0, 0.0
    return max(0.0, value - interval[0]), max(0.0, interval[1] - value)
