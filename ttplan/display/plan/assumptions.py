"""Assumptions in words: their values with units, what they change, and which of them matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from ttplan.display.amounts import usd
from ttplan.display.card import Row, Table
from ttplan.model.plan import PlanResult
from ttplan.model.projection.assumption import AssumptionEffect, AssumptionName, AssumptionSource

MATTERS = 0.05
"""An assumption matters if it can change the savings by this share of them."""
Unit = Literal["times", "%", "tokens"]


class Wording(NamedTuple):
    """How an assumption is called, the unit of its value, a change of the value that is common,
    and the conditions of its lower and of its upper end."""

    label: str
    unit: Unit
    common_change: float
    low: str = ""
    high: str = ""


WORDINGS: dict[AssumptionName, Wording] = {
    "ratio_in": Wording("prompt length in tokens", "times", 0.25),
    "ratio_out": Wording("output length", "times", 1.0),
    "ratio_reasoning": Wording("length of hidden reasoning", "times", 1.0),
    "reasoning_tokens": Wording("hidden reasoning per answer", "tokens", 1_000),
    "redo": Wording("answers asked again", "%", 0.2),
    "price_factor": Wording(
        "factor between recorded and list prices",
        "times",
        0.0,
        "if it applies to the target",
        "if not",
    ),
    "rest": Wording(
        "cost besides tokens", "%", 1.0, "if it stays", "if it goes away with the old model"
    ),
    "cache_fit": Wording(
        "prompts in the target's cache", "%", 1.0, "if nothing is cached", "if all of it is"
    ),
    "cache_breakpoints": Wording(
        "prompts sent with cache breakpoints", "%", 1.0, "if nobody sets them", "if all clients do"
    ),
    "paid_attempts": Wording(
        "answers too long for the target", "%", 1.0, "if it bills them", "if it does not"
    ),
    "unrecorded_cost": Wording("requests recorded at no cost", "%", 1.0),
}
_SOURCES: dict[AssumptionSource, str] = {
    "user": "you",
    "rollout": "roll-out",
    "judged": "judged",
    "log": "log",
    "catalogue": "catalogue",
    "none": "not known",
}


def is_unknown(effect: AssumptionEffect) -> bool:
    """Whether nothing tells the value, or whom it applies to."""
    return effect.source == "none" or effect.low_usd is not None


def unknown_assumptions(result: PlanResult) -> list[AssumptionEffect]:
    """The unknown assumptions that matter, those first that can change most."""
    return sorted(
        (effect for effect in result.assumptions if is_unknown(effect) and matters(effect, result)),
        key=lambda effect: -possible_change(effect, result),
    )


def matters(effect: AssumptionEffect, result: PlanResult) -> bool:
    """Whether an assumption changes, or can change, the savings by a share that matters."""
    savings = abs(float(result.aggregates.change_vs_actual_usd))
    change = largest_change(effect, result)
    return change > MATTERS * savings


def largest_change(effect: AssumptionEffect, result: PlanResult) -> float:
    """By how much (USD) a value changes the savings, or can."""
    return max(possible_change(effect, result), abs(float(effect.effect_usd)))


def possible_change(effect: AssumptionEffect, result: PlanResult) -> float:
    """By how much (USD) the savings can differ: up to the ends, or by the standard error; for an
    unknown value by a common change of it."""
    savings = float(result.aggregates.change_vs_actual_usd)
    slope = abs(effect.slope_usd or 0.0)
    changes = [1.96 * slope * (effect.standard_error or 0.0)]
    if effect.low_usd is not None and effect.high_usd is not None:
        changes += [abs(float(end) - savings) for end in (effect.low_usd, effect.high_usd)]
    elif effect.source == "none":
        changes.append(slope * WORDINGS[effect.name].common_change)
    return max(changes)


def label(effect: AssumptionEffect, among: Iterable[AssumptionEffect] = ()) -> str:
    """What an assumption is called, with its models if others of `among` have the same name."""
    name = WORDINGS[effect.name].label
    others = [other for other in among if other.name == effect.name]
    if len(others) < 2:
        return name
    about = effect.target_model or effect.route
    alike = [other for other in others if other.target_model == effect.target_model]
    if len(alike) > 1 and effect.source_model is not None:
        about = f"{effect.source_model} to {effect.target_model}"
    return name if about is None else f"{name} for {about}"


def format_value(name: AssumptionName, value: Decimal | float) -> str:
    """A value with its unit."""
    unit = WORDINGS[name].unit
    if unit == "%":
        percent = 100 * float(value)
        return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"
    if unit == "tokens":
        return f"{float(value):,.0f} tokens"
    return f"{_rounded(float(value))} times"


def _rounded(value: float) -> str:
    """Two significant digits after 1, such as `2.1` or `0.94`; none above 10."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1.95 else f"{value:.2f}"


