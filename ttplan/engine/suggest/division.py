"""Choosing: the best way to divide the requests of one half into routes that do not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import NamedTuple

from ttplan.engine.suggest.segments import SegmentKey, Segments


class Segment(NamedTuple):
    """Requests of a model and tag (None: any), of sizes `low` to `high` (exclusive), by
    position."""

    model: str | None
    tag: str | None
    low: int
    high: int

    def covers(self, key: SegmentKey) -> bool:
        """Whether this segment contains a finest segment."""
        return (
            self.model in (None, key.model)
            and self.tag in (None, key.tag)
            and self.low <= key.size < self.high
        )


class Choice(NamedTuple):
    """A segment, and the target (by position) that saves most there, with the saving in 10^-12
    USD."""

    segment: Segment
    target: int
    saved: int


class Division(NamedTuple):
    """A way to divide requests into routes. The best has the most worth, then the fewest routes and
    conditions."""

    worth: int = 0
    fewer_routes: int = 0
    fewer_conditions: int = 0
    choices: tuple[Choice, ...] = ()

    def with_choice(self, choice: Choice, charge: int, conditions: int) -> Division:
        """This division with one more route, whose worth is its saving minus `charge`."""
        worth = self.worth + choice.saved - charge
        return Division(
            worth,
            self.fewer_routes - 1,
            self.fewer_conditions - conditions,
            (*self.choices, choice),
        )

    def combine(self, other: Division) -> Division:
        """This division and another one, of different requests."""
        return Division(
            self.worth + other.worth,
            self.fewer_routes + other.fewer_routes,
            self.fewer_conditions + other.fewer_conditions,
            self.choices + other.choices,
        )


def divide(log: Segments, by: Iterable[str], charge: int) -> tuple[Division, int]:
    """The best division of the selecting half into routes that do not overlap, and how many were
    compared.

    A model, or the whole log, is divided by tag only if that is worth more. No condition can
    name a missing tag or a value beyond the most costly ones: only a route without that
    condition takes it.
    """
    sizes = len(log.bounds) + 1
    saved: dict[tuple[str | None, str | None], list[list[int]]] = {}
    for key, sums in sorted(log.selecting.items(), key=lambda item: _order(item[0])):
        if key.model is None and "model" in by:
            continue
        names = {(key.model, None)} | ({(key.model, key.tag)} if "tag" in by else set())
        for name in names:
            column = saved.setdefault(name, [[0] * sizes for _ in log.targets])
            for target, on in enumerate(sums.targets):
                column[target][key.size] += on.saved
    best = Division()
    for model in sorted({model for model, _ in saved}, key=_none_first):
        tags = sorted(tag for m, tag in saved if m == model and tag is not None)
        whole = _best_sizes((model, None), saved[(model, None)], charge)
        parts = reduce(
            Division.combine,
            (_best_sizes((model, tag), saved[(model, tag)], charge) for tag in tags),
            Division(),
        )
        parts = parts._replace(fewer_conditions=parts.fewer_conditions - len(parts.choices))
        best = best.combine(max(whole, parts, key=_value))
    return best, len(saved) * len(log.targets) * sizes * (sizes + 1) // 2


def _best_sizes(
    names: tuple[str | None, str | None], saved: Sequence[Sequence[int]], charge: int
) -> Division:
    """The best division of one model and tag into ranges of size, by what each size saves on each
    target."""
    sizes = len(saved[0])
    sums = [[sum(column[:i]) for i in range(sizes + 1)] for column in saved]
    best = [Division()]  # of the sizes below each position
    for high in range(1, sizes + 1):
        options = [best[high - 1]]
        for low in range(high):
            for target, below in enumerate(sums):
                gain = below[high] - below[low]
                if gain > charge:
                    choice = Choice(Segment(*names, low, high), target, gain)
                    options.append(
                        best[low].with_choice(choice, charge, (low > 0) + (high < sizes))
                    )
        best.append(max(options, key=_value))
    return best[-1]


def _value(division: Division) -> tuple[int, int, int]:
    return division[:3]


def _none_first(name: str | None) -> tuple[bool, str]:
    return name is not None, name or ""


def _order(key: SegmentKey) -> tuple[object, ...]:
    return *_none_first(key.model), *_none_first(key.tag), key.size
