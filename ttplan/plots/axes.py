"""What all pictures share: colours, names that are harmless, and what is drawn where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ttplan.display.text import cut
from ttplan.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#7F7F7F"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW)
"""M. Okabe and K. Ito, Color Universal Design (2008): told apart by everybody. Grey is for what is left over."""
_WIDTH, _HEIGHT = 6.4, 3.6
_ROW = 0.55


def axes_for(ax: Axes | None, rows: int = 0) -> Axes:
    """`ax`, or one on a figure of its own, high enough for that many rows; without a frame above and to the right."""
    if ax is None:
        import matplotlib.pyplot as plt

        height = max(_HEIGHT, 1.4 + _ROW * rows)
        _, ax = plt.subplots(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def name_of(text: object, width: int = 40) -> str:
    """A name from outside, cut to that many columns. No formula: matplotlib reads dollars as one."""
    return cut(str(text), width).replace("$", r"\$")


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Rows from above to below, each under its name, which so has the whole width."""
    ground = {
        "facecolor": ax.get_facecolor(),
        "edgecolor": "none",
        "pad": 1,
    }  # no line goes through a name
    for place, name in enumerate(names):
        where: dict[str, Any] = {
            "transform": ax.get_yaxis_transform(),
            "ha": "left",
            "va": "bottom",
        }
        ax.text(0.01, place - 0.28, name, fontsize="small", bbox=ground, **where)
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    ax.set_ylim(len(names) - 0.6, -0.75)


def require(frame: pd.DataFrame, columns: Iterable[str], call: str) -> None:
    """Raise InputError where a frame is not what `call` returns."""
    missing = [name for name in columns if name not in getattr(frame, "columns", ())]
    if missing:
        raise InputError(
            f"there is no column {missing[0]!r} in what is to be drawn; expected what {call} returns"
        )


def one_plan(frame: pd.DataFrame, call: str) -> None:
    """Raise InputError where a frame is of several plans."""
    count = frame["plan_id"].nunique()
    if count > 1:
        raise InputError(
            f"these are {count} plans, and the picture is of one; expected what {call} returns"
        )


def few_ticks(ax: Axes) -> None:
    """Few enough numbers below that they have room at half the width."""
    ax.locator_params(axis="x", nbins=5)


def say_nothing(ax: Axes, what: str) -> None:
    """Write in the middle of empty axes that there is nothing."""
    ax.text(0.5, 0.5, what, transform=ax.transAxes, ha="center", va="center", color=GREY)
    ax.set_yticks([])
    ax.set_xticks([])


def legend_above(
    ax: Axes, columns: int = 2, title: str | None = None, by_name: bool = False
) -> None:
    """The legend above the axes, where it hides nothing."""
    handles, labels = ax.get_legend_handles_labels()
    if by_name:
        handles, labels = map(
            list,
            zip(*sorted(zip(handles, labels, strict=True), key=lambda one: one[1]), strict=True),
        )
    ax.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        frameon=False,
        borderaxespad=0.2,
        fontsize="small",
        title=title,
        title_fontsize="small",
        alignment="left",
        columnspacing=1.0,
        handletextpad=0.5,
    )
