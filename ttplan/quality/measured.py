"""What judged answers tell of a target model: its tokens beside the source's on the same prompts.

Of n pairs, x is what the source took and y what the target took. A ratio is one of sums,

    R = sum y / sum x,

since costs are sums, too: a mean of ratios would give short answers the weight of long ones. Its
standard error is that of the delta method,

    se(R) = sqrt(sum (y - R x)^2 / (n (n - 1))) / mean x

(W. G. Cochran, Sampling Techniques, 3rd ed. 1977, chapter 6, without the correction for a finite
population). The pairs are independent draws; the strata of the sample make the error
slightly smaller than this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ttplan.model.projection.assumption import MAX_VALUE, Assumption, AssumptionName, measured
from ttplan.model.results.quality import QualityResult, SampleScore, Verdict
from ttplan.quality.correction import Z_95, corrected_share
from ttplan.quality.judge.accuracy import Rates, percent
from ttplan.quality.result import MANY_UNCLEAR

MIN_PAIRS = 20
"""With fewer paired answers, nothing is said of a pair of models."""
MAX_UNLIKE = 0.1
"""The share of pairs whose prompts may differ in length by more than tokenizers do."""
_UNLIKE_FACTOR, _UNLIKE_SLACK = 3, 100
Sums = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A value and its standard error."""

    value: float
    standard_error: float


def judged_assumptions(quality: QualityResult) -> tuple[Assumption, ...]:
    """Return what the drawn requests of a quality check tell of each pair of models.

    With at least `MIN_PAIRS` pairs of reported tokens: `ratio_in`, `ratio_out` (without reasoning),
    and `ratio_reasoning`, or `reasoning_tokens` if the source does not think. Not if more than
    `MAX_UNLIKE` of the new prompts have another length than the logged ones by more than a factor
    of 3: the recorded prompts are then not all that the source was sent. With at least `MIN_PAIRS`
    judged pairs, of which at most 20 % are unclear: `redo`, the degraded share, corrected for the
    judge's errors if they were measured.
    """
    pairs: dict[tuple[str, str], list[SampleScore]] = defaultdict(list)
    for score in quality.sampled_examples:
        if score.source_model is not None and score.target_model is not None:
            pairs[score.source_model, score.target_model].append(score)
    return tuple(
        assumption
        for models in sorted(pairs)
        for assumption in (
            *_token_assumptions(models, pairs[models]),
            *_redo(models, pairs[models], Rates.of(quality.judge_accuracy)),
        )
    )


def ratio_of_sums(x: Sums, y: Sums) -> Estimate:
    """Return sum y / sum x of paired amounts (at least 2, sum x > 0) and its standard error."""
    ratio = float(y.sum() / x.sum())
    n = len(x)
    variance = float(((y - ratio * x) ** 2).sum()) / (n * (n - 1))
    return Estimate(ratio, sqrt(variance) / float(x.mean()))


def mean_of(y: Sums) -> Estimate:
    """Return the mean of at least 2 amounts and its standard error."""
    return Estimate(float(y.mean()), float(y.std(ddof=1)) / sqrt(len(y)))


def share_of(hits: int, n: int) -> Estimate:
    """Return a share and its standard error, which is that of Wilson's interval.

    So the error is not 0 if there are no hits at all (see `wilson_interval_pct`).
    """
    half_width = sqrt(hits * (n - hits) / n + Z_95**2 / 4) / (n + Z_95**2)
    return Estimate(hits / n, half_width)


def _token_assumptions(
    models: tuple[str, str], scores: Iterable[SampleScore]
) -> Iterator[Assumption]:
    paired = [score for score in scores if _is_paired(score)]
    like = [score for score in paired if _is_like(score)]
    if len(like) < MIN_PAIRS or len(paired) - len(like) > MAX_UNLIKE * len(paired):
        return
    logged = [score.logged for score in like if score.logged is not None]
    answers = [score.answer for score in like if score.answer is not None]
    cut = sum(score.cut for score in like)
    note = f"{len(like):,} paired answers" + (f", {cut:,} cut off and longer" if cut else "")

    estimates: dict[AssumptionName, Estimate] = {
        "ratio_in": ratio_of_sums(
            _amounts(usage.input_tokens for usage in logged),
            _amounts(usage.input_tokens for usage in answers),
        )
    }
    visible = _amounts(usage.visible_tokens for usage in logged)
    if visible.sum() > 0:
        new_visible = _amounts(usage.visible_tokens for usage in answers)
        estimates["ratio_out"] = ratio_of_sums(visible, new_visible)
    reasoning = _amounts(usage.reasoning_tokens or 0 for usage in logged)
    new_reasoning = _amounts(usage.reasoning_tokens or 0 for usage in answers)
    if reasoning.sum() > 0:
        estimates["ratio_reasoning"] = ratio_of_sums(reasoning, new_reasoning)
    else:
        estimates["reasoning_tokens"] = mean_of(new_reasoning)
    for name, estimate in estimates.items():
        if estimate.value < MAX_VALUE:
            yield measured(name, estimate, models, "judged", note)


def _redo(
    models: tuple[str, str], scores: Sequence[SampleScore], rates: Rates | None
) -> Iterator[Assumption]:
    """The degraded share, corrected for the judge's errors if they are known."""
    degraded = sum(score.verdict == Verdict.DEGRADED for score in scores)
    classified = sum(score.verdict != Verdict.UNCLEAR for score in scores)
    unclear = len(scores) - classified
    if classified < MIN_PAIRS or percent(unclear, len(scores)) > MANY_UNCLEAR:
        return
    note = f"{degraded:,} of {classified:,} judged answers degraded"
    estimate = share_of(degraded, classified)
    if rates is not None:
        corrected = corrected_share(degraded, classified, *rates)
        if corrected.share is None:
            return
        error = (corrected.high - corrected.low) / (2 * Z_95)
        estimate, note = Estimate(corrected.share, error), f"{note}, corrected"
    yield measured("redo", estimate, models, "judged", note)


def _is_paired(score: SampleScore) -> bool:
    """Whether both answers have tokens: a logged answer of 0 was not counted."""
    return bool(
        score.answer is not None
        and score.logged is not None
        and score.logged.input_tokens
        and score.logged.output_tokens
    )


def _is_like(score: SampleScore) -> bool:
    """Whether the two prompts have about the same length."""
    if score.logged is None or score.answer is None:
        return False
    short, long = sorted((score.logged.input_tokens, score.answer.input_tokens))
    return long <= _UNLIKE_FACTOR * short + _UNLIKE_SLACK


def _amounts(counts: Iterable[int]) -> Sums:
    return np.fromiter(counts, np.float64)
