"""The degraded share without the judge's errors, and how many answers to judge.

A judge with sensitivity Se (the share of bad answers that it calls degraded) and specificity Sp
(the share of good ones that it calls acceptable) calls AP = P Se + (1 - P) (1 - Sp) of the answers
degraded if P of them are. So

    P = (AP + Sp - 1) / (Se + Sp - 1)

(W. J. Rogan, B. Gladen, Estimating prevalence from the results of a screening test, American
Journal of Epidemiology 107, 1978). Se and Sp are estimated, too. The interval is that of Z. Lang
and J. Reiczigel (Confidence limits for prevalence of disease adjusted for estimated sensitivity
and specificity, Preventive Veterinary Medicine 113, 2014): with z the normal quantile,

    AP' = (x + z^2/2) / n'     n'  = n + z^2         of x degraded verdicts among n
    Se' = (c + 1) / n_Se'      n_Se' = n_Se + 2      of c right verdicts on n_Se bad answers
    Sp' likewise               P' = (AP' + Sp' - 1) / (Se' + Sp' - 1)

    P' + d ± z sqrt(v)
    d = 2 z^2 (P' Se' (1 - Se') / n_Se' - (1 - P') Sp' (1 - Sp') / n_Sp')
    v = (AP' (1 - AP') / n' + P'^2 Se' (1 - Se') / n_Se' + (1 - P')^2 Sp' (1 - Sp') / n_Sp')
        / (Se' + Sp' - 1)^2

The added counts are those of Agresti and Coull, v is the delta method, and d moves the centre as
the added counts of AP' do for a proportion. If Se + Sp - 1 is not surely above 0, the verdicts do
not tell bad answers from good ones, and there is no estimate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

Z_95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution; a literal is the same everywhere."""
MOST_ANSWERS = 200_000
"""More judged answers are not considered."""
Numbers = npt.NDArray[np.float64]


class Rate(NamedTuple):
    """A sensitivity or specificity: right verdicts of those on answers of known quality.

    Without `judged`, the share itself is known.
    """

    correct: float
    judged: int | None = None

    @property
    def share(self) -> float:
        """The observed share."""
        return self.correct if self.judged is None else self.correct / self.judged


PERFECT = Rate(1.0)


class Correction(NamedTuple):
    """A corrected share and its interval, 0 to 1. No share: the judge's verdicts tell nothing."""

    share: float | None
    low: float
    high: float


def corrected_share(
    degraded: int, judged: int, sensitivity: Rate, specificity: Rate, *, z: float = Z_95
) -> Correction:
    """Correct the share `degraded` of `judged` > 0 for the judge's errors.

    The interval holds the share. If fewer answers are degraded than the judge's own errors explain,
    the share is 0, and the upper end that of a judge that never errs on good answers. If more are
    than it finds, the share is 1, and the lower end that of a judge that finds all bad answers.
    """
    if not _is_informative(sensitivity, specificity, z):
        return Correction(None, 0.0, 1.0)
    gain = sensitivity.share + specificity.share - 1
    share = float(np.clip((degraded / judged + specificity.share - 1) / gain, 0, 1))
    ends = corrected_interval(np.array([degraded]), np.array([judged]), sensitivity, specificity, z)
    low, high = (float(end[0]) for end in ends)
    if low >= 1 or high <= 0:
        apparent = wilson_interval(np.array([degraded]), np.array([judged]), z)
        se, sp = _adjusted(sensitivity)[0], _adjusted(specificity)[0]
        low = min(low, max(0.0, (float(apparent[0][0]) + sp - 1) / sp))
        high = max(high, min(1.0, float(apparent[1][0]) / se))
    return Correction(share, min(low, share), max(high, share))


