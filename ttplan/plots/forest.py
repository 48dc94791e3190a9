"""Savings with their intervals, one below the other: of plans, and of a plan's routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ttplan.plots.axes import (
    BLUE,
    GREY,
    VERMILLION,
    axes_for,
    few_ticks,
    legend_above,
    name_of,
    name_rows,
    one_plan,
    require,
    say_nothing,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SERIES = (
    ("savings_usd", "against baseline", BLUE, "o", -0.1),
    ("change_vs_actual_usd", "against what is paid", VERMILLION, "s", 0.18),
)
_COLUMNS = [f"{name}{end}" for name, *_ in _SERIES for end in ("", "_lo", "_hi")]
_UNIT = "saved, USD per window\n(with 95 % intervals)"
NO_ROUTE = "no route"


def savings(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """What plans save against the baseline and against what is paid, with intervals; `frame` is what `ws.savings()` returns.

    A hollow mark has no interval. Raises InputError for another frame.
    """
    require(frame, ["name", *_COLUMNS], "ws.savings()")
    return _forest(frame, [name_of(name) for name in frame["name"]], "no plans", ax)


def routes(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """What each route of a plan saves, with intervals; `frame` is what `ws.savings("route", plan=plan)` returns.

    The row "no route" is of requests that no route takes. A hollow mark has no interval. Raises InputError for another frame.
    """
    call = 'ws.savings("route", plan=plan)'
    require(frame, ["plan_id", "route", *_COLUMNS], call)
    one_plan(frame, call)
    missing = frame["route"].isna()
    return _forest(
        frame,
        [NO_ROUTE if no else name_of(n) for n, no in zip(frame["route"], missing, strict=True)],
        "no routes",
        ax,
    )


def _forest(frame: pd.DataFrame, names: list[str], nothing: str, ax: Axes | None) -> Axes:
    ax = axes_for(ax, len(names))
    ax.set_xlabel(_UNIT)
    if not names:
        say_nothing(ax, nothing)
        return ax
    places = np.arange(len(names))
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    for column, said, colour, marker, shift in _SERIES:
        value, low, high = (_floats(frame[f"{column}{end}"]) for end in ("", "_lo", "_hi"))
        known = ~np.isnan(low)
        style: dict[str, Any] = {
            "linestyle": "none",
            "marker": marker,
            "color": colour,
            "markersize": 5,
        }
        if known.any() or not len(known):
            reach = np.array([value[known] - low[known], high[known] - value[known]]).clip(min=0)
            ax.errorbar(
                value[known], places[known] + shift, xerr=reach, capsize=3, label=said, **style
            )
        if (~known).any():
            hollow = f"{said}, no interval"
            ax.plot(
                value[~known],
                places[~known] + shift,
                markerfacecolor="white",
                label=hollow,
                **style,
            )
    name_rows(ax, names)
    few_ticks(ax)
    legend_above(ax, 1, by_name=True)
    return ax


def _floats(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(column, dtype=np.float64)
