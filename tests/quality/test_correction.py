"""The degraded share without the judge's errors: literature, degenerate cases and coverage."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest
from scipy.stats import binom

from ttplan.model.results.quality import QualityResult, RiskBand, SampleScore, Verdict
from ttplan.quality.correction import (
    PERFECT,
    Rate,
    answers_needed,
    corrected_interval,
    corrected_share,
)
from ttplan.quality.result import RunRecord, summarise, unverified_result
from ttplan.quality.sampling import Sample

STRICT, LENIENT = (0.8, 0.95), (0.5, 0.99)


def test_a_perfect_judge_leaves_wilsons_interval() -> None:
    corrected = corrected_share(15, 148, PERFECT, PERFECT)
    assert corrected.share == pytest.approx(15 / 148)
    assert (corrected.low, corrected.high) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_known_errors_give_the_interval_of_the_literature() -> None:
    # J. Reiczigel, J. Földi, L. Ózsvári, Exact confidence limits for prevalence of a disease with
    # an imperfect diagnostic test, Epidemiology and Infection 138 (2010): 23 of 150 cows positive,
    # sensitivity 96 %, specificity 89 %: 5.1 %, 0 to 13 %.
    share, low, high = corrected_share(23, 150, Rate(0.96), Rate(0.89))
    assert share == pytest.approx(0.051, abs=5e-4)
    assert low == 0
    assert high == pytest.approx(0.13, abs=5e-3)


def test_estimated_errors_give_lang_and_reiczigels_interval() -> None:
    # The formulas once more, in numbers: 16 of 200, 24 of 30 bad and 57 of 60 good ones right.
    share, low, high = corrected_share(16, 200, Rate(24, 30), Rate(57, 60))
    assert share == pytest.approx((0.08 - 0.05) / 0.75)
    apparent = (16 + 3.8414588 / 2) / (200 + 3.8414588)
    se, sp = 25 / 32, 58 / 62
    centre = (apparent + sp - 1) / (se + sp - 1)
    var_se, var_sp = se * (1 - se) / 32, sp * (1 - sp) / 62
    shift = 2 * 3.8414588 * (centre * var_se - (1 - centre) * var_sp)
    spread = apparent * (1 - apparent) / 203.8414588
    spread += centre**2 * var_se + (1 - centre) ** 2 * var_sp
    half = 1.95996398 * spread**0.5 / (se + sp - 1)
    assert low == max(0, centre + shift - half) == 0
    assert high == pytest.approx(centre + shift + half)


@pytest.mark.parametrize(
    ("sensitivity", "specificity"),
    [
        (Rate(10, 20), Rate(10, 20)),  # as good as a coin
        (Rate(0, 30), Rate(30, 30)),  # finds nothing
        (Rate(11, 20), Rate(11, 20)),  # not surely better than a coin
        (Rate(0.5), Rate(0.5)),
        (Rate(1, 1), Rate(1, 1)),
    ],
)
def test_a_judge_that_tells_nothing_gives_no_number(sensitivity: Rate, specificity: Rate) -> None:
    assert corrected_share(10, 100, sensitivity, specificity) == (None, 0.0, 1.0)
    assert answers_needed(0.05, 0.8, 0.0, sensitivity=sensitivity, specificity=specificity) is None


@pytest.mark.parametrize("degraded", [0, 1, 20, 40])
@pytest.mark.parametrize("specificity", [Rate(15, 30), Rate(29, 30), Rate(60, 60)])
def test_the_interval_holds_the_share_and_has_a_width(degraded: int, specificity: Rate) -> None:
    share, low, high = corrected_share(degraded, 40, Rate(29, 30), specificity)
    assert share is not None
    assert 0 <= low <= share <= high <= 1
    assert low < high


@pytest.mark.parametrize(("judge", "truth"), [(STRICT, 0.02), (STRICT, 0.08), (LENIENT, 0.08)])
def test_the_corrected_interval_covers_the_truth(judge: tuple[float, float], truth: float) -> None:
    rng = np.random.default_rng(7)
    sensitivity, specificity = judge
    covered = uncorrected = 0
    for _ in range(1_000):
        hits = int(rng.binomial(200, truth * sensitivity + (1 - truth) * (1 - specificity)))
        found, accepted = rng.binomial((50, 100), (sensitivity, specificity))
        corrected = corrected_share(hits, 200, Rate(int(found), 50), Rate(int(accepted), 100))
        raw = corrected_share(hits, 200, PERFECT, PERFECT)
        covered += corrected.low <= truth <= corrected.high
        uncorrected += raw.low <= truth <= raw.high
    assert covered >= 930
    assert uncorrected < 700


@pytest.mark.statistics
@pytest.mark.parametrize("judged", [50, 200, 1_000])
@pytest.mark.parametrize("controls", [30, 100, 300])
@pytest.mark.parametrize("judge", [STRICT, LENIENT, (0.95, 0.98), (1.0, 1.0), (0.9, 0.9)])
def test_it_covers_for_many_judges(judged: int, controls: int, judge: tuple[float, float]) -> None:
    rng = np.random.default_rng(3)
    sensitivity, specificity = judge
    for truth in (0.0, 0.01, 0.05, 0.1, 0.3):
        apparent = truth * sensitivity + (1 - truth) * (1 - specificity)
        hits = rng.binomial(judged, apparent, 2_000)
        found, accepted = rng.binomial(controls, ((sensitivity,), (specificity,)), (2, 2_000))
        covered = 0
        for x, c, d in zip(hits, found, accepted, strict=True):
            corrected = corrected_share(int(x), judged, Rate(c, controls), Rate(d, controls))
            covered += corrected.low <= truth <= corrected.high
        assert covered >= 0.93 * 2_000


# --- how many answers ---------------------------------------------------------


@pytest.mark.parametrize(("truth", "rounded"), [(0, 75), (0.01, 145), (0.02, 315), (0.03, 780)])
def test_a_perfect_judge_needs_as_many_answers_as_known(truth: float, rounded: int) -> None:
    answers = answers_needed(0.05, 0.8, truth)
    assert answers is not None
    assert rounded - 5 < answers <= rounded


@pytest.mark.parametrize(
    ("sensitivity", "specificity"),
    [(PERFECT, PERFECT), (Rate(0.9), Rate(0.97)), (Rate(95, 100), Rate(97, 100))],
)
def test_the_number_has_the_power_and_no_smaller_one(sensitivity: Rate, specificity: Rate) -> None:
    truth, limit = 0.02, 0.08
    apparent = truth * sensitivity.share + (1 - truth) * (1 - specificity.share)

    def power(judged: int) -> float:
        counts = np.arange(judged + 1)
        sizes = np.full_like(counts, judged)
        _, upper = corrected_interval(counts, sizes, sensitivity, specificity)
        return float(binom.pmf(counts, judged, apparent)[upper < limit].sum())

    answers = answers_needed(limit, 0.8, truth, sensitivity=sensitivity, specificity=specificity)
    assert answers is not None
    assert power(answers) >= 0.8
    assert all(power(fewer) < 0.8 for fewer in range(1, answers, 7))


def test_a_share_that_is_not_below_the_limit_is_never_shown() -> None:
    assert answers_needed(0.05, 0.8, 0.05) is None
    assert answers_needed(0.05, 0.8, 0.02, specificity=Rate(28, 30), most=5_000) is None


# --- bands --------------------------------------------------------------------


def judged(tags: list[tuple[str, bool]]) -> QualityResult:
    """The result of a run with these tags and whether the answer is degraded."""
    scores = [
        SampleScore(
            request_id=UUID(int=n),
            verdict=Verdict.DEGRADED if bad else Verdict.ACCEPTABLE,
            reason="",
            tag=tag,
        )
        for n, (tag, bad) in enumerate(tags)
    ]
    ids = tuple(score.request_id for score in scores)
    nothing = unverified_result("")
    record = RunRecord(
        {score.request_id: score for score in scores},
        "j",
        "p",
        0,
        0,
        frozenset(ids),
        None,
        "",
        nothing.budget_usd,
        nothing.cost_usd,
        False,
        0,
    )
    return summarise(Sample(ids, (), (), len(ids), 0), record)


def test_few_answers_leave_the_band_unknown() -> None:
    few = judged([("a", False)] * 10)
    assert (few.risk_band, few.risk_band_upper) == (RiskBand.UNKNOWN, RiskBand.HIGH)
    assert judged([("a", False)] * 72).risk_band is RiskBand.UNKNOWN
    assert judged([("a", False)] * 73).risk_band is RiskBand.LOW
    assert judged([("a", True)] * 10).risk_band is RiskBand.HIGH


def test_a_whole_with_a_degraded_tag_is_not_low() -> None:
    rng = np.random.default_rng(5)
    lows = 0
    for _ in range(40):
        rare = [("rare", bool(bad)) for bad in rng.random(20) < 0.3]
        quality = judged([("chat", False)] * 280 + rare)
        worst = quality.worst
        assert worst is None or worst.name == "rare"
        if quality.risk_band is RiskBand.LOW:
            lows += 1
            # With two degraded ones or fewer nothing is sure, and the card names the tag.
            assert quality.groups[1].name == "rare"
            assert quality.groups[1].risk_band is RiskBand.UNKNOWN
    assert lows <= 4


def test_one_degraded_answer_of_a_tag_decides_nothing() -> None:
    assert judged([("chat", False)] * 200 + [("rare", True)]).risk_band is RiskBand.LOW


def test_results_of_earlier_versions_are_read() -> None:
    stored = judged([("chat", False)] * 100 + [("rare", True)] * 10).model_dump(mode="json")
    assert stored["risk_band"] == "high"
    earlier = stored | {"risk_band": "medium", "risk_band_upper": "high"}
    assert QualityResult.model_validate(earlier).model_dump(mode="json") == earlier
    few = judged([("a", False)] * 10).model_dump(mode="json") | {"risk_band": "low"}
    assert QualityResult.model_validate(few).model_dump(mode="json") == few
    new = {"corrected_pct", "corrected_pct_95", "judge_accuracy", "controls", "labels"}
    assert not new & few.keys()
    assert not new & stored["groups"][0].keys()
