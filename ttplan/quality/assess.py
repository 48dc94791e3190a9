"""Judge a sample of rerouted requests, within the budget, and summarise the scores."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from ttplan.model.errors import InputError
from ttplan.model.money import round_money, to_decimal
from ttplan.model.results.quality import QualityResult
from ttplan.quality.cache_hits import NO_HITS, HitSample, hit_cases, hit_scores, is_settled
from ttplan.quality.chat_format import MAX_BODY, read_answer
from ttplan.quality.judge.controls import control_cases, control_scores, interleave
from ttplan.quality.judge.labels import AnswerPairs
from ttplan.quality.protocols import (
    BodiesNotAllowed,
    BudgetExceeded,
    CostEstimator,
    Judge,
    Proposer,
    QualitySettings,
    ReroutedRequest,
    display_name,
)
from ttplan.quality.result import RunRecord, summarise
from ttplan.quality.runner import POLL_SECONDS, CancelToken, JudgeCase, Progress, Runner
from ttplan.quality.sampling import Sample

T = TypeVar("T")


async def assess(
    sample: Sample,
    requests: Mapping[UUID, ReroutedRequest],
    judge: Judge,
    proposer: Proposer,
    *,
    settings: QualitySettings,
    unrecorded: int = 0,
    controls: int = 0,
    hits: HitSample = NO_HITS,
    pairs: AnswerPairs | None = None,
    cancel: CancelToken | None = None,
    progress: Progress | None = None,
) -> QualityResult:
    """Let the proposer answer every request of `sample`, and the judge compare the answers.

    Requests are processed in the sample's order. If the task is cancelled, `cancel` is set, the
    budget is reached or a service refuses every call, the run ends early with the scores so far.

    Parameters
    ----------
    sample
        The requests to judge.
    requests
        Each sampled request, with its bodies and its target model.
    unrecorded
        The number of requests that could not be drawn because they have no bodies, for a caveat.
    controls
        For how many of the drawn requests the judge is tried out: on another answer of their own
        model, and on an answer made bad on purpose.
    hits
        Semantic cache hits whose served answers are judged. Their requests, and those whose
        answers they are served, are in `requests`, too.
    pairs
        Keeps prompts and answers of drawn requests for people to label.
    progress
        Called with the number of judged answers.

    Raises
    ------
    BodiesNotAllowed
        If the settings do not allow sending bodies.
    BudgetExceeded
        If (proposer + judge) * answers * (1 + retries) may cost more than the budget.
    InputError
        If a request is missing or a cost is unknown. Nothing is sent in all three cases.
    """
    if not settings.allow_bodies:
        raise BodiesNotAllowed
    drawn = set(sample.drawn)
    judged = _prepare_cases(sample, requests, judge, proposer, settings)
    tried = control_cases(
        [case for case in judged if case.request.id in drawn],
        controls,
        seed=sample.seed,
        repeat_usd=lambda again: _repeat_usd(proposer, settings, again),
    )
    cached = hit_cases(
        hits,
        {key: rerouted.request for key, rerouted in requests.items()},
        lambda rerouted: _call_usd(judge, "judge", settings.judge_call_usd, rerouted),
    )
    asked = [case for case in cached if not is_settled(case)]
    cases = interleave(interleave(judged, tried), asked)
    attempts = 1 + settings.retries
    estimate = attempts * sum((case.proposer_usd + case.judge_usd for case in cases), Decimal(0))
    if estimate > settings.budget_usd:
        raise BudgetExceeded(estimate, settings.budget_usd, len(cases), attempts)
    if pairs is not None:
        pairs.begin((case.request.id for case in judged if case.request.id in drawn), sample.seed)
    on_answer = None if pairs is None else pairs.add
    runner = Runner(judge, proposer, settings, sample.seed, progress, on_answer)
    async with AsyncExitStack() as stack:
        if cases:
            for party in (judge, proposer):
                if hasattr(party, "__aenter__"):
                    await stack.enter_async_context(party)  # type: ignore[arg-type]
            await runner.run(cases, cancel)
    record = RunRecord(
        scores={key: score for (key, kind), score in runner.scores.items() if kind is None},
        judge=display_name(judge),
        proposer=display_name(proposer),
        skipped=len(sample.ids) - len(judged),
        unrecorded=unrecorded,
        ready=frozenset(case.request.id for case in judged),
        stopped=runner.stopped,
        stopped_detail=runner.stopped_detail,
        budget_usd=settings.budget_usd,
        cost_usd=runner.budget.spent_usd,
        cost_is_estimated=runner.budget.estimated,
        calls=runner.budget.calls,
        controls=control_scores(tried, runner.scores),
        hits=hits.of,
        hit_scores=hit_scores(hits, cached, runner.scores),
        hits_left=sum(case.key not in runner.scores for case in asked),
    )
    return summarise(sample, record)


def assess_sync(
    sample: Sample,
    requests: Mapping[UUID, ReroutedRequest],
    judge: Judge,
    proposer: Proposer,
    *,
    settings: QualitySettings,
    unrecorded: int = 0,
    controls: int = 0,
    hits: HitSample = NO_HITS,
    pairs: AnswerPairs | None = None,
    cancel: threading.Event | None = None,
    progress: Progress | None = None,
) -> QualityResult:
    """Run `assess`, with the same parameters, on an event loop in a thread; works in notebooks too.

    Judge and proposer must not use resources of another loop, and `progress` is called on that
    thread. Ctrl-C, or a notebook's stop button, ends the run with the scores so far; a second one
    raises KeyboardInterrupt.
    """
    stop = cancel or threading.Event()
    work = assess(
        sample,
        requests,
        judge,
        proposer,
        settings=settings,
        unrecorded=unrecorded,
        controls=controls,
        hits=hits,
        pairs=pairs,
        cancel=stop,
        progress=progress,
    )
    return _run_in_thread(work, stop)


def _run_in_thread(work: Coroutine[Any, Any, T], stop: threading.Event) -> T:
    results: list[T] = []
    errors: list[BaseException] = []
    begun, ended = threading.Event(), threading.Event()

    def target() -> None:
        begun.set()
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # raised below, in the calling thread
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=target, name="ttplan-quality", daemon=True)
    is_started = is_interrupted = False
    while True:
        try:
            if not is_started:
                is_started = True
                thread.start()
            while not ended.wait(POLL_SECONDS):
                pass
            break
        except KeyboardInterrupt:
            # An interrupt during the start of the thread: there may be nothing to wait for.
            if is_interrupted or not begun.wait(1.0):
                raise
            is_interrupted = True
            stop.set()
    if errors:
        raise errors[0]
    return results[0]


def _prepare_cases(
    sample: Sample,
    requests: Mapping[UUID, ReroutedRequest],
    judge: Judge,
    proposer: Proposer,
    settings: QualitySettings,
) -> list[JudgeCase]:
    """Return the sampled requests with a prompt and a text answer of a size that can be sent."""
    cases = []
    for key in sample.ids:
        if key not in requests:
            raise InputError(
                f"the sample has request {key}, but no such request was given; "
                "give every sampled request"
            )
        rerouted = requests[key]
        request = rerouted.request
        if request.id != key:
            raise InputError(
                f"request {request.id} was given under the id {key}; "
                "give each request under its own id"
            )
        body, response_body = request.body, request.response_body
        if not body or not response_body or max(len(body), len(response_body)) > MAX_BODY:
            continue
        original = read_answer(response_body)
        if original is None:
            continue
        proposer_usd = _call_usd(proposer, "proposer", settings.proposer_call_usd, rerouted)
        judge_usd = _call_usd(judge, "judge", settings.judge_call_usd, rerouted)
        cases.append(JudgeCase(rerouted, original, proposer_usd, judge_usd))
    return cases


def _repeat_usd(proposer: Proposer, settings: QualitySettings, again: ReroutedRequest) -> Decimal:
    """Return the estimated cost of another answer of a request's own model.

    If nothing else tells, it is what the logged answer cost.
    """
    estimate = settings.proposer_call_usd
    if estimate is None and isinstance(proposer, CostEstimator):
        estimate = proposer.estimate_usd(again)
    if estimate is None:
        estimate = again.request.cost_usd
    return _call_usd(proposer, "proposer", estimate, again)


def _call_usd(
    party: object, role: str, setting: Decimal | None, rerouted: ReroutedRequest
) -> Decimal:
    """Return the estimated cost of a call: from the settings, or else from the party itself."""
    estimate = setting
    if estimate is None and isinstance(party, CostEstimator):
        estimate = party.estimate_usd(rerouted)
    if estimate is None:
        raise InputError(
            f"the cost of a call of the {role} is unknown, so the budget cannot be kept; "
            f"give {role}_call_usd (0 for a local model), or a price to a ChatJudge or ChatProposer"
        )
    try:
        amount = round_money(to_decimal(estimate))
    except ValueError as error:
        raise InputError(
            f"the {role}'s estimate of a call cannot be used: {error}; expected an amount in USD"
        ) from None
    if amount < 0:
        raise InputError(f"the {role} estimates a call at {amount:f} USD; expected 0 or more")
    return amount
