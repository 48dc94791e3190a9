"""A log cut into its finest segments, each with what it would cost on every target: whatever is
coarser is a sum of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir

from ttplan.engine.dialects import exact_sum, fetch
from ttplan.engine.summary import grid_step, on_grid, pico

MOST_MODELS, MOST_TAGS = 50, 100
"""How many models and tags, the most costly ones, are distinguished."""
READABLE = [digit * 10**zeros for zeros in range(1, 12) for digit in (1, 2, 5)]
"""The token counts at which sizes may be cut."""
_CUTS = (10, 25, 50, 75, 90, 97)
"""About how many percent of the requests are below each bound."""


class TargetSums(NamedTuple):
    """What requests would cost on one target, and save against what was paid, in 10^-12 USD.

    `p1` to `p3` are sums of powers of each request's saving, and `size` that of its absolute value,
    on the target's grid. `unserved` counts requests that the target cannot serve.
    """

    projected: int = 0
    saved: int = 0
    p1: int = 0
    p2: int = 0
    p3: int = 0
    size: int = 0
    unserved: int = 0


class Sums(NamedTuple):
    """Exact sums of some requests. Amounts are whole 10^-12 USD."""

    requests: int
    baseline: int
    actual: int
    targets: tuple[TargetSums, ...]


class SegmentKey(NamedTuple):
    """A finest segment. None if conditions may not use the column, or cannot name the value."""

    model: str | None
    tag: str | None
    size: int


@dataclass(frozen=True)
class Segments:
    """A log's segments in its two halves. `bounds` cut the sizes: segment `i` holds
    `bounds[i-1] <= input_tokens < bounds[i]`."""

    targets: tuple[str, ...]
    bounds: tuple[int, ...]
    steps: tuple[int, ...]
    """The step of each target's grid, in 10^-12 USD."""
    selecting: Mapping[SegmentKey, Sums] = field(default_factory=dict)
    held_out: Mapping[SegmentKey, Sums] = field(default_factory=dict)
    untagged: int = 0
    pooled: Mapping[str, int] = field(default_factory=dict)
    """By column, how many values are distinguished, if there are more."""


def add_sums(parts: Sequence[Sums], targets: int) -> Sums:
    """The sum of several segments."""
    return Sums(
        sum(part.requests for part in parts),
        sum(part.baseline for part in parts),
        sum(part.actual for part in parts),
        tuple(
            TargetSums(*map(sum, zip(*(part.targets[i] for part in parts), strict=True)))
            for i in range(targets)
        )
        if parts
        else (TargetSums(),) * targets,
    )


@dataclass(frozen=True)
class Totals:
    """What a first pass over the rows tells: the step of each target's grid (10^-12 USD), the
    target (by position) that saves most in all, and the requests below each readable bound."""

    steps: tuple[int, ...]
    best: int
    untagged: int
    under: tuple[int, ...]


def fetch_totals(priced: ir.Table, by: Collection[str], targets: int) -> Totals:
    """The totals of the rows of `on_targets`, of which there is at least 1."""
    bounds = READABLE if "input_tokens" in by else []
    columns: dict[str, Any] = {"untagged": priced.tag.isnull().sum()}
    for i in range(targets):
        columns[f"extent_{i}"] = priced[f"saved_{i}"].abs().max()
        columns[f"total_{i}"] = priced[f"saved_{i}"].sum()
    columns |= {f"under_{i}": (priced.input_tokens < b).sum() for i, b in enumerate(bounds)}
    row = fetch(priced.aggregate(**columns)).to_pylist()[0]
    return Totals(
        steps=tuple(grid_step(row[f"extent_{i}"]) for i in range(targets)),
        best=max(range(targets), key=lambda i: row[f"total_{i}"]),
        untagged=int(row["untagged"]),
        under=tuple(int(row[f"under_{i}"]) for i in range(len(bounds))),
    )


def cut_segments(
    priced: ir.Table,
    late: ir.BooleanValue,
    totals: Totals,
    count: int,
    by: Collection[str],
    targets: Sequence[str],
    limits: Collection[int] = (),
) -> Segments:
    """The segments of the rows of `on_targets`, of which there are `count`, at least 1, by the
    columns `by`. Rows that are `late` are held out. Sizes may also be cut below `limits`: what a
    target can read.
    """
    tops = {
        name: _top(priced, name, most)
        for name, most in (("model", MOST_MODELS), ("tag", MOST_TAGS))
        if name in by
    }
    bounds = _bounds(totals.under, count, limits) if "input_tokens" in by else ()
    halves: tuple[dict[SegmentKey, Sums], dict[SegmentKey, Sums]] = ({}, {})
    for row in fetch(_sums(priced, late, tops, bounds, totals.steps)).to_pylist():
        halves[row["late"]][SegmentKey(row["by_model"], row["by_tag"], row["by_size"])] = _read(
            row, len(targets)
        )
    return Segments(
        targets=tuple(targets),
        bounds=bounds,
        steps=totals.steps,
        selecting=halves[0],
        held_out=halves[1],
        untagged=totals.untagged,
        pooled={name: len(values) for name, (values, pooled) in tops.items() if pooled},
    )


