"""A plan's requests by route, tag, model or day: exact sums that add up to the plan's, and their
intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np

from ttplan.engine.cost import NO_ROUTE, REROUTED
from ttplan.engine.dialects import Amounts, exact_sum, fetch, fetch_from
from ttplan.engine.full.latency import project_full_latency
from ttplan.engine.intervals import clusters, edgeworth
from ttplan.engine.intervals.clusters import period_start, with_minute
from ttplan.engine.intervals.infer import FEW
from ttplan.engine.intervals.studentised.hall import ORDERS, Spread, central_sums, total_interval
from ttplan.engine.intervals.studentised.parts import part_interval
from ttplan.engine.intervals.studentised.units import read_grouped, sum_units
from ttplan.engine.latency import latency_counts, project_latencies
from ttplan.engine.project import map_window
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import PERIODS
from ttplan.engine.summary import PICO, grid_for, largest_amounts, on_grid, pico
from ttplan.model.plan import Interval

Key = tuple[str | datetime | None, ...]
IntervalPair = tuple[Interval | None, Interval | None]
"""The intervals of baseline minus projected and of actual minus projected."""


class BreakdownRow(NamedTuple):
    """Requests with one key. Amounts are USD; the intervals are those of baseline minus projected
    and of actual minus projected, or None."""

    key: Key
    requests: int
    baseline: Decimal
    actual: Decimal
    projected: Decimal
    change_95: Interval | None = None
    actual_change_95: Interval | None = None


def break_down_plan(
    table: ir.Table, spec: ReplaySpec, by: Sequence[str], *, intervals: bool
) -> list[BreakdownRow]:
    """The actual and projected costs of a plan's requests, grouped by `by` (names of `DIMENSIONS`).

    The route is None if no route takes the request, the tag if it has none; a day is its start in
    UTC. An interval is that of the group's share in the whole window, resampled as the plan is. By
    other methods than `hall` it needs 200 requests (or clusters) in the group, and a cost that is
    not carried by a few of them.
    """
    with map_window(table, spec) as window:
        if not window.total:
            return []
        grouped = window.rows.mutate(
            **{f"by_{name}": DIMENSIONS[name](window.rows, window.spec) for name in by}
        )
        sums = _sums(grouped, by)
        interval_of: Callable[[Key], IntervalPair]
        if not intervals:
            interval_of = lambda key: (None, None)  # noqa: E731
        elif window.spec.cluster is None:
            interval_of = _request_intervals(grouped, by, window.total, window.spec)
        elif window.spec.studentises:
            interval_of = _studentised_intervals(grouped, by, window.spec)
        else:
            interval_of = _cluster_intervals(grouped, by)
    return [
        BreakdownRow(
            _read_key(key, by, window.spec),
            int(row["requests"]),
            row["baseline"],
            row["actual"],
            row["projected"],
            *interval_of(key),
        )
        for key, row in sums.items()
    ]


def latency_histograms(table: ir.Table, spec: ReplaySpec) -> tuple[dict[int, int], dict[int, int]]:
    """Requests by latency (ms), recorded and projected; requests without a latency are in
    neither."""
    with map_window(table, spec) as window:
        if not window.total:
            return {}, {}
        if window.full is not None:
            full = project_full_latency(window.rows)
            return full.recorded, full.counts
        latencies = project_latencies(fetch_from(window.rows, latency_counts), spec.active_routes)
    return latencies.recorded, latencies.counts


def _sums(grouped: ir.Table, by: Sequence[str]) -> dict[Key, dict[str, Any]]:
    sums = grouped.group_by(*_columns(by)).aggregate(
        requests=grouped.count(),
        baseline=grouped.baseline_cost_usd.sum(),
        actual=grouped.cost_usd.sum(),
        projected=grouped.projected_usd.sum(),
    )
    return {_key(row, by): row for row in fetch(sums).to_pylist()}


def _studentised_intervals(
    grouped: ir.Table, by: Sequence[str], spec: ReplaySpec
) -> Callable[[Key], IntervalPair]:
    """Intervals by method `hall`, by the plan's cluster; a group has a share of each."""
    name = spec.cluster or ""
    key = "minute" if name in PERIODS else "cluster"
    rows = with_minute(grouped)
    table = fetch(
        rows.group_by(*_columns(by), key).aggregate(
            requests=rows.count(),
            change=(rows.baseline_cost_usd - rows.projected_usd).sum(),
            actual_change=(rows.cost_usd - rows.projected_usd).sum(),
        )
    )
    sums = read_grouped(table.select([key, "requests", "change", "actual_change"]))
    span = sums.span((spec.window_start, spec.window_end))
    unit = sum_units(sums, name, PERIODS.get(name, 0), span)
    own: dict[Key, list[int]] = defaultdict(list)
    for at, row in enumerate(table.select(_columns(by)).to_pylist()):
        own[_key(row, by)].append(at)

    def interval_of(key: Key) -> IntervalPair:
        part = sums.rows(own[key])
        change, actual = (
            part_interval(part, unit, part.columns[column], conditional=False)
            for column in ("change", "actual_change")
        )
        return change, actual

    return interval_of


