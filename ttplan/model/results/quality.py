"""The quality of sampled requests re-run on their new model. Field names follow tt-plan-core."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from ttplan.model.base import FrozenModel, OmitsDefaults
from ttplan.model.money import Money
from ttplan.model.request import Milliseconds, Tokens
from ttplan.model.results.risk import RiskBand as RiskBand
from ttplan.model.results.risk import band_of, possible_bands, upper_band
from ttplan.model.results.verdicts import ControlScore, Count, JudgeAccuracy, Label
from ttplan.model.results.verdicts import Verdict as Verdict

MAX_REASON = 200
"""A judge's reason is cut to this many characters."""

MIN_GROUP = 10
"""With fewer answers, a route or tag says nothing of the whole."""
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
StopReason = Literal["cancelled", "budget", "refused"]
"""Why a run ended early: cancelled, out of budget, or a service refused every call."""


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


class CacheHitScore(FrozenModel):
    """The verdict on the answer that a semantic cache would have served to a request.

    `thresholds` are those of whose hits it was drawn; `reason` is one line of the judge's text:
    escape it.
    """

    request_id: UUID
    source_id: UUID
    thresholds: tuple[float, ...]
    verdict: Verdict
    reason: str = Field(max_length=MAX_REASON)


class ScoreCounts(FrozenModel):
    """Counts of verdicts."""

    sample_size: Count
    acceptable_count: Count
    degraded_count: Count
    unclear_count: Count

    @staticmethod
    def of(scores: Sequence[SampleScore | CacheHitScore]) -> dict[str, int]:
        """The counts of some scores, by field."""
        counts = Counter(score.verdict for score in scores)
        return {
            "sample_size": len(scores),
            **{f"{verdict.value}_count": counts[verdict] for verdict in Verdict},
        }

    def _check_counts(self, scores: Sequence[SampleScore | CacheHitScore]) -> None:
        expected = tuple(self.of(scores).values())
        stated = (self.sample_size, self.acceptable_count, self.degraded_count, self.unclear_count)
        if stated != expected:
            raise ValueError(
                f"the counts (size, acceptable, degraded, unclear) are {stated}, but the examples "
                f"give {expected}"
            )


class ForcedScores(ScoreCounts):
    """Verdicts on requests that were chosen on purpose. Not a random sample, so without a share."""

    examples: tuple[SampleScore, ...]

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        self._check_counts(self.examples)
        return self


class _ScoreShare(OmitsDefaults, ScoreCounts):
    """Counts of verdicts, the share of degraded ones, and its bands.

    `corrected_pct` and `corrected_pct_95` are what they become if the judge's errors are taken
    out; a share without a number, but with an interval of 0 to 100, is that of a judge whose
    verdicts tell nothing.
    """

    degraded_pct: Percent | None
    degraded_pct_95: tuple[Percent, Percent] | None
    risk_band: RiskBand
    risk_band_upper: RiskBand
    corrected_pct: Percent | None = None
    corrected_pct_95: tuple[Percent, Percent] | None = None

    OMITTED: ClassVar[frozenset[str]] = frozenset({"corrected_pct", "corrected_pct_95"})

    @property
    def classified_count(self) -> int:
        """How many answers are judged acceptable or degraded."""
        return self.acceptable_count + self.degraded_count

    @property
    def is_corrected(self) -> bool:
        """Whether the judge's errors are taken out of the share."""
        return self.corrected_pct_95 is not None

    @property
    def share_pct(self) -> float | None:
        """The degraded share, corrected if it can be; None if there is no number."""
        return self.corrected_pct if self.is_corrected else self.degraded_pct

    @property
    def interval_pct(self) -> tuple[float, float] | None:
        """The 95 % interval of `share_pct`."""
        return self.corrected_pct_95 or self.degraded_pct_95

    @property
    def bands(self) -> tuple[RiskBand, ...]:
        """The bands that the interval does not rule out, the lowest first."""
        return possible_bands(self.interval_pct)

    @model_validator(mode="after")
    def _check_share(self) -> Self:
        classified = self.classified_count
        share = 100 * self.degraded_count / classified if classified else None
        if self.degraded_pct != share:
            raise ValueError(f"degraded_pct is {self.degraded_pct}, but the counts give {share}")
        if (self.degraded_pct_95 is None) is not (share is None):
            raise ValueError("degraded_pct_95 is expected if and only if something was classified")
        if self.corrected_pct is not None and self.corrected_pct_95 is None:
            raise ValueError("corrected_pct is given without its interval")
        # Earlier versions gave the band of the share itself, whatever its groups.
        expected = {band_of(self.bands), *(() if self.is_corrected else (RiskBand.of(share),))}
        own = possible_bands(self.interval_pct)
        uppers = {upper_band(self.bands), *(() if self.is_corrected else (upper_band(own),))}
        if self.risk_band not in expected or self.risk_band_upper not in uppers:
            raise ValueError(
                f"the bands are {self.risk_band}, {self.risk_band_upper}, but the share gives "
                f"{' or '.join(sorted(expected))}, {' or '.join(sorted(uppers))}"
            )
        return self


