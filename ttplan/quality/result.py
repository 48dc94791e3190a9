"""Scores → the result that a person sees: counts, share, interval, bands, and what to beware of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import sqrt
from typing import NamedTuple
from uuid import UUID

from ttplan.model.money import round_money
from ttplan.model.results.quality import (
    ForcedScores,
    QualityResult,
    RiskBand,
    SampleScore,
    StopReason,
    Verdict,
)
from ttplan.quality.sampling import Sample

SMALL_SAMPLE = 30
MANY_UNCLEAR = 20.0
"""Percent of the scored that are unclear, above which the share says little."""


class RunRecord(NamedTuple):
    """What a run did. `ready` are the ids that had a prompt and an answer; money is USD."""

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
    """The result of a run over `sample`. The share is of what was drawn at random; forced requests are counted beside it."""
    drawn = tuple(run.scores[key] for key in sample.drawn if key in run.scores)
    forced = tuple(run.scores[key] for key in sample.forced if key in run.scores)
    found = Counter(score.verdict for score in drawn)
    acceptable, degraded = found[Verdict.ACCEPTABLE], found[Verdict.DEGRADED]
    classified = acceptable + degraded
    share = percent(degraded, classified) if classified else None
    interval = wilson_interval_pct(degraded, classified) if classified else None
    forced_scores = _forced(forced) if sample.forced else None
    return QualityResult(
        sample_size=len(drawn),
        acceptable_count=acceptable,
        degraded_count=degraded,
        unclear_count=found[Verdict.UNCLEAR],
        degraded_pct=share,
        degraded_pct_95=interval,
        risk_band=RiskBand.of(share),
        risk_band_upper=RiskBand.of(None if interval is None else interval[1]),
        sampled_examples=drawn,
        forced=forced_scores,
        caveats=tuple(_caveats(sample, run, drawn, classified, forced_scores)),
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
    )


def unverified_result(why: str, *, population: int = 0, seed: int = 0) -> QualityResult:
    """The result where no sampling was possible, and why, as one sentence: UNVERIFIED, never low."""
    nothing = RunRecord(
        {}, "none", "none", 0, 0, frozenset(), None, "", Decimal(0), Decimal(0), False, 0
    )
    result = summarise(Sample((), (), (), population, seed), nothing)
    return result.model_copy(update={"caveats": (f"UNVERIFIED: {why}",)})


def _forced(scores: tuple[SampleScore, ...]) -> ForcedScores:
    found = Counter(score.verdict for score in scores)
    return ForcedScores(
        sample_size=len(scores),
        acceptable_count=found[Verdict.ACCEPTABLE],
        degraded_count=found[Verdict.DEGRADED],
        unclear_count=found[Verdict.UNCLEAR],
        examples=scores,
    )


def _requests(count: int) -> str:
    return f"{count:,} request" if count == 1 else f"{count:,} requests"


def _caveats(
    sample: Sample,
    run: RunRecord,
    drawn: tuple[SampleScore, ...],
    classified: int,
    forced: ForcedScores | None,
) -> Iterator[str]:
    """All that hold, the heaviest first."""
    left = len(run.ready - run.scores.keys())
    if run.stopped is not None:
        why = {
            "cancelled": "The run was cancelled",
            "budget": f"The budget of {run.budget_usd.normalize():f} USD was reached",
            "refused": f"The run ended since every call would fail ({run.stopped_detail})",
        }[run.stopped]
        yield f"{why}: {_requests(left)} of {len(run.ready):,} not judged. Slow answers are likelier to be among them."
    if not sample.ids:
        yield "UNVERIFIED: no request was sampled."
    elif not classified:
        yield "UNVERIFIED: none of the requests drawn was judged acceptable or degraded."
    if run.unrecorded and sample.ids:
        yield (
            f"{_requests(run.unrecorded)} of {run.unrecorded + sample.population:,} rerouted have no recorded prompt and answer: "
            "this speaks of the rest only."
        )
    if run.skipped:
        yield f"{_requests(run.skipped)} of {len(sample.ids):,} skipped: no prompt or answer recorded as text, or too long."
    if 0 < classified < SMALL_SAMPLE:
        yield f"Small sample: {_requests(classified)} classified. Trust the interval, not the share."
    unclear = len(drawn) - classified
    if drawn and percent(unclear, len(drawn)) > MANY_UNCLEAR:
        yield (
            f"{percent(unclear, len(drawn)):.0f}% of the judged are unclear and not in the share; "
            "they may be worse than the rest. A stronger judge may tell."
        )
    if forced is not None and forced.degraded_count:
        yield f"{forced.degraded_count:,} of {_requests(forced.sample_size)} looked at on purpose are degraded; not in the share."
    missed = [stratum for stratum in sample.strata if not stratum.drawn]
    if missed and sample.drawn:
        requests = sum(stratum.requests for stratum in missed)
        groups = f"{len(missed):,} of {len(sample.strata):,} groups by tag and size"
        yield f"{groups}, with {_requests(requests)}, have none in the sample."


Z_95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution; a literal, so that no platform's libm has a say in it."""


def percent(part: int, whole: int) -> float:
    """`part` of `whole` in percent, correctly rounded: 1 of 20 is 5.0 exactly. `whole` is above 0."""
    return 100 * part / whole


def wilson_interval_pct(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, in percent, from `hits` of `n` > 0.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927).
    """
    centre = hits + Z_95**2 / 2
    reach = Z_95 * sqrt(hits * (n - hits) / n + Z_95**2 / 4)
    # The ends are exact where all or none are hits; rounding would leave them a hair inside or outside.
    low = 0.0 if hits == 0 else 100 * (centre - reach) / (n + Z_95**2)
    high = 100.0 if hits == n else 100 * (centre + reach) / (n + Z_95**2)
    return max(0.0, low), min(100.0, high)
