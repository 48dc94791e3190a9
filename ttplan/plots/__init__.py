"""Plots of views and results, for a report. Each function draws on `ax`, or on a new figure, and
returns the Axes.

Colours are distinguishable for colour-blind readers, axes name their units, and text stays readable
at half the width of a page. The functions read and write nothing: they draw what views and methods
return."""

# ruff: noqa: E402
from ttplan.util.extras import require_extra

require_extra("matplotlib", "plots", "ttplan.plots")

from ttplan.plots.assumptions import break_even
from ttplan.plots.chain import chain
from ttplan.plots.costs import cost_per_day
from ttplan.plots.figures import latency, projected_actual, sweep
from ttplan.plots.forest import routes, savings

__all__ = [
    "break_even",
    "chain",
    "cost_per_day",
    "latency",
    "projected_actual",
    "routes",
    "savings",
    "sweep",
]
