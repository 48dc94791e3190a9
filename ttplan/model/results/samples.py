"""How many answers a quality check must judge to show that few are degraded, and what it costs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ttplan.model.base import FrozenModel
from ttplan.model.money import Money
from ttplan.model.results.verdicts import Count

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class SamplesRow(FrozenModel):
    """For a true degraded share (0 to 1): the answers to judge, None if no number is enough, and
    their expected cost in USD, if it is known."""

    true_share: Share
    answers: Count | None
    cost_usd: Money | None = None


class SamplesNeeded(FrozenModel):
    """How many answers to judge so that the interval of the degraded share ends below a limit.

    Attributes
    ----------
    max_degraded : float
        The limit, 0 to 1.
    power : float
        The probability that the interval ends below it, 0 to 1.
    sensitivity, specificity : float
        Of the judge, 0 to 1.
    controls : int
        How many answers of each kind the judge is tried on; 0 if its errors are taken as known.
    plan : str or None
        The plan whose requests are priced.
    judge : str or None
        The model that judges.
    available : int or None
        The plan's rerouted requests that can be judged.
    answer_usd, judge_usd, control_usd : Decimal or None
        Expected USD for one new answer, one judgement, and all controls.
    rows : tuple of SamplesRow
        By true share.
    notes : tuple of str
        What to know about the numbers.
    """

    max_degraded: Share
    power: Share
    sensitivity: Share
    specificity: Share
    controls: Count
    plan: str | None = None
    judge: str | None = None
    available: Count | None = None
    answer_usd: Money | None = None
    judge_usd: Money | None = None
    control_usd: Money | None = None
    rows: tuple[SamplesRow, ...]
    notes: tuple[str, ...] = ()
