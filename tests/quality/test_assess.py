"""Running a sample past a judge: limits, failures, cancellation, and what is counted."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from tests.quality.parties import ScriptedJudge, answer_at_once, request, settings, universe
from ttplan.model.errors import InputError
from ttplan.model.request import RequestLog
from ttplan.model.results.quality import QualityResult, RiskBand, SampleScore, Verdict
from ttplan.quality.assess import assess, assess_sync
from ttplan.quality.protocols import (
    BodiesNotAllowed,
    BudgetExceeded,
    CallFailed,
    Judgement,
    ProposedAnswer,
    QualitySettings,
    one_line,
)
from ttplan.quality.result import unverified_result

A, D, U = Verdict.ACCEPTABLE, Verdict.DEGRADED, Verdict.UNCLEAR


def run(
    numbers: int,
    judge: Any,
    proposer: Any = answer_at_once,
    *,
    forced: tuple[int, ...] = (),
    size: int = 1_000,
    **limits: Any,
) -> QualityResult:
    """Assess that many requests."""
    sample, requests = universe((request(i) for i in range(numbers)), size, forced=forced)
    return asyncio.run(assess(sample, requests, judge, proposer, settings=settings(**limits)))


# --- what is counted ----------------------------------------------------------


def test_the_share_is_of_the_classified_and_unclear_stays_out() -> None:
    result = run(100, ScriptedJudge(lambda i: U if i < 20 else D if i < 28 else A))
    assert (
        result.sample_size,
        result.acceptable_count,
        result.degraded_count,
        result.unclear_count,
    ) == (100, 72, 8, 20)
    assert result.degraded_pct == 10.0
    assert result.degraded_pct_95 == pytest.approx((5.157, 18.504), abs=0.01)
    assert (result.risk_band, result.risk_band_upper) == (RiskBand.UNKNOWN, RiskBand.HIGH)
    assert result.bands == (RiskBand.MEDIUM, RiskBand.HIGH)
    assert len(result.sampled_examples) == 100
    assert {(e.request_id.int, e.verdict, e.reason) for e in result.sampled_examples} >= {
        (25, D, "since it is 25")
    }


def test_the_judge_sees_the_recorded_and_the_proposed_answer() -> None:
    judge = ScriptedJudge()
    run(2, judge)
    assert sorted(judge.seen) == [("4", "gpt-4o-mini says 0"), ("4", "gpt-4o-mini says 1")]


def test_the_names_that_tt_plan_core_has_are_there() -> None:
    result = run(3, ScriptedJudge()).model_dump(mode="json")
    assert {
        "sample_size",
        "acceptable_count",
        "degraded_count",
        "unclear_count",
        "degraded_pct",
        "risk_band",
    } < result.keys()
    assert {"sampled_examples", "caveats"} < result.keys()
    assert result["risk_band"] == "unknown"
    assert result["sampled_examples"][0].keys() >= {"request_id", "verdict", "reason"}
    assert result["sampled_examples"][0]["verdict"] == "acceptable"


def test_nothing_classified_is_unverified_and_never_low() -> None:
    for result in (
        run(0, ScriptedJudge()),
        run(50, ScriptedJudge(lambda _: U)),
        unverified_result("the log has no bodies."),
    ):
        assert result.degraded_pct is None
        assert result.degraded_pct_95 is None
        assert result.risk_band is result.risk_band_upper is RiskBand.UNVERIFIED
        assert result.risk_band.shown == "UNVERIFIED"
        assert any("UNVERIFIED" in caveat for caveat in result.caveats)


def test_forced_requests_are_judged_but_not_in_the_share() -> None:
    sample, requests = universe((request(i) for i in range(100)), 40, forced=range(90, 100))
    result = asyncio.run(
        assess(
            sample,
            requests,
            ScriptedJudge(lambda i: D if i >= 90 else A),
            answer_at_once,
            settings=settings(),
        )
    )
    both = {i.int for i in sample.drawn} & set(range(90, 100))
    assert result.sample_size == 40
    assert result.degraded_count == len(both)
    assert result.forced is not None
    assert (result.forced.sample_size, result.forced.degraded_count) == (10, 10)
    assert [score.request_id for score in result.forced.examples] == sorted(
        UUID(int=i) for i in range(90, 100)
    )
    assert any(
        "10 of 10 requests looked at on purpose are degraded" in caveat for caveat in result.caveats
    )
    assert result.population == 100


def test_a_drawn_and_forced_request_is_judged_once() -> None:
    judge = ScriptedJudge()
    run(5, judge, forced=(0, 1))
    assert sorted(judge.judged) == [0, 1, 2, 3, 4]


def test_requests_without_bodies_are_skipped_and_counted() -> None:
    rows = [
        request(0),
        request(1, body=None),
        request(2, response_body=None),
        request(3, body=""),
        request(4, body="x" * 2**21),
    ]
    tool = '{"choices": [{"message": {"content": null, "tool_calls": []}}]}'
    sample, requests = universe([*rows, request(5, response_body=tool)])
    judge = ScriptedJudge()
    result = asyncio.run(assess(sample, requests, judge, answer_at_once, settings=settings()))
    assert judge.judged == [0]
    assert (result.sample_size, result.skipped, result.drawn) == (1, 5, 6)
    assert any(caveat.startswith("5 requests of 6 skipped") for caveat in result.caveats)


def test_requests_that_could_not_be_drawn_are_a_caveat() -> None:
    sample, requests = universe(request(i) for i in range(10))
    result = asyncio.run(
        assess(
            sample, requests, ScriptedJudge(), answer_at_once, settings=settings(), unrecorded=90
        )
    )
    assert result.unrecorded == 90
    assert any(
        "90 requests of 100 rerouted have no recorded prompt and answer" in caveat
        for caveat in result.caveats
    )


def test_shuffled_requests_give_the_same_bytes() -> None:
    rows = [request(i, tag=["a", "b", None][i % 3], input_tokens=i * 90) for i in range(120)]
    results = set()
    for seed in range(4):
        random.Random(seed).shuffle(rows)
        sample, requests = universe(rows, 50, seed=8, forced=[3, 4])
        judge = ScriptedJudge(lambda i: D if i % 4 == 0 else A, seconds=0.0005 * seed)
        limits = settings(in_flight=1 + 7 * seed)
        results.add(
            asyncio.run(
                assess(sample, requests, judge, answer_at_once, settings=limits)
            ).model_dump_json()
        )
    assert len(results) == 1
    assert QualityResult.model_validate_json(results.pop()).sample_size == 50


def test_small_or_unclear_samples_have_caveats() -> None:
    rows = [request(i, tag="rare" if i == 0 else None) for i in range(400)]
    sample, requests = universe(rows, 10)
    result = asyncio.run(
        assess(
            sample,
            requests,
            ScriptedJudge(lambda i: U if i % 2 else A),
            answer_at_once,
            settings=settings(),
        )
    )
    text = "\n".join(result.caveats)
    assert "Small sample" in text
    assert "unclear and not in the share" in text
    assert "1 of 2 groups by tag and size, with 1 request, have none in the sample" in text


def test_progress_receives_the_number_of_scores() -> None:
    sample, requests = universe(request(i) for i in range(7))
    counts: list[int] = []
    asyncio.run(
        assess(
            sample,
            requests,
            ScriptedJudge(),
            answer_at_once,
            settings=settings(),
            progress=counts.append,
        )
    )
    assert counts == [1, 2, 3, 4, 5, 6, 7]


# --- before anything is sent --------------------------------------------------


def test_bodies_are_not_sent_unless_allowed() -> None:
    judge = ScriptedJudge()
    with pytest.raises(BodiesNotAllowed, match="allow_bodies=True"):
        run(3, judge, allow_bodies=False)
    assert judge.judged == []
    assert QualitySettings(budget_usd=1).allow_bodies is False
    with pytest.raises(ValidationError):
        QualitySettings(budget_usd=1, allow_bodies="yes")  # type: ignore[arg-type]


def test_a_budget_that_may_not_suffice_sends_nothing() -> None:
    judge = ScriptedJudge()
    with pytest.raises(
        BudgetExceeded, match=r"10 requests may cost 0\.9 USD .*3 attempts.* budget of 0\.89 USD"
    ):
        run(
            10,
            judge,
            budget_usd=Decimal("0.89"),
            judge_call_usd=Decimal("0.01"),
            proposer_call_usd=Decimal("0.02"),
        )
    assert judge.judged == []
    result = run(
        10,
        judge,
        budget_usd=Decimal("0.9"),
        judge_call_usd=Decimal("0.01"),
        proposer_call_usd=Decimal("0.02"),
    )
    assert result.sample_size == 10
    assert result.cost_usd == Decimal("0.3")
    assert result.cost_is_estimated
    assert result.calls == 20


def test_an_unknown_cost_is_refused() -> None:
    with pytest.raises(InputError, match="give judge_call_usd"):
        run(1, ScriptedJudge(), judge_call_usd=None)


@pytest.mark.parametrize("estimate", [-1, float("nan"), "much", True, Decimal("-0.1")])
def test_an_invalid_estimate_is_refused(estimate: Any) -> None:
    judge = ScriptedJudge()
    judge.estimate_usd = lambda rerouted: estimate  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="estimate"):
        run(1, judge, judge_call_usd=None)
    assert judge.judged == []


def test_a_sampled_request_that_is_not_given_is_refused() -> None:
    sample, requests = universe([request(1), request(2)])
    del requests[UUID(int=2)]
    with pytest.raises(InputError, match="give every sampled request"):
        asyncio.run(assess(sample, requests, ScriptedJudge(), answer_at_once, settings=settings()))


# --- while it runs ------------------------------------------------------------


@pytest.mark.parametrize("in_flight", [1, 3, 8])
def test_no_more_are_in_flight_than_allowed_and_as_many_as_that(in_flight: int) -> None:
    judge = ScriptedJudge(seconds=0.005)
    assert run(30, judge, in_flight=in_flight).sample_size == 30
    assert judge.most_in_flight == in_flight


def test_requests_are_taken_in_the_samples_order() -> None:
    sample, requests = universe(request(i) for i in range(30))
    judge = ScriptedJudge()
    asyncio.run(assess(sample, requests, judge, answer_at_once, settings=settings(in_flight=1)))
    assert judge.judged == [i.int for i in sample.ids]


def test_an_exhausted_budget_ends_the_run_and_keeps_scores() -> None:
    judge = ScriptedJudge(lambda i: Judgement(D, "no", Decimal("0.3")))
    result = run(100, judge, budget_usd=1, in_flight=1)
    assert len(judge.judged) == result.sample_size == 4
    assert result.stopped == "budget"
    assert not result.cancelled
    assert result.cost_usd == Decimal("1.2")
    assert any(
        "budget of 1 USD was reached: 96 requests of 100 not judged" in caveat
        for caveat in result.caveats
    )


def test_an_estimate_that_no_longer_fits_is_not_sent() -> None:
    # Estimated at 0.4 for all, each judgement turns out to cost 0.3.
    judge = ScriptedJudge(lambda i: Judgement(A, "yes", Decimal("0.3")))
    result = run(
        4, judge, budget_usd=Decimal("0.65"), judge_call_usd=Decimal("0.1"), retries=0, in_flight=1
    )
    assert result.stopped == "budget"
    assert result.cost_usd == Decimal("0.6")


@pytest.mark.parametrize("cost", [float("nan"), -1.0, "much", True, float("inf")])
def test_an_invalid_reported_cost_counts_as_the_estimate(cost: Any) -> None:
    judge = ScriptedJudge(lambda i: Judgement(A, "yes", cost))
    result = run(2, judge, judge_call_usd=Decimal("0.01"))
    assert result.cost_usd == Decimal("0.02")
    assert result.cost_is_estimated


def test_reported_costs_are_what_is_shown() -> None:
    async def proposer(request: RequestLog, target_model: str) -> ProposedAnswer:
        return ProposedAnswer("four", Decimal("0.001"))

    result = run(
        10,
        ScriptedJudge(lambda i: Judgement(A, "yes", Decimal("0.002"))),
        proposer,
        judge_call_usd=Decimal("0.03"),
    )
    assert result.cost_usd == Decimal("0.03")
    assert not result.cost_is_estimated


def test_a_failing_judge_is_retried() -> None:
    failures: Counter[int] = Counter()

    def twice(number: int) -> object:
        failures[number] += 1
        return OSError("away") if failures[number] <= 2 else A

    result = run(5, ScriptedJudge(twice), retries=2)
    assert result.acceptable_count == 5
    assert result.calls == 5 * (1 + 3)


def test_a_judge_that_keeps_failing_is_unclear_and_no_crash() -> None:
    judge = ScriptedJudge(lambda i: ValueError(f"broken\x1b[31m {'x' * 900}") if i == 3 else A)
    result = run(5, judge, retries=2)
    assert (result.acceptable_count, result.unclear_count) == (4, 1)
    assert Counter(judge.judged)[3] == 3
    reason = next(e.reason for e in result.sampled_examples if e.verdict is U)
    assert reason.startswith("the judge failed: ValueError: broken [31m xxx")
    assert len(reason) == 200


def test_a_failing_proposer_is_unclear_without_judging() -> None:
    async def proposer(request: RequestLog, target_model: str) -> str:
        raise CallFailed("it is closed", then="skip")

    judge = ScriptedJudge()
    result = run(3, judge, proposer, retries=5)
    assert judge.judged == []
    assert {e.reason for e in result.sampled_examples} == {"it is closed"}
    assert result.calls == 3


def test_a_call_that_would_fail_for_all_ends_the_run() -> None:
    judge = ScriptedJudge(lambda i: CallFailed("the API key is wrong", then="stop"))
    result = run(50, judge, in_flight=2)
    assert len(judge.judged) <= 2
    assert result.stopped == "refused"
    assert result.risk_band is RiskBand.UNVERIFIED
    assert any("the API key is wrong" in caveat for caveat in result.caveats)


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        7,
        "acceptable",
        ("fine", "yes"),
        (A,),
        (A, 3),
        (A, "yes", 0.1),
        [A, "yes"],
        ("ACCEPTABLE", "x"),
    ],
)
def test_nonsense_from_a_judge_is_unclear(nonsense: object) -> None:
    result = run(1, ScriptedJudge(lambda _: nonsense))
    assert result.unclear_count == 1
    assert "the judge returned neither" in result.sampled_examples[0].reason


def test_a_verdict_may_be_plain_text() -> None:
    assert run(1, ScriptedJudge(lambda _: ("degraded", "it is wrong"))).degraded_count == 1


@pytest.mark.parametrize("answer", [None, 5, b"bytes", "x" * (2**20 + 1), ProposedAnswer(None)])  # type: ignore[arg-type]
def test_nonsense_from_a_proposer_is_unclear(answer: object) -> None:
    async def proposer(request: RequestLog, target_model: str) -> Any:
        return answer

    judge = ScriptedJudge()
    assert run(1, judge, proposer).unclear_count == 1
    assert judge.judged == []


def test_a_slow_judge_is_given_up() -> None:
    result = run(2, ScriptedJudge(seconds=30), timeout_seconds=0.02, retries=1)
    assert {e.reason for e in result.sampled_examples} == {"the judge did not answer within 0.02 s"}
    assert result.calls == 2 + 4


def test_retries_wait_longer_each_time_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[list[float]] = [[], []]

    async def sleep(seconds: float, real: Any = asyncio.sleep) -> None:
        current.append(seconds)
        await real(0)

    monkeypatch.setattr("ttplan.quality.assess.asyncio.sleep", sleep)
    for current in waits:
        judge = ScriptedJudge(lambda i: OSError())
        judge.seconds = -1.0
        run(1, judge, retries=4, backoff_seconds=1.0, max_wait_seconds=5.0)
        current[:] = [wait for wait in current if wait >= 0]
    first, second = waits
    assert first == second
    assert len(first) == 4
    assert all(0.5 * 2**i <= wait <= min(5, 1.5 * 2**i) for i, wait in enumerate(first))


def test_a_service_that_asks_to_wait_too_long_is_unclear_at_once() -> None:
    judge = ScriptedJudge(lambda i: CallFailed("busy", retry_after=600))
    result = run(1, judge, retries=3)
    assert len(judge.judged) == 1
    assert "asks to wait 600 s" in result.sampled_examples[0].reason


def test_reasons_are_one_short_line() -> None:
    assert one_line("a\n\tb\x00c\u202ed\ud800e") == "a b c d e"
    assert len(one_line("é" * 500)) == 200
    assert one_line("x" * 200) == "x" * 200


# --- ended early --------------------------------------------------------------


def stuck_after(count: int) -> ScriptedJudge:
    """A judge that answers `count` requests and then hangs."""

    class Stuck(ScriptedJudge):
        async def judge(self, request: RequestLog, original: str, proposed: str) -> Any:
            if len(self.judged) >= count:
                await asyncio.sleep(3600)
            return await super().judge(request, original, proposed)

    return Stuck()


def at(count: int, act: Callable[[], object]) -> Callable[[int], None]:
    """A progress callback that acts when that many are done."""

    def progress(done: int) -> None:
        if done == count:
            act()

    return progress


def check_cut_short(result: QualityResult, scored: int, of: int) -> None:
    assert result.cancelled
    assert result.sample_size == result.acceptable_count == scored
    assert result.risk_band is RiskBand.UNKNOWN
    assert any(
        f"cancelled: {of - scored} requests of {of} not judged" in caveat
        for caveat in result.caveats
    )


def test_cancelling_the_task_keeps_what_was_scored() -> None:
    async def cancelled() -> QualityResult:
        sample, requests = universe(request(i) for i in range(20))
        at_five = asyncio.Event()
        task = asyncio.create_task(
            assess(
                sample,
                requests,
                stuck_after(5),
                answer_at_once,
                settings=settings(),
                progress=at(5, at_five.set),
            )
        )
        await at_five.wait()
        task.cancel()
        return await task

    check_cut_short(asyncio.run(cancelled()), 5, 20)


def test_a_time_out_around_it_keeps_what_was_scored() -> None:
    async def limited() -> QualityResult:
        sample, requests = universe(request(i) for i in range(20))
        async with asyncio.timeout(0.3):
            return await assess(
                sample, requests, stuck_after(5), answer_at_once, settings=settings()
            )

    check_cut_short(asyncio.run(limited()), 5, 20)


def test_a_cancelled_run_leaves_no_cancellation_behind() -> None:
    async def cancelled() -> int:
        sample, requests = universe(request(i) for i in range(20))
        task = asyncio.current_task()
        assert task is not None
        await assess(
            sample,
            requests,
            stuck_after(5),
            answer_at_once,
            settings=settings(),
            progress=at(5, task.cancel),
        )
        return task.cancelling()

    assert asyncio.run(cancelled()) == 0


def test_a_cancel_event_keeps_what_was_scored_in_a_notebook_too() -> None:
    async def notebook() -> QualityResult:
        # A loop runs already here, as in Jupyter.
        sample, requests = universe(request(i) for i in range(20))
        cancel = threading.Event()
        return assess_sync(
            sample,
            requests,
            stuck_after(5),
            answer_at_once,
            settings=settings(),
            cancel=cancel,
            progress=at(5, cancel.set),
        )

    check_cut_short(asyncio.run(notebook()), 5, 20)


def test_ctrl_c_keeps_what_was_scored() -> None:
    sample, requests = universe(request(i) for i in range(20))
    main = threading.main_thread().ident
    assert main is not None
    result = assess_sync(
        sample,
        requests,
        stuck_after(5),
        answer_at_once,
        settings=settings(),
        progress=at(5, lambda: signal.pthread_kill(main, signal.SIGINT)),
    )
    check_cut_short(result, 5, 20)


def test_ctrl_c_in_a_programs_own_loop_keeps_what_was_scored() -> None:
    sample, requests = universe(request(i) for i in range(20))
    interrupt = at(5, lambda: signal.raise_signal(signal.SIGINT))
    result = asyncio.run(
        assess(
            sample,
            requests,
            stuck_after(5),
            answer_at_once,
            settings=settings(),
            progress=interrupt,
        )
    )
    check_cut_short(result, 5, 20)


def test_a_second_ctrl_c_gives_up() -> None:
    # A separate process: the abandoned thread runs on, and must not disturb other tests.
    script = """
