"""How often a judge is right, and what that makes of the degraded share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import sqrt
from typing import Any, NamedTuple

from ttplan.model.results.quality import SampleScore, Verdict
from ttplan.model.results.risk import RiskBand, band_of, upper_band
from ttplan.model.results.verdicts import (
    AccuracySource,
    ControlScore,
    JudgeAccuracy,
    KnownAnswers,
    Label,
)
from ttplan.quality.correction import Z_95, Rate, corrected_share

MIN_LABELS = 10
"""From this many labelled answers on, labels take precedence over controls."""
_WITHOUT = (
    "Uncorrected: the share contains the judge's own mistakes, and how many they are was not "
    "measured. Check with controls, or label pairs of answers."
)


class Rates(NamedTuple):
    """A judge's sensitivity and specificity."""

    sensitivity: Rate
    specificity: Rate

    @classmethod
    def of(cls, accuracy: JudgeAccuracy | None) -> Rates | None:
        """The measured rates, if both are."""
        if accuracy is None or accuracy.sensitivity is None or accuracy.specificity is None:
            return None
        bad, good = accuracy.sensitivity, accuracy.specificity
        return cls(Rate(bad.correct, bad.judged), Rate(good.correct, good.judged))


def judge_accuracy(
    controls: Iterable[ControlScore], labels: Iterable[Label], scores: Iterable[SampleScore]
) -> JudgeAccuracy | None:
    """How often the judge was right on controls, or on the labelled ones of `scores`; None if
    there is neither.

    Labels take precedence if `MIN_LABELS` or more are of good, or of bad answers.
    """
    verdicts = {score.request_id: score.verdict for score in scores}
    labelled = [
        (label.verdict == Verdict.DEGRADED, verdicts[label.request_id])
        for label in labels
        if label.verdict != Verdict.UNCLEAR and label.request_id in verdicts
    ]
    controlled = [(control.is_bad, control.verdict) for control in controls]
    sides: dict[bool, KnownAnswers | None] = {}
    for is_bad in (True, False):
        people = _known(labelled, is_bad, "labels")
        made = _known(controlled, is_bad, "planted" if is_bad else "repeated")
        is_enough = people is not None and people.judged >= MIN_LABELS
        sides[is_bad] = people if is_enough or made is None else made
    if sides[True] is None and sides[False] is None:
        return None
    return JudgeAccuracy(sensitivity=sides[True], specificity=sides[False])


def _known(
    verdicts: Sequence[tuple[bool, Verdict]], is_bad: bool, source: AccuracySource
) -> KnownAnswers | None:
    expected: Verdict = Verdict.DEGRADED if is_bad else Verdict.ACCEPTABLE
    judged: list[Verdict] = [v for bad, v in verdicts if bad is is_bad and v != Verdict.UNCLEAR]
    if not judged:
        return None
    correct = sum(verdict == expected for verdict in judged)
    return KnownAnswers(source=source, judged=len(judged), correct=correct)


def share_fields(degraded: int, classified: int, rates: Rates | None) -> dict[str, Any]:
    """The share of degraded answers, raw and corrected, in percent."""
    if not classified:
        return {"degraded_pct": None, "degraded_pct_95": None}
    fields: dict[str, Any] = {
        "degraded_pct": percent(degraded, classified),
        "degraded_pct_95": wilson_interval_pct(degraded, classified),
    }
    if rates is not None:
        corrected = corrected_share(degraded, classified, *rates)
        fields["corrected_pct"] = None if corrected.share is None else 100 * corrected.share
        fields["corrected_pct_95"] = (100 * corrected.low, 100 * corrected.high)
    return fields


def band_fields(bands: tuple[RiskBand, ...]) -> dict[str, RiskBand]:
    """The bands as a result states them."""
    return {"risk_band": band_of(bands), "risk_band_upper": upper_band(bands)}


def accuracy_caveats(accuracy: JudgeAccuracy | None, corrected: bool, known: bool) -> Iterator[str]:
    """What to know of the correction; `known` tells whether the corrected share has a number."""
    if not corrected:
        yield _WITHOUT
        if accuracy is not None:
            missing = "bad" if accuracy.sensitivity is None else "good"
            yield f"No {missing} answers of known quality were judged acceptable or degraded."
        return
    if accuracy is None or accuracy.sensitivity is None or accuracy.specificity is None:
        return
    bad, good = accuracy.sensitivity, accuracy.specificity
    if not known:
        yield (
            f"The judge's verdicts tell nothing: it finds {bad.correct:,} of {bad.judged:,} bad "
            f"answers, and accepts {good.correct:,} of {good.judged:,} good ones."
        )
    elif bad.source == "planted":
        yield (
            "The bad answers that the judge was tried on are plainly bad. If it misses subtler "
            "ones, more are degraded than this says; labels of people tell."
        )


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
