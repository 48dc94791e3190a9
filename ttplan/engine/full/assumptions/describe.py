"""What a full projection adds to a result: assumptions, counts, caveats and its standard error."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import ibis.expr.types as ir

from ttplan.engine.causes import split_change
from ttplan.engine.caveats import requests
from ttplan.engine.full.assumptions.effects import (
    assumption_effects,
    full_details,
    standard_error,
)
from ttplan.engine.full.assumptions.totals import FullTotals, fetch_totals
from ttplan.engine.full.project import FullMapping
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.summary import usd
from ttplan.model.plan import Aggregates
from ttplan.model.projection.assumption import AssumptionEffect, AssumptionName
from ttplan.model.projection.full import FullProjection
from ttplan.model.results.parts import ChangeByCause

RECORDED_SHARE = Decimal("0.05")
LEAST_RECORDED = Decimal("0.01")
"""From this share of the change, and this many USD, costs that no price explains are a caveat."""
_ASSUMED: dict[str, set[AssumptionName]] = {
    "tokens": {"ratio_in", "ratio_out", "ratio_reasoning", "reasoning_tokens", "redo"},
    "caches": {"cache_fit", "cache_breakpoints"},
    "recorded": {"price_factor", "rest", "unrecorded_cost"},
}
"""The assumptions that each cause rests on most."""
MISPLACED_SHARE = 0.01
"""Up to this share of the predicted cache reads may differ from the recorded ones."""


class FullDescription(NamedTuple):
    """What a full projection adds to a result. `standard_error` (USD) is the assumptions', and
    `cause_errors` are theirs by what of `causes` they are about."""

    aggregates: Aggregates
    assumptions: tuple[AssumptionEffect, ...]
    details: FullProjection
    caveats: tuple[str, ...]
    standard_error: float
    causes: ChangeByCause
    cause_errors: dict[str, float]


def describe_full(
    mapped: ir.Table, mapping: FullMapping, aggregates: Aggregates, spec: ReplaySpec
) -> FullDescription:
    """Describe the rows of a full projection. `aggregates` are those of its summary."""
    routes = spec.active_routes
    totals = fetch_totals(mapped, mapping)
    savings = aggregates.change_vs_actual_usd
    effects = assumption_effects(totals, mapping, savings, routes)
    details = full_details(totals, mapping, routes)
    other = Decimal(0) if mapping.other_prices is None else usd(mapping.other_prices.more)
    already = aggregates.total_baseline_cost_usd - aggregates.total_actual_cost_usd
    more = {"savings_at_plan_prices_usd": savings + other, "saved_already_usd": already}
    causes = split_change(totals.causes, savings)
    return FullDescription(
        aggregates.model_copy(update=more),
        effects,
        details,
        (*_recorded_caveat(causes, savings), *_caveats(totals, mapping, details)),
        standard_error(effects),
        causes,
        {
            cause: standard_error(effect for effect in effects if effect.name in names)
            for cause, names in _ASSUMED.items()
        },
    )


def _recorded_caveat(causes: ChangeByCause, savings: Decimal) -> Iterator[str]:
    """What list prices do not explain, if it matters."""
    amount = causes.recorded
    if abs(amount) < LEAST_RECORDED or abs(amount) < RECORDED_SHARE * abs(savings):
        return
    verb = "saved" if amount > 0 else "lost"
    yield (
        f"{abs(amount):,.2f} USD are {verb} in recorded costs that list prices do not explain, "
        "such as margins, discounts and models without a price, not by prices, tokens or caches."
    )


def _caveats(totals: FullTotals, mapping: FullMapping, details: FullProjection) -> Iterator[str]:
    for reason, (count, cost) in sorted(totals.ineligible.items()):
        yield (
            f"{requests(count)} cannot be served by the target ({reason}): they stay on their "
            f"model at their actual cost, {cost:,.2f} USD."
        )
    lost = sum(sums.unrecorded for sums in mapping.sums.values())
    if lost and mapping.carried.fills:
        yield (
            f"{lost:,} requests are recorded at no cost and have a price: they count at their "
            "price."
        )
    predicted = sum(sums.predicted_reads for sums in mapping.sums.values())
    misplaced = sum(sums.misplaced_reads for sums in mapping.sums.values())
    follows = any(sums.warm or sums.kept for sums in totals.pairs.values())
    if follows and predicted and misplaced > MISPLACED_SHARE * predicted:
        yield (
            f"Request by request, recorded cache reads differ from the rule of provider caches by "
            f"{misplaced / predicted:.1%} of its tokens: prompts are rewritten, shared, or dropped "
            "early. If a route divides sessions, the reads that it projects may be off by more "
            "than that, and the interval does not contain it."
        )
    if details.prices_change:
        days = ", ".join(f"{change:%Y-%m-%d}" for change in details.prices_change)
        yield f"Prices of these models change after the plan's moment, on {days}: plan again then."
    unknown = sorted(
        {
            pair.target.name
            for pair in mapping.pairs
            if pair.index in totals.pairs
            and pair.target is not None
            and None in (pair.limits.context_tokens, pair.limits.output_tokens)
        }
    )
    count = sum(
        totals.pairs[pair.index].requests
        for pair in mapping.pairs
        if pair.index in totals.pairs and pair.target is not None and pair.target.name in unknown
    )
    if count:
        yield (
            f"The limits of {', '.join(unknown)} are not known: {count:,} requests count as served."
        )
    unpriced = sum(
        counts.requests
        for key, counts in mapping.log.keys.items()
        if not any(
            (p.provider, p.model) == (key.provider, key.model) for p in mapping.inputs.prices
        )
    )
    if unpriced:
        yield (
            f"{unpriced:,} requests ran on models without a known price: what their recorded cost "
            "contains besides tokens is not known."
        )
