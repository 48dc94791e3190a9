"""A plain reading of what a suggestion is: loops over rows and over every way to divide them. Slow
on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from tests.oracle import cost, matches, price_of
from ttplan.engine.rows import PERIODS
from ttplan.model.pricing import ModelPricing
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute

READABLE = sorted(digit * 10**zeros for digit in (1, 2, 5) for zeros in range(1, 12))
ZERO = Decimal(0)


@dataclass
class Figures:
    """What a route does to some rows."""

    requests: int
    baseline: Decimal
    actual: Decimal
    projected: Decimal
    saved: Decimal


def begins(rows: Sequence[RequestLog], unit: str) -> list[datetime]:
    """When the unit of each row begins: a request, a block of time, or a session."""
    if unit == "request":
        return [r.ts for r in rows]
    if unit in PERIODS:
        return [
            datetime.fromtimestamp(r.ts.timestamp() // PERIODS[unit] * PERIODS[unit], UTC)
            for r in rows
        ]
    keys = [
        (getattr(r, unit), None) if getattr(r, unit) is not None else (None, r.id) for r in rows
    ]
    first: dict[object, datetime] = {}
    for key, r in zip(keys, rows, strict=True):
        first[key] = min(r.ts, first.get(key, r.ts))
    return [first[key] for key in keys]


def split(rows: Sequence[RequestLog], unit: str) -> datetime:
    """Where half of the requests are reached, in the order in which their units begin."""
    return sorted(begins(rows, unit))[len(rows) // 2]


def halves(
    rows: Sequence[RequestLog], unit: str = "request"
) -> tuple[list[RequestLog], list[RequestLog]]:
    """The selecting and the held-out half: whole units."""
    at, starts = split(rows, unit), begins(rows, unit)
    pairs = list(zip(rows, starts, strict=True))
    return [r for r, start in pairs if start < at], [r for r, start in pairs if start >= at]


def saved(r: RequestLog, target: str, pricing: dict[str, ModelPricing]) -> Decimal:
    """What a request saves on a target, against what was paid; nothing where it is there
    already."""
    price = price_of(pricing, r.provider, target)
    assert price is not None
    change = r.cost_usd - cost(r, price)
    return min(change, ZERO) if r.model == target else change


def figures(
    route: ProposedRoute, rows: Sequence[RequestLog], pricing: dict[str, ModelPricing]
) -> Figures:
    """What a route does to those rows that it matches."""
    taken = [r for r in rows if matches(route, r)]
    target = route.then.target_model
    prices = [price_of(pricing, r.provider, target) for r in taken]
    assert None not in prices, "a suggested route has no price"
    return Figures(
        len(taken),
        sum((r.baseline_cost_usd for r in taken), ZERO),
        sum((r.cost_usd for r in taken), ZERO),
        sum(
            (cost(r, price) for r, price in zip(taken, prices, strict=True) if price is not None),
            ZERO,
        ),
        sum((saved(r, target, pricing) for r in taken), ZERO),
    )


def bounds(rows: Sequence[RequestLog]) -> list[int]:
    """Where sizes are cut: readable numbers near the quantiles, each with other requests below
    it."""
    bound_by_count: dict[int, int] = {}
    for percent in (10, 25, 50, 75, 90, 97):
        for bound in READABLE:
            below = sum(r.input_tokens < bound for r in rows)
            if 100 * below >= percent * len(rows):
                if 0 < below < len(rows):
                    bound_by_count[below] = min(bound, bound_by_count.get(below, bound))
                break
    return sorted(bound_by_count.values())


def best(
    rows: Sequence[RequestLog],
    targets: Sequence[str],
    by: Sequence[str],
    pricing: dict[str, ModelPricing],
    charge: Decimal,
    unit: str = "request",
) -> tuple[Decimal, int]:
    """The most that routes that overlap nowhere are worth in the selecting half, and with how few
    routes."""
    selected, _ = halves(rows, unit)
    edges = [0, *(bounds(rows) if "input_tokens" in by else []), 10**15]

    def worth(mine: Sequence[RequestLog]) -> tuple[Decimal, int]:
        def gain(low: int, high: int, target: str) -> Decimal:
            return (
                sum((saved(r, target, pricing) for r in mine if low <= r.input_tokens < high), ZERO)
                - charge
            )

        options = []
        for ranges in _ranges(edges):
            gains = [max(gain(low, high, target) for target in targets) for low, high in ranges]
            options.append((sum(gains, ZERO), -len(ranges)))
        return max(options)

    total, count = ZERO, 0
    for model in sorted({r.model for r in selected}) if "model" in by else [None]:
        mine = [r for r in selected if model is None or r.model == model]
        options = [worth(mine)]
        if "tag" in by:
            tags = sorted({r.tag for r in mine if r.tag is not None})
            parts = [worth([r for r in mine if r.tag == tag]) for tag in tags]
            options.append((sum((p[0] for p in parts), ZERO), sum(p[1] for p in parts)))
        value, fewer = max(options)
        total, count = total + value, count - fewer
    return total, count


def _ranges(edges: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
    """Every way to choose ranges between edges that overlap nowhere."""
    yield []
    for i in range(len(edges) - 1):
        for j in range(i + 1, len(edges)):
            for rest in _ranges(edges[j:]):
                yield [(edges[i], edges[j]), *rest]