def _top(rows: ir.Table, name: str, most: int) -> tuple[list[str], bool]:
    """The most costly values of a column, at most `most`, and whether there are more."""
    costs = rows.filter(rows[name].notnull()).group_by(name).aggregate(cost=rows.cost_usd.sum())
    values = fetch(costs.order_by(ibis.desc("cost"), name).limit(most + 1))[name].to_pylist()
    return values[:most], len(values) > most


def _bounds(below: Sequence[int], count: int, limits: Collection[int]) -> tuple[int, ...]:
    """Readable bounds near the quantiles: for each the first that has at least that share of
    requests below it. Of each limit the last that does not exceed it."""
    cuts = {
        next(
            (bound for bound, n in zip(READABLE, below, strict=True) if 100 * n >= percent * count),
            None,
        )
        for percent in _CUTS
    }
    cuts |= {max((b for b in READABLE if b <= limit), default=None) for limit in limits}
    inner = sorted(
        bound for bound in cuts if bound is not None and 0 < below[READABLE.index(bound)] < count
    )
    # Bounds with the same requests below them cut nothing.
    shares = [0, *(below[READABLE.index(bound)] for bound in inner)]
    return tuple(
        bound
        for bound, (before, here) in zip(inner, pairwise(shares), strict=True)
        if here > before
    )


def _sums(
    priced: ir.Table,
    late: ir.BooleanValue,
    tops: Mapping[str, tuple[Sequence[str], bool]],
    bounds: Sequence[int],
    steps: Sequence[int],
) -> ir.Table:
    """One row for each segment and half."""
    table = on_grid(
        priced.mutate(late=late),
        **{f"s{i}": (priced[f"saved_{i}"], step) for i, step in enumerate(steps)},
    )
    table = table.mutate(**{f"q{i}": table[f"s{i}"] * table[f"s{i}"] for i in range(len(steps))})
    backend = priced.get_backend()
    columns: dict[str, Any] = {
        "requests": table.count(),
        "baseline": table.baseline_cost_usd.sum(),
        "actual": table.cost_usd.sum(),
    }
    for i in range(len(steps)):
        s, q = table[f"s{i}"], table[f"q{i}"]
        columns |= {
            f"projected_{i}": table[f"projected_{i}"].sum(),
            f"saved_{i}": table[f"saved_{i}"].sum(),
            f"p{i}_1": exact_sum(s, backend),
            f"p{i}_2": exact_sum(q, backend),
            f"p{i}_3": exact_sum(q * s, backend),  # cubes fit 2^60
            f"size_{i}": exact_sum(s.abs(), backend),
            f"unserved_{i}": table[f"unserved_{i}"].sum(),
        }
    branches = [
        (table.input_tokens < bound, ibis.literal(i, "int8")) for i, bound in enumerate(bounds)
    ]
    largest = ibis.literal(len(bounds), "int8")
    keys = {
        f"by_{name}": _named(table, name, *tops.get(name, ([], True))) for name in ("model", "tag")
    }
    keys["by_size"] = ibis.cases(*branches, else_=largest) if branches else largest
    return table.group_by("late", **keys).aggregate(**columns)


def _named(table: ir.Table, name: str, values: Sequence[str], pooled: bool) -> ir.StringValue:
    """The column; null if its value is not one of those that are distinguished."""
    null = ibis.null("string")
    if not values:
        return null
    return table[name].isin(values).ifelse(table[name], null) if pooled else table[name]


def _read(row: Mapping[str, Any], targets: int) -> Sums:
    return Sums(
        int(row["requests"]),
        pico(row["baseline"]),
        pico(row["actual"]),
        tuple(
            TargetSums(
                projected=pico(row[f"projected_{i}"]),
                saved=pico(row[f"saved_{i}"]),
                p1=int(row[f"p{i}_1"]),
                p2=int(row[f"p{i}_2"]),
                p3=int(row[f"p{i}_3"]),
                size=int(row[f"size_{i}"]),
                unserved=int(row[f"unserved_{i}"]),
            )
            for i in range(targets)
        ),
    )
