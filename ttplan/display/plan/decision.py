"""What a full projection says to decide on: what the plan saves, what that rests on, and what would
make it more certain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from math import ceil

from ttplan.display.amounts import NO_INTERVAL, negated, plural, usd, usd_interval
from ttplan.display.plan.assumptions import (
    break_even_text,
    ends_text,
    is_unknown,
    label,
    matters,
    saves_text,
    unknown_assumptions,
)
from ttplan.model.plan import Interval, PlanConfig, PlanResult
from ttplan.model.projection.assumption import AssumptionEffect

_MOST_NAMED = 3
"""How many unknown assumptions are named before the table."""
_JUDGED = ("ratio_in", "ratio_out", "ratio_reasoning", "reasoning_tokens", "redo")
"""The assumptions that answers of the target measure."""
_SPREADS = {"ratio_in": 0.2, "ratio_out": 1.0, "ratio_reasoning": 1.0}
"""The assumed standard deviation of one answer's ratio, if answers were not compared."""
_REDO_SHARE = 0.1
"""The assumed share of answers asked again, for the size of a sample."""
_TOLERANCE = 0.25
"""The wanted half-width of an interval, as a share of the distance to the break-even."""
_FEWEST, _MOST = 50, 500
"""Bounds of a sample."""
_ROLLOUT_REQUESTS = 300
"""How many requests a roll-out should move: it compares different prompts."""
_ROLLOUT_SHARES = (5, 10, 25, 50)
"""Percent of the traffic that a roll-out moves."""
_LONGEST_ROLLOUT = 7
"""Days of a roll-out, before its share is raised."""
_STEPS = {
    "price_factor": "say in the plan file whether the factor applies to the target: price_factor, "
    "with scope gateway if it does and model if not",
    "rest": "say in the plan file whether that cost stays: rest, with value 1 if it does and 0 if "
    "it goes away",
    "paid_attempts": "say in the plan file whether the target bills answers that it cuts off: "
    "paid_attempts, with value 1 or 0",
    "cache_breakpoints": "say in the plan file what share of prompts is sent with cache "
    "breakpoints: cache_breakpoints",
    "unrecorded_cost": "say in the plan file what share of requests recorded at no cost is billed: "
    "unrecorded_cost",
    "cache_fit": "import the log with a session column, so that caches are followed",
}
"""How to learn what answers of the target do not tell."""


def decision_lines(result: PlanResult, config: PlanConfig) -> Iterator[str]:
    """The first lines of a full projection's card."""
    yield from _month(result)
    yield _headline(result)
    yield from saved_already(result)
    yield from _other_prices(result, config)
    yield from _unknown_lines(result)
    yield from _next_step(result)


def _month(result: PlanResult) -> Iterator[str]:
    """The change of a coming month, with its prediction interval; nothing if it is not known."""
    month = result.per_month
    if month is None:
        return
    change, interval = month.change_vs_actual_usd, month.change_vs_actual_usd_95
    verb, much = ("costs", " more") if change < 0 else ("saves", "")
    text = f"{verb} {usd(abs(change))}{much} in a coming month of 30.44 days"
    if interval is None:
        yield f"{text}; no interval"
        return
    shown = usd_interval(negated(interval) if change < 0 else interval)
    yield f"{text}; 95 % prediction interval {shown}{_unclear(change, interval)}"


def _unclear(change: Decimal, interval: Interval) -> str:
    """That the sign may be the other one; empty if it is clear."""
    other = "cost more" if change >= 0 else "save"
    return f": it may {other}" if interval[0] < 0 < interval[1] else ""


def _headline(result: PlanResult) -> str:
    """The change against what was paid in the window, with its interval."""
    aggregates = result.aggregates
    change, paid = aggregates.change_vs_actual_usd, aggregates.total_actual_cost_usd
    interval = result.confidence_intervals.change_vs_actual_usd_95
    verb, of = ("costs", "more than") if change < 0 else ("saves", "of")
    share = f" ({abs(change) / paid * 100:.1f} %)" if paid else ""
    this = "" if result.per_month is None else "in this window: "
    text = f"{this}{verb} {usd(abs(change))} {of} the {usd(paid)} paid{share}"
    if interval is None:
        return f"{text}; no interval"
    shown = usd_interval(negated(interval) if change < 0 else interval)
    return f"{text}; 95 % interval {shown}{_unclear(change, interval)}"


def saved_already(result: PlanResult) -> Iterator[str]:
    """What today's routing and caches save without the plan, if they do."""
    already = result.aggregates.total_baseline_cost_usd - result.aggregates.total_actual_cost_usd
    if already:
        verb = "saved already" if already > 0 else "lost already"
        yield f"{verb} by today's routing and caches, not counted above: {usd(abs(already))}"