import asyncio, signal, threading
from tests.quality.parties import answer_at_once, request, settings, universe
from ttplan.quality.assess import assess_sync
main, cancel = threading.main_thread().ident, threading.Event()
class Deaf:
    async def judge(self, request, original, proposed):
        threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            signal.pthread_kill(main, signal.SIGINT)
            await asyncio.sleep(1)
sample, requests = universe([request(1)])
try:
    assess_sync(sample, requests, Deaf(), answer_at_once, settings=settings(), cancel=cancel)
except KeyboardInterrupt:
    print("gave up", cancel.is_set(), flush=True)
    import os; os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "gave up True\n", done.stderr


def test_ctrl_c_inside_a_judge_keeps_what_was_scored() -> None:
    result = run(20, ScriptedJudge(lambda i: KeyboardInterrupt() if i == 7 else A), in_flight=1)
    assert result.cancelled
    assert 0 <= result.sample_size < 20
    assert result.acceptable_count == result.sample_size


def test_a_judge_that_cancels_itself_is_unclear() -> None:
    result = run(3, ScriptedJudge(lambda i: asyncio.CancelledError() if i == 1 else A), retries=0)
    assert (result.acceptable_count, result.unclear_count, result.stopped) == (2, 1, None)


def test_cancelling_after_the_last_is_no_cancellation() -> None:
    sample, requests = universe(request(i) for i in range(3))
    cancel = threading.Event()
    result = assess_sync(
        sample,
        requests,
        ScriptedJudge(),
        answer_at_once,
        settings=settings(),
        cancel=cancel,
        progress=at(3, cancel.set),
    )
    assert result.stopped is None


