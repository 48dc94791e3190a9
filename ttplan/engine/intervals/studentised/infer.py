"""Infer by method `hall`: choose the unit, and make the intervals of every figure by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from math import hypot, sqrt
from statistics import NormalDist
from types import MappingProxyType
from typing import NamedTuple

import ibis.expr.types as ir
import numpy as np

from ttplan.engine.cost import NO_ROUTE, REROUTED
from ttplan.engine.dialects import fetch_from
from ttplan.engine.full.money import amount, amount_sum
from ttplan.engine.intervals import edgeworth
from ttplan.engine.intervals.clusters import with_minute
from ttplan.engine.intervals.infer import (
    LEAST_EFFECTIVE,
    Findings,
    Inferred,
    money_intervals,
    widen,
)
from ttplan.engine.intervals.moments import UPPER
from ttplan.engine.intervals.studentised import hall
from ttplan.engine.intervals.studentised.choose import Choice, candidates, choose_unit, variances
from ttplan.engine.intervals.studentised.hall import ORDERS, Spread, central_sums, effective_number
from ttplan.engine.intervals.studentised.parts import (
    cause_intervals,
    change_intervals,
    part_sums,
    route_intervals,
)
from ttplan.engine.intervals.studentised.per_month import project_month
from ttplan.engine.intervals.studentised.units import (
    Grouped,
    Span,
    UnitSums,
    read_grouped,
    sum_units,
)
from ttplan.engine.intervals.studentised.weeks import check_weeks
from ttplan.engine.latency import cumulate, percentile
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import PERIODS
from ttplan.engine.summary import PICO, Summary
from ttplan.model.plan import ConfidenceIntervals, Interval

_WITH_S = [order for order in [(1, 0), *ORDERS] if order[0]]
_ZEROS = (0.0, 0.0)
_QUANTILES = {"p50": 0.50, "p95": 0.95}
Latencies = Callable[[], AbstractContextManager[ir.Table]]
"""The mapped rows with a column `projected_latency_ms`."""


def infer_hall(
    summary: Summary,
    mapped: ir.Table,
    spec: ReplaySpec,
    session: str | None,
    latencies: Latencies,
    standard_error: float = 0.0,
    at_plan_prices: float | None = None,
    cause_errors: Mapping[str, float] = MappingProxyType({}),
) -> Inferred:
    """95 % intervals by method `hall`, of a summary with requests.

    `session` names what the column `cluster` is of. `standard_error` (USD) is that of assumptions,
    `cause_errors` theirs by cause, `at_plan_prices` (USD) the change at the prices of the plan's
    moment.
    """
    by_minute, by_cluster, span, units = read_units(mapped, spec, session)
    fixed = next((unit for unit in units if unit.name == spec.cluster), None)
    requests = _spreads_of_requests(summary, spec)
    choice = (
        choose_unit(variances(*requests), units, fixed)
        if spec.is_auto or fixed is not None
        else Choice(None, 1.0, None)
    )
    unit = choice.unit
    described = None if unit is None else unit.describe(choice.design_effect)
    if described is not None and described.effective < LEAST_EFFECTIVE and not spec.is_auto:
        return Inferred(ConfidenceIntervals(), "none", clusters=described, unit=choice.name)
    share, change, hits = requests if unit is None else unit.spreads
    may_carry = _may_carry(summary, spec)
    intervals = ConfidenceIntervals(
        **_money(share, change, may_carry),
        total_projected_cost_usd_95=_projected_cost(share, summary, standard_error),
        cache_hit_rate_95=_hit_rate(hits, summary.total.requests if unit is None else None, spec),
        **_latency_intervals(summary, unit, latencies),
    )
    if standard_error:
        intervals = widen(intervals, summary.total, standard_error)
    grouped = by_minute if by_cluster is None or unit is None or unit.seconds else by_cluster
    minutes, days = units[-len(PERIODS)], units[-1]
    part_unit, conditional = unit or minutes, unit is None
    causes: dict[str, dict[str, Interval | None]] = {}
    if spec.is_full:
        causes = {
            "savings_by_cause_95": cause_intervals(grouped, part_unit, conditional),
            "change_by_cause_95": change_intervals(grouped, part_unit, conditional, cause_errors),
        }
    return Inferred(
        intervals.model_copy(update=causes),
        "hall",
        clusters=described,
        unit=choice.name,
        per_month=project_month(
            _compound(summary), units, days, span, standard_error, at_plan_prices
        ),
        route_95=route_intervals(grouped, part_unit, conditional),
        findings=Findings(
            carriers=summary.carriers if unit is None else unit.carriers,
            effective_carriers=change.carriers,
            units=summary.total.requests if unit is None else len(unit),
            may_carry=may_carry,
            scarce=choice.scarce,
            weeks=check_weeks(days, span, share),
        ),
    )


class WindowUnits(NamedTuple):
    """The sums of a window by minute and by cluster (None if it has none), its span, and the units
    that can be resampled besides the request, the finest first."""

    by_minute: Grouped
    by_cluster: Grouped | None
    span: Span
    units: list[UnitSums]


def read_units(mapped: ir.Table, spec: ReplaySpec, session: str | None) -> WindowUnits:
    """The units of mapped rows; `session` names what the column `cluster` is of."""
    hit = "hit" if spec.counts_hits else "cached"
    by_minute = read_grouped(fetch_from(mapped, _by_minute, hit))
    span = by_minute.span((spec.window_start, spec.window_end))
    by_cluster, clusters = None, None
    if "cluster" in mapped.columns and spec.cluster not in PERIODS:
        by_cluster = read_grouped(fetch_from(mapped, _by_cluster, hit))
        clusters = sum_units(by_cluster, spec.cluster or session or "session", 0, span)
    return WindowUnits(by_minute, by_cluster, span, candidates(clusters, by_minute, span))


def _by_minute(mapped: ir.Table, hit: str) -> ir.Table:
    return _grouped(with_minute(mapped), "minute", hit)


def _by_cluster(mapped: ir.Table, hit: str) -> ir.Table:
    return _grouped(mapped, "cluster", hit)


def _grouped(mapped: ir.Table, key: str, hit: str) -> ir.Table:
    routed = (mapped.outcome >= REROUTED).ifelse(mapped.route.cast("int64"), NO_ROUTE)
    backend, projected = mapped.get_backend(), amount(mapped, "projected_usd")
    rows = mapped.mutate(
        route=routed,
        saved=amount(mapped, "baseline_cost_usd") - projected,
        saved_of_actual=amount(mapped, "cost_usd") - projected,
    )
    return rows.group_by(key, "route").aggregate(
        requests=rows.count(),
        hits=rows[hit].sum(),
        change=amount_sum(rows.saved, backend),
        baseline=amount_sum(amount(rows, "baseline_cost_usd"), backend),
        actual_change=amount_sum(rows.saved_of_actual, backend),
        **part_sums(rows),
    )


def _spreads_of_requests(summary: Summary, spec: ReplaySpec) -> tuple[Spread, Spread, Spread]:
    """As `UnitSums.spreads`, of requests."""
    total, n = summary.total, summary.total.requests
    hits = total.projected_hits if spec.counts_hits else total.recorded_hits
    change = total.baseline - total.projected
    money, actual = summary.powers, summary.actual_powers
    step, actual_step = (step / PICO for step in summary.grid)
    ones = {(0, k): n for k in (1, 2, 3)}
    of_change = {(j, k): actual[j] for j, k in _WITH_S} | ones
    of_hits = dict.fromkeys(_WITH_S, hits) | ones

    return (
        Spread(
            n,
            n - 1,
            change / PICO,
            total.baseline / PICO,
            central_sums([money], [n], (step, step)),
            effective_number(summary.sizes[0], money[(2, 0)]),
        ),
        Spread(
            n,
            n - 1,
            (total.actual - total.projected) / PICO,
            n,
            central_sums([of_change], [n], (actual_step, 1.0)),
            effective_number(summary.sizes[1], actual[2]),
        ),
        Spread(n, n - 1, hits, n, central_sums([of_hits], [n], (1.0, 1.0)), hits),
    )


def _compound(summary: Summary) -> Spread:
    """How the sum of changes varies if the number of requests is that of a Poisson process."""
    total, powers = summary.total, summary.actual_powers
    step = summary.grid.actual_step / PICO
    moments = dict.fromkeys(ORDERS, 0.0) | {(j, 0): powers[j] * step**j for j in (2, 3)}
    change = (total.actual - total.projected) / PICO
    carriers = effective_number(summary.sizes[1], powers[2])
    return Spread(total.requests, total.requests - 1, change, total.requests, moments, carriers)


def _money(share: Spread, change: Spread, may_carry: bool) -> dict[str, Interval | None]:
    """The intervals of money. None if no unit carries savings by chance, not since the plan has
    nothing that could save."""
    exact = None if may_carry else _ZEROS
    if share.units < 2:  # one alone does not show how far it may vary
        return money_intervals(exact, exact, exact)
    usd = hall.total_interval(share) if share.carriers else exact
    ratio = hall.ratio_interval(share) if share.carriers else exact
    actual = hall.total_interval(change) if change.carriers else exact
    return money_intervals(usd, ratio, actual)


def _projected_cost(share: Spread, summary: Summary, standard_error: float) -> Interval:
    """The interval of the projected cost, the baseline less its change."""
    cost = summary.total.projected / PICO
    low, high = (share.s - end for end in reversed(hall.total_interval(share, 1.0)))
    half = NormalDist().inv_cdf(UPPER) * standard_error
    return max(cost - hypot(low, half), 0.0), cost + hypot(high, half)


def _may_carry(summary: Summary, spec: ReplaySpec) -> bool:
    """Whether a plan can change the cost of a request: not if many went to a target where each
    costs the same."""
    moved = sum(c.requests for (_, outcome), c in summary.cells.items() if outcome == REROUTED)
    return moved < hall.FEW_CARRIERS and (bool(spec.active_routes) or spec.projects_hits)


def _hit_rate(hits: Spread, requests: int | None, spec: ReplaySpec) -> Interval | None:
    """The interval of the share of hits; of `requests`, or of other units if None."""
    if not hits.s and not spec.projects_hits:
        return _ZEROS
    if requests is not None or not hits.s:
        return _wilson(hits.ratio, requests or hits.units)
    interval = hall.ratio_interval(hits)
    return None if interval is None else (max(interval[0], 0.0), min(interval[1], 1.0))


def _wilson(share: float, n: int) -> Interval:
    """E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927)."""
    z = NormalDist().inv_cdf(UPPER)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _latency_intervals(
    summary: Summary, unit: UnitSums | None, latencies: Latencies
) -> dict[str, Interval]:
    """The intervals of latency percentiles: exact by request, else those of R. S. Woodruff,
    Confidence Intervals for Medians and Other Position Measures (1952)."""
    counts = summary.latency
    if unit is None or not counts:
        return {
            f"{name}_latency_ms_95": edgeworth.percentile_interval(counts, q)
            for name, q in _QUANTILES.items()
        }
    numbers = tuple(int(percentile(counts, q)) for q in _QUANTILES.values())
    key = "minute" if unit.seconds else "cluster"
    with latencies() as rows:
        grouped = read_grouped(fetch_from(rows, _timed, key, numbers=numbers))
    timed = unit.with_sums(grouped, **grouped.columns)
    values, cumulated = cumulate(counts)
    intervals = {}
    for name, q in _QUANTILES.items():
        spread = timed.spread(f"at_{name}", "timed")
        error = sqrt(spread.variance(spread.ratio)) / spread.b
        ranks = [
            (q + side * hall.student(UPPER, spread.t_degrees) * error) * spread.b
            for side in (-1, 1)
        ]
        at = np.clip(np.searchsorted(cumulated, ranks, side="left"), 0, len(values) - 1)
        intervals[f"{name}_latency_ms_95"] = (float(values[at[0]]), float(values[at[1]]))
    return intervals


def _timed(rows: ir.Table, key: str, *latencies: int) -> ir.Table:
    """Requests with a latency, and those up to each of `latencies`, by unit."""
    known = rows.filter(rows.projected_latency_ms.notnull())
    if key == "minute":
        known = with_minute(known)
    at_most = {
        f"at_{name}": (known.projected_latency_ms <= latency).sum()
        for name, latency in zip(_QUANTILES, latencies, strict=True)
    }
    return known.group_by(key).aggregate(timed=known.count(), **at_most)