def _request_intervals(
    grouped: ir.Table, by: Sequence[str], count: int, spec: ReplaySpec
) -> Callable[[Key], IntervalPair]:
    """Intervals by resampling requests: of all `count`, to which those outside of a group add
    nothing."""
    step, actual_step = grid_for(fetch(grouped.aggregate(**largest_amounts(grouped))))
    table = on_grid(
        grouped,
        s=(grouped.baseline_cost_usd - grouped.projected_usd, step),
        b=(grouped.baseline_cost_usd, step),
        a=(grouped.cost_usd - grouped.projected_usd, actual_step),
    )
    table = table.mutate(ss=table.s * table.s, aa=table.a * table.a)
    wide = table.mutate(wss=table.ss.cast("decimal(19, 0)"), waa=table.aa.cast("decimal(19, 0)"))
    backend = grouped.get_backend()
    powers = {
        "s": (wide.s, wide.ss, wide.ss * wide.s, wide.wss * wide.wss),
        "a": (wide.a, wide.aa, wide.aa * wide.a, wide.waa * wide.waa),
        "b": (wide.b, wide.b * wide.b),
    }
    sums = wide.group_by(*_columns(by)).aggregate(
        requests=wide.count(),
        change=(wide.baseline_cost_usd - wide.projected_usd).sum(),
        actual_change=(wide.cost_usd - wide.projected_usd).sum(),
        size_s=exact_sum(wide.s.abs(), backend),
        size_a=exact_sum(wide.a.abs(), backend),
        **{
            f"{name}{j}": exact_sum(power, backend)
            for name, orders in powers.items()
            for j, power in enumerate(orders, 1)
        },
    )
    rows = {_key(row, by): row for row in fetch(sums).to_pylist()}

    def interval_of(key: Key) -> IntervalPair:
        row = rows[key]
        n = int(row["requests"])
        baseline = {(0, 1): int(row["b1"]), (0, 2): int(row["b2"])}
        error = edgeworth.relative_error(baseline, n)
        if spec.studentises:
            change = _studentised(row, "s", step, row["change"], count)
            return change, _studentised(row, "a", actual_step, row["actual_change"], count)
        if n < FEW or error > edgeworth.UNTRUSTED_ERROR:
            return None, None

        def interval(name: str, grid_step: int, change: str) -> Interval:
            sums = {j: int(row[f"{name}{j}"]) for j in range(1, 5)}
            return edgeworth.total_interval(sums, grid_step, pico(row[change]), count)

        return interval("s", step, "change"), interval("a", actual_step, "actual_change")

    return interval_of