def _other_prices(result: PlanResult, config: PlanConfig) -> Iterator[str]:
    """What the plan saves at the prices that the headline does not use, if they differ."""
    other = result.aggregates.savings_at_plan_prices_usd
    at = None if result.full is None else result.full.inputs.prices_at
    if other is None or at is None or other == result.aggregates.change_vs_actual_usd:
        return
    amount = f"{saves_text(other)}; {NO_INTERVAL}"
    if config.prices_at == "plan":
        yield f"that is at the prices of {at:%Y-%m-%d}; at those of each request's time: {amount}"
    else:
        yield f"at the prices of {at:%Y-%m-%d}: {amount}"


def _unknown_lines(result: PlanResult) -> Iterator[str]:
    """What is not known: how much that matters, and what else is unknown."""
    unknown = unknown_assumptions(result)
    savings = result.aggregates.change_vs_actual_usd
    if unknown:
        names = [_unknown_text(effect, unknown, savings) for effect in unknown[:_MOST_NAMED]]
        more = len(unknown) - len(names)
        if more:
            names.append(f"and {more} more")
        verb = "thing is" if len(unknown) == 1 else "things are"
        yield f"{len(unknown)} {verb} not known: {'; '.join(names)}"
    others = [e for e in result.assumptions if is_unknown(e) and not matters(e, result)]
    if others:
        count = plural(len(others), "other unknown" if unknown else "unknown")
        verb = "changes" if len(others) == 1 else "change"
        yield f"{count} {verb} the savings by less than 5 %"


def _unknown_text(effect: AssumptionEffect, among: list[AssumptionEffect], savings: Decimal) -> str:
    detail = ends_text(effect) or break_even_text(effect, savings) or "none assumed"
    return f"{label(effect, among)} ({detail})"


def _next_step(result: PlanResult) -> Iterator[str]:
    """What would make the projection more certain: about the unknown that matters most."""
    loses = result.aggregates.change_vs_actual_usd < 0
    for effect in unknown_assumptions(result):
        if effect.name in _JUDGED:
            step = _judge(effect, result) or ("" if loses else _roll_out(effect, result))
            if step:
                yield f"next step: {step}"
                return
        elif effect.name != "cache_fit" or effect.slope_usd is None:
            yield f"next step: {_STEPS[effect.name]}"
            return


def _judge(effect: AssumptionEffect, result: PlanResult) -> str:
    """Judge recorded answers; empty if there are none."""
    if result.full is None or not result.full.has_answers:
        return ""
    count = min(sample_size(effect, result), effect.requests)
    cost = _cost_per_request(effect, result) * count
    shown = f"about {cost:,.2f} USD" if cost >= Decimal("0.01") else "less than 0.01 USD"
    return f"judge {plural(count, 'answer')}, {shown} and the judge's own cost"


def _roll_out(effect: AssumptionEffect, result: PlanResult) -> str:
    """Move a part of the traffic; empty for what only the same prompts tell."""
    if effect.name == "ratio_in":
        return ""
    share, days = rollout_size(effect, result)
    return f"roll out {share} % for {plural(days, 'day')}"


def sample_size(effect: AssumptionEffect, result: PlanResult) -> int:
    """How many answers tell an unknown ratio, or share of answers asked again, from its break-even.

    The interval that they give is a quarter as wide, to each side, as the value is away from the
    break-even.
    """
    slope = abs(effect.slope_usd or 0.0)
    distance = abs(float(result.aggregates.change_vs_actual_usd)) / slope if slope else 0.0
    if not distance:
        return _MOST
    standard_error = _TOLERANCE * distance / 1.96
    if effect.name == "redo":
        variance = _REDO_SHARE * (1 - _REDO_SHARE)
    elif effect.name == "reasoning_tokens":
        variance = distance**2
    else:
        variance = _SPREADS.get(effect.name, 1.0) ** 2
    wanted = ceil(variance / standard_error**2 / 10) * 10
    return max(_FEWEST, min(_MOST, wanted))


def rollout_size(effect: AssumptionEffect, result: PlanResult) -> tuple[int, int]:
    """The percentage of the traffic, and the number of days, of a roll-out."""
    days_logged = (result.window_end - result.window_start) / timedelta(days=1)
    per_day = effect.requests / days_logged
    for share in _ROLLOUT_SHARES:
        days = ceil(_ROLLOUT_REQUESTS / (per_day * share / 100)) if per_day else _LONGEST_ROLLOUT
        if days <= _LONGEST_ROLLOUT:
            break
    return share, max(1, days)


def _cost_per_request(effect: AssumptionEffect, result: PlanResult) -> Decimal:
    """What the target bills on average for one of the requests that an assumption is about."""
    pairs = () if result.full is None else result.full.pairs
    own = [p for p in pairs if effect.target_model in (None, p.target_model)]
    requests = sum(pair.requests for pair in own)
    total = sum(
        (
            p.input_usd
            + p.cached_usd
            + p.written_usd
            + p.visible_usd
            + p.reasoning_usd
            + p.fees_usd
            for p in own
        ),
        Decimal(0),
    )
    return total / requests if requests else Decimal(0)