def break_even_text(effect: AssumptionEffect, savings: Decimal) -> str:
    """Where the savings are 0; if nowhere, on which side they always are."""
    if effect.break_even is not None:
        return f"breaks even at {format_value(effect.name, effect.break_even)}"
    if effect.slope_usd is None:
        return ""
    return "saves at any value" if savings > 0 else "costs more at any value"


def ends_text(effect: AssumptionEffect) -> str:
    """The savings at both ends, each with its condition; empty if there are none."""
    if effect.low_usd is None or effect.high_usd is None:
        return ""
    wording = WORDINGS[effect.name]
    low, high = wording.low, wording.high
    if _is_reversed(effect):
        low, high = high, low
    same_sign = (effect.low_usd < 0) == (effect.high_usd < 0)
    both = usd(abs(effect.high_usd)) if same_sign else saves_text(effect.high_usd)
    return f"{saves_text(effect.low_usd)} {low}, {both} {high}"


def _is_reversed(effect: AssumptionEffect) -> bool:
    """Whether the first condition of the wording belongs to the upper end."""
    if effect.name == "price_factor":
        return effect.value is not None and effect.value < 1
    slope = effect.slope_usd or 0.0
    return slope > 0 if effect.name == "rest" else effect.name == "cache_breakpoints" and slope < 0


def saves_text(amount: Decimal) -> str:
    """An amount as what a plan saves, or costs."""
    return f"saves {usd(amount)}" if amount >= 0 else f"costs {usd(-amount)} more"


def assumptions_table(result: PlanResult) -> Table:
    """The assumptions that matter: value, source, effect and break-even."""
    shown = sorted(
        (effect for effect in result.assumptions if matters(effect, result)),
        key=lambda effect: -largest_change(effect, result),
    )
    savings = result.aggregates.change_vs_actual_usd
    return Table(
        tuple(_row(effect, shown, savings) for effect in shown),
        ("", "value", "from", "effect", "breaks even at"),
        "lrlrr",
        caption="assumptions that matter; exact: their effect on the savings",
    )


def _row(effect: AssumptionEffect, shown: Sequence[AssumptionEffect], savings: Decimal) -> Row:
    break_even = effect.break_even
    return Row(
        (
            label(effect, shown),
            "" if effect.value is None else _value_text(effect),
            _SOURCES[effect.source],
            _change_text(effect, savings),
            "" if break_even is None else format_value(effect.name, break_even),
        ),
        tone="warning" if is_unknown(effect) else "neutral",
    )


def _value_text(effect: AssumptionEffect) -> str:
    """The value with its standard error, in one unit."""
    value = effect.value or Decimal(0)
    if effect.standard_error is None:
        return format_value(effect.name, value)
    error, unit = effect.standard_error, WORDINGS[effect.name].unit
    if unit == "%":
        return f"{100 * value:.1f} ± {100 * error:.1f} %"
    digits = 0 if unit == "tokens" else 2
    return f"{value:,.{digits}f} ± {error:,.{digits}f} {unit}"


def _change_text(effect: AssumptionEffect, savings: Decimal) -> str:
    """What the value changes, or can change if it is unknown."""
    if effect.low_usd is not None and effect.high_usd is not None:
        low, high = effect.low_usd - savings, effect.high_usd - savings
        return f"{_signed(low)} to {_signed(high)} USD"
    if effect.source == "none":
        return "not known"
    return f"{_signed(effect.effect_usd)} USD"


def _signed(amount: Decimal) -> str:
    number = usd(amount).removesuffix(" USD")
    return f"+{number}" if amount > 0 else number
