"""Requests as they would be, and as they were, in the same figures: cost, hits, latency, and both by kind of request.

A kind is what is known of a request before it is routed: its tag, how long its input is, and its model where the plan has no
part in that. So the kinds of a plan's window and of the time after it can be compared, whatever routes did in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import ibis
import ibis.expr.types as ir

from ttplan.engine.cost import REROUTED
from ttplan.engine.dialects import fetch, money_type
from ttplan.engine.intervals.infer import projected_latency
from ttplan.engine.latency import latency_counts, project_latencies
from ttplan.engine.project import count_left_out, find_semantic_hits, keep, map_requests
from ttplan.engine.replay import answer
from ttplan.engine.replay_spec import Question
from ttplan.engine.rows import SCHEMA
from ttplan.model.plan import Interval, PlanConfig, PlanResult

SIZES = (250, 1_000, 4_000, 16_000, 64_000)
"""Where the classes of input tokens begin, after the first."""
MOST_TAGS = 200
"""A log with more tags tells kinds apart without them: each would have too few requests to have a rate."""
_PERIODS = ("hour", "day")


class Kind(NamedTuple):
    """The requests of one kind: how many, their cost in USD, and how many were answered from a cache."""

    requests: int
    cost: Decimal
    hits: int


class Figures(NamedTuple):
    """Requests in figures. Cost is the total in USD; each interval is None where there are too few clusters for one."""

    requests: int
    cost: Decimal
    cost_95: Interval | None
    hit_rate: float
    hit_rate_95: Interval | None
    p50: float
    p50_95: Interval | None
    p95: float
    p95_95: Interval | None


class Telling(NamedTuple):
    """What tells kinds apart: the models that routes may touch, which count as one, and whether tags do."""

    touched: frozenset[str]
    by_tag: bool


class Projection(NamedTuple):
    """What a plan's routes come to on its window, by kind."""

    figures: Figures
    kinds: Mapping[str, Kind]
    telling: Telling


class Actual(NamedTuple):
    """What happened: the figures of the requests whose kind is known (None where there are none), and all kinds."""

    figures: Figures | None
    kinds: Mapping[str, Kind]


def project(table: ir.Table, question: Question) -> Projection | None:
    """The projection of a plan, which the table's rows are asked for again; None where none of them is in its window."""
    kept, _ = count_left_out(table, question)
    if not kept:
        return None
    sweep = find_semantic_hits(table, question)
    if sweep is None:
        question = replace(
            question, config=question.config.model_copy(update={"l2_threshold": None})
        )
    with map_requests(table, question, sweep) as mapped:
        medians = project_latencies(fetch(latency_counts(mapped)), question.tried).medians
        telling = _telling(mapped, question)
        seen = mapped.mutate(
            cost_usd=mapped.projected_usd,
            cached=mapped.hit if question.projects_hits else mapped.cached,
            latency_ms=projected_latency(mapped, medians, question),
            kind=_kind(mapped, telling),
        )
        return Projection(_figures(seen, question), _kinds(seen), telling)


def observe(
    table: ir.Table, question: Question, telling: Telling, known: Mapping[str, Kind]
) -> Actual:
    """What happened to the rows of the question's window; the figures are of those whose kind is one of `known`."""
    count_left_out(table, question)
    rows = keep(table, question)
    seen = rows.mutate(kind=_kind(rows, telling))
    kinds = _kinds(seen)
    if not kinds.keys() & known.keys():
        return Actual(None, kinds)
    return Actual(
        _figures(seen.filter(seen.kind.isin(sorted(kinds.keys() & known.keys()))), question), kinds
    )


def _telling(mapped: ir.Table, question: Question) -> Telling:
    moved = fetch(
        mapped.group_by("model").aggregate(
            moved=(mapped.outcome >= REROUTED).sum(), rows=mapped.count()
        )
    ).to_pylist()
    tags = fetch(mapped.aggregate(tags=mapped.tag.nunique())).to_pylist()[0]["tags"]
    routes = question.tried
    named = {
        model
        for route in routes
        for model in (route.then.target_model, *route.then.fallbacks, *route.when.model_in)
    }
    return Telling(
        frozenset({row["model"] for row in moved if row["moved"]} | named),
        int(tags or 0) <= MOST_TAGS,
    )


def _kind(rows: ir.Table, telling: Telling) -> ir.StringValue:
    """The kind of each row as text: model, class of input tokens, and tag, which comes last since it may hold anything."""
    size = ibis.cases(
        *((rows.input_tokens < bound, str(i)) for i, bound in enumerate(SIZES)),
        else_=str(len(SIZES)),
    )
    model = (
        rows.model.isin(sorted(telling.touched)).ifelse("", rows.model)
        if telling.touched
        else rows.model
    )
    kind = model + "\n" + size
    return (
        kind + rows.tag.isnull().ifelse("", "\n" + rows.tag.fill_null(""))
        if telling.by_tag
        else kind
    )


def _kinds(seen: ir.Table) -> dict[str, Kind]:
    sums = seen.group_by("kind").aggregate(
        requests=seen.count(), cost=seen.cost_usd.sum(), hits=seen.cached.sum()
    )
    return {
        row["kind"]: Kind(int(row["requests"]), Decimal(row["cost"]), int(row["hits"] or 0))
        for row in sorted(fetch(sums).to_pylist(), key=lambda row: row["kind"])
    }


def _figures(seen: ir.Table, question: Question) -> Figures:
    """The figures of rows as they are, by the engine's own methods: a replay without routes.

    Its interval is of baseline minus cost; with a baseline of twice the cost that is the cost's own.
    """
    cluster = question.config.cluster
    money = money_type(seen.get_backend())
    columns = {name: seen[name] for name in SCHEMA.names if name in seen.columns}
    if cluster is not None and cluster not in _PERIODS:
        columns[cluster] = seen[cluster] if cluster in seen.columns else seen.cluster
    rows = seen.select(**columns).mutate(
        baseline_cost_usd=(seen.cost_usd + seen.cost_usd).cast(money)
    )
    asked = replace(question, routes=(), pricing={}, config=PlanConfig(cluster=cluster))
    return _read(answer(rows, asked))


def _read(result: PlanResult) -> Figures:
    found, ends = result.aggregates, result.confidence_intervals
    return Figures(
        requests=result.sample_size,
        cost=found.total_actual_cost_usd,
        cost_95=ends.projected_change_usd_95,
        hit_rate=found.cache_hit_rate_projected,
        hit_rate_95=ends.cache_hit_rate_95,
        p50=found.p50_latency_ms_projected,
        p50_95=ends.p50_latency_ms_95,
        p95=found.p95_latency_ms_projected,
        p95_95=ends.p95_latency_ms_95,
    )
