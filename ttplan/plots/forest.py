"""Forest plots of savings with their intervals: of plans, and of a plan's routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ttplan.plots.axes import (
    BLUE,
    GREY,
    VERMILION,
    axes_for,
    draw_empty,
    label_rows,
    label_text,
    legend_above,
    limit_ticks,
    require_columns,
    require_one_plan,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SERIES = (
    ("savings_usd", "against baseline", BLUE, "o", -0.1),
    ("change_vs_actual_usd", "against what is paid", VERMILION, "s", 0.18),
)
_COLUMNS = [f"{name}{end}" for name, *_ in _SERIES for end in ("", "_lo", "_hi")]
_X_LABEL = "saved, USD per window\n(with 95 % intervals)"
NO_ROUTE = "no route"


def savings(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what plans save against the baseline and against what is paid, in USD, with intervals.

    Parameters
    ----------
    frame : DataFrame
        What `ws.savings()` returns. A hollow mark has no interval.
    ax : Axes, optional
        Where to draw; a new figure if it is not given.

    Returns
    -------
    Axes
        The axes with the plot.

    Raises
    ------
    InputError
        If `frame` does not have the columns of `ttplan.views.SAVINGS`.

    Examples
    --------
    >>> import pandas as pd
    >>> from ttplan import plots, views
    >>> plan = {"name": "haiku for chat", "savings_usd": 9.0, "change_vs_actual_usd": 8.0}
    >>> frame = pd.DataFrame([plan], columns=list(views.SAVINGS)).astype(views.SAVINGS)
    >>> [text.get_text() for text in plots.savings(frame).texts]
    ['haiku for chat']
    """
    require_columns(frame, ["name", *_COLUMNS], "ws.savings()")
    return _forest(frame, [label_text(name) for name in frame["name"]], "no plans", ax)


def routes(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what each route of a plan saves, in USD, with intervals.

    Parameters
    ----------
    frame : DataFrame
        What `ws.savings("route", plan=plan)` returns. The row "no route" stands for the requests
        that no route takes. A hollow mark has no interval.
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
    >>> from ttplan import plots, views
    >>> row = {"plan_id": "p", "savings_usd": 0.0, "change_vs_actual_usd": 0.0}
    >>> columns = views.SAVINGS | {"route": "string"}
    >>> frame = pd.DataFrame([row], columns=list(columns)).astype(columns)
    >>> [text.get_text() for text in plots.routes(frame).texts]
    ['no route']
    """
    call = 'ws.savings("route", plan=plan)'
    require_columns(frame, ["plan_id", "route", *_COLUMNS], call)
    require_one_plan(frame, call)
    unrouted = frame["route"].isna()
    names = [
        NO_ROUTE if is_unrouted else label_text(name)
        for name, is_unrouted in zip(frame["route"], unrouted, strict=True)
    ]
    return _forest(frame, names, "no routes", ax)


def _forest(frame: pd.DataFrame, names: list[str], empty: str, ax: Axes | None) -> Axes:
    ax = axes_for(ax, len(names))
    ax.set_xlabel(_X_LABEL)
    if not names:
        draw_empty(ax, empty)
        return ax
    places = np.arange(len(names))
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    for column, label, colour, marker, shift in _SERIES:
        value, low, high = (_floats(frame[f"{column}{end}"]) for end in ("", "_lo", "_hi"))
        known = ~np.isnan(low)
        style: dict[str, Any] = {
            "linestyle": "none",
            "marker": marker,
            "color": colour,
            "markersize": 5,
        }
        if known.any():
            errors = np.array([value[known] - low[known], high[known] - value[known]]).clip(min=0)
            places_known = places[known] + shift
            ax.errorbar(value[known], places_known, xerr=errors, capsize=3, label=label, **style)
        if (~known).any():
            ax.plot(
                value[~known],
                places[~known] + shift,
                markerfacecolor="white",
                label=f"{label}, no interval",
                **style,
            )
    label_rows(ax, names)
    limit_ticks(ax)
    legend_above(ax, 1, by_name=True)
    return ax


def _floats(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(column, dtype=np.float64)
