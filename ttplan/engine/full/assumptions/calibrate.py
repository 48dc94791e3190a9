"""What the recorded costs and cached tokens tell, compared with prices and with the cache rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.engine.dialects import (
    ROW_MONEY_TYPE,
    Amounts,
    Ints,
    as_amounts,
    as_integers,
    fetch_from,
)
from ttplan.engine.full.assumptions.resolve import Pair, Value, pick
from ttplan.engine.full.log_facts import LogKey
from ttplan.engine.full.money import as_usd
from ttplan.engine.full.sessions import with_warm_prefixes
from ttplan.engine.full.shape import MICRO, Shape
from ttplan.engine.full.tables import CARRIED
from ttplan.engine.summary import usd
from ttplan.model.errors import InputError
from ttplan.model.projection.assumption import AssumptionName, CostScope
from ttplan.model.projection.full import ProjectionInputs
from ttplan.model.route import ProposedRoute

CONSTANT_SHARE = 0.9
"""The share of requests whose recorded cost must be the same multiple of the price."""
LEAST_FACTOR_DIFFERENCE = Decimal("0.005")
"""A factor that is closer to 1 is rounding."""
MAX_FACTOR = 10**4
"""Factors are below this: of engines' 38 digits, money takes the others."""
SCOPE_UNKNOWN = "whether it applies to the target, too, is not known"
_BINS = 1_000
_LEAST_USD = Decimal("0.00002")
"""Below this cost, rounding to a millionth of a dollar distorts a ratio."""


@dataclass
class KeyCalibration:
    """Sums over the priced requests of one price key that its provider answered; 10^-12 USD.

    `comparable` counts those whose cost is large enough to compare, `near` those of them whose
    recorded cost is about the most frequent multiple of the price, with both sums of theirs.
    `recorded_reads` and `predicted_reads` are the cached tokens of requests in sessions, and
    `misplaced_reads` is by how many they differ, request by request. `unrecorded` counts requests
    that have a price and are recorded at no cost.
    """

    recorded: int = 0
    explained: int = 0
    recorded_reads: int = 0
    predicted_reads: int = 0
    misplaced_reads: int = 0
    unrecorded: int = 0
    comparable: int = 0
    near: tuple[int, int, int] = (0, 0, 0)

    @property
    def factor(self) -> Decimal | None:
        """The constant factor between recorded cost and price; None if there is none."""
        count, recorded, explained = self.near
        if not explained or count < CONSTANT_SHARE * self.comparable:
            return None
        factor = (Decimal(recorded) / Decimal(explained)).quantize(
            Decimal("0.000001"), rounding=ROUND_HALF_UP
        )
        constant = abs(factor - 1) > LEAST_FACTOR_DIFFERENCE and factor < MAX_FACTOR
        return factor if constant else None

    @property
    def fit(self) -> Decimal | None:
        """Recorded reads as a share of those that the rule predicts; None if it predicts none."""
        if not self.predicted_reads:
            return None
        share = Decimal(min(self.recorded_reads, self.predicted_reads)) / self.predicted_reads
        return share.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP)


def fetch_calibration(
    rows: ir.Table, pair_rows: ir.Table, shape: Shape, pairs: Sequence[Pair]
) -> dict[LogKey, KeyCalibration]:
    """The calibration of each price key, from `rows` of `with_session_values`."""
    key_of = {pair.index: pair.key for pair in pairs}
    groups = _groups(fetch_from(rows, _sums, shape, beside=(pair_rows,)))
    found = np.unique(groups.pair).tolist()
    numbers = {key: n for n, key in enumerate(dict.fromkeys(key_of[pair] for pair in found))}
    number_of = np.zeros(max(found, default=0) + 1, dtype=np.int64)
    number_of[found] = [numbers[key_of[pair]] for pair in found]
    number = number_of[groups.pair]
    return {key: _calibration(groups.only(number == n)) for key, n in numbers.items()}


@dataclass(frozen=True)
class _Groups:
    """Sums by pair and by recorded cost in thousandths of the price, in the order of `_sums`."""

    pair: Ints
    ratio: Ints
    requests: Ints
    recorded: Amounts
    explained: Amounts
    recorded_reads: Ints
    predicted_reads: Ints
    misplaced_reads: Ints

    def only(self, where: npt.NDArray[np.bool_]) -> _Groups:
        """Some of the groups."""
        return _Groups(*(getattr(self, field.name)[where] for field in fields(self)))


