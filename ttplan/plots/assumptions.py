"""What a plan saves as a function of one assumption."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ttplan.display.plan import Plan
from ttplan.display.plan.assumptions import WORDINGS, format_value, label
from ttplan.display.text import cut, wrap
from ttplan.model.errors import InputError
from ttplan.model.plan import PlanResult
from ttplan.model.projection.assumption import MEANINGS, AssumptionEffect
from ttplan.plots.axes import (
    BLUE,
    GREY,
    VERMILION,
    axes_for,
    draw_empty,
    label_text,
    legend_above,
    limit_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 101
_FARTHEST = 10
"""A break-even at more than this many times is not drawn."""
_LABEL_COLUMNS = 34
"""The width of a line under the axis, at half the width of a page."""
_WIDEST = {"times": 2.0, "%": 0.5, "tokens": 1_000.0}
"""The values that are drawn at least, by unit."""


def break_even(
    plan: Plan,
    assumption: str | None = None,
    *,
    model: str | None = None,
    target_model: str | None = None,
    route: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what a plan saves against one assumption, in USD, and where it breaks even.

    All other assumptions keep their values. The band is the plan's 95 % interval without the part
    that comes from the assumption's own standard error.

    Parameters
    ----------
    plan : Plan
        What `ws.plan(…)` or `ws.show(…)` returns.
    assumption : str, optional
        The name of one of `ws.assumptions(plan)` in which savings are linear. By default, the one
        that can change most.
    model, target_model, route : str, optional
        Which one, if several have that name.
    ax : Axes, optional
        Where to draw; a new figure if it is not given.

    Returns
    -------
    Axes
        The axes with the plot.

    Raises
    ------
    InputError
        If `plan` is not a plan, or it has no such assumption, several, or savings are not linear in
        it.

    Examples
    --------
    >>> from ttplan import plots
    >>> plots.break_even("p")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    InputError: break_even draws a plan, not a str; expected what ws.plan(…) or ws.show(…) returns
    """
    if not isinstance(plan, Plan):
        raise InputError(
            f"break_even draws a plan, not a {type(plan).__name__}; expected what ws.plan(…) or "
            "ws.show(…) returns"
        )
    effect = _choose(plan.result, assumption, (model, target_model, route))
    ax = axes_for(ax)
    ax.set_ylabel("saved, USD per window\n(with 95 % interval)")
    if effect is None or effect.value is None or effect.slope_usd is None:
        ax.set_xlabel("assumption")
        draw_empty(ax, "savings depend on no assumption")
        return ax
    name = label(effect, plan.result.assumptions)
    lines = wrap(cut(name, _LABEL_COLUMNS * 3), _LABEL_COLUMNS)
    ax.set_xlabel("\n".join([*map(label_text, lines), _unit_text(effect)]))
    scale = 100 if WORDINGS[effect.name].unit == "%" else 1
    line = _line(effect, plan.result)
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    if line.low is not None and line.high is not None:
        ax.fill_between(line.values * scale, line.low, line.high, color=BLUE, alpha=0.2, lw=0)
    ax.plot(line.values * scale, line.savings, color=BLUE)
    savings = float(plan.result.aggregates.change_vs_actual_usd)
    errors = None if not effect.standard_error else [1.96 * effect.standard_error * scale]
    value = float(effect.value)
    ax.errorbar(
        [value * scale],
        [savings],
        xerr=errors,
        color=BLUE,
        marker="o",
        linestyle="none",
        capsize=3,
        label=f"assumed: {format_value(effect.name, value)}",
    )
    at = effect.break_even
    if at is not None and line.values[0] <= at <= line.values[-1]:
        text = f"breaks even at {format_value(effect.name, at)}"
        ax.axvline(at * scale, color=VERMILION, linestyle="--", label=text)
    limit_ticks(ax)
    legend_above(ax, 1)
    return ax


class _Line(NamedTuple):
    """Values of an assumption, the savings with them, and the ends of their interval. USD."""

    values: npt.NDArray[np.float64]
    savings: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64] | None
    high: npt.NDArray[np.float64] | None


def _line(effect: AssumptionEffect, result: PlanResult) -> _Line:
    value, slope = float(effect.value or 0), effect.slope_usd or 0.0
    savings = float(result.aggregates.change_vs_actual_usd)
    values = np.linspace(*_value_range(effect, value), _POINTS)
    line = savings + slope * (values - value)
    interval = result.confidence_intervals.change_vs_actual_usd_95
    if interval is None:
        return _Line(values, line, None, None)
    own = 1.96 * slope * (effect.standard_error or 0.0)
    below, above = (
        sqrt(max(side * side - own * own, 0.0))
        for side in (savings - interval[0], interval[1] - savings)
    )
    return _Line(values, line, line - below, line + above)


def _value_range(effect: AssumptionEffect, value: float) -> tuple[float, float]:
    """From 0 to beyond the value and the break-even, within what the value can be."""
    unit = WORDINGS[effect.name].unit
    error = 1.96 * (effect.standard_error or 0.0)
    ends = [_WIDEST[unit], 1.25 * (value + error)]
    at = effect.break_even
    if at is not None and (unit != "times" or at <= _FARTHEST):
        ends.append(1.25 * at)
    high = MEANINGS[effect.name].high
    return 0.0, max(ends) if high is None else min(max(ends), float(high))


def _unit_text(effect: AssumptionEffect) -> str:
    unit = WORDINGS[effect.name].unit
    return f"({unit} the old model's)" if unit == "times" else f"({unit})"


def _choose(
    result: PlanResult, name: str | None, about: tuple[str | None, str | None, str | None]
) -> AssumptionEffect | None:
    """The assumption to draw; None if no name is given and there is none."""
    known = [
        effect
        for effect in result.assumptions
        if name in (None, effect.name)
        and all(
            wanted in (None, own)
            for wanted, own in zip(
                about, (effect.source_model, effect.target_model, effect.route), strict=True
            )
        )
    ]
    linear = [effect for effect in known if effect.slope_usd is not None]
    if name is None:
        return linear[0] if linear else None
    names = ", ".join(dict.fromkeys(e.name for e in result.assumptions if e.slope_usd is not None))
    if not known:
        expected = f"one of {names}" if names else "a full projection"
        raise InputError(f"the plan does not rest on {name!r:.60}; expected {expected}")
    if not linear:
        raise InputError(
            f"savings are not linear in {name}; expected one of {names}: "
            "ws.assumptions(plan) has the ends"
        )
    if len(linear) > 1:
        targets = ", ".join(sorted({e.target_model or "?" for e in linear}))
        raise InputError(
            f"the plan has {len(linear)} assumptions {name}; expected one: name its model, "
            f"target_model ({targets}) or route"
        )
    return linear[0]
