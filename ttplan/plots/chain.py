"""The audit chain along time."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, cast

from ttplan.plots.axes import (
    COLOURS,
    GREY,
    axes_for,
    draw_empty,
    label_rows,
    label_text,
    require_columns,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_DAYS = timedelta(days=3)
_MARKERS = "osD^vPX"


def chain(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw when the entries of the audit chain were written, one row per event.

    Parameters
    ----------
    frame : DataFrame
        What `ws.entries()` returns. Times are those that the entries state, in UTC.
    ax : Axes, optional
        Where to draw; a new figure if it is not given.

    Returns
    -------
    Axes
        The axes with the plot.

    Raises
    ------
    InputError
        If `frame` does not have the columns of `ttplan.views.ENTRIES`.

    Examples
    --------
    >>> import pandas as pd
    >>> from ttplan import plots, views
    >>> entry = {"seq": 0, "time": "2026-05-01T12:00:00Z", "event": "plan.applied"}
    >>> frame = pd.DataFrame([entry], columns=list(views.ENTRIES)).astype(views.ENTRIES)
    >>> plots.chain(frame).get_xlabel()
    'written at (UTC)'
    """
    require_columns(frame, ["seq", "time", "event"], "ws.entries()")
    events = sorted(frame["event"].dropna().unique(), key=str)
    ax = axes_for(ax, len(events))
    ax.set_xlabel("written at (UTC)")
    if not events:
        draw_empty(ax, "no entries")
        return ax
    from matplotlib.dates import AutoDateLocator, DateFormatter

    labels = []
    for place, event in enumerate(events):
        times = list(frame.loc[frame["event"] == event, "time"].dt.to_pydatetime())
        colour, marker = COLOURS[place % len(COLOURS)], _MARKERS[place % len(_MARKERS)]
        ax.plot(
            times,
            [place] * len(times),
            linestyle="none",
            marker=marker,
            color=colour,
            alpha=0.8,
        )
        ax.axhline(place, color=GREY, linewidth=0.5, zorder=0)
        count = f"{len(times):,} {'entry' if len(times) == 1 else 'entries'}"
        labels.append(f"{label_text(event)}: {count}")
    label_rows(ax, labels)
    ax.margins(x=0.08)
    span = frame["time"].max() - frame["time"].min()
    # matplotlib's date classes have no types.
    locator, formatter = cast(Any, AutoDateLocator), cast(Any, DateFormatter)
    ax.xaxis.set_major_locator(locator(tz=UTC, minticks=2, maxticks=5))
    time_format = "%m-%d\n%Y" if span > _DAYS else "%H:%M:%S\n%m-%d"
    ax.xaxis.set_major_formatter(formatter(time_format, tz=UTC))
    ax.tick_params(axis="x", labelsize="small")
    return ax
