"""Assumptions: what a projection supposes of a model that the log cannot show."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ttplan.model.base import FrozenModel, NonEmptyText
from ttplan.model.money import SignedMoney, to_decimal

RATIO_DIGITS = 6
MAX_VALUE = 10**6
"""Values are below this."""
AssumptionSource = Literal["user", "rollout", "judged", "log", "catalogue", "none"]
"""Where a value comes from, the most reliable first; `none` is the neutral value."""
AssumptionName = Literal[
    "ratio_in",
    "ratio_out",
    "ratio_reasoning",
    "reasoning_tokens",
    "redo",
    "price_factor",
    "rest",
    "cache_fit",
    "cache_breakpoints",
    "paid_attempts",
    "unrecorded_cost",
]
AssumptionKey = tuple[AssumptionName, str | None, str | None, str | None]
"""What an assumption is about: its name, source model, target model and route."""
CostScope = Literal["gateway", "model"]
"""Whether a part of the recorded cost applies to every model, or goes away with the old one."""


def _round_ratio(value: object) -> Decimal:
    return round(to_decimal(value), RATIO_DIGITS)


Ratio = Annotated[
    Decimal,
    BeforeValidator(_round_ratio),
    Field(ge=0, lt=MAX_VALUE),
    PlainSerializer(float, return_type=float, when_used="json"),
]
"""A number with 6 digits after the point."""


class Meaning(NamedTuple):
    """The neutral value of an assumption, its bounds, and what it is, for people."""

    neutral: Decimal
    text: str
    high: Decimal | None = None


MEANINGS: Mapping[AssumptionName, Meaning] = {
    "ratio_in": Meaning(Decimal(1), "input tokens, target to source"),
    "ratio_out": Meaning(Decimal(1), "visible output tokens, target to source"),
    "ratio_reasoning": Meaning(Decimal(1), "reasoning tokens, target to source"),
    "reasoning_tokens": Meaning(Decimal(0), "reasoning tokens that the target adds to each answer"),
    "redo": Meaning(Decimal(0), "share of answers asked again on the old model", Decimal(1)),
    "price_factor": Meaning(Decimal(1), "recorded cost to list price"),
    "rest": Meaning(Decimal(1), "share of the unexplained cost that stays", Decimal(1)),
    "cache_fit": Meaning(Decimal(1), "provider cache reads to those of the rule", Decimal(1)),
    "cache_breakpoints": Meaning(Decimal(0), "share of prompts sent with breakpoints", Decimal(1)),
    "paid_attempts": Meaning(
        Decimal(0), "share of answers too long for the target that it bills", Decimal(1)
    ),
    "unrecorded_cost": Meaning(
        Decimal(0), "share of requests recorded at no cost that are billed", Decimal(1)
    ),
}


class Assumption(FrozenModel):
    """One assumption, as a plan file or a measurement gives it.

    Parameters
    ----------
    name : str
        One of `MEANINGS`.
    value : Decimal or float, optional
        6 digits after the point. None if only `scope` is known.
    standard_error : float, optional
        None for a value without sampling error.
    scope : {"gateway", "model"}, optional
        Of `price_factor` and `rest`: whether it applies to the target as well.
    source_model, target_model, route : str, optional
        What it holds for; None for all.
    source : str
        Where the value comes from.
    note : str
        How it was obtained.

    Examples
    --------
    >>> from ttplan.model.projection.assumption import Assumption
    >>> Assumption(name="ratio_out", value=1.6, target_model="gpt-4o-mini").value
    Decimal('1.600000')
    """

    name: AssumptionName
    value: Ratio | None = None
    standard_error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    scope: CostScope | None = None
    source_model: NonEmptyText | None = None
    target_model: NonEmptyText | None = None
    route: NonEmptyText | None = None
    source: AssumptionSource = "user"
    note: str = ""

    @property
    def key(self) -> AssumptionKey:
        """What it is about; None for all models or routes."""
        return self.name, self.source_model, self.target_model, self.route

    @model_validator(mode="after")
    def _check_value(self) -> Self:
        if self.value is None and self.scope is None:
            raise ValueError("expected a value")
        if self.scope is not None and self.name not in ("price_factor", "rest"):
            raise ValueError(f"{self.name} has no scope; expected a value")
        high = MEANINGS[self.name].high
        if self.value is not None and high is not None and self.value > high:
            raise ValueError(f"{self.name} is {self.value}; expected 0 to {high}")
        return self


def measured(
    name: AssumptionName,
    estimate: tuple[float, float],
    models: tuple[str, str],
    source: AssumptionSource,
    note: str,
) -> Assumption:
    """Return an assumption about (source, target) models from a value and its standard error."""
    return Assumption(
        name=name,
        value=to_decimal(estimate[0]),
        standard_error=estimate[1],
        source_model=models[0],
        target_model=models[1],
        source=source,
        note=note,
    )


class AssumptionEffect(Assumption):
    """An assumption as a projection used it, with its effect.

    Attributes
    ----------
    requests : int
        How many rerouted requests it is about.
    effect_usd : Decimal
        Savings with this value minus savings with the neutral one. USD per window.
    slope_usd : float or None
        Change of the savings per unit of the value, USD; None if savings are not linear in it.
    low_usd, high_usd : Decimal or None
        Savings at the two ends of what the value can be, if the log cannot tell.
    break_even : float or None
        The value at which savings are 0, all others held; None if there is none.
    """

    requests: int = 0
    effect_usd: SignedMoney = Decimal(0)
    slope_usd: float | None = None
    low_usd: SignedMoney | None = None
    high_usd: SignedMoney | None = None
    break_even: float | None = None