def _groups(table: pa.Table) -> _Groups:
    def whole(name: str) -> Ints:
        return as_integers(pc.fill_null(table[name].cast(pa.int64()), 0))

    def money(name: str) -> Amounts:
        amounts = table[name].cast(pa.decimal128(38, 12))
        return as_amounts(pc.fill_null(amounts, pa.scalar(Decimal(0), amounts.type)))

    return _Groups(
        pair=whole("pair"),
        ratio=whole("ratio"),
        requests=whole("requests"),
        recorded=money("recorded"),
        explained=money("explained"),
        recorded_reads=whole("recorded_reads"),
        predicted_reads=whole("predicted_reads"),
        misplaced_reads=whole("misplaced_reads"),
    )


def _calibration(groups: _Groups) -> KeyCalibration:
    priced = groups.only(groups.ratio != 0)
    result = KeyCalibration(
        recorded=_total(priced.recorded),
        explained=_total(priced.explained),
        recorded_reads=_total(groups.recorded_reads),
        predicted_reads=_total(groups.predicted_reads),
        misplaced_reads=_total(groups.misplaced_reads),
        unrecorded=_total(groups.requests[groups.ratio == 0]),
    )
    comparable = priced.only(priced.ratio > 0)
    if len(comparable.ratio):
        ratios, at = np.unique(comparable.ratio, return_inverse=True)
        # Of ratios that are as frequent, the least.
        mode = ratios[np.argmax(np.bincount(at, weights=comparable.requests))]
        near = comparable.only(np.abs(comparable.ratio - mode) <= 1)
        result.comparable = _total(comparable.requests)
        result.near = _total(near.requests), _total(near.recorded), _total(near.explained)
    return result


def _total(values: Amounts) -> int:
    """The sum, which may need more than 64 bits."""
    return sum(values.tolist())


def _sums(rows: ir.Table, pair_rows: ir.Table, shape: Shape) -> ir.Table:
    rows = with_warm_prefixes(rows.join(pair_rows, "pair"), shape)
    answered = rows.filter(~rows.failed & ~rows.cached)
    answered = answered.mutate(explained_usd=as_usd(answered.explained, rows.get_backend()))
    # Without a type, DuckDB would keep three digits of it.
    least = ibis.literal(_LEAST_USD, ROW_MONEY_TYPE)
    priced = answered.explained_usd.notnull() & (answered.explained_usd >= least)
    # Engines compute both branches of a CASE, also for a price of 0.
    price = ibis.greatest(answered.explained_usd.cast("float64"), float(_LEAST_USD))
    ratio = answered.cost_usd.cast("float64") / price * _BINS + 1.5
    # At least 1: 0 is for no recorded cost at all.
    bounded = (answered.cost_usd == 0).ifelse(0.0, ibis.least(ratio, 10.0**6)).floor().cast("int64")
    rows = answered.mutate(
        ratio=priced.ifelse(bounded, ibis.literal(-1, "int64")),
    )
    reads = rows.source_caches.ifelse(rows.charged, ibis.literal(0, "int64"))
    return rows.group_by("pair", "ratio").aggregate(
        requests=rows.count(),
        recorded=rows.cost_usd.sum(where=rows.explained_usd.notnull()),
        explained=rows.explained_usd.sum(),
        recorded_reads=reads.sum(),
        predicted_reads=rows.logged_warm.sum(),
        misplaced_reads=(reads - rows.logged_warm).abs().sum(),
    )


