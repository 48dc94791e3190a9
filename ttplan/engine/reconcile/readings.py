"""Amounts with the interval for one look and the confidence sequence for every look."""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

from ttplan.engine.intervals.infer import LEAST_EFFECTIVE
from ttplan.engine.intervals.sequence import (
    ALPHA,
    around,
    mixture_for,
    narrowest_radius,
    once_radius,
)
from ttplan.engine.intervals.studentised.choose import ENOUGH
from ttplan.engine.reconcile.parts import (
    PLAN,
    SAVINGS,
    Comparison,
    Estimate,
    InputRates,
    Sums,
    compare_sums,
)
from ttplan.model.plan import Interval

LARGE_SHIFT = 0.3
"""A large change, which sequences are tuned for besides small ones: a share of what the rerouted
requests cost at their source if the amount is about them, otherwise of the projected cost."""
_OF_REROUTED = {"routing", "rate", PLAN, SAVINGS}
ROUNDING = 1e-12
"""A standard error of less than this share of the projected cost is rounding."""


class Reading(NamedTuple):
    """An amount (USD per day), its 95 % interval for one look, and its 95 % confidence sequence;
    both are None if there are too few clusters."""

    value: float
    once: Interval | None
    sequence: Interval | None


class Reconciler:
    """Compares what came after a plan's window with the window.

    All that the sequences are tuned with is of the window, so it is fixed before the first look.
    One mixture is best for small changes once as much has come as the window has, the other for
    large ones. The variance of what came counts as no less than the window's, since few clusters
    often miss the rare expensive ones; for one look that holds if fewer than `ENOUGH` came.
    """

    def __init__(
        self, window: Sums, rates: InputRates, days: float, *, fixed_clusters: bool
    ) -> None:
        self.window = window
        self.rates = rates
        self.days = days
        self.fixed_clusters = fixed_clusters
        self._own = self._compare(window, days)
        at_source = float(window.source_usd[window.rerouted].sum()) / days
        self._shift = {True: LARGE_SHIFT * at_source, False: LARGE_SHIFT * self._own.expected}
        self._rounding = (ROUNDING * self._own.expected) ** 2

    def compare(self, live: Sums, days: float) -> tuple[Comparison, dict[str, Reading]]:
        """The comparison, and each of its estimates with intervals."""
        comparison = self._compare(live, days)
        growth = float(live.requests[live.kind >= 0].sum()) / days
        growth /= float(self.window.requests.sum()) / self.days
        scale = self.days / days * growth
        floor = {
            name: max(estimate.live, self._own.estimates[name].live * scale)
            for name, estimate in comparison.estimates.items()
        }
        few = live.effective < ENOUGH
        return comparison, {
            name: self._reading(
                name, estimate, floor[name] if few else estimate.live, floor[name], comparison
            )
            for name, estimate in comparison.estimates.items()
        }

    def _compare(self, live: Sums, days: float) -> Comparison:
        return compare_sums(
            self.window,
            live,
            self.rates,
            (self.days, days),
            fixed_clusters=self.fixed_clusters,
        )

    def _reading(
        self, name: str, estimate: Estimate, once: float, always: float, comparison: Comparison
    ) -> Reading:
        """`once` and `always` are the variance of what came, for one look and for all."""
        if comparison.effective < LEAST_EFFECTIVE:
            return Reading(estimate.value, None, None)
        own = self._own.estimates[name]
        once, always = (
            variance if variance > self._rounding else 0.0
            for variance in (estimate.window + once, estimate.window + always)
        )
        shift = self._shift[name in _OF_REROUTED]
        radius = narrowest_radius(always, (mixture_for(own.variance, ALPHA / 2), shift**2))
        return Reading(
            estimate.value,
            around(estimate.value, once_radius(once)),
            around(estimate.value, radius) if isfinite(radius) else None,
        )
