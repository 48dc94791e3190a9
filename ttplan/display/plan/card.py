"""The card of a plan, and what is known of the quality of its answers."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from ttplan.display.amounts import NO_INTERVAL, format_interval, negated, usd, usd_interval
from ttplan.display.card import Card, Renders, Table
from ttplan.display.plan.assumptions import assumptions_table
from ttplan.display.plan.decision import decision_lines, saved_already
from ttplan.display.plan.full_tables import cache_fit_table, full_routes_table, ineligible_table
from ttplan.display.quality import quality_lines, quality_text
from ttplan.display.routes import target_text
from ttplan.display.text import cut
from ttplan.model.plan import Interval, PerRouteBreakdown, PlanResult, change_pct_95
from ttplan.model.stored_plan import Status, StoredPlan

_HEADLINES = 2
"""How many lines of a full projection the card says in its first lines instead."""
_MOST_PRICE_KEYS = 3
"""How many price keys of one source are named."""
CAUSES = {
    "already": "today's routing and caching",
    "routes": "these routes",
    "provider_cache": "the provider's cache",
    "l1_cache": "gateway cache, L1",
    "l2_cache": "gateway cache, L2",
}
"""The causes of savings against the baseline, in the order in which they are counted."""
CHANGE_CAUSES = {
    "prices": "list prices",
    "tokens": "number of tokens",
    "caches": "caches",
    "l1_cache": "– of these gateway, L1",
    "l2_cache": "– of these gateway, L2",
    "fees": "fees",
    "recorded": "recorded, not list price",
}
"""The causes of a change against what was paid, in order; parts of a cause follow it."""
_GATEWAY_CACHES = ("l1_cache", "l2_cache")
_LEAST_SHOWN = Decimal("0.0000005")
"""Smaller amounts are 0 to the digits that are shown."""
EXACT = "exact"
"""In place of an interval, of a figure that the log has."""
_SWEEP = ("threshold", "hits", "also L1", "saves besides", "may be wrong")


class Plan(Renders):
    """A stored plan, which shows itself as a card.

    A notebook cell that ends with the plan shows the card as HTML; `print(plan)` shows it as text,
    and `plan.to_markdown()` returns Markdown. `Workspace.plan` and `Workspace.show` return plans.

    Parameters
    ----------
    run : PlanRun
        The stored row: the plan's inputs, its status and its result.
    """

    def __init__(self, run: StoredPlan) -> None:
        self.run = run

    @property
    def plan_id(self) -> UUID:
        """The plan's id."""
        return self.run.plan_id

    @property
    def name(self) -> str:
        """The plan's name."""
        return self.run.name

    @property
    def status(self) -> Status:
        """The plan's status when it was read: projected, applied, reverted or failed."""
        return self.run.status

    @property
    def result(self) -> PlanResult:
        """The result of the replay."""
        return self.run.result

    def quality_text(self) -> str:
        """What is known of the answers' quality, with caveats and examples, as text."""
        return quality_text(self.run.result.quality)

    def card(self) -> Card:
        return plan_card(self.run)


class Line(NamedTuple):
    """One figure: its label, its value with its unit, and its interval."""

    label: str
    value: str
    interval: str = ""


def plan_card(run: StoredPlan) -> Card:
    """The card of a plan."""
    result = run.result
    title, code = f"{run.name}  [{run.status}]", str(run.plan_id)
    if run.status == "failed":
        return Card("plan", title, code, notes=(_failure(run),))
    full = result.full is not None
    lines = plan_lines(result)[_HEADLINES if full else 0 :]
    figures = Table.of(map(tuple, (*lines, *_cost_basis(run))), "", "estimate", "95 % interval")
    tables = (
        (
            assumptions_table(result),
            figures,
            full_routes_table(result),
            ineligible_table(result),
            cache_fit_table(result),
        )
        if full
        else (figures, _routes_table(result))
    )
    decision = decision_lines(result, run.config) if full else saved_already(result)
    return Card(
        "plan",
        title,
        code,
        lines=(*decision, _window(result)),
        tables=(*tables, _causes_table(result), _sweep_table(result)),
        notes=result.caveats,
        footer=tuple(filter(None, (_method(result), _price_sources(run)))),
    )


def plan_lines(result: PlanResult) -> list[Line]:
    """The figures of a plan, each with its unit and, if there is one, its 95 % interval.

    The first line is what the plan saves against what was paid.
    """
    aggregates, intervals = result.aggregates, result.confidence_intervals
    hits_95 = format_interval(intervals.cache_hit_rate_95, 1, "%", factor=100)
    return [
        *_against_paid(result),
        *_against_baseline(result),
        Line("baseline", usd(aggregates.total_baseline_cost_usd), EXACT),
        Line("paid", usd(aggregates.total_actual_cost_usd), EXACT),
        Line(
            "projected",
            usd(aggregates.total_projected_cost_usd),
            usd_interval(intervals.total_projected_cost_usd_95),
        ),
        Line("cache hits", f"{100 * aggregates.cache_hit_rate_projected:.1f} %", hits_95),
        *_cache_levels(result),
        *_latencies(result),
        *_request_counts(result),
        *_clusters(result),
        *(Line(*cells) for cells in quality_lines(result.quality)),
    ]


