"""The card of a back-test."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ttplan.display.amounts import NO_INTERVAL, duration_text, format_interval, plural
from ttplan.display.card import Card, ResultCard, Table
from ttplan.model.results.backtest import METRICS, Backtest, Metric

if TYPE_CHECKING:
    import pandas as pd

_METRICS: dict[Metric, tuple[str, float, int, str]] = {
    "savings_pct": ("savings", 1, 1, "%"),
    "cache_hit_rate": ("cache hits", 100, 1, "%"),
    "p50_latency_ms": ("latency p50", 1, 0, "ms"),
    "p95_latency_ms": ("latency p95", 1, 0, "ms"),
}
"""Name, factor, digits and unit of each metric."""
_EXPLANATION = (
    "An interval is about the average of such traffic; a single period also varies around it. So "
    "fewer than 95 in 100 lie inside even if all is well; “consistent” also counts the next "
    "period's own interval. If traffic changes between periods, figures are neither."
)
_COLUMNS = [
    "period_start",
    "next_start",
    "metric",
    "projected",
    "projected_lo",
    "projected_hi",
    "found",
    "found_lo",
    "found_hi",
    "inside",
    "consistent",
]


class BacktestCard(ResultCard[Backtest]):
    """A back-test; `frame()` has every comparison."""

    def frame(self) -> pd.DataFrame:
        """One row per figure and pair of periods: the fields of `Comparison`, intervals as `_lo`
        and `_hi`."""
        import pandas as pd

        rows = []
        for comparison in self.result.comparisons:
            row = comparison.model_dump()
            for name in ("projected", "found"):
                row[f"{name}_lo"], row[f"{name}_hi"] = row.pop(f"{name}_95") or (None, None)
            rows.append(row)
        types = {name: "float64" for name in _COLUMNS if name.startswith(("projected", "found"))}
        types |= {"inside": "boolean", "consistent": "boolean"}
        return pd.DataFrame(rows, columns=_COLUMNS).astype(types)

    def card(self) -> Card:
        return backtest_card(self.result)


def backtest_card(backtest: Backtest) -> Card:
    """The card of a back-test."""
    rows = (
        (
            _METRICS[metric][0],
            _share(inside, total),
            _share(consistent, total),
            _last_pair(backtest, metric),
        )
        for metric, inside, consistent, total in backtest.counts()
    )
    columns = ("", "inside", "consistent", "last period: projected; actual")
    return Card(
        "back-test",
        _title(backtest),
        tables=(Table.of(rows, *columns, align="lrr"),),
        footer=(_EXPLANATION,),
    )


def _title(backtest: Backtest) -> str:
    pairs = plural(len(backtest.of(METRICS[0])), "pair")
    length = duration_text(timedelta(seconds=backtest.period_seconds))
    skipped = f", {backtest.skipped} without requests left out" if backtest.skipped else ""
    unit = "" if backtest.interval_unit == "request" else f", by {backtest.interval_unit}"
    return f"back-test: {pairs} of periods of {length}{skipped}{unit}"


def _share(count: int, total: int) -> str:
    return f"{count} of {total}" if total else NO_INTERVAL


def _last_pair(backtest: Backtest, metric: Metric) -> str:
    comparisons = backtest.of(metric)
    if not comparisons:
        return ""
    last = comparisons[-1]
    _, factor, digits, unit = _METRICS[metric]
    projected = format_interval(last.projected_95, digits, unit, factor=factor)
    return f"{projected}; {last.found * factor:,.{digits}f} {unit}"
