"""The cost of each day by model, as paid and as projected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttplan.plots.axes import (
    COLOURS,
    GREY,
    axes_for,
    draw_empty,
    label_text,
    legend_above,
    require_columns,
    require_one_plan,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

OTHERS = "other models"
_CALL = 'ws.savings(("day", "model", "target_model"), plan=plan)'
_WIDTH, _GAP = 0.38, 0.02
_MOST_LABELS = 5


def cost_per_day(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the cost of each day, in USD: paid, by the model that answered; projected, by the target
    model.

    Parameters
    ----------
    frame : DataFrame
        What `ws.savings(("day", "model", "target_model"), plan=plan)` returns. The seven most
        costly models have bars of their own; the others share one.
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
    >>> day = {"plan_id": "p", "day": pd.Timestamp("2026-05-01", tz="UTC")}
    >>> models = {"model": "gpt-4o", "target_model": "gpt-4o-mini"}
    >>> row = day | models | {"actual_usd": 9.0, "projected_usd": 1.5}
    >>> plots.cost_per_day(pd.DataFrame([row])).get_ylabel()
    'cost, USD per day'
    """
    columns = ["plan_id", "day", "model", "target_model", "actual_usd", "projected_usd"]
    require_columns(frame, columns, _CALL)
    require_one_plan(frame, _CALL)
    ax = axes_for(ax)
    ax.set_xlabel("day (UTC)")
    ax.set_ylabel("cost, USD per day")
    if not len(frame):
        draw_empty(ax, "no requests")
        return ax
    paid, projected = (
        _table(frame, "model", "actual_usd"),
        _table(frame, "target_model", "projected_usd"),
    )
    total = paid.sum().add(projected.sum(), fill_value=0.0)
    models = sorted(total.index, key=lambda model: (-total[model], model))
    shown, pooled = models[: len(COLOURS)], models[len(COLOURS) :]
    days = paid.index
    for side, table in ((-1, paid), (1, projected)):
        place = np.arange(len(days)) + side * (_WIDTH + _GAP) / 2
        bottom = np.zeros(len(days))
        colours = zip(shown, COLOURS, strict=False)
        bars = [(model, table.get(model), colour) for model, colour in colours]
        if pooled:
            bars.append((OTHERS, table.reindex(columns=pooled).sum(axis=1), GREY))
        for model, amounts, colour in bars:
            height = np.zeros(len(days)) if amounts is None else amounts.to_numpy()
            ax.bar(
                place,
                height,
                _WIDTH,
                bottom,
                color=colour,
                edgecolor="white",
                linewidth=0.6,
                label=label_text(model, 22) if side < 0 else f"_{model}",
            )
            bottom += height
    step = -(-len(days) // _MOST_LABELS)
    ax.set_xticks(np.arange(len(days))[::step], [f"{day:%m-%d}" for day in days[::step]])
    ax.set_xlim(-0.6, len(days) - 0.4)
    legend_above(ax, 2, title="left: paid, right: projected; by model")
    return ax


def _table(frame: pd.DataFrame, model: str, amount: str) -> pd.DataFrame:
    """Days by models, USD."""
    costs = frame.assign(**{amount: frame[amount].astype(float)})
    return costs.pivot_table(
        index="day", columns=model, values=amount, aggfunc="sum", fill_value=0.0
    )
