"""DataFrames of what is stored: tidy, with stable columns. Times are UTC, money is USD, intervals are 95 %."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import pandas as pd

from ttplan.model.plan import Interval, PlanResult
from ttplan.model.plan_run import LiveRoute, PlanRun
from ttplan.operations.history import Turn

PLANS = {
    "plan_id": "string",
    "name": "string",
    "status": "string",
    "created_at": "datetime64[us, UTC]",
    "applied_at": "datetime64[us, UTC]",
    "window_start": "datetime64[us, UTC]",
    "window_end": "datetime64[us, UTC]",
    "requests": "Int64",
    "savings_usd": "float64",
    "savings_usd_lo": "float64",
    "savings_usd_hi": "float64",
    "change_vs_actual_usd": "float64",
    "caveats": "Int64",
}
"""Columns of `plans_frame`; savings are USD per window, with the ends of their 95 % interval, and never below 0: what applying a
plan changes against today's cost, signed, is `change_vs_actual_usd`."""
ROUTES = {
    "name": "string",
    "priority": "Int64",
    "enabled": "boolean",
    "target_model": "string",
    "conditions": "string",
    "plan_id": "string",
    "applied_at": "datetime64[us, UTC]",
    "route_id": "string",
}
"""Columns of `routes_frame`."""
HISTORY = {
    "since": "datetime64[us, UTC]",
    "event": "string",
    "plan_id": "string",
    "plan": "string",
    "name": "string",
    "live": "boolean",
    "renamed_to": "string",
    "priority": "Int64",
    "enabled": "boolean",
    "target_model": "string",
    "conditions": "string",
    "seq": "Int64",
}
"""Columns of `history_frame`: what is live since each moment, which entry of the chain says so (`seq`), and which plan did it.

`name` is the route's name then. Where nothing is live under it any more since the route got another one, that is `renamed_to`."""
SAVINGS = {
    "plan_id": "string",
    "name": "string",
    "status": "string",
    "route": "string",
    "requests": "Int64",
    "baseline_usd": "float64",
    "projected_usd": "float64",
    "savings_usd": "float64",
    "savings_usd_lo": "float64",
    "savings_usd_hi": "float64",
    "savings_pct": "float64",
    "change_vs_actual_usd": "float64",
}
"""Columns of `savings_frame`: a row a plan, whose route is null, then one for each of its routes, which have no interval."""


def plans_frame(runs: Sequence[PlanRun]) -> pd.DataFrame:
    """One row for each plan, in the order given; columns `PLANS`. A failed plan has no figures."""
    return _frame([_plan(run) | ({} if run.status == "failed" else _figures(run.result)) for run in runs], PLANS)


def _plan(run: PlanRun) -> dict[str, Any]:
    return {
        "plan_id": str(run.plan_id),
        "name": run.name,
        "status": run.status,
        "created_at": run.created_at,
        "applied_at": run.applied_at,
        "window_start": run.result.window_start,
        "window_end": run.result.window_end,
    }


def _figures(result: PlanResult) -> dict[str, Any]:
    return {
        "requests": result.sample_size,
        "savings_usd": float(result.aggregates.projected_savings_usd),
        "savings_usd_lo": _ends(result.confidence_intervals.savings_usd_95)[0],
        "savings_usd_hi": _ends(result.confidence_intervals.savings_usd_95)[1],
        "change_vs_actual_usd": float(result.aggregates.change_vs_actual_usd),
        "caveats": len(result.caveats),
    }


def routes_frame(live: Sequence[LiveRoute]) -> pd.DataFrame:
    """One row for each live route, by precedence; columns `ROUTES`."""
    rows = [
        {
            "name": one.route.name,
            **_route(one),
            "plan_id": str(one.plan_id),
            "applied_at": one.applied_at,
            "route_id": str(one.route.id),
        }
        for one in live
    ]
    return _frame(rows, ROUTES)


def conditions(one: LiveRoute) -> str:
    """A route's conditions as one line, such as `tag_equals=chat, input_tokens_lt=1000`."""
    asked = one.route.when.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{name}={'|'.join(value) if isinstance(value, list) else value}" for name, value in asked.items()) or "any"


def savings_frame(runs: Sequence[PlanRun]) -> pd.DataFrame:
    """What each plan and each of its routes saves; columns `SAVINGS`, USD per window. Failed plans are left out."""
    return _frame([row for run in runs if run.status != "failed" for row in _savings(run)], SAVINGS)


def history_frame(turns: Sequence[Turn]) -> pd.DataFrame:
    """What became of one route, oldest first; columns `HISTORY`."""
    rows = [
        {
            "since": turn.since,
            "event": turn.event,
            "plan_id": str(turn.plan_id),
            "plan": turn.plan_name,
            "name": turn.name,
            "live": turn.live is not None,
            "renamed_to": turn.renamed_to,
            **({} if turn.live is None else _route(turn.live)),
            "seq": turn.seq,
        }
        for turn in turns
    ]
    return _frame(rows, HISTORY)


def _route(one: LiveRoute) -> dict[str, Any]:
    return {
        "priority": one.route.priority,
        "enabled": one.route.enabled,
        "target_model": one.route.then.target_model,
        "conditions": conditions(one),
    }


def _savings(run: PlanRun) -> list[dict[str, Any]]:
    found, ends = run.result.aggregates, run.result.confidence_intervals
    common = {"plan_id": str(run.plan_id), "name": run.name, "status": run.status}
    whole = common | {
        "requests": run.result.sample_size,
        "baseline_usd": float(found.total_baseline_cost_usd),
        "projected_usd": float(found.total_projected_cost_usd),
        "savings_usd": float(found.projected_savings_usd),
        "savings_usd_lo": _ends(ends.savings_usd_95)[0],
        "savings_usd_hi": _ends(ends.savings_usd_95)[1],
        "savings_pct": found.projected_savings_pct,
        "change_vs_actual_usd": float(found.change_vs_actual_usd),
    }
    parts = [
        common
        | {
            "route": part.route_name,
            "requests": part.matched,
            "baseline_usd": float(part.baseline_cost_usd),
            "projected_usd": float(part.projected_cost_usd),
            "savings_usd": float(part.savings_usd),
            "savings_pct": float(part.savings_usd / part.baseline_cost_usd * 100) if part.baseline_cost_usd else 0.0,
        }
        for part in run.result.per_route_breakdown
    ]
    return [whole, *parts]


def _ends(interval: Interval | None) -> Interval:
    """The ends, or two NaN where there is no interval."""
    return (nan, nan) if interval is None else interval


def _frame(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(columns))
    return frame.astype(columns)  # type: ignore[arg-type, call-overload, unused-ignore]
