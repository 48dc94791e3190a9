"""Summarise the scores of a run: counts, share, interval, risk bands and caveats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from uuid import UUID

from ttplan.model.money import round_money
from ttplan.model.results.quality import (
    CacheHitScore,
    ForcedScores,
    QualityGroup,
    QualityResult,
    SampleScore,
    ScoreCounts,
    StopReason,
    groups_band,
)
from ttplan.model.results.risk import RiskBand, possible_bands
from ttplan.model.results.verdicts import ControlScore, JudgeAccuracy, Label
from ttplan.quality.cache_hits import ThresholdHits, hit_qualities
from ttplan.quality.judge.accuracy import (
    Rates,
    accuracy_caveats,
    band_fields,
    judge_accuracy,
    percent,
    share_fields,
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
    controls: tuple[ControlScore, ...] = ()
    hits: tuple[ThresholdHits, ...] = ()
    hit_scores: tuple[CacheHitScore, ...] = ()
    hits_left: int = 0


def summarise(sample: Sample, run: RunRecord) -> QualityResult:
    """Return the result of a run; its share covers the random draw, without forced requests."""
    drawn = tuple(run.scores[key] for key in sample.drawn if key in run.scores)
    forced = tuple(run.scores[key] for key in sample.forced if key in run.scores)
    fields = _assessed(drawn, judge_accuracy(run.controls, (), drawn))
    forced_scores = _forced_scores(forced) if sample.forced else None
    return QualityResult(
        **fields,
        controls=run.controls,
        cache_hits=hit_qualities(run.hits, run.hit_scores, Rates.of(fields["judge_accuracy"])),
        cache_hit_examples=run.hit_scores,
        sampled_examples=drawn,
        forced=forced_scores,
        caveats=(*_accuracy_caveats(fields), *_caveats(sample, run, drawn, fields, forced_scores)),
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


def with_labels(quality: QualityResult, labels: Sequence[Label]) -> QualityResult:
    """A result with people's verdicts on its drawn requests, corrected by what they tell."""
    before = set(_accuracy_caveats(dict(quality)))
    accuracy = judge_accuracy(quality.controls, labels, quality.sampled_examples)
    fields = _assessed(quality.sampled_examples, accuracy)
    others = (caveat for caveat in quality.caveats if caveat not in before)
    caveats = (*_accuracy_caveats(fields), *others)
    of = [ThresholdHits(at.threshold, at.hits, at.unrecorded) for at in quality.cache_hits]
    hits = hit_qualities(of, quality.cache_hit_examples, Rates.of(accuracy))
    changes = fields | {"labels": tuple(labels), "caveats": caveats, "cache_hits": hits}
    # What is no longer known is not in `fields`.
    cleared = {"corrected_pct": None, "corrected_pct_95": None}
    return QualityResult(**(dict(quality) | cleared | changes))


def _accuracy_caveats(fields: Mapping[str, Any]) -> Iterator[str]:
    """The caveats of the judge's errors, of the fields of a result."""
    if fields["degraded_pct"] is None:
        return iter(())
    is_corrected = fields.get("corrected_pct_95") is not None
    is_known = fields.get("corrected_pct") is not None
    return accuracy_caveats(fields["judge_accuracy"], is_corrected, is_known)


def unverified_result(why: str, *, population: int = 0, seed: int = 0) -> QualityResult:
    """Return the result if no sampling was possible, with the reason as one sentence."""
    empty = RunRecord(
        {}, "none", "none", 0, 0, frozenset(), None, "", Decimal(0), Decimal(0), False, 0
    )
    result = summarise(Sample((), (), (), population, seed), empty)
    return result.model_copy(update={"caveats": (f"UNVERIFIED: {why}",)})


def _share(scores: Sequence[SampleScore], rates: Rates | None) -> dict[str, Any]:
    """The counts of some scores, the share of degraded ones, and its interval."""
    counts = ScoreCounts.of(scores)
    degraded = counts["degraded_count"]
    return counts | share_fields(degraded, counts["acceptable_count"] + degraded, rates)


def _assessed(scores: Sequence[SampleScore], accuracy: JudgeAccuracy | None) -> dict[str, Any]:
    """The fields of a result that the judge's errors bear on."""
    rates = Rates.of(accuracy)
    share = _share(scores, rates)
    groups = (*_groups(scores, "route", rates), *_groups(scores, "tag", rates))
    interval = share.get("corrected_pct_95") or share["degraded_pct_95"]
    bands = band_fields(possible_bands(interval, groups_band(groups)))
    return {**share, **bands, "groups": groups, "judge_accuracy": accuracy}


def _groups(
    scores: Sequence[SampleScore], by: Literal["route", "tag"], rates: Rates | None
) -> tuple[QualityGroup, ...]:
    """The scores by name, no name first; empty if there is only one."""
    groups: dict[str | None, list[SampleScore]] = defaultdict(list)
    for score in scores:
        groups[getattr(score, by)].append(score)
    if len(groups) < 2:
        return ()
    names = sorted(groups, key=lambda name: (name is not None, (name or "").encode()))
    shares = {name: _share(groups[name], rates) for name in names}
    return tuple(
        QualityGroup(by=by, name=name, **shares[name], **_own_bands(shares[name])) for name in names
    )


def _own_bands(share: Mapping[str, Any]) -> dict[str, RiskBand]:
    return band_fields(possible_bands(share.get("corrected_pct_95") or share["degraded_pct_95"]))


def _forced_scores(scores: tuple[SampleScore, ...]) -> ForcedScores:
    return ForcedScores(examples=scores, **ScoreCounts.of(scores))


def _requests(count: int) -> str:
    return f"{count:,} request" if count == 1 else f"{count:,} requests"


def _caveats(
    sample: Sample,
    run: RunRecord,
    drawn: tuple[SampleScore, ...],
    fields: Mapping[str, Any],
    forced: ForcedScores | None,
) -> Iterator[str]:
    """Yield the caveats of the run, the most important first."""
    classified = len(drawn) - fields["unclear_count"]
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
            if not_judged
            else f"{reason}: some answers of known quality were not judged."
        )
        if run.hits_left:
            yield f"{run.hits_left:,} semantic hits that were drawn were not judged."
    if not sample.ids and not run.hits:
        yield "UNVERIFIED: no request was sampled."
    elif sample.ids and not classified:
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
