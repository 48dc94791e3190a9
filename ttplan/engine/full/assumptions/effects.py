"""The effect of each assumption on the savings, and the value at which they are gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from math import sqrt
from typing import NamedTuple

from ttplan.engine.full.assumptions.calibrate import SCOPE_UNKNOWN
from ttplan.engine.full.assumptions.resolve import Pair, Value
from ttplan.engine.full.assumptions.totals import FullTotals, PairSums
from ttplan.engine.full.log_facts import LogKey
from ttplan.engine.full.project import FullMapping
from ttplan.engine.full.shape import AUTOMATIC, EXPLICIT
from ttplan.engine.full.tables import whole
from ttplan.model.money import MONEY_STEP
from ttplan.model.projection.assumption import MEANINGS, AssumptionEffect, AssumptionName
from ttplan.model.projection.full import (
    CacheFit,
    FullProjection,
    IneligibleRequests,
    PairTotals,
)
from ttplan.model.route import ProposedRoute

_ONE = Decimal(1)
_NOTHING = Decimal(0)


class Linear(NamedTuple):
    """One pair's part in an assumption: its value, the change of the savings per unit of it (USD),
    how many requests it is about, and the savings at the ends, as differences, if it is unknown."""

    pair: Pair
    value: Value
    slope: Decimal
    requests: int
    ends: tuple[Decimal, Decimal] | None = None


def assumption_effects(
    totals: FullTotals, mapping: FullMapping, savings: Decimal, routes: Sequence[ProposedRoute]
) -> tuple[AssumptionEffect, ...]:
    """The assumptions of a projection, by the size of what they can change.

    `savings` is actual minus projected cost, USD.
    """
    effects = [
        _effect(name, parts, savings, routes)
        for name, find in _FINDERS.items()
        for parts in _grouped(name, find(totals, mapping)).values()
    ]
    effects = [effect for effect in effects if _matters(effect)]
    return tuple(
        sorted(effects, key=lambda e: (-_weight(e, savings), e.name, e.target_model or ""))
    )


def standard_error(effects: Iterable[AssumptionEffect]) -> float:
    """The standard error (USD) that the assumptions' own errors add to the savings."""
    return sqrt(sum(((e.slope_usd or 0.0) * (e.standard_error or 0.0)) ** 2 for e in effects))


def full_details(
    totals: FullTotals, mapping: FullMapping, routes: Sequence[ProposedRoute]
) -> FullProjection:
    """What a full projection adds to a result besides its assumptions."""
    by_pair: dict[tuple[int, str, str], PairSums] = defaultdict(PairSums)
    for pair in mapping.pairs:
        own = totals.pairs.get(pair.index)
        if own is not None and own.requests and pair.target is not None:
            by_pair[(pair.route, pair.key.model, pair.target.model)].add(own)
    return FullProjection(
        inputs=mapping.inputs,
        ineligible=tuple(
            IneligibleRequests(reason=reason, requests=count, cost_usd=cost)
            for reason, (count, cost) in sorted(totals.ineligible.items())
        ),
        pairs=tuple(
            _pair_totals(routes[route].name, source, target, sums)
            for (route, source, target), sums in sorted(by_pair.items())
        ),
        cache_fit=_cache_fits(mapping),
        kept_cache_usd=totals.kept,
        has_answers=mapping.log.answers,
        prices_change=_coming_changes(totals, mapping),
    )


def _coming_changes(totals: FullTotals, mapping: FullMapping) -> tuple[datetime, ...]:
    """When prices of the moved requests' sources and targets are known to change after the plan's
    moment."""
    keys = {key for pair, _, _ in _moved(totals, mapping) for key in (pair.key, pair.target)}
    moment = mapping.inputs.prices_at
    return tuple(
        sorted(
            {
                piece.start
                for piece in mapping.inputs.prices
                if piece.start is not None
                and moment is not None
                and piece.start > moment
                and LogKey.of(piece) in keys
            }
        )
    )


def _pair_totals(route: str, source: str, target: str, sums: PairSums) -> PairTotals:
    return PairTotals(
        route=route,
        source_model=source,
        target_model=target,
        requests=sums.requests,
        actual_usd=sums.actual,
        projected_usd=sums.projected,
        input_usd=sums.input,
        cached_usd=sums.cached,
        written_usd=sums.written,
        visible_usd=sums.visible,
        reasoning_usd=sums.reasoning,
        fees_usd=sums.fees,
        rest_usd=sums.rest,
        hidden_token_usd=sums.hidden_token,
    )