def _against_paid(result: PlanResult) -> list[Line]:
    """As many lines as `_HEADLINES`: the change against what was paid."""
    aggregates, intervals = result.aggregates, result.confidence_intervals
    change, paid = aggregates.change_vs_actual_usd, aggregates.total_actual_cost_usd
    change_95, pct_95 = intervals.change_vs_actual_usd_95, change_pct_95(result)
    share = abs(change) / paid * 100 if paid else Decimal(0)
    if change < 0:
        change_95, pct_95 = negated(change_95), negated(pct_95)
    return [
        Line("costs more" if change < 0 else "saves", usd(abs(change)), usd_interval(change_95)),
        Line("", f"{share:.1f} % of what was paid", format_interval(pct_95, 1, "%")),
    ]


def _against_baseline(result: PlanResult) -> list[Line]:
    """What today's routing and caches save already, and the change against the baseline."""
    aggregates, intervals = result.aggregates, result.confidence_intervals
    baseline, change = aggregates.total_baseline_cost_usd, aggregates.projected_change_usd
    already = baseline - aggregates.total_actual_cost_usd
    verb = "saved already" if already >= 0 else "lost already"
    change_95 = intervals.projected_change_usd_95
    if change_95 is None and change >= 0:
        change_95 = intervals.savings_usd_95
    share = f" ({abs(change) / baseline * 100:.1f} %)" if baseline else ""
    return [
        Line(verb, usd(abs(already)), EXACT),
        Line(
            "vs baseline",
            f"{usd(abs(change))} {'more' if change < 0 else 'less'}{share}",
            usd_interval(negated(change_95) if change < 0 else change_95),
        ),
    ]


def _request_counts(result: PlanResult) -> list[Line]:
    """How many requests are rerouted, and why others are not; two lines, since counts are long."""
    aggregates = result.aggregates
    others = {
        "not served": aggregates.requests_ineligible,
        "failed": aggregates.requests_failed,
        "unpriced": aggregates.requests_unprice_able,
    }
    kept = ", ".join(f"{count:,} {reason}" for reason, count in others.items() if count)
    moved = (
        f"{aggregates.requests_rerouted:,} rerouted, {aggregates.requests_unchanged:,} unchanged"
    )
    return [Line("requests", moved, EXACT), *([Line("", kept, EXACT)] if kept else [])]


def _latencies(result: PlanResult) -> list[Line]:
    aggregates, intervals = result.aggregates, result.confidence_intervals
    return [
        _latency(
            "latency p50",
            aggregates.p50_latency_ms_projected,
            intervals.p50_latency_ms_95,
            aggregates.p50_latency_ms_actual,
            result,
        ),
        _latency(
            "latency p95",
            aggregates.p95_latency_ms_projected,
            intervals.p95_latency_ms_95,
            aggregates.p95_latency_ms_actual,
            result,
        ),
    ]


def _latency(
    label: str,
    projected: float,
    interval: Interval | None,
    logged: float | None,
    result: PlanResult,
) -> Line:
    """A latency, with the logged one. A full projection has 0 if no request's is known."""
    as_logged = "" if logged is None else f", {logged:,.0f} ms as logged"
    if result.full is not None and not projected and interval is None:
        return Line(label, f"not known{as_logged}")
    return Line(label, f"{projected:,.0f} ms{as_logged}", format_interval(interval, 0, "ms"))


def _cache_levels(result: PlanResult) -> list[Line]:
    """Both levels and their overlap, if both count."""
    hits = result.cache_hits
    if hits is None or hits.l1 is None or hits.l2 is None:
        return []
    counts = {"L1": hits.l1, "L2": hits.l2, "both": hits.both}
    total = max(result.sample_size, 1)
    shares = ", ".join(f"{name} {100 * n / total:.1f} %" for name, n in counts.items())
    return [Line("", shares, EXACT)]


def _clusters(result: PlanResult) -> list[Line]:
    clusters = result.clusters
    if clusters is None:
        return []
    count = cut(f"{clusters.count:,} by {result.interval_unit}", 20)
    share = f"the largest has {100 * clusters.largest_share:.1f} %"
    if clusters.design_effect is not None:
        share = f"design effect {clusters.design_effect:.1f}"
    return [Line("clusters", f"{count}, worth {clusters.effective:,.0f}", share)]


