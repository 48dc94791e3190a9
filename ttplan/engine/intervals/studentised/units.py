"""Units: requests that are resampled together, and how their sums vary. Candidates are requests,
sessions, and blocks of time; a time of the day and a day of the week vary about their own mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import ceil, floor, sqrt
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa

from ttplan.engine.dialects import Amounts, Ints, as_amounts, as_integers
from ttplan.engine.intervals.clusters import describe, exact_sums, on_grid, step_for
from ttplan.engine.intervals.moments import Order
from ttplan.engine.intervals.studentised.hall import Spread, central_sums, effective_number
from ttplan.engine.summary import PICO
from ttplan.model.plan import Clusters

MINUTE, HOUR, DAY, WEEK = 60, 3_600, 86_400, 604_800
COUNTS = ("requests", "hits", "timed", "at_p50", "at_p95")
"""Columns of counts; the others are whole 10^-12 USD."""


class Span(NamedTuple):
    """The seconds since 1970 between which a log's requests lie, inclusive and exclusive."""

    start: int
    end: int

    @property
    def days(self) -> float:
        """Its length in days."""
        return (self.end - self.start) / DAY

    @property
    def by_hour(self) -> bool:
        """Whether each hour of the day occurs twice, so that hours can vary about their own."""
        return self.days >= 2

    @property
    def by_weekday(self) -> bool:
        """Whether each day of the week occurs twice."""
        return self.days >= 14


