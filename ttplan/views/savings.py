"""Views of a plan's requests in groups: savings by route, tag, model, target model or day, and
latencies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ttplan.engine.breakdown import BreakdownRow
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.queries import Latencies, PlanBreakdown, Savings, SavingsByCause
from ttplan.views.columns import LATENCIES, SAVINGS, SAVINGS_BY, SAVINGS_BY_CAUSE
from ttplan.views.frame import View, make_view
from ttplan.views.stored import PER_WINDOW, saved_already, savings_pct

_PLAN_COLUMNS = ("plan_id", "name", "status")
_MOST_NAMES = 3
"""How many plans without groups are named."""


def savings_by_view(savings: Savings, by: Sequence[str], *, exact: bool = False) -> View:
    """One row per group of each plan: days in order, else those first that change most.

    The columns are those of `by`, and of `SAVINGS` without those per month.
    """
    columns = {
        **{name: SAVINGS[name] for name in _PLAN_COLUMNS},
        **{name: SAVINGS_BY[name] for name in by},
        **{
            name: dtype
            for name, dtype in SAVINGS.items()
            if name not in _PLAN_COLUMNS and not name.startswith("per_month")
        },
    }
    rows = [row for plan in savings.plans for row in _rows(plan, by)]
    title = f"savings by {', '.join(by)} ({PER_WINDOW})"
    return make_view(rows, columns, title=title, notes=_left_out(savings.without), exact=exact)


def savings_by_cause_view(savings: SavingsByCause, *, exact: bool = False) -> View:
    """One row per cause of each full projection, in the order of causes; columns
    `SAVINGS_BY_CAUSE`."""
    rows = []
    for run in savings.plans:
        intervals = run.result.confidence_intervals.change_by_cause_95
        for cause, amount in run.result.change_by_cause or ():
            low, high = intervals.get(cause) or (None, None)
            rows.append(
                {
                    "plan_id": str(run.plan_id),
                    "name": run.name,
                    "status": run.status,
                    "cause": cause,
                    "change_vs_actual_usd": amount,
                    "change_vs_actual_usd_lo": low,
                    "change_vs_actual_usd_hi": high,
                }
            )
    notes = []
    if savings.without:
        count = (
            f"{len(savings.without):,} {'plan is' if len(savings.without) == 1 else 'plans are'}"
        )
        notes = [
            f"{count} left out: only full projections, made since causes are split, have them: "
            f"{_names(savings.without)}."
        ]
    title = f"savings by cause ({PER_WINDOW})"
    return make_view(rows, SAVINGS_BY_CAUSE, title=title, notes=notes, exact=exact)


def latencies_view(latencies: Latencies) -> View:
    """One row per latency, ascending; columns `LATENCIES`."""
    run, then, now = latencies.run, latencies.then, latencies.now
    rows = [
        {
            "plan_id": str(run.plan_id),
            "name": run.name,
            "latency_ms": latency_ms,
            "then": then.get(latency_ms, 0),
            "now": now.get(latency_ms, 0),
        }
        for latency_ms in sorted(then.keys() | now.keys())
    ]
    title = f"requests of {run.name} by latency, as logged and as projected"
    return make_view(rows, LATENCIES, title=title)


def _rows(plan: PlanBreakdown, by: Sequence[str]) -> Iterator[dict[str, Any]]:
    run = plan.run
    for part in sorted(plan.parts, key=lambda part: _order(part, by)):
        savings_95 = part.change_95 or (None, None)
        change_95 = part.actual_change_95 or (None, None)
        row: dict[str, Any] = {
            "plan_id": str(run.plan_id),
            "name": run.name,
            "status": run.status,
            **dict(zip(by, part.key, strict=True)),
            "requests": part.requests,
            "baseline_usd": part.baseline,
            "actual_usd": part.actual,
            "projected_usd": part.projected,
            "savings_usd": part.baseline - part.projected,
            "savings_usd_lo": savings_95[0],
            "savings_usd_hi": savings_95[1],
            "change_vs_actual_usd": part.actual - part.projected,
            "change_vs_actual_usd_lo": change_95[0],
            "change_vs_actual_usd_hi": change_95[1],
        }
        yield row | {"savings_pct": savings_pct(row), "saved_already_usd": saved_already(row)}


def _order(part: BreakdownRow, by: Sequence[str]) -> tuple[Any, ...]:
    key = tuple((value is None, "" if value is None else str(value)) for value in part.key)
    return key if "day" in by else (part.projected - part.actual, key)


def _left_out(runs: Sequence[StoredPlan]) -> list[str]:
    if not runs:
        return []
    return [
        f"{len(runs):,} {'plan is' if len(runs) == 1 else 'plans are'} left out, because the store "
        f"does not have their requests as they were then: {_names(runs)}. What they save as a "
        "whole is in savings()."
    ]


def _names(runs: Sequence[StoredPlan]) -> str:
    names = ", ".join(f"{run.name!r:.40}" for run in runs[:_MOST_NAMES])
    return names + (", …" if len(runs) > _MOST_NAMES else "")
