"""The audit chain along time."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, cast

from ttplan.plots.axes import COLOURS, GREY, axes_for, name_of, name_rows, require, say_nothing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_DAYS = timedelta(days=3)
_MARKERS = "osD^vPX"


def chain(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """When which entries were written, by event, as they say; `frame` is what `ws.chain()` returns.

    Raises InputError for another frame.
    """
    require(frame, ["seq", "time", "event"], "ws.chain()")
    known = sorted(frame["event"].unique(), key=str)
    ax = axes_for(ax, len(known))
    ax.set_xlabel("written at (UTC)")
    if not known:
        say_nothing(ax, "no entries")
        return ax
    from matplotlib.dates import AutoDateLocator, DateFormatter

    for place, event in enumerate(known):
        moments = frame.loc[frame["event"] == event, "time"].dt.to_pydatetime()
        colour, marker = COLOURS[place % len(COLOURS)], _MARKERS[place % len(_MARKERS)]
        ax.plot(
            list(moments),
            [place] * len(moments),
            linestyle="none",
            marker=marker,
            color=colour,
            alpha=0.8,
        )
        ax.axhline(place, color=GREY, linewidth=0.5, zorder=0)
    counts = frame["event"].value_counts()
    name_rows(
        ax,
        [
            f"{name_of(event)}: {counts[event]:,} {'entry' if counts[event] == 1 else 'entries'}"
            for event in known
        ],
    )
    ax.margins(x=0.08)
    span = frame["time"].max() - frame["time"].min()
    locate, say = (
        cast(Any, AutoDateLocator),
        cast(Any, DateFormatter),
    )  # matplotlib has no types for these
    ax.xaxis.set_major_locator(locate(tz=UTC, minticks=2, maxticks=5))
    ax.xaxis.set_major_formatter(say("%m-%d\n%Y" if span > _DAYS else "%H:%M:%S\n%m-%d", tz=UTC))
    ax.tick_params(axis="x", labelsize="small")
    return ax