def _cache_fits(mapping: FullMapping) -> tuple[CacheFit, ...]:
    by_model: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for key, sums in mapping.sums.items():
        by_model[key.model][0] += sums.recorded_reads
        by_model[key.model][1] += sums.predicted_reads
    return tuple(
        CacheFit(model=model, recorded_tokens=recorded, predicted_tokens=predicted)
        for model, (recorded, predicted) in sorted(by_model.items())
        if predicted
    )


def _moved(totals: FullTotals, mapping: FullMapping) -> Iterator[tuple[Pair, PairSums, Decimal]]:
    """Each pair with moved requests, its sums, and the factor on its target's cost."""
    for pair in mapping.pairs:
        sums = totals.pairs.get(pair.index)
        if sums is not None and sums.requests:
            value = mapping.carried.factor[pair.index]
            yield pair, sums, value.value if value.scope == "gateway" else _ONE


def _ratio_in(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair, sums, factor in _moved(totals, mapping):
        value = pair.values["ratio_in"]
        prompt = sums.input + sums.cached + sums.written
        yield Linear(pair, value, -factor * _per(prompt, value), sums.requests)


def _ratio_out(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair, sums, factor in _moved(totals, mapping):
        value = pair.values["ratio_out"]
        yield Linear(pair, value, -factor * _per(sums.visible, value), sums.requests)


def _ratio_reasoning(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair, sums, factor in _moved(totals, mapping):
        value = pair.values["ratio_reasoning"]
        if pair.source_thinks and pair.thinks is not False:
            added = whole(pair.values["reasoning_tokens"]) * sums.hidden_token
            own = sums.reasoning - added
            yield Linear(pair, value, -factor * _per(own, value), sums.requests)


def _reasoning_tokens(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair, sums, factor in _moved(totals, mapping):
        value = pair.values["reasoning_tokens"]
        if (value.value or not pair.source_thinks) and pair.thinks is not False:
            yield Linear(pair, value, -factor * sums.hidden_token, sums.requests)


def _redo(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair, sums, _ in _moved(totals, mapping):
        yield Linear(pair, pair.values["redo"], -sums.actual, sums.requests)


def _price_factor(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair, sums, _ in _moved(totals, mapping):
        value = mapping.carried.factor[pair.index]
        if value.value == 1:
            continue
        more = abs(value.value - 1) * sums.target
        ends = (_NOTHING, more) if value.note == SCOPE_UNKNOWN else None
        # A larger factor explains more of the recorded cost, so that less of it stays.
        stays = mapping.carried.rest[pair.index].value > 0
        explained = _per(sums.actual - sums.rest, value) if stays else _NOTHING
        slope = explained - (sums.target if value.scope == "gateway" else _NOTHING)
        yield Linear(pair, value, slope, sums.requests, ends)


def _rest(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair, sums, _ in _moved(totals, mapping):
        value = mapping.carried.rest[pair.index]
        if not sums.rest:
            continue
        other = sums.rest if value.value else -sums.rest
        ends = (min(other, _NOTHING), max(other, _NOTHING)) if value.source == "none" else None
        yield Linear(pair, value, -sums.rest, sums.requests, ends)


def _cache_fit(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair, sums, factor in _moved(totals, mapping):
        value = mapping.carried.fit[pair.index]
        if not mapping.shape.sessions:
            if pair.modes[1] in (AUTOMATIC, EXPLICIT) and sums.all_cold != sums.all_warm:
                now = sums.input + sums.cached + sums.written
                ends = (factor * (now - sums.all_cold), factor * (now - sums.all_warm))
                unknown = Value(_ONE, note="the log has no sessions: all cold, all warm")
                yield Linear(pair, unknown, _NOTHING, sums.requests, (min(ends), max(ends)))
        elif sums.warm:
            slope = factor * sums.warm + _per(sums.kept, value)
            ends = (-slope * value.value, slope * (1 - value.value))
            yield Linear(
                pair, value, slope, sums.requests, ends if value.source == "none" else None
            )
    if mapping.shape.sessions:
        yield from _kept_cache(totals, mapping)


def _kept_cache(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    """The part of requests that stay in the fit of the cache rule."""
    for pair in mapping.pairs:
        sums = totals.pairs.get(pair.index)
        if sums is not None and sums.kept and not sums.requests:
            value = mapping.carried.fit[pair.index]
            yield Linear(pair, value, _per(sums.kept, value), 0)


def _cache_breakpoints(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair, sums, factor in _moved(totals, mapping):
        if pair.marks_matter:
            value, slope = pair.values["cache_breakpoints"], factor * sums.marked
            counted = value._replace(value=Decimal(whole(value)))  # all prompts, or none
            ends = (min(slope, _NOTHING), max(slope, _NOTHING)) if value.source == "none" else None
            if slope or ends is None:
                yield Linear(pair, counted, slope, sums.requests, ends)


def _paid_attempts(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair in mapping.pairs:
        sums = totals.pairs.get(pair.index)
        if sums is not None and sums.attempted:
            value = pair.values["paid_attempts"]
            ends = (-sums.attempts, _NOTHING) if value.source == "none" else None
            yield Linear(pair, value, -sums.attempts, sums.attempted, ends)


def _unrecorded_cost(totals: FullTotals, mapping: FullMapping) -> Iterator[Linear]:
    for pair, sums, _ in _moved(totals, mapping):
        if sums.lost:
            yield Linear(pair, mapping.carried.fill[pair.index], sums.filled, sums.lost)


_FINDERS: dict[AssumptionName, Callable[[FullTotals, FullMapping], Iterator[Linear]]] = {
    "ratio_in": _ratio_in,
    "ratio_out": _ratio_out,
    "ratio_reasoning": _ratio_reasoning,
    "reasoning_tokens": _reasoning_tokens,
    "redo": _redo,
    "price_factor": _price_factor,
    "rest": _rest,
    "cache_fit": _cache_fit,
    "cache_breakpoints": _cache_breakpoints,
    "paid_attempts": _paid_attempts,
    "unrecorded_cost": _unrecorded_cost,
}


def _per(cost: Decimal, value: Value) -> Decimal:
    """The cost per unit of a ratio that it was multiplied with."""
    return cost / value.value if value.value else _NOTHING


def _grouped(
    name: AssumptionName, parts: Iterable[Linear]
) -> dict[tuple[object, ...], list[Linear]]:
    """Parts with the same target and the same value from the same source are one assumption; the
    fit of the cache rule is one of the traffic, whatever the target."""
    groups: dict[tuple[object, ...], list[Linear]] = defaultdict(list)
    for part in parts:
        target = None if name == "cache_fit" else part.pair.target
        model = None if target is None else target.model
        groups[(model, part.value)].append(part)
    return groups


def _effect(
    name: AssumptionName,
    parts: Sequence[Linear],
    savings: Decimal,
    routes: Sequence[ProposedRoute],
) -> AssumptionEffect:
    value = parts[0].value
    slope = sum((part.slope for part in parts), _NOTHING)
    neutral = MEANINGS[name].neutral
    ends = [part.ends for part in parts if part.ends is not None]
    sources = {part.pair.key.model for part in parts}
    targets = {part.pair.target.model for part in parts if part.pair.target is not None}
    names = {routes[part.pair.route].name for part in parts if part.pair.route >= 0}
    return AssumptionEffect(
        name=name,
        value=value.value,
        standard_error=value.error,
        scope=value.scope,
        source_model=sources.pop() if len(sources) == 1 else None,
        target_model=targets.pop() if len(targets) == 1 else None,
        route=names.pop() if len(names) == 1 else None,
        source=value.source,
        note=value.note,
        requests=sum(part.requests for part in parts),
        effect_usd=_money(slope * (value.value - neutral)),
        slope_usd=float(slope) if slope else None,
        low_usd=_money(savings + sum((low for low, _ in ends), _NOTHING)) if ends else None,
        high_usd=_money(savings + sum((high for _, high in ends), _NOTHING)) if ends else None,
        break_even=_break_even(name, value.value, slope, savings),
    )


def _break_even(
    name: AssumptionName, value: Decimal, slope: Decimal, savings: Decimal
) -> float | None:
    """The value at which savings are 0, all others held; None if no possible value does that."""
    if not slope or name in ("price_factor", "rest"):
        return None
    at = value - savings / slope
    high = MEANINGS[name].high
    return float(at) if at >= 0 and (high is None or at <= high) else None


def _matters(effect: AssumptionEffect) -> bool:
    """Whether an assumption changes something, or may."""
    known = effect.source != "none"
    return known or bool(effect.slope_usd) or effect.low_usd is not None


def _weight(effect: AssumptionEffect, savings: Decimal) -> float:
    """How much an assumption can change: its effect, its ends, or its error."""
    ends = (
        0.0
        if effect.low_usd is None or effect.high_usd is None
        else float(max(abs(effect.low_usd - savings), abs(effect.high_usd - savings)))
    )
    error = 1.96 * (effect.standard_error or 0.0) * abs(effect.slope_usd or 0.0)
    unknown = abs(effect.slope_usd or 0.0) if effect.source == "none" else 0.0
    return max(abs(float(effect.effect_usd)), ends, error, unknown)


def _money(amount: Decimal) -> Decimal:
    return amount.quantize(MONEY_STEP, rounding=ROUND_HALF_UP) + _NOTHING
