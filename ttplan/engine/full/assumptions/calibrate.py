"""What the recorded costs and cached tokens tell, compared with prices and with the cache rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from ttplan.engine.dialects import ROW_MONEY_TYPE, as_integers, fetch_from, small_table
from ttplan.engine.full.assumptions.resolve import Pair, Value, pick
from ttplan.engine.full.log_facts import LogKey
from ttplan.engine.full.money import amount_sum, as_usd
from ttplan.engine.full.sessions import with_warm_prefixes
from ttplan.engine.full.shape import MICRO, Shape
from ttplan.engine.full.tables import CARRIED
from ttplan.engine.summary import PICO, pico, usd
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
_RATIOS = 2**20
"""More than there are ratios."""
_UNRECORDED, _NEAR, _OTHER = 0, 1, 2
"""Requests without a recorded cost, near the most frequent ratio, and others."""
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
    """The calibration of each price key, from `rows` of `with_session_values`.

    Only counted by ratio at first: there may be as many ratios as requests.
    """
    result: dict[LogKey, KeyCalibration] = defaultdict(KeyCalibration)
    modes = _modes(fetch_from(rows, _ratios, shape), pairs, result)
    with small_table(rows.get_backend(), modes) as mode_rows:
        sums = fetch_from(rows, _sums, shape, beside=(pair_rows, mode_rows)).to_pylist()
    read = int if shape.pico else pico
    for row in sorted(sums, key=lambda row: (row["pair"], row["kind"])):
        own = result[pairs[row["pair"]].key]
        recorded, explained = (
            0 if row[name] is None else read(row[name]) for name in ("recorded", "explained")
        )
        own.recorded_reads += row["recorded_reads"]
        own.predicted_reads += row["predicted_reads"]
        own.misplaced_reads += row["misplaced_reads"]
        if row["kind"] == _UNRECORDED:
            own.unrecorded += row["requests"]
            continue
        own.recorded += recorded
        own.explained += explained
        if row["kind"] == _NEAR:
            near = zip(own.near, (row["requests"], recorded, explained), strict=True)
            own.near = tuple(map(sum, near))  # type: ignore[assignment]
    return dict(result)


def _modes(
    ratios: pa.Table, pairs: Sequence[Pair], result: dict[LogKey, KeyCalibration]
) -> pa.Table:
    """The most frequent ratio of each pair's price key, and in `result` how many requests are
    compared."""
    packed, requests = as_integers(ratios["packed"]), as_integers(ratios["requests"])
    pair, ratio = packed // _RATIOS, packed % _RATIOS
    modes = {}
    for key in dict.fromkeys(pair.key for pair in pairs):
        own = np.isin(pair, [pair.index for pair in pairs if pair.key == key])
        if own.any():
            values, at = np.unique(ratio[own], return_inverse=True)
            counts = np.bincount(at, weights=requests[own])
            # Of ratios that are as frequent, the least.
            modes[key] = int(values[np.argmax(counts)])
            result[key].comparable = int(requests[own].sum())
    return pa.table(
        {
            "mode_pair": pa.array([pair.index for pair in pairs], pa.int32()),
            "mode": pa.array([modes.get(pair.key, -_BINS) for pair in pairs], pa.int64()),
        }
    )


def _with_ratio(rows: ir.Table, shape: Shape) -> ir.Table:
    """Answered `rows` with `ratio`, the recorded cost in thousandths of the price: 0 if none is
    recorded, negative if the price is too low to compare with."""
    backend = rows.get_backend()
    answered = rows.filter(~rows.failed & ~rows.cached)
    answered = answered.mutate(
        listed=answered.explained if shape.pico else as_usd(answered.explained, backend)
    )
    unit = float(PICO) if shape.pico else 1.0
    # Without a type, DuckDB would keep three digits of it.
    least = ibis.literal(_LEAST_USD, ROW_MONEY_TYPE)
    if shape.pico:
        least = ibis.literal(pico(_LEAST_USD), "int64")
    priced = answered.listed.notnull() & (answered.listed >= least)
    # Engines compute both branches of a CASE, also for a price of 0.
    price = ibis.greatest(answered.listed.cast("float64") / unit, float(_LEAST_USD))
    ratio = answered.cost_usd.cast("float64") / unit / price * _BINS + 1.5
    # At least 1: 0 is for no recorded cost at all.
    bounded = (answered.cost_usd == 0).ifelse(0.0, ibis.least(ratio, 10.0**6)).floor().cast("int64")
    return answered.mutate(ratio=priced.ifelse(bounded, ibis.literal(-1, "int64")))


def _ratios(rows: ir.Table, shape: Shape) -> ir.Table:
    """How many requests have each ratio, by pair, in one number."""
    rows = _with_ratio(rows, shape)
    rows = rows.filter(rows.ratio > 0)
    packed = rows.pair.cast("int64") * _RATIOS + rows.ratio
    return rows.group_by(packed=packed).aggregate(requests=rows.count())


def _sums(rows: ir.Table, pair_rows: ir.Table, modes: ir.Table, shape: Shape) -> ir.Table:
    rows = with_warm_prefixes(rows.join(pair_rows, "pair"), shape)
    rows = _with_ratio(rows.join(modes, rows.pair == modes.mode_pair), shape)
    near = (rows.ratio > 0) & ((rows.ratio - rows.mode).abs() <= 1)
    kind = ibis.cases((rows.ratio == 0, _UNRECORDED), (near, _NEAR), else_=_OTHER)
    reads = rows.source_caches.ifelse(rows.charged, ibis.literal(0, "int64"))
    rows = rows.mutate(kind=kind.cast("int8"), reads=reads)
    backend = rows.get_backend()
    return rows.group_by("pair", "kind").aggregate(
        requests=rows.count(),
        recorded=amount_sum(rows.cost_usd, backend, rows.listed.notnull()),
        explained=amount_sum(rows.listed, backend),
        recorded_reads=rows.reads.sum(),
        predicted_reads=rows.logged_warm.sum(),
        misplaced_reads=(rows.reads - rows.logged_warm).abs().sum(),
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
                "redo_micro": int(self.redo[pair.index].value * MICRO),
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
