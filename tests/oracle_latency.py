"""The full projection's latency as a loop over rows: exact fractions, no tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

LONGEST = 90_000_000


class Row(NamedTuple):
    """One mapped request."""

    model: str
    served: str
    moved: bool
    latency_ms: int | None
    output_tokens: int
    projected_output: int
    answered: bool


class Projected(NamedTuple):
    """The latencies of the rows in their order (None if not known), and the counts of a result."""

    latencies: list[int | None]
    missing: int
    unprojected: int
    extrapolated: int
    medians: dict[tuple[str, int], int]


def project(rows: Sequence[Row]) -> Projected:
    """The projected latency of each row."""
    moved = [row for row in rows if row.moved and row.latency_ms is not None]
    models = {row.model for row in moved} | {row.served for row in moved}
    curves = {model: curve(rows, model) for model in models}
    latencies: list[int | None] = []
    missing = unprojected = extrapolated = 0
    for row in rows:
        missing += row.latency_ms is None
        if row.latency_ms is None or not row.moved:
            latencies.append(row.latency_ms)
            continue
        target = curves[row.served]
        if not target:
            unprojected += 1
            latencies.append(None)
            continue
        own = [bin_of(r.output_tokens) for r in history(rows, row.served)]
        extrapolated += not min(own) <= bin_of(row.projected_output) <= max(own)
        to = at(target, row.projected_output)
        of = at(curves[row.model], row.output_tokens) if row.answered else 0
        if of == 0:
            latencies.append(to)
            continue
        exact = Fraction(to * min(row.latency_ms, LONGEST), of)
        latencies.append(int(exact + Fraction(1, 2)))
    medians = {(model, low): ms for model, own in curves.items() for low, ms in own.items()}
    return Projected(latencies, missing, unprojected, extrapolated, medians)


def bin_of(tokens: int) -> int:
    """floor(2 * log2(1 + tokens)): the largest k with 2^k <= (1 + tokens)^2."""
    k = 0
    while 2 ** (k + 1) <= (1 + tokens) ** 2:
        k += 1
    return min(k, 79)


def history(rows: Sequence[Row], model: str) -> list[Row]:
    """The rows that the model answered, with a latency."""
    return [r for r in rows if r.model == model and r.answered and r.latency_ms is not None]


def curve(rows: Sequence[Row], model: str) -> dict[int, int]:
    """The medians of a model's joined bins, by the first bin that has each."""
    bins = Counter(bin_of(row.output_tokens) for row in history(rows, model))
    groups: list[list[int]] = []
    open_group: list[int] = []
    for k in sorted(bins):
        open_group.append(k)
        if sum(bins[i] for i in open_group) >= 20:
            groups.append(open_group)
            open_group = []
    if open_group and groups:
        groups[-1].extend(open_group)
    elif open_group:
        groups.append(open_group)
    medians = {}
    for position, group in enumerate(groups):
        ordered = sorted(
            min(row.latency_ms or 0, LONGEST)
            for row in history(rows, model)
            if bin_of(row.output_tokens) in group
        )
        first = 0
        if position:
            below, above = groups[position - 1][-1], group[0]
            # The first empty or own bin that is nearer to this group than to the one below.
            first = next(k for k in range(below + 1, above + 1) if above - k < k - below)
        medians[first] = ordered[len(ordered) // 2]
    return medians


def at(medians: dict[int, int], tokens: int) -> int:
    """A curve's value."""
    k = bin_of(tokens)
    return medians[max(first for first in medians if first <= k)]
