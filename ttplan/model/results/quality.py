"""What re-running a sample of requests on their new model found. Field names agree with tt-plan-core's where it has them."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ttplan.model.money import Money

MAX_REASON = 200
"""A judge's reason is kept to this many characters."""

LOW_RISK_MAX_PCT = 5.0
MEDIUM_RISK_MAX_PCT = 15.0
"""The bands' upper ends, in percent degraded; the end belongs to the band."""

_OUT = ConfigDict(frozen=True, extra="forbid")
Count = Annotated[int, Field(ge=0)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
StopReason = Literal["cancelled", "budget", "refused"]
"""Why a run ended early: somebody cancelled it, the budget was reached, or a service refused every call."""


class Verdict(StrEnum):
    """What a judge says of a proposed answer. UNCLEAR: it could not tell, or could not be asked."""

    ACCEPTABLE = "acceptable"
    DEGRADED = "degraded"
    UNCLEAR = "unclear"


class RiskBand(StrEnum):
    """LOW up to 5 % degraded, MEDIUM up to 15 %, HIGH above; UNVERIFIED where nothing was classified."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    UNVERIFIED = "unverified"

    @classmethod
    def of(cls, degraded_pct: float | None) -> RiskBand:
        """The band of a share in percent (0..100); UNVERIFIED where there is none."""
        if degraded_pct is None:
            return cls.UNVERIFIED
        if degraded_pct <= LOW_RISK_MAX_PCT:
            return cls.LOW
        return cls.MEDIUM if degraded_pct <= MEDIUM_RISK_MAX_PCT else cls.HIGH

    @property
    def shown(self) -> str:
        """As a person reads it: `LOW`, …, `UNVERIFIED`."""
        return self.value.upper()


class SampleScore(BaseModel):
    """What was said of one request. The reason is a judge's words, on one line of at most 200 characters: escape it."""

    model_config = _OUT

    request_id: UUID
    verdict: Verdict
    reason: str = Field(max_length=MAX_REASON)


def _check_counts(
    scores: tuple[SampleScore, ...], size: int, acceptable: int, degraded: int, unclear: int
) -> None:
    found = Counter(score.verdict for score in scores)
    expected = (
        len(scores),
        found[Verdict.ACCEPTABLE],
        found[Verdict.DEGRADED],
        found[Verdict.UNCLEAR],
    )
    if (size, acceptable, degraded, unclear) != expected:
        raise ValueError(
            f"the counts (size, acceptable, degraded, unclear) are {(size, acceptable, degraded, unclear)}, "
            f"but the examples give {expected}"
        )


class ForcedScores(BaseModel):
    """The verdicts on requests that were looked at on purpose. No share: they are not a random sample of anything."""

    model_config = _OUT

    sample_size: Count
    acceptable_count: Count
    degraded_count: Count
    unclear_count: Count
    examples: tuple[SampleScore, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_counts(
            self.examples,
            self.sample_size,
            self.acceptable_count,
            self.degraded_count,
            self.unclear_count,
        )
        return self


class QualityResult(BaseModel):
    """How good the answers of a plan's target models are, judged on a sample.

    The counts, `degraded_pct` (0..100: degraded of acceptable and degraded; None where nothing was classified), its 95 %
    Wilson interval and both bands are of the requests that were drawn at random, `sampled_examples`, in the order drawn.
    Requests that were forced in (poisoning candidates) are counted in `forced`; one that was also drawn is in both.

    `risk_band_upper` is the band of the interval's upper end: what the data do not rule out. `population` is how many
    requests were drawn from, `unrecorded` how many could not be since they have no bodies, `drawn` how many of them were to be
    judged, `skipped` those of all chosen that turned out to have no prompt or answer. `cost_usd` is what the calls reported, and
    the estimate for each that reported nothing or failed; `cost_is_estimated` says whether there was such a call. USD for the
    whole run.
    """

    model_config = _OUT

    sample_size: Count
    acceptable_count: Count
    degraded_count: Count
    unclear_count: Count
    degraded_pct: Percent | None
    degraded_pct_95: tuple[Percent, Percent] | None
    risk_band: RiskBand
    risk_band_upper: RiskBand
    sampled_examples: tuple[SampleScore, ...]
    forced: ForcedScores | None = None
    caveats: tuple[str, ...]
    judge: str
    proposer: str
    seed: int
    population: Count
    unrecorded: Count = 0
    drawn: Count
    skipped: Count
    stopped: StopReason | None = None
    budget_usd: Money
    cost_usd: Money
    cost_is_estimated: bool
    calls: Count

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_counts(
            self.sampled_examples,
            self.sample_size,
            self.acceptable_count,
            self.degraded_count,
            self.unclear_count,
        )
        classified = self.acceptable_count + self.degraded_count
        share = 100 * self.degraded_count / classified if classified else None
        if self.degraded_pct != share:
            raise ValueError(f"degraded_pct is {self.degraded_pct}, but the counts give {share}")
        if (self.degraded_pct_95 is None) is not (share is None):
            raise ValueError("degraded_pct_95 is expected exactly where something was classified")
        upper = None if self.degraded_pct_95 is None else self.degraded_pct_95[1]
        bands = (RiskBand.of(share), RiskBand.of(upper))
        if (self.risk_band, self.risk_band_upper) != bands:
            raise ValueError(
                f"the bands are {self.risk_band}, {self.risk_band_upper}, but the share gives {bands[0]}, {bands[1]}"
            )
        return self

    @property
    def cancelled(self) -> bool:
        """Whether somebody ended the run early. What was scored until then is kept."""
        return self.stopped == "cancelled"