class QualityGroup(_ScoreShare):
    """The verdicts on the drawn requests of one route, or of one tag.

    `name` is the route's or the tag; None for requests without a tag.
    """

    by: Literal["route", "tag"]
    name: str | None


class CacheHitQuality(_ScoreShare):
    """The verdicts on drawn semantic hits at one threshold: those that are `degraded` are wrong.

    `hits` counts all hits at the threshold, `unrecorded` those whose prompts or answers are not
    recorded, so that they could not be drawn.
    """

    threshold: float
    hits: Count
    unrecorded: Count = 0


def groups_band(groups: tuple[QualityGroup, ...]) -> RiskBand:
    """The band that a route or tag of at least `MIN_GROUP` answers reaches for sure."""
    lows = [
        group.interval_pct[0]
        for group in groups
        if group.interval_pct is not None and group.classified_count >= MIN_GROUP
    ]
    return RiskBand.of(max(lows, default=0.0))


class QualityResult(_ScoreShare):
    """How good the answers of a plan's target models are, judged on a sample.

    Attributes
    ----------
    sample_size, acceptable_count, degraded_count, unclear_count : int
        Of the requests drawn at random, `sampled_examples`, in the order drawn.
    degraded_pct : float or None
        Degraded in percent of acceptable and degraded; None if nothing was classified.
    degraded_pct_95 : tuple of float, or None
        Its 95 % Wilson interval.
    corrected_pct, corrected_pct_95 : float and tuple of float, or None
        The share without the judge's errors, and its interval; None if they are not known.
    risk_band, risk_band_upper : RiskBand
        The band that the whole interval lies in, and that of its upper end. Earlier versions gave
        the band of the share itself as `risk_band`.
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
    judge_accuracy : JudgeAccuracy or None
        How often the judge is right; None if that was not measured.
    controls : tuple of ControlScore
        Verdicts on answers whose quality is known.
    labels : tuple of Label
        What people said of drawn requests.
    cache_hits : tuple of CacheHitQuality
        The share of wrong hits of the semantic cache, by threshold, if hits were drawn.
    cache_hit_examples : tuple of CacheHitScore
        The verdicts on these hits, in the order drawn.
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
    judge_accuracy: JudgeAccuracy | None = None
    controls: tuple[ControlScore, ...] = ()
    labels: tuple[Label, ...] = ()
    cache_hits: tuple[CacheHitQuality, ...] = ()
    cache_hit_examples: tuple[CacheHitScore, ...] = ()

    OMITTED: ClassVar[frozenset[str]] = _ScoreShare.OMITTED | {
        "groups",
        "judge_accuracy",
        "controls",
        "labels",
        "cache_hits",
        "cache_hit_examples",
    }

    @property
    def bands(self) -> tuple[RiskBand, ...]:
        """The bands that the interval does not rule out, the lowest first, from `groups_band` on:
        a whole with a part that is surely HIGH is not LOW."""
        return possible_bands(self.interval_pct, groups_band(self.groups))

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        self._check_counts(self.sampled_examples)
        for part in self.cache_hits:
            own = [e for e in self.cache_hit_examples if part.threshold in e.thresholds]
            part._check_counts(own)
        return self

    @property
    def worst(self) -> QualityGroup | None:
        """The group that is surely the worst: that of the highest lower end of its interval.

        None if no group has a degraded answer.
        """
        degraded = [group for group in self.groups if group.degraded_count]
        return max(degraded, key=lambda group: group.interval_pct or (0.0, 0.0), default=None)

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled. Scores from before that are kept."""
        return self.stopped == "cancelled"
