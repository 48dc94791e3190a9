"""A plan's requests in parts, by route, tag, model or day: exact sums that add up to the plan's own, and their intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np

from ttplan.engine.arrays import Amounts
from ttplan.engine.cost import REROUTED
from ttplan.engine.dialects import exact_sum, fetch
from ttplan.engine.intervals import clusters as of_clusters
from ttplan.engine.intervals import edgeworth
from ttplan.engine.intervals.clusters import period_start
from ttplan.engine.intervals.infer import FEW
from ttplan.engine.latency import latency_counts, project_latencies
from ttplan.engine.project import count_left_out, find_semantic_hits, map_requests
from ttplan.engine.replay_spec import Question
from ttplan.engine.routing import NO_ROUTE
from ttplan.engine.summary import extent, on_grid, pico, spanning
from ttplan.model.plan import Interval

Key = tuple[str | datetime | None, ...]
_DAY = 86_400


class Part(NamedTuple):
    """Requests that are alike in what was asked for. Amounts are USD; intervals are those of baseline minus projected and of
    actual minus projected, None where there is none."""

    key: Key
    requests: int
    baseline: Decimal
    actual: Decimal
    projected: Decimal
    change_95: Interval | None = None
    actual_change_95: Interval | None = None


def parts_of(
    table: ir.Table, question: Question, by: Sequence[str], *, intervals: bool
) -> list[Part]:
    """What a plan's requests cost and would cost, in parts that are alike in each of `by` (names of `DIMENSIONS`).

    A route is None where none takes the request, a tag where it has none; a day is its beginning in UTC. An interval is that of
    the part's share in the whole window, resampled as the plan was. It needs 200 requests, or clusters of them, in the part, and
    no few of them that carry its cost.
    """
    kept, _ = count_left_out(table, question)
    if not kept:
        return []
    sweep = find_semantic_hits(table, question)
    if sweep is None:
        question = replace(
            question, config=question.config.model_copy(update={"l2_threshold": None})
        )
    with map_requests(table, question, sweep) as mapped:
        named = mapped.mutate(**{f"by_{name}": DIMENSIONS[name](mapped, question) for name in by})
        found = _sums(named, by)
        ends = (
            _no_ends
            if not intervals
            else _of_requests(named, by, kept)
            if not _clustered(question)
            else _of_clusters(named, by)
        )
    return [
        Part(
            _read(key, by, question),
            int(row["requests"]),
            row["baseline"],
            row["actual"],
            row["projected"],
            *ends(key),
        )
        for key, row in found.items()
    ]


def latencies_of(table: ir.Table, question: Question) -> tuple[dict[int, int], dict[int, int]]:
    """A plan's requests by their latency (ms): as they were, and as projected; those without one are in neither."""
    kept, _ = count_left_out(table, question)
    if not kept:
        return {}, {}
    sweep = find_semantic_hits(table, question)
    if sweep is None:
        question = replace(
            question, config=question.config.model_copy(update={"l2_threshold": None})
        )
    with map_requests(table, question, sweep) as mapped:
        found = project_latencies(fetch(latency_counts(mapped)), question.tried)
    return found.recorded, found.counts


def _clustered(question: Question) -> bool:
    return question.config.cluster is not None


Ends = Callable[[Key], tuple[Interval | None, Interval | None]]
_NONE = (None, None)


def _no_ends(_key: Key) -> tuple[None, None]:
    return _NONE


def _sums(named: ir.Table, by: Sequence[str]) -> dict[Key, dict[str, Any]]:
    sums = named.group_by(*_columns(by)).aggregate(
        requests=named.count(),
        baseline=named.baseline_cost_usd.sum(),
        actual=named.cost_usd.sum(),
        projected=named.projected_usd.sum(),
    )
    return {_key(row, by): row for row in fetch(sums).to_pylist()}