def test_an_error_of_the_progress_callback_is_raised() -> None:
    sample, requests = universe(request(i) for i in range(3))
    with pytest.raises(ZeroDivisionError):
        assess_sync(
            sample,
            requests,
            ScriptedJudge(),
            answer_at_once,
            settings=settings(),
            progress=at(1, lambda: 1 // 0),
        )


def test_errors_of_a_run_come_out_of_the_thread() -> None:
    sample, requests = universe([request(1)])
    with pytest.raises(BodiesNotAllowed):
        assess_sync(
            sample, requests, ScriptedJudge(), answer_at_once, settings=settings(allow_bodies=False)
        )


# --- the type -----------------------------------------------------------------


def test_a_stored_result_whose_counts_do_not_add_up_is_refused() -> None:
    good = run(10, ScriptedJudge()).model_dump(mode="json")
    changes: list[dict[str, Any]] = [
        {"acceptable_count": 9},
        {"degraded_pct": None},
        {"degraded_pct_95": None},
        {"degraded_pct": 1.0},
        {"risk_band": "unverified"},
        {"risk_band": "high"},
        {"risk_band_upper": "low"},
        {"sampled_examples": []},
        {"more": 1},
        {"degraded_pct": 101.0},
    ]
    for change in changes:
        with pytest.raises(ValidationError):
            QualityResult.model_validate({**good, **change})
    with pytest.raises(ValidationError):
        SampleScore(request_id=UUID(int=1), verdict=A, reason="x" * 201)
