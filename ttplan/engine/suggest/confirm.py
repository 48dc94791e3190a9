"""Confirming: what each chosen route saves in the held-out half, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import sqrt

import ibis
import ibis.expr.types as ir
import numpy as np
from scipy.special import stdtr

from ttplan.engine.caveats import unit_text
from ttplan.engine.cost import NO_ROUTE
from ttplan.engine.dialects import fetch
from ttplan.engine.intervals.clusters import with_minute
from ttplan.engine.intervals.infer import FEW, LEAST_EFFECTIVE
from ttplan.engine.intervals.moments import LOWER
from ttplan.engine.intervals.studentised.choose import Variances, choose_unit, variances
from ttplan.engine.intervals.studentised.hall import Spread, total_interval, transformed
from ttplan.engine.intervals.studentised.units import Grouped, UnitSums, read_grouped
from ttplan.engine.rows import PERIODS
from ttplan.engine.suggest.division import Choice
from ttplan.engine.suggest.halves import Halves, spread_of_requests, units_input, units_of
from ttplan.engine.suggest.losses import largest_loss, one_more, with_loss
from ttplan.engine.suggest.segments import Segments, Sums
from ttplan.model.plan import Interval

FAMILY_ERROR = 0.05
"""The probability that any route that saves nothing is confirmed, at most."""


@dataclass(frozen=True)
class Check:
    """How a route's savings in the held-out half vary, by which unit, and the one-sided p-value of
    no saving with one more large loss: alone, and adjusted for all routes that were tried."""

    unit: str
    spread: Spread
    p_value: float
    adjusted: float = 1.0

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the savings (USD)."""
        return total_interval(self.spread)


def chance_share(tried: int) -> float:
    """The share of `tried` routes that would be confirmed by chance if none saved: the level at
    which each is tested. An interval above 0 is required, too."""
    return min(FAMILY_ERROR / max(tried, 1), LOWER)


def p_value(spread: Spread, loss: float = 0.0) -> float:
    """The one-sided p-value of no saving, as it is and with one more unit that loses `loss` USD,
    whichever is larger."""
    alone = _p_value(spread)
    return max(alone, _p_value(with_loss(spread, loss))) if loss > 0 else alone


