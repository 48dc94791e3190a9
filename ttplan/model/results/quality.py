"""The quality of sampled requests re-run on their new model. Field names follow tt-plan-core."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from ttplan.model.base import FrozenModel
from ttplan.model.money import Money

MAX_REASON = 200
"""A judge's reason is cut to this many characters."""

LOW_RISK_MAX_PCT = 5.0
MEDIUM_RISK_MAX_PCT = 15.0
"""The inclusive upper ends of the risk bands, in percent degraded."""

Count = Annotated[int, Field(ge=0)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
StopReason = Literal["cancelled", "budget", "refused"]
"""Why a run ended early: cancelled, out of budget, or a service refused every call."""


class Verdict(StrEnum):
    """A judge's verdict on a proposed answer. UNCLEAR: undecided, or the judge was unreachable."""

    ACCEPTABLE = "acceptable"
    DEGRADED = "degraded"
    UNCLEAR = "unclear"


class RiskBand(StrEnum):
    """LOW up to 5 % degraded, MEDIUM up to 15 %, HIGH above; UNVERIFIED if nothing was judged."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    UNVERIFIED = "unverified"

    @classmethod
    def of(cls, degraded_pct: float | None) -> RiskBand:
        """Return the band of a share in percent, 0 to 100; UNVERIFIED for None."""
        if degraded_pct is None:
            return cls.UNVERIFIED
        if degraded_pct <= LOW_RISK_MAX_PCT:
            return cls.LOW
        return cls.MEDIUM if degraded_pct <= MEDIUM_RISK_MAX_PCT else cls.HIGH

    @property
    def shown(self) -> str:
        """The name in capitals, for display."""
        return self.value.upper()


class SampleScore(FrozenModel):
    """The verdict on one request. The reason is one line of the judge's text: escape it."""

    request_id: UUID
    verdict: Verdict
    reason: str = Field(max_length=MAX_REASON)


class _ScoreCounts(FrozenModel):
    """Counts of verdicts."""

    sample_size: Count
    acceptable_count: Count
    degraded_count: Count
    unclear_count: Count

    def _check_counts(self, scores: tuple[SampleScore, ...]) -> None:
        counts = Counter(score.verdict for score in scores)
        expected = (len(scores), *(counts[verdict] for verdict in Verdict))
        stated = (self.sample_size, self.acceptable_count, self.degraded_count, self.unclear_count)
        if stated != expected:
            raise ValueError(
                f"the counts (size, acceptable, degraded, unclear) are {stated}, but the examples "
                f"give {expected}"
            )


class ForcedScores(_ScoreCounts):
    """Verdicts on requests that were chosen on purpose. Not a random sample, so without a share."""

    examples: tuple[SampleScore, ...]

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        self._check_counts(self.examples)
        return self


class QualityResult(_ScoreCounts):
    """How good the answers of a plan's target models are, judged on a sample.

    Attributes
    ----------
    sample_size, acceptable_count, degraded_count, unclear_count : int
        Of the requests drawn at random, `sampled_examples`, in the order drawn.
    degraded_pct : float or None
        Degraded in percent of acceptable and degraded; None if nothing was classified.
    degraded_pct_95 : tuple of float, or None
        Its 95 % Wilson interval.
    risk_band, risk_band_upper : RiskBand
        The bands of the share and of the interval's upper end, which the data do not rule out.
    forced : ForcedScores or None
        Verdicts on poisoning candidates. A request that was also drawn counts in both.
    population, unrecorded, drawn, skipped : int
        Requests to draw from; requests that could not be drawn because they have no bodies; drawn
        requests; and selected requests that had no prompt or answer.
    stopped : {"cancelled", "budget", "refused"} or None
    budget_usd, cost_usd : Decimal
        USD for the whole run. The cost is what the calls reported, or the estimate for calls that
        failed or reported nothing.
    cost_is_estimated : bool
        Whether there was such a call.
    """

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
    def _check_consistency(self) -> Self:
        self._check_counts(self.sampled_examples)
        classified = self.acceptable_count + self.degraded_count
        share = 100 * self.degraded_count / classified if classified else None
        if self.degraded_pct != share:
            raise ValueError(f"degraded_pct is {self.degraded_pct}, but the counts give {share}")
        if (self.degraded_pct_95 is None) is not (share is None):
            raise ValueError("degraded_pct_95 is expected if and only if something was classified")
        upper = None if self.degraded_pct_95 is None else self.degraded_pct_95[1]
        bands = (RiskBand.of(share), RiskBand.of(upper))
        if (self.risk_band, self.risk_band_upper) != bands:
            raise ValueError(
                f"the bands are {self.risk_band}, {self.risk_band_upper}, but the share gives "
                f"{bands[0]}, {bands[1]}"
            )
        return self

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled. Scores from before that are kept."""
        return self.stopped == "cancelled"
