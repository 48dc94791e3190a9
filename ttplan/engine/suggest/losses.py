"""Large losses that a log may not show: a route must save even if it had one more of them.

If few units lose much and most save a little, a sample often has none of those that lose, or too
few. Then its mean is too high and its spread too small, whatever the formula. So one more unit is
counted. It loses a multiple of the largest loss of the route in either half: `BALANCED` if the
units of all tried routes gain as much as they lose at most, up to `ONE_SIDED` if they only lose.
If they only lose, it loses no less than `OTHERS` times the largest share of its cost that a unit of
any tried route loses. The three factors were found by simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from typing import NamedTuple

import numpy as np

from ttplan.engine.intervals.studentised.hall import Spread, effective_number
from ttplan.engine.intervals.studentised.units import MINUTE, Grouped, add_by
from ttplan.engine.summary import PICO

ONE_SIDED, BALANCED, OTHERS = 3.0, 0.5, 0.5


class Loss(NamedTuple):
    """The largest loss of a unit, in USD and as a share of what that unit cost, its largest gain,
    and the mean cost of a unit (USD)."""

    usd: float
    share: float
    gain: float
    mean_cost: float


def largest_loss(halves: Sequence[Grouped], seconds: int, *, by_request: bool) -> Loss:
    """The largest loss of one route in the two halves of its rows, by units of `seconds` (0:
    clusters); by request, the share is that of a minute."""
    usd, share, gain, cost, units = 0.0, 0.0, 0.0, 0.0, 0
    for grouped in halves:
        if not len(grouped.keys):
            continue
        columns = grouped.columns
        own, codes = np.unique(grouped.keys_of(seconds or MINUTE), return_inverse=True)
        saved, paid = (
            add_by(codes, columns[name], len(own)).astype(np.float64) / PICO
            for name in ("change", "cost")
        )
        known = paid > 0
        share = max(share, float((-saved[known] / paid[known]).max(initial=0.0)))
        if by_request:
            saved = np.array([columns["least"].min(), columns["most"].max()], dtype=float) / PICO
        usd, gain = max(usd, -float(saved.min())), max(gain, float(saved.max()))
        cost += float(paid.sum())
        units += int(columns["requests"].sum()) if by_request else len(own)
    return Loss(usd, share, gain, cost / units if units else 0.0)


def one_more(losses: Sequence[Loss]) -> list[float]:
    """The loss (USD) of one more unit of each of some routes."""
    known = [loss for loss in losses if loss.mean_cost > 0]
    share = max((loss.share for loss in known), default=0.0)
    lost, gained = (
        sum(getattr(loss, name) / loss.mean_cost for loss in known) for name in ("usd", "gain")
    )
    balance = min(1.0, gained / lost) if lost else 1.0
    own = ONE_SIDED + (BALANCED - ONE_SIDED) * balance
    share *= OTHERS * (1 - balance)
    return [max(own * loss.usd, share * loss.mean_cost) for loss in losses]


def with_loss(spread: Spread, usd: float) -> Spread:
    """The spread with one more unit, which loses that much.

    P. Pébay, Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
    statistical moments (2008), of a sample and one value.
    """
    n, mean = spread.units, spread.s / spread.units
    delta = -usd - mean
    second = spread.moments[(2, 0)] * (n - 1) / n
    third = spread.moments[(3, 0)] * (n - 1) / n
    third += delta**3 * n * (n - 1) / (n + 1) ** 2 - 3 * second * delta / (n + 1)
    squares = second + spread.s * mean
    size = sqrt(spread.carriers * squares) + usd
    second += delta**2 * n / (n + 1)
    moments = {**spread.moments, (2, 0): second * (n + 1) / n, (3, 0): third * (n + 1) / n}
    return replace(
        spread,
        units=n + 1,
        degrees=spread.degrees + 1,
        s=spread.s - usd,
        moments=moments,
        carriers=effective_number(size, squares + usd * usd),
    )