def _of_requests(named: ir.Table, by: Sequence[str], kept: int) -> Ends:
    """Intervals where each request is resampled: of all `kept` ones, to which those outside of a part add nothing."""
    step, actual_step = spanning(fetch(named.aggregate(**extent(named))))
    table = on_grid(
        named,
        s=(named.baseline_cost_usd - named.projected_usd, step),
        b=(named.baseline_cost_usd, step),
        a=(named.cost_usd - named.projected_usd, actual_step),
    )
    table = table.mutate(ss=table.s * table.s, aa=table.a * table.a)
    wide = table.mutate(wss=table.ss.cast("decimal(19, 0)"), waa=table.aa.cast("decimal(19, 0)"))
    backend = named.get_backend()
    powers = {
        **{
            f"s{j}": power
            for j, power in enumerate((wide.s, wide.ss, wide.ss * wide.s, wide.wss * wide.wss), 1)
        },
        **{
            f"a{j}": power
            for j, power in enumerate((wide.a, wide.aa, wide.aa * wide.a, wide.waa * wide.waa), 1)
        },
        **{f"b{j}": power for j, power in enumerate((wide.b, wide.b * wide.b), 1)},
    }
    sums = wide.group_by(*_columns(by)).aggregate(
        requests=wide.count(),
        change=(wide.baseline_cost_usd - wide.projected_usd).sum(),
        actual_change=(wide.cost_usd - wide.projected_usd).sum(),
        **{name: exact_sum(power, backend) for name, power in powers.items()},
    )
    rows = {_key(row, by): row for row in fetch(sums).to_pylist()}

    def ends(key: Key) -> tuple[Interval | None, Interval | None]:
        row = rows[key]
        n = int(row["requests"])
        baseline = {(0, 1): int(row["b1"]), (0, 2): int(row["b2"])}
        if n < FEW or edgeworth.relative_error(_OTHERS | baseline, n) > edgeworth.UNTRUSTED_ERROR:
            return _NONE
        return (
            edgeworth.total_interval(
                {j: int(row[f"s{j}"]) for j in range(1, 5)}, step, pico(row["change"]), kept
            ),
            edgeworth.total_interval(
                {j: int(row[f"a{j}"]) for j in range(1, 5)},
                actual_step,
                pico(row["actual_change"]),
                kept,
            ),
        )

    return ends


# What the error of a mean baseline does not look at.
_OTHERS = {(j, k): 0 for j in range(5) for k in range(5 - j) if j + k}


def _of_clusters(named: ir.Table, by: Sequence[str]) -> Ends:
    """Intervals where clusters are resampled, to which a part adds what it has of each."""
    names = fetch(named.select("cluster").distinct())
    total = names.num_rows
    sums = named.group_by(*_columns(by), "cluster").aggregate(
        baseline=named.baseline_cost_usd.sum(),
        change=(named.baseline_cost_usd - named.projected_usd).sum(),
        actual_change=(named.cost_usd - named.projected_usd).sum(),
    )
    rows: Mapping[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in fetch(sums).to_pylist():
        rows[_key(row, by)].append(row)

    def ends(key: Key) -> tuple[Interval | None, Interval | None]:
        own = rows[key]
        if (
            len(own) < FEW
            or of_clusters.relative_error(_padded(own, "baseline", len(own)))
            > edgeworth.UNTRUSTED_ERROR
        ):
            return _NONE
        change, actual = (
            of_clusters.total_ends(_padded(own, name, total))
            for name in ("change", "actual_change")
        )
        return change, actual

    return ends


def _padded(rows: Sequence[Mapping[str, Any]], name: str, total: int) -> Amounts:
    """A column in 10^-12 USD, in ascending order, since rows come in none; 0 for clusters that have none of it."""
    amounts = sorted([*(pico(row[name]) for row in rows), *([0] * (total - len(rows)))])
    small = not amounts or max(abs(amounts[0]), abs(amounts[-1])) < 2**62
    return np.array(amounts, dtype=np.int64) if small else np.array(amounts, dtype=np.object_)


def _columns(by: Sequence[str]) -> list[str]:
    return [f"by_{name}" for name in by]


def _key(row: Mapping[str, Any], by: Sequence[str]) -> Key:
    return tuple(row[f"by_{name}"] for name in by)


def _read(key: Key, by: Sequence[str], question: Question) -> Key:
    return tuple(
        _READ.get(name, _as_it_is)(value, question) for name, value in zip(by, key, strict=True)
    )


def _as_it_is(value: Any, _question: Question) -> Any:
    return value


def _route_name(index: int, question: Question) -> str | None:
    return None if index == NO_ROUTE else question.tried[index].name


def _day(seconds: int, _question: Question) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _by_route(mapped: ir.Table, _question: Question) -> ir.IntegerValue:
    """The route that takes a request and has a price for it, as a result's rows by route have it."""
    return (mapped.outcome >= REROUTED).ifelse(
        mapped.route.cast("int64"), ibis.literal(NO_ROUTE, "int64")
    )


def _by_target(mapped: ir.Table, question: Question) -> ir.StringValue:
    """The model that a request would go to: its route's target, else its own."""
    branches = [
        (mapped.moved & (mapped.route == i), ibis.literal(r.then.target_model))
        for i, r in enumerate(question.tried)
    ]
    return ibis.cases(*branches, else_=mapped.model) if branches else mapped.model


_READ: dict[str, Callable[[Any, Question], Any]] = {"route": _route_name, "day": _day}
DIMENSIONS: dict[str, Callable[[ir.Table, Question], ir.Value]] = {
    "route": _by_route,
    "tag": lambda mapped, _: mapped.tag,
    "model": lambda mapped, _: mapped.model,
    "target_model": _by_target,
    "day": lambda mapped, _: period_start(mapped.ts, _DAY),
}
"""What parts can be told apart by."""
