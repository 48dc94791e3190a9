"""What a quality check keeps of its answers, and what they tell of a target model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from tests.quality.chat_server import completion, serving
from tests.quality.parties import ScriptedJudge, answer_at_once, request, settings, universe
from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.assumption import Assumption
from ttplan.model.request import RequestLog
from ttplan.model.results.quality import QualityResult, RiskBand, TokenUsage, Verdict
from ttplan.quality.assess import assess
from ttplan.quality.chat import ChatProposer
from ttplan.quality.measured import (
    MIN_PAIRS,
    judged_assumptions,
    mean_of,
    ratio_of_sums,
    share_of,
)
from ttplan.quality.protocols import Judgement, ProposedAnswer
from ttplan.quality.usage import read_usage, usage_cost_usd

PAIR = {"source_model": "gpt-4o", "target_model": "gpt-4o-mini"}
OLD_SCORE = {"request_id": str(UUID(int=1)), "verdict": "acceptable", "reason": "fine"}


def usage(answer: Any) -> TokenUsage | None:
    return read_usage({"usage": answer})


def judged(
    logged: Sequence[Mapping[str, Any]],
    answers: Sequence[Mapping[str, int]],
    degraded: int = 0,
    unclear: int = 0,
) -> QualityResult:
    """A check of those recorded answers, with those new ones."""

    async def proposer(asked: RequestLog, _model: str) -> ProposedAnswer:
        return ProposedAnswer("text", usage=TokenUsage(**answers[asked.id.int]))

    def verdict(number: int) -> Verdict:
        if number < degraded:
            return Verdict.DEGRADED
        return Verdict.UNCLEAR if number < degraded + unclear else Verdict.ACCEPTABLE

    rows = [request(number, **fields) for number, fields in enumerate(logged)]
    sample, requests = universe(rows)
    work = assess(sample, requests, ScriptedJudge(verdict), proposer, settings=settings())
    return asyncio.run(work)


def by_name(result: QualityResult) -> dict[str, Assumption]:
    return {assumption.name: assumption for assumption in judged_assumptions(result)}


# --- usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 5}, (9, 5, None, None)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 50,
                "total_tokens": 59,
                "completion_tokens_details": {"reasoning_tokens": 40},
                "prompt_tokens_details": {"cached_tokens": 8},
            },
            (9, 50, 40, 8),
        ),
        (  # reasoning besides the completion
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 54,
                "completion_tokens_details": {"reasoning_tokens": 40},
            },
            (9, 45, 40, None),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 54}, (9, 45, 40, None)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 6},
                "prompt_tokens_details": {"cached_tokens": "8"},
            },
            (9, 5, 5, None),
        ),
        ({"prompt_tokens": 9}, None),
        ({"prompt_tokens": True, "completion_tokens": 5}, None),
        ({"prompt_tokens": -1, "completion_tokens": 5}, None),
        ([], None),
        (None, None),
    ],
)
def test_usage_is_read_as_it_is_billed(reported: Any, expected: Any) -> None:
    tokens = usage(reported)
    if expected is None:
        assert tokens is None
    else:
        assert tokens is not None
        names = ("input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens")
        assert tuple(getattr(tokens, name) for name in names) == expected


def test_the_cost_of_usage_counts_cached_tokens_at_their_rate() -> None:
    price = ModelPricing(input_per_million=2, output_per_million=10, cached_input_per_million=1)
    tokens = TokenUsage(input_tokens=1_000, output_tokens=100, cached_tokens=400)
    assert usage_cost_usd(price, tokens) == Decimal("0.0026")
    assert usage_cost_usd(price, None) is None
    assert usage_cost_usd(None, tokens) is None


# --- what a check keeps ---------------------------------------------------------------------------


def test_every_answer_keeps_its_tokens_cost_and_latency() -> None:
    async def proposer(_request: RequestLog, _model: str) -> ProposedAnswer:
        tokens = TokenUsage(input_tokens=110, output_tokens=90, reasoning_tokens=30)
        return ProposedAnswer("four", Decimal("0.001"), tokens, latency_ms=12)

    judge = ScriptedJudge(lambda _: Judgement(Verdict.ACCEPTABLE, "yes", Decimal("0.002")))
    sample, requests = universe([request(1, tag="chat", reasoning_tokens=20)])
    requests = {key: case._replace(route="r") for key, case in requests.items()}
    result = asyncio.run(assess(sample, requests, judge, proposer, settings=settings()))
    assert result.sampled_examples[0].model_dump(mode="json", exclude={"request_id"}) == {
        "verdict": "acceptable",
        "reason": "yes",
        "tag": "chat",
        "route": "r",
        **PAIR,
        "logged": {"input_tokens": 100, "output_tokens": 50, "reasoning_tokens": 20},
        "answer": {"input_tokens": 110, "output_tokens": 90, "reasoning_tokens": 30},
        "cost_usd": 0.001,
        "judge_cost_usd": 0.002,
        "latency_ms": 12,
    }
    assert QualityResult.model_validate_json(result.model_dump_json()) == result


def test_what_a_proposer_reports_wrongly_is_not_kept() -> None:
    async def proposer(_request: RequestLog, _model: str) -> ProposedAnswer:
        wrong: Any = ("four", float("nan"), {"input_tokens": 1}, -3, 1)
        return ProposedAnswer(*wrong)

    sample, requests = universe([request(1)])
    result = asyncio.run(assess(sample, requests, ScriptedJudge(), proposer, settings=settings()))
    (score,) = result.sampled_examples
    assert (score.answer, score.cost_usd, score.latency_ms, score.cut) == (None, None, None, False)


def test_an_answer_that_was_cut_off_keeps_its_tokens() -> None:
    reply = completion(
        None, finish_reason="length", usage={"prompt_tokens": 90, "completion_tokens": 7}
    )
    price = ModelPricing(input_per_million=1, output_per_million=1)
    sample, requests = universe([request(1)])
    with serving(reply) as server:
        proposer = ChatProposer(
            server.base_url, max_tokens=7, pricing={"openai:gpt-4o-mini": price}
        )
        judge = ScriptedJudge()
        result = asyncio.run(assess(sample, requests, judge, proposer, settings=settings()))
    (score,) = result.sampled_examples
    assert (score.verdict, score.cut) == (Verdict.UNCLEAR, True)
    assert score.answer == TokenUsage(input_tokens=90, output_tokens=7)
    assert score.latency_ms is not None
    assert score.cost_usd == result.cost_usd == Decimal("0.000097")
    assert judge.judged == []


def test_results_of_earlier_versions_keep_their_bytes() -> None:
    sample, requests = universe([request(1)])
    new = asyncio.run(
        assess(sample, requests, ScriptedJudge(), answer_at_once, settings=settings())
    ).model_dump(mode="json")
    assert "groups" not in new
    old = {**new, "sampled_examples": [OLD_SCORE]}
    result = QualityResult.model_validate(old)
    assert result.model_dump(mode="json") == old
    assert list(result.model_dump(mode="json")) == list(old)
    assert judged_assumptions(result) == ()


# --- groups ---------------------------------------------------------------------------------------


def test_routes_and_tags_have_bands_and_the_worst_is_named() -> None:
    tags = ["a", "b", None]
    sample, requests = universe([request(i, tag=tags[i % 3]) for i in range(90)])
    requests = {k: case._replace(route=f"r{k.int % 2}") for k, case in requests.items()}
    judge = ScriptedJudge(lambda i: Verdict.DEGRADED if i % 6 == 1 else Verdict.ACCEPTABLE)
    result = asyncio.run(assess(sample, requests, judge, answer_at_once, settings=settings()))
    names = [("route", "r0"), ("route", "r1"), ("tag", None), ("tag", "a"), ("tag", "b")]
    assert [(group.by, group.name) for group in result.groups] == names
    counts = [(group.degraded_count, group.sample_size) for group in result.groups]
    assert counts == [(0, 45), (15, 45), (0, 30), (0, 30), (15, 30)]
    assert [group.risk_band for group in result.groups][1::3] == [RiskBand.HIGH, RiskBand.HIGH]
    assert result.worst == result.groups[4]
    assert result.groups[4].degraded_pct_95 == pytest.approx((33.15, 66.85), abs=0.01)


def test_one_bad_answer_of_one_is_not_the_worst_group() -> None:
    sample, requests = universe([request(i, tag="rare" if i == 0 else "usual") for i in range(90)])
    judge = ScriptedJudge(lambda i: Verdict.DEGRADED if i % 2 == 0 else Verdict.ACCEPTABLE)
    result = asyncio.run(assess(sample, requests, judge, answer_at_once, settings=settings()))
    assert result.worst is not None
    assert result.worst.name == "usual"


# --- estimates ------------------------------------------------------------------------------------


def test_the_standard_error_of_a_ratio_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(5)
    x = rng.lognormal(5, 0.8, 300).round()
    y = (1.4 * x * rng.lognormal(0, 0.4, 300)).round()
    ratio = ratio_of_sums(x, y)
    draws = rng.integers(0, 300, (20_000, 300))
    resampled = y[draws].sum(axis=1) / x[draws].sum(axis=1)
    assert ratio.value == pytest.approx(y.sum() / x.sum())
    assert ratio.standard_error == pytest.approx(resampled.std(), rel=0.03)


def test_the_standard_error_of_a_mean_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(6)
    y = rng.gamma(2.0, 400.0, 200).round()
    resampled = y[rng.integers(0, 200, (20_000, 200))].mean(axis=1)
    assert mean_of(y) == pytest.approx((y.mean(), resampled.std()), rel=0.02)


def test_standard_errors_of_ratios_cover_the_truth() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(4_000):
        x = rng.lognormal(5, 0.6, 120)
        y = 1.6 * x * rng.lognormal(-0.045, 0.3, 120)  # of mean 1.6
        ratio = ratio_of_sums(x, y)
        covered += abs(ratio.value - 1.6) < 1.96 * ratio.standard_error
    assert 0.92 <= covered / 4_000 <= 0.96


def test_a_share_of_nothing_has_a_standard_error() -> None:
    assert share_of(0, 100).value == 0
    assert share_of(0, 100).standard_error == pytest.approx(0.0094, abs=1e-4)
    draws = np.random.default_rng(8).binomial(400, 0.2, 100_000) / 400
    assert share_of(80, 400).standard_error == pytest.approx(draws.std(), rel=0.01)


# --- assumptions ----------------------------------------------------------------------------------


def test_judged_answers_give_ratios_of_sums() -> None:
    rng = np.random.default_rng(9)
    logged = [
        {"input_tokens": int(a), "output_tokens": int(b) + 5}
        for a, b in rng.lognormal(5, 0.7, (60, 2))
    ]
    answers = [
        {
            "input_tokens": round(1.25 * row["input_tokens"]),
            "output_tokens": 2 * row["output_tokens"] + 800 + n,
            "reasoning_tokens": 800 + n,
        }
        for n, row in enumerate(logged)
    ]
    measured = by_name(judged(logged, answers, degraded=6))
    assert measured.keys() == {"ratio_in", "ratio_out", "reasoning_tokens", "redo"}
    assert float(measured["ratio_in"].value or 0) == pytest.approx(1.25, abs=0.005)
    assert (measured["ratio_out"].value, measured["ratio_out"].standard_error) == (Decimal(2), 0)
    assert measured["reasoning_tokens"].value == Decimal("829.5")
    assert measured["reasoning_tokens"].standard_error == pytest.approx(2.2546, abs=1e-3)
    assert measured["redo"].value == Decimal("0.1")
    assert measured["redo"].note == "6 of 60 judged answers degraded"
    assert measured["ratio_in"].note == "60 paired answers"
    for assumption in measured.values():
        assert assumption.source == "judged"
        assert (assumption.source_model, assumption.target_model) == tuple(PAIR.values())


def test_a_thinking_source_gives_a_ratio_of_reasoning() -> None:
    logged = [{"output_tokens": 500 + n, "reasoning_tokens": 400 + n} for n in range(30)]
    same = [{"input_tokens": 100, "output_tokens": 150, "reasoning_tokens": 0}] * 30
    measured = by_name(judged(logged, same))
    assert measured["ratio_out"].value == Decimal("1.5")
    assert measured["ratio_reasoning"].value == Decimal(0)
    assert "reasoning_tokens" not in measured


def test_too_few_pairs_or_verdicts_measure_nothing() -> None:
    few = MIN_PAIRS - 1
    tokens = {"input_tokens": 100, "output_tokens": 50}
    assert by_name(judged([{}] * few, [tokens] * few)) == {}
    assert by_name(judged([{}] * 30, [tokens] * 30, unclear=6)).keys() >= {"redo"}
    assert "redo" not in by_name(judged([{}] * 30, [tokens] * 30, unclear=7))


def test_answers_without_usage_say_only_how_many_are_degraded() -> None:
    sample, requests = universe(request(i) for i in range(30))
    result = asyncio.run(
        assess(sample, requests, ScriptedJudge(), answer_at_once, settings=settings())
    )
    assert by_name(result).keys() == {"redo"}


@pytest.mark.parametrize(("unlike", "measured"), [(3, True), (4, False)])
def test_prompts_of_another_length_are_left_out(unlike: int, measured: bool) -> None:
    logged = [{"input_tokens": 9_000 if n < unlike else 100} for n in range(30)]
    answers = [{"input_tokens": 110, "output_tokens": 50}] * 30
    ratios = by_name(judged(logged, answers))
    assert ("ratio_in" in ratios) is measured
    assert not measured or ratios["ratio_in"].value == Decimal("1.1")


def test_a_ratio_beyond_all_bounds_is_left_out() -> None:
    logged = [{"output_tokens": 2, "reasoning_tokens": int(n == 0)} for n in range(30)]
    answers = [{"input_tokens": 100, "output_tokens": 10**6, "reasoning_tokens": 10**6}] * 30
    assert by_name(judged(logged, answers)).keys() == {"ratio_in", "ratio_out", "redo"}