def corrected_interval(
    degraded: npt.NDArray[np.int64],
    judged: npt.NDArray[np.int64],
    sensitivity: Rate,
    specificity: Rate,
    z: float = Z_95,
) -> tuple[Numbers, Numbers]:
    """The ends of the interval for each pair of counts, within 0 and 1.

    If sensitivity and specificity are known, it is Wilson's interval of the verdicts, with both of
    its ends corrected.
    """
    if sensitivity.judged is None and specificity.judged is None:
        gain = sensitivity.correct + specificity.correct - 1
        ends = wilson_interval(degraded, judged, z)
        low, high = (np.clip((end + specificity.correct - 1) / gain, 0, 1) for end in ends)
        return low, high
    size = judged + z**2
    apparent = (degraded + z**2 / 2) / size
    se, var_se = _adjusted(sensitivity)
    sp, var_sp = _adjusted(specificity)
    gain = se + sp - 1
    share = (apparent + sp - 1) / gain
    shift = 2 * z**2 * (share * var_se - (1 - share) * var_sp)
    spread = apparent * (1 - apparent) / size + share**2 * var_se + (1 - share) ** 2 * var_sp
    half = z * np.sqrt(spread) / gain
    return np.clip(share + shift - half, 0, 1), np.clip(share + shift + half, 0, 1)


def wilson_interval(
    hits: npt.NDArray[np.int64], n: npt.NDArray[np.int64], z: float = Z_95
) -> tuple[Numbers, Numbers]:
    """Wilson's interval of each share `hits` of `n` > 0 (see `wilson_interval_pct`)."""
    centre = (hits + z**2 / 2) / (n + z**2)
    half = z * np.sqrt(hits * (n - hits) / n + z**2 / 4) / (n + z**2)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def answers_needed(
    max_share: float,
    power: float,
    true_share: float,
    *,
    sensitivity: Rate = PERFECT,
    specificity: Rate = PERFECT,
    most: int = MOST_ANSWERS,
) -> int | None:
    """The smallest number of judged answers whose interval ends below `max_share` with `power`.

    `true_share` of the answers are degraded. The number of degraded verdicts is binomial, and its
    distribution exact. None if no number up to `most` is enough, as for a `true_share` above
    `max_share`, a judge whose verdicts tell nothing, or errors that are known too roughly.

    Examples
    --------
    >>> from ttplan.quality.correction import answers_needed
    >>> [answers_needed(0.05, 0.8, share) for share in (0.0, 0.01, 0.02, 0.03)]
    [73, 142, 311, 779]
    """
    if true_share >= max_share or not _is_informative(sensitivity, specificity, Z_95):
        return None
    apparent = true_share * sensitivity.share + (1 - true_share) * (1 - specificity.share)
    if power >= 0.5:
        # If even the most answers seldom are enough, no number is.
        sizes = np.array([most])
        accepted = _most_accepted(sizes, max_share, sensitivity, specificity)
        if accepted[0] < 0 or bdtr(accepted[0], most, apparent) < power:
            return None
    first, size = 1, 2_000
    while first <= most:
        judged = np.arange(first, min(first + size, most + 1))
        accepted = _most_accepted(judged, max_share, sensitivity, specificity)
        powers = np.where(accepted < 0, 0.0, bdtr(np.maximum(accepted, 0), judged, apparent))
        enough = np.flatnonzero(powers >= power)
        if len(enough):
            return int(judged[enough[0]])
        first, size = first + size, 10 * size
    return None


def _most_accepted(
    judged: npt.NDArray[np.int64], max_share: float, sensitivity: Rate, specificity: Rate
) -> npt.NDArray[np.int64]:
    """For each number of answers, the most degraded ones with an interval below `max_share`.

    -1 if not even 0 are few enough. The upper end rises with the number of degraded answers.
    """
    few, many = np.zeros_like(judged), judged + 1  # one more than the most is among few..many
    while (few < many).any():
        middle = (few + many) // 2
        _, upper = corrected_interval(np.minimum(middle, judged), judged, sensitivity, specificity)
        is_below = (upper < max_share) & (few < many)
        few, many = np.where(is_below, middle + 1, few), np.where(is_below, many, middle)
    return few - 1


def _adjusted(rate: Rate) -> tuple[float, float]:
    """The rate with one right and one wrong verdict added, and its variance."""
    if rate.judged is None:
        return rate.correct, 0.0
    size = rate.judged + 2
    share = (rate.correct + 1) / size
    return share, share * (1 - share) / size


def _is_informative(sensitivity: Rate, specificity: Rate, z: float) -> bool:
    """Whether bad answers are surely called degraded more often than good ones."""
    if sensitivity.share + specificity.share <= 1:
        return False
    se, var_se = _adjusted(sensitivity)
    sp, var_sp = _adjusted(specificity)
    return bool(se + sp - 1 > z * np.sqrt(var_se + var_sp))
