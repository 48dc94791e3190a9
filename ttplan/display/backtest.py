"""A back-test told to a person."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ttplan.display.text import WIDTH, escape, wrap
from ttplan.model.results.backtest import METRICS, Backtest, Comparison, Metric

if TYPE_CHECKING:
    import pandas as pd

_NAMES: dict[Metric, tuple[str, float, str]] = {
    "savings_pct": ("savings", 1, "%"),
    "cache_hit_rate": ("cache hits", 100, "%"),
    "p50_latency_ms": ("latency p50", 1, "ms"),
    "p95_latency_ms": ("latency p95", 1, "ms"),
}
_WHY = (
    "An interval is about what such traffic does on average; a period of its own strays from that as well. So fewer than 95 in "
    "100 lie inside even where all is well, and “consistent” counts the next period's own interval, too. Traffic that changes "
    "from period to period shows as figures that are neither."
)


class ShownBacktest:
    """A back-test that shows itself; `frame()` has every comparison."""

    def __init__(self, found: Backtest) -> None:
        self.found = found

    def frame(self) -> pd.DataFrame:
        """One row for each figure and pair of periods; columns are the fields of `Comparison`, intervals as `_lo` and `_hi`."""
        import pandas as pd

        rows = []
        for one in self.found.comparisons:
            row = one.model_dump()
            for name in ("projected", "found"):
                row[f"{name}_lo"], row[f"{name}_hi"] = row.pop(f"{name}_95") or (None, None)
            rows.append(row)
        columns = [
            "period_start",
            "next_start",
            "metric",
            "projected",
            "projected_lo",
            "projected_hi",
        ]
        columns += ["found", "found_lo", "found_hi", "inside", "consistent"]
        floats = [name for name in columns if name.startswith(("projected", "found"))]
        frame = pd.DataFrame(rows, columns=columns)
        return frame.astype(
            dict.fromkeys(floats, "float64") | dict.fromkeys(("inside", "consistent"), "boolean")
        )

    def __repr__(self) -> str:
        return backtest_text(self.found)

    def _repr_html_(self) -> str:
        return backtest_html(self.found)


def backtest_text(found: Backtest) -> str:
    """The back-test as text."""
    lines = [
        *wrap(_title(found), WIDTH),
        "",
        f"  {'':<14}{'inside':>12}{'consistent':>14}   last period, and what came",
    ]
    for metric, inside, agreeing, count in found.counts():
        lines.append(
            f"  {_NAMES[metric][0]:<14}{_of(inside, count):>12}{_of(agreeing, count):>14}   {_last(found, metric)}".rstrip()
        )
    return "\n".join([*lines, "", *wrap(_WHY, WIDTH)])


def backtest_html(found: Backtest) -> str:
    """The back-test as HTML, in the notebook's own colours."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{_NAMES[metric][0]}</th><td>{_of(inside, count)}</td>'
        f'<td>{_of(agreeing, count)}</td><td style="text-align:left">{escape(_last(found, metric))}</td></tr>'
        for metric, inside, agreeing, count in found.counts()
    )
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="back-test" style="overflow-wrap:anywhere">'
        f"<p style='margin:0'><strong>{escape(_title(found))}</strong></p>"
        '<table style="margin:0.5em 0"><thead><tr><th></th><th>inside</th><th>consistent</th>'
        f'<th style="text-align:left">last period, and what came</th></tr></thead><tbody>{rows}</tbody></table>'
        f"<p style='margin:0'>{escape(_WHY)}</p></div>"
    )


def _title(found: Backtest) -> str:
    pairs = len(found.of(METRICS[0]))
    skipped = f", {found.skipped} without requests left out" if found.skipped else ""
    unit = "" if found.interval_unit == "request" else f", by {found.interval_unit}"
    return f"back-test: {pairs} {'pair' if pairs == 1 else 'pairs'} of periods of {_length(found)}{skipped}{unit}"


def _length(found: Backtest) -> str:
    return str(timedelta(seconds=found.period_seconds)).removesuffix(", 0:00:00")


def _of(count: int, total: int) -> str:
    return f"{count} of {total}" if total else "no interval"


def _last(found: Backtest, metric: Metric) -> str:
    ours = found.of(metric)
    return _pair(ours[-1]) if ours else ""


def _pair(one: Comparison) -> str:
    _, factor, unit = _NAMES[one.metric]
    digits = 0 if unit == "ms" else 1

    def shown(value: float) -> str:
        return f"{value * factor:,.{digits}f}"

    ends = (
        "no interval"
        if one.projected_95 is None
        else f"{shown(one.projected_95[0])} to {shown(one.projected_95[1])}"
    )
    return f"{ends} {unit}; {shown(one.found)} {unit}"
