"""Tables that only a full projection's card has: by route, rejected requests, and cache rules."""

from __future__ import annotations

from collections import defaultdict

from ttplan.display.amounts import NO_INTERVAL, usd, usd_interval
from ttplan.display.card import Row, Table
from ttplan.display.routes import target_text
from ttplan.model.plan import Interval, PlanResult
from ttplan.model.projection.full import PairTotals


def full_routes_table(result: PlanResult) -> Table:
    """What each route moves, and saves against what was paid; and what requests that stay lose or
    gain, since provider caches change."""
    if result.full is None:
        return Table(())
    by_route: dict[str, list[PairTotals]] = defaultdict(list)
    for pair in result.full.pairs:
        by_route[pair.route].append(pair)
    targets = {route.name: target_text(route) for route in result.proposed_routes}
    rows: list[Row] = []
    for part in result.per_route_breakdown:
        pairs = by_route[part.route_name]
        paid = sum(pair.actual_usd for pair in pairs)
        saved = paid - sum(pair.projected_usd for pair in pairs)
        requests = sum(pair.requests for pair in pairs)
        target = targets.get(part.route_name, "")
        cells = (part.route_name, target, f"{requests:,}", usd(paid), usd(saved))
        rows.append(_route_row(cells, part.change_vs_actual_usd_95))
    if result.full.kept_cache_usd:
        kept = "requests that stay", "their provider's cache changes", "", ""
        kept_95 = result.confidence_intervals.savings_by_cause_95.get("kept_cache")
        rows.append(_route_row((*kept, usd(result.full.kept_cache_usd)), kept_95))
    columns = ("route", "to", "requests", "paid", "saves")
    return Table(tuple(rows), columns, "llrrr", details_name="95 % interval")


def _route_row(cells: tuple[str, ...], interval: Interval | None) -> Row:
    """A row with the interval of what is saved on a line of its own: names are long."""
    return Row(cells, (f"saves {usd_interval(interval)}" if interval else NO_INTERVAL,))


def ineligible_table(result: PlanResult) -> Table:
    """Matched requests that the target cannot serve, by reason."""
    parts = () if result.full is None else result.full.ineligible
    rows = [(part.reason, f"{part.requests:,}", usd(part.cost_usd)) for part in parts]
    return Table.of(
        rows,
        "reason",
        "requests",
        "paid",
        align="lrr",
        caption="not served by the target, exact: they stay on their model",
    )


def cache_fit_table(result: PlanResult) -> Table:
    """How well the rule of each provider's cache fits the recorded reads."""
    fits = () if result.full is None else result.full.cache_fit
    rows = [
        (
            fit.model,
            f"{fit.recorded_tokens:,} tokens",
            f"{fit.predicted_tokens:,} tokens",
            f"{100 * fit.recorded_tokens / fit.predicted_tokens:.0f} %",
        )
        for fit in fits
    ]
    return Table.of(
        rows,
        "model",
        "read as logged",
        "by the rule",
        "share",
        align="lrrr",
        caption="provider caches: how well their rules fit the log, exact",
    )
