"""What all plots share: colours, safe labels, checks of the data, and empty axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ttplan.display.text import cut
from ttplan.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#7F7F7F"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW)
"""M. Okabe and K. Ito, Color Universal Design (2008), for colour-blind readers too. Grey is for the
rest."""
_WIDTH, _HEIGHT = 6.4, 3.6
_ROW = 0.55


def axes_for(ax: Axes | None, rows: int = 0) -> Axes:
    """`ax`, or new axes high enough for that many rows; without lines at the top and on the
    right."""
    if ax is None:
        import matplotlib.pyplot as plt

        height = max(_HEIGHT, 1.4 + _ROW * rows)
        _, ax = plt.subplots(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def label_text(text: object, width: int = 40) -> str:
    """Text from outside, cut to that many columns. Dollars are escaped, since matplotlib reads them
    as formulas."""
    return cut(str(text), width).replace("$", r"\$")


def label_rows(ax: Axes, names: Sequence[str]) -> None:
    """Label rows from top to bottom; each label stands above its row and can use the whole
    width."""
    # The background keeps lines from crossing a label.
    box = {"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 1}
    for place, name in enumerate(names):
        position: dict[str, Any] = {
            "transform": ax.get_yaxis_transform(),
            "ha": "left",
            "va": "bottom",
        }
        ax.text(0.01, place - 0.28, name, fontsize="small", bbox=box, **position)
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    ax.set_ylim(len(names) - 0.6, -0.75)


def require_columns(frame: pd.DataFrame, columns: Iterable[str], call: str) -> None:
    """Raise InputError if a frame is not what `call` returns."""
    missing = [name for name in columns if name not in getattr(frame, "columns", ())]
    if missing:
        raise InputError(f"the data has no column {missing[0]!r}; expected what {call} returns")


def require_one_plan(frame: pd.DataFrame, call: str) -> None:
    """Raise InputError if a frame has several plans."""
    count = frame["plan_id"].nunique()
    if count > 1:
        raise InputError(
            f"the data has {count} plans, but the plot shows one; expected what {call} returns"
        )


def limit_ticks(ax: Axes) -> None:
    """Use few enough numbers on the x-axis that they fit at half the width."""
    ax.locator_params(axis="x", nbins=5)


def draw_empty(ax: Axes, message: str) -> None:
    """Write a message in the middle of empty axes."""
    ax.text(0.5, 0.5, message, transform=ax.transAxes, ha="center", va="center", color=GREY)
    ax.set_yticks([])
    ax.set_xticks([])


def legend_above(
    ax: Axes, columns: int = 2, title: str | None = None, by_name: bool = False
) -> None:
    """Put the legend above the axes, where it covers nothing."""
    handles, labels = ax.get_legend_handles_labels()
    if by_name:
        order = sorted(range(len(labels)), key=labels.__getitem__)
        handles, labels = [handles[at] for at in order], [labels[at] for at in order]
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
