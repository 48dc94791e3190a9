"""A log cut into its finest segments, each with what it would cost on every target: whatever is
coarser is a sum of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir

from ttplan.engine.cost import target_prices, with_charged, with_target_cost
from ttplan.engine.dialects import exact_sum, fetch
from ttplan.engine.full.requests import INELIGIBLE
from ttplan.engine.summary import grid_step, on_grid, pico
from ttplan.model.money import MONEY_STEP
from ttplan.model.pricing import ModelPricing

MOST_MODELS, MOST_TAGS = 50, 100
"""How many models and tags, the most costly ones, are distinguished."""
READABLE = [digit * 10**zeros for zeros in range(1, 12) for digit in (1, 2, 5)]
"""The token counts at which sizes may be cut."""
_CUTS = (10, 25, 50, 75, 90, 97)
"""About how many percent of the requests are below each bound."""


class TargetSums(NamedTuple):
    """What requests would cost on one target, and save against what was paid, in 10^-12 USD.

    `p1` to `p4` are sums of powers of each request's saving, on the target's grid.
    """

    projected: int = 0
    saved: int = 0
    p1: int = 0
    p2: int = 0
    p3: int = 0
    p4: int = 0


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
    """A log's segments in its two halves. `bounds` cut_segments the sizes: segment `i` holds
    `bounds[i-1] <= input_tokens < bounds[i]`."""

    targets: tuple[str, ...]
    split_at: datetime
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


def cut_segments(
    priced: ir.Table,
    count: int,
    by: Collection[str],
    targets: Sequence[str],
    limits: Collection[int] = (),
) -> Segments:
    """The segments of the rows of `on_targets`, of which there are `count`, at least 1, by the
    columns `by`. Sizes may also be cut below `limits`: what a target can read.

    The halves are those before and from the time at which half of the requests had arrived. A burst
    is then in one half, and what changes over time shows as a difference between the halves.
    """
    split_at = (
        fetch(priced.select("ts").order_by("ts").limit(1, offset=count // 2))["ts"][0]
        .as_py()
        .astimezone(UTC)
    )
    tops = {
        name: _top(priced, name, most)
        for name, most in (("model", MOST_MODELS), ("tag", MOST_TAGS))
        if name in by
    }
    first = priced.aggregate(
        untagged=priced.tag.isnull().sum(),
        **{f"extent_{i}": priced[f"saved_{i}"].abs().max() for i in range(len(targets))},
        **(
            {f"under_{i}": (priced.input_tokens < bound).sum() for i, bound in enumerate(READABLE)}
            if "input_tokens" in by
            else {}
        ),
    )
    totals = fetch(first).to_pylist()[0]
    bounds = (
        _bounds([totals[f"under_{i}"] for i in range(len(READABLE))], count, limits)
        if "input_tokens" in by
        else ()
    )
    steps = tuple(grid_step(totals[f"extent_{i}"]) for i in range(len(targets)))
    halves: tuple[dict[SegmentKey, Sums], dict[SegmentKey, Sums]] = ({}, {})
    for row in fetch(_sums(priced, split_at, tops, bounds, steps)).to_pylist():
        halves[row["late"]][SegmentKey(row["by_model"], row["by_tag"], row["by_size"])] = _read(
            row, len(targets)
        )
    return Segments(
        targets=tuple(targets),
        split_at=split_at,
        bounds=bounds,
        steps=steps,
        selecting=halves[0],
        held_out=halves[1],
        untagged=int(totals["untagged"]),
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


def on_targets(
    rows: ir.Table, targets: Sequence[str], pricing: Mapping[str, ModelPricing]
) -> ir.Table:
    """`rows` and, for each target, `projected_<i>` and `saved_<i>`, in USD."""
    columns = (
        "ts",
        "provider",
        "model",
        "tag",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "cost_usd",
        "baseline_cost_usd",
    )
    table = with_charged(rows.select(*columns))
    for i, target in enumerate(targets):
        table = with_target_cost(table, f"projected_{i}", target_prices(target, pricing))
        saved = table.cost_usd - table[f"projected_{i}"]
        zero = ibis.literal(Decimal(0), saved.type())
        # A request that is with the target already saves nothing by going there, whatever the price
        # list says of its cost.
        table = table.mutate(
            **{f"saved_{i}": (table.model == target).ifelse(ibis.least(saved, zero), saved)}
        )
    return table


def on_targets_in_full(mapped: Sequence[ir.Table], targets: Sequence[str]) -> ir.Table:
    """As `on_targets`, of the rows of full projections that each send all requests to one
    target."""
    columns = ("ts", "model", "tag", "input_tokens", "cost_usd", "baseline_cost_usd")
    table = mapped[0].select("id", *columns)
    for i, rows in enumerate(mapped):
        saved = rows.cost_usd - rows.projected_usd
        zero = ibis.literal(Decimal(0), saved.type())
        least = ibis.literal(-MONEY_STEP, saved.type())
        # A request that the target cannot serve saves nothing; the least loss there is makes a
        # route that leaves it out the better one.
        unserved = (rows.outcome == INELIGIBLE).ifelse(least, zero)
        own = rows.select(
            **{
                f"id_{i}": rows.id,
                f"projected_{i}": rows.projected_usd,
                f"saved_{i}": rows.moved.ifelse(saved, unserved),
            }
        )
        table = table.join(own, [table.id == own[f"id_{i}"]]).drop(f"id_{i}")
    return table


def _sums(
    priced: ir.Table,
    split_at: datetime,
    tops: Mapping[str, tuple[Sequence[str], bool]],
    bounds: Sequence[int],
    steps: Sequence[int],
) -> ir.Table:
    """One row for each segment and half."""
    table = on_grid(
        priced, **{f"s{i}": (priced[f"saved_{i}"], step) for i, step in enumerate(steps)}
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
        wide = q.cast(
            "decimal(19, 0)"
        )  # squares fit 2^40 and cubes 2^60; their squares need the wide type
        columns |= {
            f"projected_{i}": table[f"projected_{i}"].sum(),
            f"saved_{i}": table[f"saved_{i}"].sum(),
            **{
                f"p{i}_{j}": exact_sum(power, backend)
                for j, power in enumerate((s, q, q * s, wide * wide), 1)
            },
        }
    branches = [
        (table.input_tokens < bound, ibis.literal(i, "int8")) for i, bound in enumerate(bounds)
    ]
    largest = ibis.literal(len(bounds), "int8")
    keys = {
        f"by_{name}": _named(table, name, *tops.get(name, ([], True))) for name in ("model", "tag")
    }
    keys["by_size"] = ibis.cases(*branches, else_=largest) if branches else largest
    return table.group_by(
        late=table.ts >= ibis.literal(split_at, "timestamp('UTC', 6)"), **keys
    ).aggregate(**columns)


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
                pico(row[f"projected_{i}"]),
                pico(row[f"saved_{i}"]),
                *(int(row[f"p{i}_{j}"]) for j in range(1, 5)),
            )
            for i in range(targets)
        ),
    )
