"""What a plan's figures rest on, told to a person: what its log's costs are made of, and where its prices are from."""

from __future__ import annotations

from collections import defaultdict

from ttplan.display.amounts import usd
from ttplan.model.plan_run import PlanRun

MOST = 3
"""How many price keys of one source are named."""


def costs(run: PlanRun) -> tuple[str, str] | None:
    """What the log's costs are made of, and what that changed; None where it was not kept."""
    basis = run.cost_basis
    if basis is None:
        return None
    if not basis.recomputed:
        return "as recorded", ""
    how = "by the doctor" if basis.by_doctor == basis.recomputed else "recomputed"
    changed = f"{usd(basis.recomputed_usd)}, was {usd(basis.was_recorded_usd)}"
    return f"{basis.recomputed:,} of {basis.recorded + basis.recomputed:,} {how}", changed


def price_sources(run: PlanRun) -> str:
    """Where the prices of the routes' targets are from, in one sentence; nothing where it was not kept."""
    targets = {route.then.target_model for route in run.result.proposed_routes if route.enabled}
    by_source: dict[str, list[str]] = defaultdict(list)
    for key, source in sorted((run.price_sources or {}).items()):
        if key.partition(":")[2] in targets:
            by_source[source.partition(",")[0]].append(key)
    told = [f"{_named(keys)} from {source}" for source, keys in by_source.items()]
    return f"prices: {'; '.join(told)}" if told else ""


def _named(keys: list[str]) -> str:
    more = len(keys) - MOST
    return ", ".join(keys[:MOST]) + (f" and {more} more" if more > 0 else "")
