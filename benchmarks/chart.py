"""The chart of `make bench`: time against rows, one line per kind; reproducible byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

TARGETS = ((1_000_000, 1.0), (10_000_000, 3.0))
"""Rows and the seconds that a replay of them may take on 2 cores."""
_SETTINGS: Any = {
    "svg.hashsalt": "ttplan",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 15,
}


class Line(NamedTuple):
    """How a kind is drawn. Similar kinds share a colour; no two lines differ by colour alone."""

    colour: str
    dashes: str
    marker: str


# The colours of Okabe and Ito, which people with colour-blindness can tell apart.
LINES = {
    "limit": Line("#000000", "-", "o"),
    "full": Line("#0072B2", "-", "*"),
    "l1": Line("#E69F00", "-", "s"),
    "hour": Line("#CC79A7", "-", "^"),
    "session": Line("#CC79A7", "--", "v"),
    "suggest": Line("#56B4E9", "-", "D"),
    "resample": Line("#009E73", "-", "P"),
    "tt-plan-core": Line("#009E73", "--", "X"),
    "l2-hour": Line("#D55E00", "-", "<"),
    "l2-all": Line("#D55E00", "--", ">"),
}


def draw(
    path: Path, labels: Mapping[str, str], times: Mapping[str, Sequence[tuple[int, float]]]
) -> None:
    """Draw `times`, (rows, seconds) of each kind, to an SVG file; `labels` names the kinds."""
    with plt.rc_context(_SETTINGS):
        figure, axes = plt.subplots(figsize=(10, 8.5), layout="constrained")
        for kind, points in times.items():
            line = LINES[kind]
            rows, seconds = zip(*points, strict=True)
            axes.loglog(
                rows,
                seconds,
                color=line.colour,
                linestyle=line.dashes,
                marker=line.marker,
                markersize=9,
                linewidth=2.5,
                label=labels[kind].replace("`", ""),
            )
        rows, seconds = zip(*TARGETS, strict=True)
        axes.plot(
            rows,
            seconds,
            linestyle="",
            marker="_",
            markersize=40,
            markeredgewidth=4,
            color="#0072B2",
            label="target, replay",
        )
        axes.set_xlabel("requests")
        axes.set_ylabel("seconds")
        axes.set_title("Time to a result, by the size of the log")
        axes.set_xticks(
            [10**n for n in range(4, 8)], ["10 thousand", "100 thousand", "1 million", "10 million"]
        )
        axes.set_ylim(bottom=min(0.1, axes.get_ylim()[0]))
        low, high = axes.get_ylim()
        ticks = {0.1: "0.1", 1: "1", 10: "10", 60: "60", 600: "600"}
        axes.set_yticks(
            [at for at in ticks if low <= at <= high],
            [label for at, label in ticks.items() if low <= at <= high],
        )
        axes.minorticks_off()
        axes.grid(alpha=0.4)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=3, frameon=False, markerscale=0.6)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)
