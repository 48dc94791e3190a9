"""Trying the judge on answers of known quality, and what people say of answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import pytest

from tests.quality.parties import ScriptedJudge, request, settings, universe
from ttplan.model.errors import InputError
from ttplan.model.request import RequestLog
from ttplan.model.results.quality import QualityResult, RiskBand, Verdict
from ttplan.model.results.verdicts import KnownAnswers, Label
from ttplan.quality.assess import assess
from ttplan.quality.judge.labels import AnswerPairs, new_is_a, read_labels
from ttplan.quality.judge.planted import plant
from ttplan.quality.measured import judged_assumptions
from ttplan.quality.protocols import BudgetExceeded, CallFailed, Judgement
from ttplan.quality.result import with_labels

A, D, U = Verdict.ACCEPTABLE, Verdict.DEGRADED, Verdict.UNCLEAR
LONG = "The invoice of 2024 lists 135 items, which were all delivered to the warehouse in time."


class Answers:
    """A proposer that remembers which models answered which requests."""

    name = "a proposer"

    def __init__(self) -> None:
        self.asked: list[tuple[int, str]] = []

    async def __call__(self, request: RequestLog, target_model: str) -> str:
        self.asked.append((request.id.int, target_model))
        return f"{target_model} says so"


class Errs:
    """A judge that finds bad answers, but not refusals, and calls every tenth good one bad."""

    name = "a judge"

    def __init__(self) -> None:
        self.calls = 0

    async def judge(self, request: RequestLog, original: str, proposed: str) -> Any:
        self.calls += 1
        is_good = proposed.endswith("says so") or proposed.startswith("I'm sorry")
        return (A if is_good and request.id.int % 10 else D), "since"


def checked(count: int, judge: Any, proposer: Any, **options: Any) -> QualityResult:
    limits = options.pop("limits", {})
    rows = (request(i, body=f"prompt {i}", response_body=f"{LONG} {i}") for i in range(count))
    sample, requests = universe(rows)
    run = assess(sample, requests, judge, proposer, settings=settings(**limits), **options)
    return asyncio.run(run)


def test_the_judge_is_tried_on_repeated_and_on_planted_answers() -> None:
    judge, proposer = Errs(), Answers()
    result = checked(100, judge, proposer, controls=60)
    assert Counter(model for _, model in proposer.asked) == {"gpt-4o-mini": 100, "gpt-4o": 60}
    assert judge.calls == result.calls - len(proposer.asked) == 220
    assert len(result.controls) == 120
    good = [control for control in result.controls if not control.is_bad]
    bad = [control for control in result.controls if control.is_bad]
    assert {control.kind for control in bad} == {
        "truncated",
        "other_answer",
        "altered_numbers",
        "refusal",
        "wrong_language",
    }
    missed = sum(control.verdict == A for control in bad)
    assert 0 < missed <= sum(control.kind == "refusal" for control in bad)
    accuracy = result.judge_accuracy
    assert accuracy is not None
    assert accuracy.sensitivity == KnownAnswers(source="planted", judged=60, correct=60 - missed)
    accepted = sum(control.verdict == A for control in good)
    assert accuracy.specificity == KnownAnswers(source="repeated", judged=60, correct=accepted)
    # All that this judge calls degraded are its own errors.
    assert result.degraded_pct == 10.0
    assert result.corrected_pct is not None
    assert result.corrected_pct < 5
    assert result.sample_size == 100
    assert "plainly bad" in result.caveats[0]


def test_controls_are_the_same_for_a_seed_and_end_with_the_run() -> None:
    first = checked(30, Errs(), Answers(), controls=10, limits={"in_flight": 1})
    again = checked(30, Errs(), Answers(), controls=10, limits={"in_flight": 8})
    assert first.controls == again.controls
    with pytest.raises(BudgetExceeded):
        checked(
            40, Errs(), Answers(), controls=40, limits={"budget_usd": 0.3, "judge_call_usd": 0.004}
        )


def test_a_run_that_ends_early_has_some_controls() -> None:
    class Dear(Errs):
        async def judge(self, request: RequestLog, original: str, proposed: str) -> Any:
            verdict, reason = await super().judge(request, original, proposed)
            return Judgement(verdict, reason, Decimal("0.02"))

    limits = {"budget_usd": 1, "judge_call_usd": 0.001, "in_flight": 1}
    cut = checked(60, Dear(), Answers(), controls=40, limits=limits)
    assert cut.stopped == "budget"
    assert 10 < cut.sample_size < 60
    assert 10 < len(cut.controls) < 80
    assert len({control.is_bad for control in cut.controls}) == 2


def test_a_service_without_the_logged_model_judges_the_rest() -> None:
    class OnlyTarget(Answers):
        async def __call__(self, request: RequestLog, target_model: str) -> str:
            if target_model == "gpt-4o":
                raise CallFailed("there is no such model", then="stop")
            return await super().__call__(request, target_model)

    result = checked(40, Errs(), OnlyTarget(), controls=20)
    assert (result.sample_size, result.stopped) == (40, None)
    assert result.judge_accuracy is not None
    assert result.judge_accuracy.specificity is None
    assert not result.is_corrected
    assert result.caveats[0].startswith("Uncorrected: ")
    assert result.caveats[1].startswith("No good answers of known quality")


def test_a_judge_that_accepts_everything_tells_nothing() -> None:
    result = checked(40, ScriptedJudge(), Answers(), controls=30)
    assert (result.corrected_pct, result.corrected_pct_95) == (None, (0.0, 100.0))
    assert result.risk_band is RiskBand.UNKNOWN
    assert "tell nothing: it finds 0 of 30 bad answers" in result.caveats[0]
    assert judged_assumptions(result) == ()


def test_an_unmeasured_judge_is_said_to_be_uncorrected() -> None:
    result = checked(40, ScriptedJudge(), Answers())
    assert result.caveats[0].startswith("Uncorrected: ")
    assert "judge_accuracy" not in result.model_dump(mode="json")


def test_the_corrected_share_is_what_is_asked_again() -> None:
    result = checked(200, Errs(), Answers(), controls=100)
    (redo,) = (one for one in judged_assumptions(result) if one.name == "redo")
    assert result.corrected_pct is not None
    assert redo.value is not None
    assert float(redo.value) == pytest.approx(result.corrected_pct / 100)
    assert redo.note == "20 of 200 judged answers degraded, corrected"


@pytest.mark.parametrize(
    "answer", ["4", "yes", LONG, "", "I'm sorry, but I can't help with that request."]
)
def test_a_planted_answer_differs_from_the_recorded_one(answer: str) -> None:
    kinds = set()
    for number in range(40):
        planted = plant(answer, ["yes", "no", ""], seed=3, request_id=UUID(int=number))
        kinds.add(planted.kind)
        assert planted.text.strip()
        assert planted.text.split() != answer.split()
    assert len(kinds) >= 2


# --- labels -------------------------------------------------------------------


def labelled() -> tuple[QualityResult, AnswerPairs]:
    pairs = AnswerPairs(size=30)
    judge = ScriptedJudge(lambda i: D if i % 4 == 0 else A)
    return checked(60, judge, Answers(), pairs=pairs), pairs


def test_pairs_are_kept_in_blind_order() -> None:
    result, pairs = labelled()
    drawn = [score.request_id for score in result.sampled_examples]
    assert [pair.request_id for pair in pairs.pairs] == drawn[:30]
    assert 5 < sum(pair.new_is_a for pair in pairs.pairs) < 25
    for pair in pairs.pairs:
        new, old = (pair.answer_a, pair.answer_b)[:: 1 if pair.new_is_a else -1]
        assert (new, old) == ("gpt-4o-mini says so", f"{LONG} {pair.request_id.int}")
        assert pair.prompt == f"prompt {pair.request_id.int}"
        assert new_is_a(result.seed, pair.request_id) == pair.new_is_a


def test_labels_correct_the_share() -> None:
    result, _ = labelled()
    # People find half of what the judge calls degraded fine, and agree with the rest.
    labels = [
        Label(
            request_id=score.request_id,
            verdict=D if score.request_id.int % 8 == 0 else A,
        )
        for score in result.sampled_examples
    ]
    corrected = with_labels(result, labels)
    assert corrected.judge_accuracy is not None
    assert corrected.judge_accuracy.sensitivity == KnownAnswers(
        source="labels", judged=8, correct=8
    )
    assert corrected.judge_accuracy.specificity == KnownAnswers(
        source="labels", judged=52, correct=45
    )
    assert corrected.corrected_pct == pytest.approx(100 * 8 / 60)
    assert not any("Uncorrected" in caveat for caveat in corrected.caveats)
    assert corrected.labels == tuple(labels)
    # Without labels it is as it was.
    assert with_labels(corrected, ()).model_dump() == result.model_dump()


def test_labels_come_from_a_file_a_frame_or_a_mapping(tmp_path: Path) -> None:
    result, pairs = labelled()
    path = tmp_path / "pairs.csv"
    pairs.to_csv(path)
    with pytest.raises(InputError, match="exists already"):
        pairs.to_csv(path)
    frame = pd.read_csv(path, dtype="string")
    assert list(frame.columns) == ["request_id", "prompt", "answer_a", "answer_b", "label"]
    assert read_labels(path, result) == read_labels(frame, result) == ()
    frame["label"] = ["a", "b", "Same ", "unclear"] * 7 + ["degraded", ""]
    frame.to_csv(path, index=False)
    expected = {
        pair.request_id: pair.verdict_of(worse)  # type: ignore[arg-type]
        for pair, worse in zip(pairs.pairs, ["a", "b", "same", "unclear"] * 7, strict=False)
    } | {pairs.pairs[28].request_id: D}
    for labels in (path, str(path), frame, expected):
        assert {label.request_id: label.verdict for label in read_labels(labels, result)} == (
            expected
        )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"x": "a"}, "label 1: 'x' and 'a' cannot be used"),
        ({str(UUID(int=1)): "worse"}, "expected the id of a request and one of a, b, same"),
        ({str(UUID(int=999)): "a"}, "is not among the 60 judged ones"),
        (pd.DataFrame({"id": []}), None),
        (pd.DataFrame({"id": ["1"]}), "has no columns request_id and label"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(labels: Any, message: str | None) -> None:
    result, _ = labelled()
    if message is None:
        assert read_labels(labels, result) == ()
        return
    with pytest.raises(InputError, match=message):
        read_labels(labels, result)


def test_formulas_and_long_texts_are_harmless_in_a_file(tmp_path: Path) -> None:
    pairs = AnswerPairs(size=1)
    rows = [request(1, body="=cmd()", response_body="x" * 50_000)]
    sample, requests = universe(rows)
    asyncio.run(
        assess(sample, requests, ScriptedJudge(), Answers(), settings=settings(), pairs=pairs)
    )
    pairs.to_csv(tmp_path / "p.csv")
    text = (tmp_path / "p.csv").read_text("utf-8-sig")
    assert "'=cmd()" in text
    assert len(text) < 21_000
