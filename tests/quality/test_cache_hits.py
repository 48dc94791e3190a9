"""Judged hits of a semantic cache: which are drawn, what is asked, and the share at each
threshold."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from tests.quality.parties import ScriptedJudge, answer_at_once, request, settings, universe
from tests.quality.test_of_plans import Judge, Proposer, planned, rows
from ttplan.model.errors import InputError
from ttplan.model.results.quality import QualityResult, Verdict
from ttplan.quality.assess import assess_sync
from ttplan.quality.cache_hits import HitSample, draw_hits
from ttplan.quality.judge.accuracy import wilson_interval_pct
from ttplan.quality.protocols import BudgetExceeded

THRESHOLDS = (0.85, 0.95)


def text(number: int) -> str:
    """The id of a request, as the engine gives it."""
    return str(UUID(int=number))


def hits(count: int, mask: int = 0b11) -> list[tuple[str, str, int]]:
    """Requests 1 to `count` that are served the answer of 1,000 and their own number."""
    return [(text(n), text(1_000 + n), mask) for n in range(1, count + 1)]


def judged(sample: HitSample, judge: ScriptedJudge, **limits: Any) -> QualityResult:
    """A check of these hits alone. The answer to request n is n, modulo 10."""
    made = [request(key.int, response_body=f"{key.int % 10}") for key in sample.ids]
    drawn, requests = universe(made, 0)
    return assess_sync(
        drawn, requests, judge, answer_at_once, settings=settings(**limits), hits=sample
    )


def test_each_threshold_has_a_seeded_sample_of_its_hits() -> None:
    found = [*hits(40, 0b01), *[(text(n), text(n + 2_000), 0b10) for n in range(1, 9)]]
    recorded = {key for pair in found for key in pair[:2]} - {text(3)}
    sample = draw_hits(found, THRESHOLDS, recorded, 10, seed=1)
    assert [tuple(at) for at in sample.of] == [(0.85, 40, 1), (0.95, 8, 1)]
    assert Counter(t for hit in sample.drawn for t in hit.thresholds) == {0.85: 10, 0.95: 7}
    assert sample == draw_hits(found[::-1], THRESHOLDS, recorded, 10, seed=1)
    assert sample.drawn != draw_hits(found, THRESHOLDS, recorded, 10, seed=2).drawn
    assert UUID(int=3) not in sample.ids


def test_a_hit_of_both_thresholds_is_judged_once() -> None:
    found = hits(30)
    sample = draw_hits(found, THRESHOLDS, {key for hit in found for key in hit[:2]}, 20, seed=0)
    assert len(sample.drawn) == 20
    assert {hit.thresholds for hit in sample.drawn} == {THRESHOLDS}


def test_every_hit_is_drawn_with_the_same_probability() -> None:
    found = hits(10)
    recorded = {key for hit in found for key in hit[:2]}
    counts = Counter(
        hit.request_id.int
        for seed in range(400)
        for hit in draw_hits(found, THRESHOLDS, recorded, 3, seed=seed).drawn
    )
    assert set(counts) == set(range(1, 11))
    assert all(80 <= count <= 160 for count in counts.values())  # 120, and 4.4 standard errors


def test_wrong_hits_have_a_share_with_an_interval_by_threshold() -> None:
    # Both answers of the second part are the same, so nobody is asked.
    found = [*hits(30, 0b01), *[(text(n), text(n + 1_010), 0b11) for n in range(31, 41)]]
    found = [(a, text(UUID(b).int + 1) if m == 1 else b, m) for a, b, m in found]
    recorded = {key for hit in found for key in hit[:2]}
    sample = draw_hits(found, THRESHOLDS, recorded, 100, seed=0)
    judge = ScriptedJudge(lambda n: Verdict.DEGRADED if n % 3 else Verdict.ACCEPTABLE)
    quality = judged(sample, judge)
    first, second = quality.cache_hits
    assert (first.threshold, first.hits, first.sample_size, first.degraded_count) == (
        0.85,
        40,
        40,
        20,
    )
    assert first.degraded_pct == 50
    assert first.degraded_pct_95 == wilson_interval_pct(20, 40)
    assert (second.sample_size, second.degraded_pct) == (10, 0)
    assert quality.calls == 30
    assert len(quality.cache_hit_examples) == 40
    assert (quality.sample_size, quality.degraded_pct) == (0, None)
    assert QualityResult.model_validate_json(quality.model_dump_json()) == quality


def test_a_budget_that_hits_exceed_sends_nothing() -> None:
    found = hits(30)
    found = [(a, text(UUID(b).int + 1), m) for a, b, m in found]
    sample = draw_hits(found, THRESHOLDS, {key for hit in found for key in hit[:2]}, 20, seed=0)
    judge = ScriptedJudge()
    with pytest.raises(BudgetExceeded, match=r"judging 20 requests may cost 0\.2 USD"):
        judged(sample, judge, judge_call_usd=Decimal("0.01"), retries=0, budget_usd=0.1)


def test_controls_correct_the_share_of_wrong_hits() -> None:
    made = [request(n, response_body=f"answer {n}") for n in range(1, 121)]
    drawn, requests = universe(made, 60)
    found = [(text(n), text(n + 60), 0b1) for n in range(1, 61)]
    sample = draw_hits(found, (0.9,), {text(n) for n in range(1, 121)}, 60, seed=0)

    class Lenient:
        name = "misses half"

        async def judge(self, asked: Any, original: str, proposed: str) -> tuple[Verdict, str]:
            bad = "gpt-4o" not in proposed
            return (Verdict.DEGRADED if bad and asked.id.int % 2 else Verdict.ACCEPTABLE), ""

    quality = assess_sync(
        drawn, requests, Lenient(), answer_at_once, settings=settings(), controls=60, hits=sample
    )
    (at,) = quality.cache_hits
    assert at.degraded_pct == 50
    assert at.corrected_pct is not None
    assert at.corrected_pct_95 is not None
    assert at.corrected_pct > 80
    assert at.corrected_pct_95[1] == pytest.approx(100)


@pytest.mark.statistics
def test_intervals_of_wrong_hits_cover_their_share() -> None:
    rng = np.random.default_rng(5)
    found = [(text(n), text(5_000 + n // 40), 0b1) for n in range(1, 4_001)]
    # Hits come in bursts of one source: all of a burst are wrong, or none.
    wrong = {n: bool(w) for n, w in enumerate(np.repeat(rng.random(101) < 0.3, 40))}
    share = 100 * sum(wrong[n] for n in range(1, 4_001)) / 4_000
    everything = {key for hit in found for key in hit[:2]}
    covered = 0
    for seed in range(300):
        drawn = draw_hits(found, (0.9,), everything, 100, seed=seed).drawn
        low, high = wilson_interval_pct(sum(wrong[hit.request_id.int] for hit in drawn), 100)
        covered += low <= share <= high
    assert 0.92 <= covered / 300 <= 0.99


@pytest.mark.slow
def test_a_plans_hits_are_judged_and_shown(tmp_path: Path) -> None:
    log = rows(90)
    log[50]["embedding"] = log[49]["embedding"]
    log[52] |= {"embedding": log[51]["embedding"], "response_body": "answer 51"}
    workspace, plan_id = planned(tmp_path, log)
    judge = Judge()
    checked = workspace.check_quality(
        plan_id,
        judge=judge,
        proposer=Proposer(),
        budget_usd=1,
        allow_bodies=True,
        sample_size=1,
        cache_hits=5,
    )
    quality = checked.result.quality
    assert quality is not None
    assert [(at.threshold, at.hits, at.sample_size) for at in quality.cache_hits] == [
        (0.9, 3, 3),
        (0.99, 3, 3),
    ]
    assert judge.seen[UUID(int=51)] == ("answer 50", "answer 49")
    assert UUID(int=53) not in judge.seen
    assert "wrong hits of the semantic cache, uncorrected" in checked.quality_text()
    with pytest.raises(InputError, match="cache_hits is -1"):
        workspace.check_quality(
            plan_id, judge=judge, proposer=Proposer(), budget_usd=1, cache_hits=-1
        )
