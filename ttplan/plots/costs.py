"""What each day costs, before and after, by model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttplan.plots.axes import (
    COLOURS,
    GREY,
    axes_for,
    legend_above,
    name_of,
    one_plan,
    require,
    say_nothing,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

OTHERS = "other models"
_CALL = 'ws.savings(("day", "model", "target_model"), plan=plan)'
_WIDTH, _GAP = 0.38, 0.02
_MOST_LABELS = 5


def cost_per_day(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """What was paid each day by the model that answered, beside what is projected by the model that would, stacked.

    `frame` is what `ws.savings(("day", "model", "target_model"), plan=plan)` returns. Models beyond the seven most costly are
    one. Raises InputError for another frame.
    """
    require(
        frame, ["plan_id", "day", "model", "target_model", "actual_usd", "projected_usd"], _CALL
    )
    one_plan(frame, _CALL)
    ax = axes_for(ax)
    ax.set_xlabel("day (UTC)")
    ax.set_ylabel("cost, USD per day")
    if not len(frame):
        say_nothing(ax, "no requests")
        return ax
    costs = frame.assign(
        actual_usd=frame["actual_usd"].astype(float),
        projected_usd=frame["projected_usd"].astype(float),
    )
    bars = {
        -1: costs.pivot_table(
            index="day", columns="model", values="actual_usd", aggfunc="sum", fill_value=0.0
        ),
        1: costs.pivot_table(
            index="day",
            columns="target_model",
            values="projected_usd",
            aggfunc="sum",
            fill_value=0.0,
        ),
    }
    names = _models(bars)
    paid, projected = (table.sum().reindex(names, fill_value=0.0) for table in bars.values())
    largest = paid + projected
    models = sorted(largest.index, key=lambda model: (-largest[model], model))
    shown, pooled = models[: len(COLOURS)], models[len(COLOURS) :]
    days = bars[-1].index
    for side, table in bars.items():
        below = np.zeros(len(days))
        parts = [(model, table.get(model), COLOURS[n]) for n, model in enumerate(shown)]
        if pooled:
            parts.append((OTHERS, table[[m for m in pooled if m in table]].sum(axis=1), GREY))
        for model, amounts, colour in parts:
            height = np.zeros(len(days)) if amounts is None else amounts.to_numpy()
            label = name_of(model, 22) if side < 0 else f"_{model}"
            place = np.arange(len(days)) + side * (_WIDTH + _GAP) / 2
            ax.bar(
                place,
                height,
                _WIDTH,
                below,
                color=colour,
                edgecolor="white",
                linewidth=0.6,
                label=label,
            )
            below += height
    step = -(-len(days) // _MOST_LABELS)
    ax.set_xticks(np.arange(len(days))[::step], [f"{day:%m-%d}" for day in days[::step]])
    ax.set_xlim(-0.6, len(days) - 0.4)
    legend_above(ax, 2, title="left: paid, right: projected; by model")
    return ax


def _models(bars: dict[int, pd.DataFrame]) -> list[str]:
    return sorted({model for table in bars.values() for model in table.columns})