def _p_value(spread: Spread) -> float:
    """From the studentised sum: the larger one of Student's t as it is and with Hall's correction
    for skewness."""
    variance = spread.variance()
    if spread.s <= 0 or not variance:
        return 0.0 if spread.s > 0 else 1.0
    t = spread.s / sqrt(variance)
    return float(stdtr(spread.t_degrees, -min(t, transformed(t, spread.skewness()))))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number: S. Holm, A Simple Sequentially Rejective Multiple
    Test Procedure (1979).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, worst = [1.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = worst
    return adjusted


def check_routes(
    rows: ir.Table,
    log: Segments,
    halves: Halves,
    choices: Sequence[Choice],
    sums: Sequence[Sums],
    window_end: datetime,
) -> list[Check]:
    """Check the chosen routes, whose sums in the held-out half are `sums`, on its rows."""
    if not choices:
        return []
    requests = sum(part.requests for part in log.held_out.values())
    late = halves.late(rows)
    parts = rows.filter(late), rows.filter(~late)
    minutes = tuple(_read(part, "minute", log, choices) for part in parts)
    span = minutes[0].span((halves.split_at, window_end))
    sources = [(minutes, name, seconds) for name, seconds in PERIODS.items()]
    if halves.session is not None:
        clusters = tuple(_read(part, "cluster", log, choices) for part in parts)
        sources.insert(0, (clusters, halves.session, 0))
    chosen = halves.choice.name
    names = [name for _, name, _ in sources]
    # A route's savings may vary more by a coarser unit than those of all requests do.
    sources = sources[names.index(chosen) if chosen in names else 0 :]
    units = [units_of(grouped[0], name, seconds, span) for grouped, name, seconds in sources]
    checks, losses = [], []
    for i, (choice, part) in enumerate(zip(choices, sums, strict=True)):
        own = [
            _with_route(unit, _of_route(grouped[0], i))
            for unit, (grouped, _, _) in zip(units, sources, strict=True)
        ]
        at = 0 if chosen in names else None
        if at is not None:
            spread, current = own[0].spread("change", "requests"), variances(*own[0].spreads)
        else:
            saved, step = part.targets[choice.target], log.steps[choice.target]
            spread = spread_of_requests(saved, step, requests)
            among = spread_of_requests(saved, step, part.requests)
            current = Variances(0.0, among.variance(among.ratio), 0.0)
        coarser = choose_unit(current, own if at is None else own[1:]).unit
        if coarser is not None:
            at = own.index(coarser)
            spread = coarser.spread("change", "requests")
        grouped, name, seconds = (minutes, chosen, 0) if at is None else sources[at]
        checks.append((name, spread))
        of_route = [_of_route(half, i) for half in grouped]
        losses.append(largest_loss(of_route, seconds, by_request=at is None))
    p_values = [
        p_value(spread, loss) for (_, spread), loss in zip(checks, one_more(losses), strict=True)
    ]
    return [
        Check(unit, spread, p, adjusted)
        for (unit, spread), p, adjusted in zip(checks, p_values, holm(p_values), strict=True)
    ]


def why_unconfirmed(check: Check, requests: int, tried: int) -> str:
    """Why a route with that many held-out requests, one of those tried, is not confirmed; "" if it
    is."""
    if requests < FEW:
        return f"too few to confirm: {requests:,} requests in the held-out half, fewer than {FEW}"
    if check.spread.s <= 0:
        return "the held-out half saves nothing"
    if check.spread.carriers < LEAST_EFFECTIVE:
        return (
            f"too few to confirm: a few {unit_text(check.unit)} carry most of the change in the "
            f"held-out half"
        )
    if check.interval[0] <= 0:
        return "the held-out half may as well save nothing: its interval reaches 0"
    if check.adjusted > FAMILY_ERROR:
        return (
            f"as much may be saved by chance: with one more large loss, the p-value, adjusted for "
            f"{tried:,} routes, is {check.adjusted:.2f}"
        )
    return ""


def _read(rows: ir.Table, key: str, log: Segments, choices: Sequence[Choice]) -> Grouped:
    """The requests, savings and cost of a half, and the least and largest saving of a request, by
    unit and the position of their route."""
    route = ibis.cases(
        *(
            (_matches(rows, log, choice), ibis.literal(i, "int64"))
            for i, choice in enumerate(choices)
        ),
        else_=ibis.literal(NO_ROUTE, "int64"),
    )
    table = rows.mutate(route=route)
    table = with_minute(table) if key == "minute" else table
    zero = ibis.literal(Decimal(0), table.saved_0.type())
    targets = {choice.target for choice in choices}
    saved = ibis.cases(
        *(
            (
                table.route.isin([i for i, c in enumerate(choices) if c.target == target]),
                table[f"saved_{target}"],
            )
            for target in sorted(targets)
        ),
        else_=zero,
    )
    kept = table.select(key, "route", "cost_usd", saved=saved)
    sums = kept.group_by(key, "route").aggregate(
        requests=kept.count(),
        change=kept.saved.sum(),
        cost=kept.cost_usd.sum(),
        least=kept.saved.min(),
        most=kept.saved.max(),
    )
    return read_grouped(fetch(sums))


def _matches(rows: ir.Table, log: Segments, choice: Choice) -> ir.BooleanValue:
    segment = choice.segment
    condition: ir.BooleanValue = ibis.literal(True)
    if segment.model is not None:
        condition &= rows.model == segment.model
    if segment.tag is not None:
        condition &= rows.tag == segment.tag
    if segment.low:
        condition &= rows.input_tokens >= log.bounds[segment.low - 1]
    if segment.high <= len(log.bounds):
        condition &= rows.input_tokens < log.bounds[segment.high - 1]
    return condition


def _with_route(unit: UnitSums, own: Grouped) -> UnitSums:
    """The units, with the requests and savings of one route."""
    columns = dict(units_input(own).columns)
    return unit.with_sums(own, **columns)


def _of_route(grouped: Grouped, route: int) -> Grouped:
    return grouped.rows(np.flatnonzero(grouped.route == route).tolist())