def span_of(first: int, last: int, window: tuple[datetime, datetime]) -> Span:
    """The span of requests from second `first` to `last`: to the ends of their window, unless
    these are more than a week away."""
    start, end = floor((window[0] - _EPOCH) / _SECOND), ceil((window[1] - _EPOCH) / _SECOND)
    return Span(
        start if first - start < WEEK else first // DAY * DAY,
        end if end - last <= WEEK else (last // DAY + 1) * DAY,
    )


@dataclass(frozen=True)
class UnitSums:
    """Sums of the requests of each unit.

    `columns` has `requests`, `hits` and amounts by name, in the order of the units' keys.
    `seconds` is the length of a block of time, else 0. `stratum` numbers the times of the week
    that have a mean of their own; `sizes` counts the units of each, also those without a request.
    """

    name: str
    seconds: int
    keys: Ints
    columns: Mapping[str, Amounts]
    stratum: Ints
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def degrees(self) -> int:
        """The degrees of freedom of a variance."""
        return max(len(self) - len(np.unique(self.stratum)), 1)

    @cached_property
    def total(self) -> int:
        """The number of requests."""
        return int(self.columns["requests"].sum())

    @cached_property
    def effective(self) -> float:
        """The effective number of units, by requests: L. Kish, Survey Sampling (1965)."""
        squares = sum(n * n for n in self.columns["requests"].tolist())
        return effective_number(self.total, squares)

    @cached_property
    def noise(self) -> float:
        """The relative standard error of a variance by units, if requests are independent."""
        pairs = sum(n * (n - 1) for n in self.columns["requests"].tolist())
        kept = len(self) / self.degrees
        return sqrt(2.0 * pairs * kept) / self.total if self.total else 0.0

    def spread(self, s: str, b: str) -> Spread:
        """How the sums of two columns vary."""
        above, below = self.columns[s], self.columns[b]
        steps = step_for(above), step_for(below)
        x, y = on_grid(above, steps[0]), on_grid(below, steps[1])
        powers = _powers(x, y, self.stratum, len(self.sizes))
        scale = tuple(
            step / (1 if name in COUNTS else PICO) for step, name in zip(steps, (s, b), strict=True)
        )
        squares = sum(p[(2, 0)] for p in powers)
        size = int(np.abs(x).sum())
        return Spread(
            units=len(self),
            degrees=self.degrees,
            s=int(above.sum()) / (1 if s in COUNTS else PICO),
            b=int(below.sum()) / (1 if b in COUNTS else PICO),
            moments=central_sums(powers, self.sizes, (scale[0], scale[1])),
            carriers=effective_number(size, squares),
        )

    @cached_property
    def spreads(self) -> tuple[Spread, Spread, Spread]:
        """How savings vary with the baseline, and the change and hits with the requests."""
        return (
            self.spread("change", "baseline"),
            self.spread("actual_change", "requests"),
            self.spread("hits", "requests"),
        )

    @property
    def carriers(self) -> int:
        """How many units the plan changes the cost of."""
        return int(np.count_nonzero(self.columns["actual_change"]))

    def without_strata(self) -> UnitSums:
        """These units, all about one mean."""
        return replace(self, stratum=np.zeros_like(self.stratum), sizes=(sum(self.sizes),))

    def with_sums(self, grouped: Grouped, **columns: Amounts) -> UnitSums:
        """These units with the sums of further columns, given by the rows of `grouped`."""
        codes = np.searchsorted(self.keys, grouped.keys_of(self.seconds))
        sums = {name: add_by(codes, values, len(self)) for name, values in columns.items()}
        return replace(self, columns={**self.columns, **sums})

    def compound(self, s: str) -> Spread:
        """How the sum of a column varies if the number of units is random, too: that of a compound
        Poisson process, unless units are blocks of time."""
        spread = self.spread(s, "requests")
        if self.seconds:
            return spread
        values, step = self.columns[s], step_for(self.columns[s])
        (powers,) = _powers(on_grid(values, step), np.zeros_like(self.keys), self.stratum, 1)
        return replace(
            spread,
            moments={
                (j, k): float(powers[(j, k)]) * (step / PICO) ** j if k == 0 else 0.0
                for j, k in spread.moments
            },
        )

    def describe(self, design_effect: float | None) -> Clusters:
        """The number of units, the effective one, and the largest share, of requests or baseline,
        whichever is worse."""
        amounts = self.columns["baseline"], self.columns["requests"]
        return describe(len(self), *amounts, design_effect=design_effect)


class Grouped(NamedTuple):
    """Sums of requests by unit and route: `keys` are minutes since 1970, or numbers of clusters."""

    keys: Ints
    route: Ints
    columns: Mapping[str, Amounts]
    by_minute: bool

    def span(self, window: tuple[datetime, datetime]) -> Span:
        """The span of the requests in a window; of clusters, the window."""
        if self.by_minute:
            first, last = int(self.keys.min()), int(self.keys.max()) + 1
            return span_of(first * MINUTE, last * MINUTE, window)
        start, end = ((at - _EPOCH) // _SECOND for at in window)
        return Span(start, end)

    def rows(self, at: Sequence[int]) -> Grouped:
        """Some rows."""
        index = np.asarray(at, dtype=np.int64)
        columns = {name: values[index] for name, values in self.columns.items()}
        return Grouped(self.keys[index], self.route[index], columns, self.by_minute)

    def keys_of(self, seconds: int) -> Ints:
        """The keys of blocks of that many seconds, or of the clusters."""
        return self.keys * MINUTE // seconds if self.by_minute else self.keys


def read_grouped(table: pa.Table) -> Grouped:
    """Read a table with a column `minute` (seconds since 1970) or `cluster`, `route`, and sums."""
    by_minute = "minute" in table.column_names
    if by_minute:
        keys = as_integers(table["minute"]) // MINUTE
    else:
        keys = table["cluster"].combine_chunks()
        if not pa.types.is_integer(keys.type):
            keys = keys.dictionary_encode(null_encoding="encode").indices
        keys = as_integers(keys)
    columns = {
        name: as_integers(table[name]) if name in COUNTS else as_amounts(table[name])
        for name in table.column_names
        if name not in ("minute", "cluster", "route")
    }
    route = as_integers(table["route"]) if "route" in table.column_names else np.zeros_like(keys)
    return Grouped(keys, route, columns, by_minute)


def sum_units(grouped: Grouped, name: str, seconds: int, span: Span) -> UnitSums:
    """The sums of blocks of time of that many seconds, or, if 0, of clusters."""
    own, codes = np.unique(grouped.keys_of(seconds), return_inverse=True)
    stratum: Ints = np.zeros(len(own), dtype=np.int64)
    sizes: tuple[int, ...] = (len(own),)
    if seconds:
        stratum, sizes = _strata(own, seconds, span)
    return UnitSums(
        name=name,
        seconds=seconds,
        keys=own,
        columns={
            column: add_by(codes, values, len(own)) for column, values in grouped.columns.items()
        },
        stratum=stratum,
        sizes=sizes,
    )


def add_by(codes: Ints, values: Amounts, count: int) -> Amounts:
    """The exact sums of values by code, of codes below `count`."""
    if values.dtype != np.object_ and float(np.abs(values).astype(np.float64).sum()) >= 2**62:
        values = values.astype(np.object_)
    sums = np.zeros(count, dtype=values.dtype)
    np.add.at(sums, codes, values)
    return cast("Amounts", sums)


def _strata(keys: Ints, seconds: int, span: Span) -> tuple[Ints, tuple[int, ...]]:
    """The number of the stratum of each block, and how many blocks each stratum has."""
    every = np.arange(span.start // seconds, -(-span.end // seconds), dtype=np.int64)
    labels, of_all = np.unique(_time_of_week(every, seconds, span), return_inverse=True)
    sizes = np.bincount(of_all, minlength=len(labels))
    own = np.searchsorted(labels, _time_of_week(keys, seconds, span))
    return own.astype(np.int64), tuple(sizes.tolist())


def _time_of_week(keys: Ints, seconds: int, span: Span) -> Ints:
    start = keys * seconds
    hour = start % DAY // HOUR if span.by_hour and seconds <= HOUR else np.zeros_like(start)
    day = weekday(start) if span.by_weekday else np.zeros_like(start)
    return day * 24 + hour


def weekday(seconds: Ints) -> Ints:
    """The day of the week of instants, Monday 0, in UTC."""
    return (seconds // DAY + 3) % 7


def _powers(x: Ints, y: Ints, stratum: Ints, strata: int) -> list[dict[Order, int]]:
    """The exact sums of `x^j y^k`, j + k <= 3, by stratum, of values up to 2^20."""
    ordered = stratum
    if strata > 1:
        order = np.argsort(stratum, kind="stable")
        x, y, ordered = x[order], y[order], stratum[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    present = ordered[starts].tolist()
    xx, xy, yy = x * x, x * y, y * y
    products: dict[Order, Ints] = {
        (1, 0): x, (0, 1): y, (2, 0): xx, (1, 1): xy, (0, 2): yy,
        (3, 0): xx * x, (2, 1): xx * y, (1, 2): x * yy, (0, 3): yy * y,
    }  # fmt: skip
    result: list[dict[Order, int]] = [dict.fromkeys(products, 0) for _ in range(strata)]
    for power, values in products.items():
        for at, total in zip(present, exact_sums(values, starts), strict=True):
            result[at][power] = total
    return result


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
