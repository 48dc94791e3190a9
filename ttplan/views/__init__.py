"""DataFrames of what is stored: tidy, with stable columns. Times are UTC, money is USD, intervals are 95 %."""

from ttplan.views.columns import (
    CHAIN,
    HISTORY,
    LATENCIES,
    MEANINGS,
    PARTS,
    PLANS,
    REQUESTS,
    ROUTES,
    SAVINGS,
    VIEWS,
)
from ttplan.views.frame import View

__all__ = [
    "CHAIN",
    "HISTORY",
    "LATENCIES",
    "MEANINGS",
    "PARTS",
    "PLANS",
    "REQUESTS",
    "ROUTES",
    "SAVINGS",
    "VIEWS",
    "View",
]
