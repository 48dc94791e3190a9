"""Views of savings in parts: by route, tag, model, target model or day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ttplan.engine.breakdown import Part
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.queries import Latencies, PlanParts, Savings
from ttplan.views.columns import LATENCIES, PARTS, SAVINGS
from ttplan.views.frame import View, make_view
from ttplan.views.stored import PER_WINDOW, percent

_BEFORE = ("plan_id", "name", "status")


def parts_view(found: Savings, by: Sequence[str], *, exact: bool = False) -> View:
    """A row for each part of each plan: days in their order, else what saves most first. Columns `SAVINGS` and those of `by`."""
    columns = {
        **{name: SAVINGS[name] for name in _BEFORE},
        **{name: PARTS[name] for name in by},
        **{name: kind for name, kind in SAVINGS.items() if name not in _BEFORE},
    }
    rows = [row for plan in found.plans for row in _rows(plan, by)]
    notes = [*_without(found.without)]
    return make_view(
        rows, columns, title=f"savings by {', '.join(by)} ({PER_WINDOW})", notes=notes, exact=exact
    )


def latencies_view(found: Latencies) -> View:
    """A row for each latency, ascending; columns `LATENCIES`."""
    common = {"plan_id": str(found.run.plan_id), "name": found.run.name}
    rows = [
        common | {"latency_ms": ms, "then": found.then.get(ms, 0), "now": found.now.get(ms, 0)}
        for ms in sorted(found.then.keys() | found.now.keys())
    ]
    return make_view(
        rows,
        LATENCIES,
        title=f"requests of {found.run.name} by latency, as it was and as projected",
    )


def _rows(plan: PlanParts, by: Sequence[str]) -> Iterator[dict[str, Any]]:
    run = plan.run
    for part in sorted(plan.parts, key=lambda part: _order(part, by)):
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
            "change_vs_actual_usd": part.actual - part.projected,
        }
        row["savings_usd_lo"], row["savings_usd_hi"] = part.change_95 or (None, None)
        row["change_vs_actual_usd_lo"], row["change_vs_actual_usd_hi"] = part.actual_change_95 or (
            None,
            None,
        )
        yield row | {"savings_pct": percent(row)}


def _order(part: Part, by: Sequence[str]) -> tuple[Any, ...]:
    key = tuple((value is None, "" if value is None else str(value)) for value in part.key)
    return key if "day" in by else (part.projected - part.baseline, key)


def _without(runs: Sequence[StoredPlan]) -> Iterator[str]:
    if not runs:
        return
    names = ", ".join(f"{run.name!r:.40}" for run in runs[:3]) + (", …" if len(runs) > 3 else "")
    yield (
        f"{len(runs):,} {'plan is' if len(runs) == 1 else 'plans are'} left out, whose requests are not in the store as they "
        f"were then: {names}. What they save as a whole is in savings()."
    )