def _routes_table(result: PlanResult) -> Table:
    targets = {route.id: target_text(route) for route in result.proposed_routes}
    rows = (
        (
            part.route_name,
            targets.get(part.route_id, ""),
            f"{part.matched:,}",
            usd(part.baseline_cost_usd),
            usd(saved(part)),
        )
        for part in result.per_route_breakdown
    )
    return Table.of(
        rows,
        *("route", "to", "requests", "baseline", "saves of it"),
        align="llrrr",
        caption=f"routes, savings with {NO_INTERVAL}",
    )


def saved(part: PerRouteBreakdown) -> Decimal:
    """What a route saves, USD; negative if it costs more, which its `savings_usd` does not show."""
    return part.baseline_cost_usd - part.projected_cost_usd


def _causes_table(result: PlanResult) -> Table:
    """What each cause saves, in order; no rows if there is only one cause.

    Of a full projection that is against what was paid, of others against the baseline.
    """
    names: dict[str, str] = CAUSES if result.change_by_cause is None else CHANGE_CAUSES
    causes = dict(result.change_by_cause or result.savings_by_cause or ())
    intervals = result.confidence_intervals.change_by_cause_95
    if result.change_by_cause is None:
        intervals = result.confidence_intervals.savings_by_cause_95
    elif result.savings_by_cause is not None:
        hits = dict(result.savings_by_cause)
        causes |= {name: hits[name] for name in _GATEWAY_CACHES}
        intervals = {**result.confidence_intervals.savings_by_cause_95, **intervals}
    shown = [name for name in names if causes.get(name) and abs(causes[name]) >= _LEAST_SHOWN]
    if len([name for name in shown if name not in _GATEWAY_CACHES or names is CAUSES]) < 2:
        return Table(())
    rows: list[tuple[str, ...]] = [(names[name], usd(causes[name])) for name in shown]
    if intervals:
        rows = [
            (*row, usd_interval(intervals.get(name))) for row, name in zip(rows, shown, strict=True)
        ]
    columns = ("", "saves", "95 % interval") if intervals else ()
    against = "against the baseline" if names is CAUSES else "against what was paid"
    return Table.of(rows, *columns, align="lrl", caption=f"saved {against} by, in this order")


def _sweep_table(result: PlanResult) -> Table:
    """The semantic cache at each threshold of the sweep."""
    rows = (
        (
            f"{row.threshold:g}",
            f"{row.projected_l2_hits:,} ({row.projected_l2_hit_rate:.1%})",
            f"{row.also_l1_hits:,}",
            usd(row.saves_usd),
            f"{row.poisoning_candidates:,}",
        )
        for row in result.aggregates.l2_projections
    )
    return Table.of(rows, *_SWEEP, align="rrrrr", caption=f"semantic cache, {NO_INTERVAL}")


def _window(result: PlanResult) -> str:
    start, end = result.window_start, result.window_end
    return (
        f"{result.sample_size:,} requests, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC; "
        "money is USD in that window"
    )


def _method(result: PlanResult) -> str:
    """How the intervals were computed."""
    if result.interval_method == "none":
        return f"no intervals: too few clusters by {result.interval_unit}"
    return (
        f"95 % intervals by method {result.interval_method}, resampling by {result.interval_unit}"
    )


def _failure(run: StoredPlan) -> str:
    reason = run.failure or "no reason was recorded"
    return f"The replay failed: {reason}. The plan has no figures, and can never be applied."


def _cost_basis(run: StoredPlan) -> list[Line]:
    """What the log's costs are made of, and what that changed; nothing if it was not recorded."""
    basis = run.cost_basis
    if basis is None:
        return []
    if not basis.recomputed:
        return [Line("costs", "as recorded")]
    how = "by the doctor" if basis.by_doctor == basis.recomputed else "recomputed"
    total = basis.recorded + basis.recomputed
    changed = f"{usd(basis.recomputed_usd)}, was {usd(basis.was_recorded_usd)}"
    return [Line("costs", f"{basis.recomputed:,} of {total:,} {how}", changed)]


def _price_sources(run: StoredPlan) -> str:
    """Where the prices of the routes' targets come from; empty if it was not recorded."""
    targets = {route.then.target_model for route in run.result.proposed_routes if route.enabled}
    keys_by_source: dict[str, list[str]] = defaultdict(list)
    for key, source in sorted((run.price_sources or {}).items()):
        if key.partition(":")[2] in targets:
            keys_by_source[source.partition(",")[0]].append(key)
    parts = [f"{_first_keys(keys)} from {source}" for source, keys in keys_by_source.items()]
    return f"prices: {'; '.join(parts)}" if parts else ""


def _first_keys(keys: list[str]) -> str:
    more = len(keys) - _MOST_PRICE_KEYS
    return ", ".join(keys[:_MOST_PRICE_KEYS]) + (f" and {more} more" if more > 0 else "")
