"""Pictures of views and results, for a report. Each function draws on `ax`, or on a figure of its own, and returns the Axes.

They are safe for the colour-blind, have their units on their axes, and can be read at half the width of a page. Nothing is read
or written: they are given what views and verbs return.
"""

from ttplan.plots.chain import chain
from ttplan.plots.costs import cost_per_day
from ttplan.plots.figures import latency, projected_actual, sweep
from ttplan.plots.forest import routes, savings

__all__ = ["chain", "cost_per_day", "latency", "projected_actual", "routes", "savings", "sweep"]
