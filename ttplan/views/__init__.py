"""DataFrames of what is stored, with stable columns. Times are UTC, money is USD, intervals are 95
%."""

from ttplan.views.columns import (
    ASSUMPTIONS,
    DESCRIPTIONS,
    ENTRIES,
    LATENCIES,
    PLANS,
    REQUESTS,
    ROUTE_HISTORY,
    ROUTES,
    SAVINGS,
    SAVINGS_BY,
    SAVINGS_BY_CAUSE,
    VIEWS,
)
from ttplan.views.frame import View

__all__ = [
    "ASSUMPTIONS",
    "DESCRIPTIONS",
    "ENTRIES",
    "LATENCIES",
    "PLANS",
    "REQUESTS",
    "ROUTES",
    "ROUTE_HISTORY",
    "SAVINGS",
    "SAVINGS_BY",
    "SAVINGS_BY_CAUSE",
    "VIEWS",
    "View",
]
