"""Projected and observed requests in the same figures: cost, hits and latency, in total and by kind
of request.

The kind of a request is what is known before it is routed: its tag, the size of its input, and its
model unless the plan's routes touch that model. So kinds of a plan's window and of the time after
it can be compared, whatever the routes did in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from decimal import Decimal
from typing import NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from ttplan.engine.cost import REROUTED
from ttplan.engine.dialects import Amounts, fetch, fetch_from, money_type
from ttplan.engine.full.latency import project_full_latency, with_projected_latency
from ttplan.engine.intervals import bootstrap, clusters
from ttplan.engine.intervals.clusters import ClusterSums, fetch_clusters
from ttplan.engine.intervals.infer import LEAST_EFFECTIVE
from ttplan.engine.intervals.values import projected_latency, routed_medians
from ttplan.engine.latency import latency_counts, percentile, project_latencies
from ttplan.engine.project import map_window
from ttplan.engine.reconcile.sums import WindowTables, live_table, window_tables
from ttplan.engine.reconcile.unit import Unit, unit_key, unit_of, with_auto_unit
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import count_window, select_window
from ttplan.engine.summary import usd
from ttplan.model.plan import Interval

SIZES = (250, 1_000, 4_000, 16_000, 64_000)
"""Where the classes of input tokens begin, after the first."""
RESAMPLES = 10_000
"""How many resamples make an interval that the expansion has none of."""
_LARGEST = 2**62
MOST_TAGS = 200
"""With more tags, kinds do not distinguish them: each would have too few requests for a rate."""


class KindTotals(NamedTuple):
    """The requests of one kind: how many, their cost in USD, and how many a cache answered."""

    requests: int
    cost: Decimal
    hits: int


class Figures(NamedTuple):
    """The figures of some requests. Cost is the total in USD, and `mean_95` the interval of the
    cost of one; an interval is None if there are too few units."""

    requests: int
    cost: Decimal
    cost_95: Interval | None
    mean_95: Interval | None
    hit_rate: float
    hit_rate_95: Interval | None
    p50: float
    p50_95: Interval | None
    p95: float
    p95_95: Interval | None


class KindRule(NamedTuple):
    """What distinguishes kinds: the models that routes may touch count as one, and tags may count
    or not."""

    routed_models: frozenset[str]
    by_tag: bool


class Projection(NamedTuple):
    """The projected figures of a plan on its window, in total, by kind, and by unit."""

    unit: Unit
    figures: Figures
    kinds: Mapping[str, KindTotals]
    rule: KindRule
    sums: WindowTables


class Actual(NamedTuple):
    """The observed figures of the requests of known kinds (None if there are none), all kinds, and
    sums by unit."""

    figures: Figures | None
    kinds: Mapping[str, KindTotals]
    sums: pa.Table


def project_figures(table: ir.Table, spec: ReplaySpec, *, marked: bool) -> Projection | None:
    """The projection of a plan, computed from the table's rows; None if its window is empty.

    `marked`: the log of what came says which
    requests the plan's routes took.
    """
    logged, spec = table, with_auto_unit(spec)
    with map_window(table, spec) as window, ExitStack() as stack:
        if not window.total:
            return None
        unit, spec = unit_of(window.rows, window.spec, window.session), window.spec
        mapped = window.rows.mutate(cluster=unit_key(window.rows, unit))
        rule = _kind_rule(mapped, spec)
        logged = select_window(logged, spec)
        logged = logged.mutate(cluster=unit_key(logged, unit))
        sums = window_tables(
            mapped.mutate(kind=_kind(mapped, rule)),
            logged,
            _kind(logged, rule),
            spec,
            marked=marked,
        )
        medians: dict[str, int] = {}
        if window.full is None:
            counts = fetch_from(mapped, latency_counts)
            medians = project_latencies(counts, spec.active_routes).medians
        else:
            curves = project_full_latency(mapped).curves
            mapped = stack.enter_context(with_projected_latency(mapped, curves))
        projected = mapped.mutate(
            cost_usd=mapped.projected_usd,
            cached=mapped.hit if spec.counts_hits else mapped.cached,
            latency_ms=projected_latency(mapped, routed_medians(medians, spec)),
            kind=_kind(mapped, rule),
        )
        return Projection(unit, _figures(projected, spec), _kinds(projected), rule, sums)


def observe_figures(
    table: ir.Table, spec: ReplaySpec, projection: Projection, *, marked: bool
) -> Actual:
    """What happened to the rows of the spec's window; the figures are of those whose kind the
    projection has."""
    count_window(table, spec)
    rows = select_window(table, spec)
    rows = rows.mutate(kind=_kind(rows, projection.rule), cluster=unit_key(rows, projection.unit))
    kinds = _kinds(rows)
    shared = sorted(kinds.keys() & projection.kinds.keys())
    figures = _figures(rows.filter(rows.kind.isin(shared)), spec) if shared else None
    return Actual(figures, kinds, live_table(rows, rows.kind, spec, marked=marked))


def _kind_rule(mapped: ir.Table, spec: ReplaySpec) -> KindRule:
    moved = fetch(
        mapped.group_by("model").aggregate(
            moved=(mapped.outcome >= REROUTED).sum(), rows=mapped.count()
        )
    ).to_pylist()
    tags = fetch(mapped.aggregate(tags=mapped.tag.nunique())).to_pylist()[0]["tags"]
    named = {
        model
        for route in spec.active_routes
        for model in (route.then.target_model, *route.then.fallbacks, *route.when.model_in)
    }
    return KindRule(
        frozenset({row["model"] for row in moved if row["moved"]} | named),
        int(tags or 0) <= MOST_TAGS,
    )


def _kind(rows: ir.Table, rule: KindRule) -> ir.StringValue:
    """The kind of each row as text: model, class of input tokens and tag. The tag is last: it may
    be any text."""
    size = ibis.cases(
        *((rows.input_tokens < bound, str(i)) for i, bound in enumerate(SIZES)),
        else_=str(len(SIZES)),
    )
    model = (
        rows.model.isin(sorted(rule.routed_models)).ifelse("", rows.model)
        if rule.routed_models
        else rows.model
    )
    kind = model + "\n" + size
    return (
        kind + rows.tag.isnull().ifelse("", "\n" + rows.tag.fill_null("")) if rule.by_tag else kind
    )


def _kinds(rows: ir.Table) -> dict[str, KindTotals]:
    sums = rows.group_by("kind").aggregate(
        requests=rows.count(), cost=rows.cost_usd.sum(), hits=rows.cached.sum()
    )
    return {
        row["kind"]: KindTotals(int(row["requests"]), Decimal(row["cost"]), int(row["hits"] or 0))
        for row in sorted(fetch(sums).to_pylist(), key=lambda row: row["kind"])
    }


def _figures(rows: ir.Table, spec: ReplaySpec) -> Figures:
    """The figures of rows as they are, with intervals by their unit."""
    nothing = ibis.literal(Decimal(0), money_type(rows.get_backend()))
    costs = rows.select(
        "cost_usd",
        "cluster",
        baseline_cost_usd=rows.cost_usd,
        projected_usd=nothing,
        hit=rows.cached,
        latency=rows.latency_ms,
    )
    sums = fetch_clusters(costs, costs.hit, costs.latency)
    requests = int(sums.requests.sum())
    counts: Counter[int] = Counter()
    for value, count in zip(sums.latency_value.tolist(), sums.latency_count.tolist(), strict=True):
        counts[value] += count
    effective = clusters.describe(len(sums), sums.baseline, sums.requests).effective
    told = effective >= LEAST_EFFECTIVE
    return Figures(
        requests=requests,
        cost=usd(int(sums.difference.sum())),
        cost_95=clusters.total_interval(sums.difference) if told else None,
        mean_95=_mean_interval(sums) if told else None,
        hit_rate=int(sums.hits.sum()) / requests,
        hit_rate_95=_hit_interval(sums, spec) if told else None,
        p50=percentile(counts, 0.50),
        p50_95=_percentile_interval(sums, 0.50, spec) if told else None,
        p95=percentile(counts, 0.95),
        p95_95=_percentile_interval(sums, 0.95, spec) if told else None,
    )


def _mean_interval(sums: ClusterSums) -> Interval | None:
    """The interval of the cost of a request, USD: a ratio of sums of units."""
    mean = max(1, int(sums.difference.sum()) // int(sums.requests.sum()))
    # On the scale of the costs, so that one grid serves both.
    weights: Amounts = sums.requests.astype(np.object_) * mean
    if max(weights) < _LARGEST:
        weights = weights.astype(np.int64)
    ends = clusters.ratio_interval(sums.difference, weights)
    scale = float(usd(mean))
    return None if ends is None else (ends[0] * scale, ends[1] * scale)


def _hit_interval(sums: ClusterSums, spec: ReplaySpec) -> Interval:
    ends = clusters.ratio_interval(sums.hits, sums.requests)
    if ends is not None:
        return ends
    return bootstrap.ratio_interval(sums.hits, sums.requests, spec.seed, RESAMPLES)


def _percentile_interval(sums: ClusterSums, q: float, spec: ReplaySpec) -> Interval:
    ends = clusters.percentile_interval(sums, q)
    if ends is not None:
        return ends
    return clusters.resampled_percentile(sums, q, spec.seed, RESAMPLES)
