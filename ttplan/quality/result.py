"""Summarise the scores of a run: counts, share, interval, risk bands and caveats."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from math import sqrt
from typing import Any, Literal, NamedTuple
from uuid import UUID

from ttplan.model.money import round_money
from ttplan.model.results.quality import (
    ForcedScores,
    QualityGroup,
    QualityResult,
    RiskBand,
    SampleScore,
    StopReason,
    Verdict,
)
from ttplan.quality.sampling import Sample

SMALL_SAMPLE = 30
MANY_UNCLEAR = 20.0
"""Percentage of unclear scores above which the share is of little use."""


class RunRecord(NamedTuple):
    """What a run did. `ready` has the ids with a prompt and an answer; money is USD."""

    scores: Mapping[UUID, SampleScore]
    judge: str
    proposer: str
    skipped: int
    unrecorded: int
    ready: frozenset[UUID]
    stopped: StopReason | None
    stopped_detail: str
    budget_usd: Decimal
    cost_usd: Decimal
    cost_is_estimated: bool
    calls: int


def summarise(sample: Sample, run: RunRecord) -> QualityResult:
    """Return the result of a run; its share covers the random draw, without forced requests."""
    drawn = tuple(run.scores[key] for key in sample.drawn if key in run.scores)
    forced = tuple(run.scores[key] for key in sample.forced if key in run.scores)
    share = _share(drawn)
    forced_scores = _forced_scores(forced) if sample.forced else None
    return QualityResult(
        **share,
        sampled_examples=drawn,
        forced=forced_scores,
        caveats=tuple(
            _caveats(sample, run, drawn, len(drawn) - share["unclear_count"], forced_scores)
        ),
        judge=run.judge,
        proposer=run.proposer,
        seed=sample.seed,
        population=sample.population,
        unrecorded=run.unrecorded,
        drawn=len(sample.drawn),
        skipped=run.skipped,
        stopped=run.stopped,
        budget_usd=run.budget_usd,
        cost_usd=round_money(run.cost_usd),
        cost_is_estimated=run.cost_is_estimated,
        calls=run.calls,
        groups=(*_groups(drawn, "route"), *_groups(drawn, "tag")),
    )


def unverified_result(why: str, *, population: int = 0, seed: int = 0) -> QualityResult:
    """Return the result if no sampling was possible, with the reason as one sentence."""
    empty = RunRecord(
        {}, "none", "none", 0, 0, frozenset(), None, "", Decimal(0), Decimal(0), False, 0
    )
    result = summarise(Sample((), (), (), population, seed), empty)
    return result.model_copy(update={"caveats": (f"UNVERIFIED: {why}",)})


def _counts(scores: Sequence[SampleScore]) -> dict[str, int]:
    verdicts = Counter(score.verdict for score in scores)
    return {
        "sample_size": len(scores),
        "acceptable_count": verdicts[Verdict.ACCEPTABLE],
        "degraded_count": verdicts[Verdict.DEGRADED],
        "unclear_count": verdicts[Verdict.UNCLEAR],
    }


def _share(scores: Sequence[SampleScore]) -> dict[str, Any]:
    """The counts of some scores, the share of degraded ones, its interval, and their bands."""
    counts = _counts(scores)
    degraded = counts["degraded_count"]
    classified = counts["acceptable_count"] + degraded
    share = percent(degraded, classified) if classified else None
    interval = wilson_interval_pct(degraded, classified) if classified else None
    return {
        **counts,
        "degraded_pct": share,
        "degraded_pct_95": interval,
        "risk_band": RiskBand.of(share),
        "risk_band_upper": RiskBand.of(None if interval is None else interval[1]),
    }


def _groups(scores: Sequence[SampleScore], by: Literal["route", "tag"]) -> tuple[QualityGroup, ...]:
    """The scores by name, no name first; empty if there is only one."""
    groups: dict[str | None, list[SampleScore]] = defaultdict(list)
    for score in scores:
        groups[getattr(score, by)].append(score)
    if len(groups) < 2:
        return ()
    names = sorted(groups, key=lambda name: (name is not None, (name or "").encode()))
    return tuple(QualityGroup(by=by, name=name, **_share(groups[name])) for name in names)


def _forced_scores(scores: tuple[SampleScore, ...]) -> ForcedScores:
    return ForcedScores(examples=scores, **_counts(scores))


def _requests(count: int) -> str:
    return f"{count:,} request" if count == 1 else f"{count:,} requests"


def _caveats(
    sample: Sample,
    run: RunRecord,
    drawn: tuple[SampleScore, ...],
    classified: int,
    forced: ForcedScores | None,
) -> Iterator[str]:
    """Yield the caveats, the most important first."""
    not_judged = len(run.ready - run.scores.keys())
    if run.stopped is not None:
        reason = {
            "cancelled": "The run was cancelled",
            "budget": f"The budget of {run.budget_usd.normalize():f} USD was reached",
            "refused": f"The run ended since every call would fail ({run.stopped_detail})",
        }[run.stopped]
        yield (
            f"{reason}: {_requests(not_judged)} of {len(run.ready):,} not judged. "
            "Slow answers are likelier to be among them."
        )
    if not sample.ids:
        yield "UNVERIFIED: no request was sampled."
    elif not classified:
        yield "UNVERIFIED: none of the requests drawn was judged acceptable or degraded."
    if run.unrecorded and sample.ids:
        yield (
            f"{_requests(run.unrecorded)} of {run.unrecorded + sample.population:,} rerouted have "
            "no recorded prompt and answer: this speaks of the rest only."
        )
    if run.skipped:
        yield (
            f"{_requests(run.skipped)} of {len(sample.ids):,} skipped: "
            "no prompt or answer recorded as text, or too long."
        )
    if 0 < classified < SMALL_SAMPLE:
        yield (
            f"Small sample: {_requests(classified)} classified. Trust the interval, not the share."
        )
    unclear = len(drawn) - classified
    if drawn and percent(unclear, len(drawn)) > MANY_UNCLEAR:
        yield (
            f"{percent(unclear, len(drawn)):.0f}% of the judged are unclear and not in the share; "
            "they may be worse than the rest. A stronger judge may tell."
        )
    if forced is not None and forced.degraded_count:
        yield (
            f"{forced.degraded_count:,} of {_requests(forced.sample_size)} looked at on purpose "
            "are degraded; not in the share."
        )
    missed = [stratum for stratum in sample.strata if not stratum.drawn]
    if missed and sample.drawn:
        requests = sum(stratum.requests for stratum in missed)
        groups = f"{len(missed):,} of {len(sample.strata):,} groups by tag and size"
        yield f"{groups}, with {_requests(requests)}, have none in the sample."


Z_95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution; a literal is the same everywhere."""


def percent(part: int, whole: int) -> float:
    """Return `part` of `whole` (> 0) in percent, correctly rounded: 1 of 20 is exactly 5.0."""
    return 100 * part / whole


def wilson_interval_pct(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, in percent, from `hits` of `n` > 0.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22
    (1927).
    """
    centre = hits + Z_95**2 / 2
    half_width = Z_95 * sqrt(hits * (n - hits) / n + Z_95**2 / 4)
    # The ends are exact if all or none are hits; rounding would move them slightly.
    low = 0.0 if hits == 0 else 100 * (centre - half_width) / (n + Z_95**2)
    high = 100.0 if hits == n else 100 * (centre + half_width) / (n + Z_95**2)
    return max(0.0, low), min(100.0, high)
