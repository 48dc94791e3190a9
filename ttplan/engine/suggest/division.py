"""Choosing: the best way to divide the requests of one half into routes that do not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import NamedTuple

from ttplan.engine.suggest.segments import SegmentKey, Segments

MOST_UNSERVED = 0.01
"""The largest share of a candidate's requests that its target may be unable to serve. They stay."""


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


class Comparison(NamedTuple):
    """The best division, how many candidates were compared, and how many were left out since
    their target cannot serve them."""

    best: Division
    candidates: int
    unserved: int


def divide(log: Segments, by: Iterable[str], charge: int) -> Comparison:
    """The best division of the selecting half into routes that do not overlap.

    A model, or the whole log, is divided by tag only if that is worth more. No condition can
    name a missing tag or a value beyond the most costly ones: only a route without that
    condition takes it. A candidate is left out if its target cannot serve more than a share
    `MOST_UNSERVED` of its requests.
    """
    sizes = len(log.bounds) + 1
    columns: dict[tuple[str | None, str | None], list[_Column]] = {}
    for key, sums in sorted(log.selecting.items(), key=lambda item: _order(item[0])):
        if key.model is None and "model" in by:
            continue
        names = {(key.model, None)} | ({(key.model, key.tag)} if "tag" in by else set())
        for name in names:
            column = columns.setdefault(name, [_Column.of(sizes) for _ in log.targets])
            for target, on in enumerate(sums.targets):
                column[target].saved[key.size] += on.saved
                column[target].unserved[key.size] += on.unserved
                column[target].requests[key.size] += sums.requests
    divisions = {name: _best_sizes(name, column, charge) for name, column in columns.items()}
    best = Division()
    for model in sorted({model for model, _ in columns}, key=_none_first):
        tags = sorted(tag for m, tag in columns if m == model and tag is not None)
        whole = divisions[(model, None)][0]
        parts = reduce(Division.combine, (divisions[(model, tag)][0] for tag in tags), Division())
        parts = parts._replace(fewer_conditions=parts.fewer_conditions - len(parts.choices))
        best = best.combine(max(whole, parts, key=_value))
    return Comparison(
        best=best,
        candidates=len(columns) * len(log.targets) * sizes * (sizes + 1) // 2,
        unserved=sum(unserved for _, unserved in divisions.values()),
    )


class _Column(NamedTuple):
    """What each size of one model and tag saves on one target, and how many requests it has, of
    which the target cannot serve some."""

    saved: list[int]
    unserved: list[int]
    requests: list[int]

    @classmethod
    def of(cls, sizes: int) -> _Column:
        return cls([0] * sizes, [0] * sizes, [0] * sizes)

    def gain(self, low: int, high: int) -> int | None:
        """What the sizes from `low` to below `high` save; None if too many cannot be served."""
        requests, unserved = sum(self.requests[low:high]), sum(self.unserved[low:high])
        return None if unserved > MOST_UNSERVED * requests else sum(self.saved[low:high])


def _best_sizes(
    names: tuple[str | None, str | None], columns: Sequence[_Column], charge: int
) -> tuple[Division, int]:
    """The best division of one model and tag into ranges of size, by what each size saves on each
    target, and how many candidates were left out."""
    sizes = len(columns[0].saved)
    best = [Division()]  # of the sizes below each position
    left_out = 0
    for high in range(1, sizes + 1):
        options = [best[high - 1]]
        for low in range(high):
            for target, column in enumerate(columns):
                gain = column.gain(low, high)
                if gain is None:
                    left_out += 1
                elif gain > charge:
                    choice = Choice(Segment(*names, low, high), target, gain)
                    options.append(
                        best[low].with_choice(choice, charge, (low > 0) + (high < sizes))
                    )
        best.append(max(options, key=_value))
    return best[-1], left_out


def _value(division: Division) -> tuple[int, int, int]:
    return division[:3]


def _none_first(name: str | None) -> tuple[bool, str]:
    return name is not None, name or ""


def _order(key: SegmentKey) -> tuple[object, ...]:
    return *_none_first(key.model), *_none_first(key.tag), key.size