def _studentised(
    row: Mapping[str, Any], name: str, step: int, total: Decimal, count: int
) -> Interval | None:
    """The interval by method `hall` of a total, from sums of powers; None if no request has any."""
    powers = {(j, 0): int(row[f"{name}{j}"]) for j in (1, 2, 3)}
    if not powers[(2, 0)]:
        return None
    zeros = dict.fromkeys([(0, 1), *ORDERS], 0)
    moments = central_sums([zeros | powers], [count], (step / PICO, 1.0))
    carriers = int(row[f"size_{name}"]) ** 2 / powers[(2, 0)]
    return total_interval(Spread(count, count - 1, float(total), 0.0, moments, carriers))


def _cluster_intervals(grouped: ir.Table, by: Sequence[str]) -> Callable[[Key], IntervalPair]:
    """Intervals by resampling clusters; a group has a share of each."""
    total = fetch(grouped.select("cluster").distinct()).num_rows
    sums = grouped.group_by(*_columns(by), "cluster").aggregate(
        baseline=grouped.baseline_cost_usd.sum(),
        change=(grouped.baseline_cost_usd - grouped.projected_usd).sum(),
        actual_change=(grouped.cost_usd - grouped.projected_usd).sum(),
    )
    rows: Mapping[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in fetch(sums).to_pylist():
        rows[_key(row, by)].append(row)

    def interval_of(key: Key) -> IntervalPair:
        own = rows[key]
        if len(own) < FEW:
            return None, None
        error = clusters.relative_error(_padded(own, "baseline", len(own)))
        if error > edgeworth.UNTRUSTED_ERROR:
            return None, None
        change, actual = (
            clusters.total_interval(_padded(own, name, total))
            for name in ("change", "actual_change")
        )
        return change, actual

    return interval_of


def _padded(rows: Sequence[Mapping[str, Any]], name: str, total: int) -> Amounts:
    """A column in 10^-12 USD, in ascending order, with 0 for the clusters without a row."""
    amounts = sorted([*(pico(row[name]) for row in rows), *([0] * (total - len(rows)))])
    small = not amounts or max(abs(amounts[0]), abs(amounts[-1])) < 2**62
    return np.array(amounts, dtype=np.int64) if small else np.array(amounts, dtype=np.object_)


def _columns(by: Sequence[str]) -> list[str]:
    return [f"by_{name}" for name in by]


def _key(row: Mapping[str, Any], by: Sequence[str]) -> Key:
    return tuple(row[f"by_{name}"] for name in by)


def _read_key(key: Key, by: Sequence[str], spec: ReplaySpec) -> Key:
    def read(name: str, value: Any) -> Any:
        if name == "route":
            return None if value == NO_ROUTE else spec.active_routes[value].name
        return datetime.fromtimestamp(value, UTC) if name == "day" else value

    return tuple(read(name, value) for name, value in zip(by, key, strict=True))


def _by_route(mapped: ir.Table, _spec: ReplaySpec) -> ir.IntegerValue:
    """The route that takes a request and has a price for it, as in a result's rows by route."""
    return (mapped.outcome >= REROUTED).ifelse(
        mapped.route.cast("int64"), ibis.literal(NO_ROUTE, "int64")
    )


def _by_target(mapped: ir.Table, spec: ReplaySpec) -> ir.StringValue:
    """The model that a request goes to: its route's target, or its own."""
    branches = [
        (mapped.moved & (mapped.route == i), ibis.literal(r.then.target_model))
        for i, r in enumerate(spec.active_routes)
    ]
    return ibis.cases(*branches, else_=mapped.model) if branches else mapped.model


DIMENSIONS: dict[str, Callable[[ir.Table, ReplaySpec], ir.Value]] = {
    "route": _by_route,
    "tag": lambda mapped, _: mapped.tag,
    "model": lambda mapped, _: mapped.model,
    "target_model": _by_target,
    "day": lambda mapped, _: period_start(mapped.ts, PERIODS["day"]),
}
"""The columns that a breakdown can group by."""
