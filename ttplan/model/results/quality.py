"""The quality of sampled requests re-run on their new model. Field names follow tt-plan-core."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from ttplan.model.base import FrozenModel, OmitsDefaults
from ttplan.model.money import Money
from ttplan.model.request import Milliseconds, Tokens

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


class TokenUsage(OmitsDefaults, FrozenModel):
    """The tokens of one call. None if it was not reported.

    `input_tokens` include `cached_tokens`, `output_tokens` include `reasoning_tokens`.
    """

    input_tokens: Tokens
    output_tokens: Tokens
    reasoning_tokens: Tokens | None = None
    cached_tokens: Tokens | None = None

    OMITTED: ClassVar[frozenset[str]] = frozenset({"reasoning_tokens", "cached_tokens"})

    @property
    def visible_tokens(self) -> int:
        """Output tokens without reasoning."""
        return max(0, self.output_tokens - (self.reasoning_tokens or 0))


class SampleScore(OmitsDefaults, FrozenModel):
    """The verdict on one request, and what the two answers took.

    Attributes
    ----------
    reason : str
        One line of the judge's text: escape it.
    tag, route, source_model, target_model : str or None
        Of the request; None in results of earlier versions.
    logged, answer : TokenUsage or None
        Of the recorded and of the new answer, as far as it was reported.
    cut : bool
        Whether the limit of the check cut the new answer off. It is not judged then.
    cost_usd, judge_cost_usd : Decimal or None
        USD for the new answer and for its judgement, if reported.
    latency_ms : int or None
        Of the new answer.
    """

    request_id: UUID
    verdict: Verdict
    reason: str = Field(max_length=MAX_REASON)
    tag: str | None = None
    route: str | None = None
    source_model: str | None = None
    target_model: str | None = None
    logged: TokenUsage | None = None
    answer: TokenUsage | None = None
    cut: bool = False
    cost_usd: Money | None = None
    judge_cost_usd: Money | None = None
    latency_ms: Milliseconds | None = None

    OMITTED: ClassVar[frozenset[str]] = frozenset(
        {
            "tag",
            "route",
            "source_model",
            "target_model",
            "logged",
            "answer",
            "cut",
            "cost_usd",
            "judge_cost_usd",
            "latency_ms",
        }
    )


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


class _ScoreShare(_ScoreCounts):
    """Counts of verdicts, the share of degraded ones, and its bands."""

    degraded_pct: Percent | None
    degraded_pct_95: tuple[Percent, Percent] | None
    risk_band: RiskBand
    risk_band_upper: RiskBand

    @model_validator(mode="after")
    def _check_share(self) -> Self:
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


class QualityGroup(_ScoreShare):
    """The verdicts on the drawn requests of one route, or of one tag.

    `name` is the route's or the tag; None for requests without a tag.
    """

    by: Literal["route", "tag"]
    name: str | None


class QualityResult(OmitsDefaults, _ScoreShare):
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
    groups : tuple of QualityGroup
        The drawn requests by route, and by tag, if there are at least two.
    """

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
    groups: tuple[QualityGroup, ...] = ()

    OMITTED: ClassVar[frozenset[str]] = frozenset({"groups"})

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        self._check_counts(self.sampled_examples)
        return self

    @property
    def worst(self) -> QualityGroup | None:
        """The group that is surely the worst: that of the highest lower end of its interval.

        None if no group has a degraded answer.
        """
        degraded = [group for group in self.groups if group.degraded_count]
        return max(degraded, key=lambda group: group.degraded_pct_95 or (0.0, 0.0), default=None)

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled. Scores from before that are kept."""
        return self.stopped == "cancelled"