@dataclass(frozen=True)
class Carried:
    """What applies to each pair beside its tokens: by pair index."""

    fit: Mapping[int, Value]
    factor: Mapping[int, Value]
    rest: Mapping[int, Value]
    redo: Mapping[int, Value]
    fill: Mapping[int, Value]

    def table(self, pairs: Sequence[Pair]) -> pa.Table:
        """The values as rows of `CARRIED`."""

        def row(pair: Pair) -> dict[str, Any]:
            factor = self.factor[pair.index]
            scoped = factor.value if factor.scope == "gateway" else Decimal(1)
            return {
                "carried_pair": pair.index,
                "fit": int(self.fit[pair.index].value * MICRO),
                "factor": scoped,
                "factor_micro": int(scoped * MICRO),
                "source_factor": factor.value,
                "source_factor_micro": int(factor.value * MICRO),
                "redo_share": self.redo[pair.index].value,
                "rest_stays": self.rest[pair.index].value > 0,
                "fill": self.fill[pair.index].value > 0,
                "attempt_share": _value_of(pair, "paid_attempts"),
            }

        return pa.Table.from_pylist([row(pair) for pair in pairs], schema=CARRIED)

    @property
    def factors(self) -> bool:
        """Whether some pair has a factor other than 1."""
        return any(value.value != 1 for value in self.factor.values())

    @property
    def stays(self) -> bool:
        """Whether some unexplained cost stays."""
        return any(value.value > 0 for value in self.rest.values())

    @property
    def fills(self) -> bool:
        """Whether some request that is recorded at no cost takes its price."""
        return any(value.value > 0 for value in self.fill.values())

    @property
    def asks_again(self) -> bool:
        """Whether some answers are asked again."""
        return any(value.value > 0 for value in self.redo.values())


def _value_of(pair: Pair, name: AssumptionName) -> Decimal:
    return pair.values[name].value if name in pair.values else Decimal(0)


def calibrate(
    pairs: Sequence[Pair],
    routes: Sequence[ProposedRoute],
    inputs: ProjectionInputs,
    sums: Mapping[LogKey, KeyCalibration],
) -> Carried:
    """The value of each calibrated assumption for each pair."""
    names = [route.name for route in routes]

    def route_of(pair: Pair) -> str | None:
        return names[pair.route] if pair.route >= 0 else None

    fit, factor, rest, redo, fill = {}, {}, {}, {}, {}
    for pair in pairs:
        own = sums.get(pair.key, KeyCalibration())
        at = (pair.key, pair.target, route_of(pair))
        fit[pair.index] = pick(inputs.assumptions, "cache_fit", *at) or _fit(pair, sums)
        factor[pair.index] = _factor(own, pick(inputs.assumptions, "price_factor", *at))
        rest[pair.index] = _rest(
            own, factor[pair.index].value, pick(inputs.assumptions, "rest", *at)
        )
        redo[pair.index] = pair.values.get("redo", Value(Decimal(0)))
        fill[pair.index] = _fill(own, pick(inputs.assumptions, "unrecorded_cost", *at))
    return Carried(fit, factor, rest, redo, fill)


def _fill(own: KeyCalibration, given: Value | None) -> Value:
    """1 if requests that are recorded at no cost take their price: loggers lose costs, and
    providers do not."""
    if given is not None:
        return given
    return Value(Decimal(int(own.unrecorded > 0)), source="catalogue", note="the price of tokens")


def _fit(pair: Pair, sums: Mapping[LogKey, KeyCalibration]) -> Value:
    """The fit of the source's reads, else of the target's, else that of the rule."""
    for key, note in ((pair.key, "reads of the source"), (pair.target, "reads of the target")):
        own = None if key is None else sums.get(key)
        if own is not None and own.fit is not None:
            return Value(own.fit, source="log", note=note)
    return Value(Decimal(1), source="none", note="no request shows which prefixes are shared")


def _factor(own: KeyCalibration, given: Value | None) -> Value:
    """The constant factor; unless its scope is given, the one with the smaller saving applies."""
    value = given.value if given is not None and given.stated else own.factor
    if value is None:
        return Value(Decimal(1), source="log")
    if value >= MAX_FACTOR:
        raise InputError(f"price_factor is {value}; expected below {MAX_FACTOR:,}")
    scope = None if given is None else given.scope
    smaller: CostScope = "gateway" if value > 1 else "model"
    return Value(
        value,
        source="log" if given is None else given.source,
        scope=scope or smaller,
        note="" if scope else SCOPE_UNKNOWN,
    )


def _rest(own: KeyCalibration, factor: Decimal, given: Value | None) -> Value:
    """1 if the unexplained part of the recorded cost stays, 0 if it goes away with the source."""
    if given is not None and given.scope is not None:
        return given._replace(value=Decimal(int(given.scope == "gateway")))
    if given is not None:
        return given
    unexplained = usd(own.recorded) - usd(own.explained) * factor
    return Value(Decimal(int(unexplained > 0)), source="none")
