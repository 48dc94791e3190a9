"""Call proposer and judge for each request: bounded concurrency, retries, budget, cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from decimal import Decimal
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from blake3 import blake3

from ttplan.model.request import RequestLog
from ttplan.model.results.quality import SampleScore, StopReason, TokenUsage, Verdict
from ttplan.model.results.verdicts import ControlKind
from ttplan.quality.budget import BudgetTracker, parse_amount
from ttplan.quality.chat_format import MAX_BODY
from ttplan.quality.protocols import (
    CallFailed,
    Judge,
    Judgement,
    ProposedAnswer,
    Proposer,
    QualitySettings,
    ReroutedRequest,
    one_line,
)

POLL_SECONDS = 0.05
Progress = Callable[[int], None]


class CancelToken(Protocol):
    """Tells whether to stop, as `asyncio.Event` and `threading.Event` do."""

    def is_set(self) -> bool:
        """Return whether to stop now."""


class _StopRun(Exception):
    """No more calls are allowed."""

    def __init__(self, reason: StopReason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail


class JudgeCase(NamedTuple):
    """A request to judge, with the estimated cost of its calls in USD.

    A control has its kind, a semantic hit the request whose answer it is served. `planted` is
    judged instead of an answer of the proposer.
    """

    rerouted: ReroutedRequest
    original: str
    proposer_usd: Decimal
    judge_usd: Decimal
    control: ControlKind | None = None
    planted: str | None = None
    source_id: UUID | None = None

    @property
    def request(self) -> RequestLog:
        """The logged request."""
        return self.rerouted.request

    @property
    def key(self) -> CaseKey:
        """What tells the cases of a run apart."""
        return self.request.id, self.control or self.source_id


CaseKey = tuple[UUID, ControlKind | UUID | None]
AnswerCallback = Callable[[JudgeCase, str], None]
"""Called with each case and its new answer, before it is judged."""


class Runner:
    """One run: its workers share an iterator over the cases, the budget and the scores."""

    def __init__(
        self,
        judge: Judge,
        proposer: Proposer,
        settings: QualitySettings,
        seed: int,
        progress: Progress | None,
        on_answer: AnswerCallback | None = None,
    ) -> None:
        self.judge = judge
        self.proposer = proposer
        self.settings = settings
        self.seed = seed
        self.progress = progress
        self.on_answer = on_answer
        self.budget = BudgetTracker(settings.budget_usd)
        self.scores: dict[CaseKey, SampleScore] = {}
        self.stopped: StopReason | None = None
        self.stopped_detail = ""
        self._cannot_repeat = False

    async def run(self, cases: list[JudgeCase], cancel: CancelToken | None) -> None:
        """Score the cases, at most `in_flight` at a time, until they are done or the run stops."""
        remaining = iter(cases)
        workers = {
            asyncio.create_task(self._work(remaining))
            for _ in range(min(self.settings.in_flight, len(cases)))
        }
        running = workers
        try:
            while running:
                if cancel is not None and cancel.is_set():
                    self._stop("cancelled")
                    break
                timeout = None if cancel is None else POLL_SECONDS
                done, running = await asyncio.wait(
                    running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                )
                if any(not task.cancelled() and task.exception() for task in done):
                    break
        except asyncio.CancelledError:
            # The caller gets a result instead of the cancellation, which therefore ends here.
            self._stop("cancelled")
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        finally:
            for worker in workers:
                worker.cancel()
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        if len(self.scores) == len(cases):
            self.stopped, self.stopped_detail = None, ""

    def _stop(self, reason: StopReason, detail: str = "") -> None:
        if self.stopped is None:
            self.stopped, self.stopped_detail = reason, detail

    async def _work(self, remaining: Iterator[JudgeCase]) -> None:
        for case in remaining:
            if self.stopped is not None:
                return
            if case.control == "repeated" and self._cannot_repeat:
                continue
            try:
                score = await self._score(case)
            except _StopRun as stop:
                if case.control == "repeated" and stop.reason == "refused":
                    # The service may not serve the logged models; the others still can be judged.
                    self._cannot_repeat = True
                    continue
                self._stop(stop.reason, stop.detail)
                return
            self.scores[case.key] = score
            if self.progress is not None:
                self.progress(len(self.scores))

    async def _score(self, case: JudgeCase) -> SampleScore:
        """Have a request answered and judged; unclear if a call failed. Raises _StopRun."""
        request, target_model = case.request, case.rerouted.target_model
        answer: Any = None
        judgement = None
        try:
            answer = case.planted
            if answer is None:
                answer = await self._call(
                    "proposer", case, lambda: self.proposer(request, target_model)
                )
            text = answer.text if isinstance(answer, ProposedAnswer) else answer
            if isinstance(text, str) and len(text) <= MAX_BODY:
                if self.on_answer is not None:
                    self.on_answer(case, text)
                judgement = await self._call(
                    "judge", case, lambda: self.judge.judge(request, case.original, text)
                )
                verdict, reason = _parse_judgement(judgement)
            else:
                verdict = Verdict.UNCLEAR
                reason = "the proposer gave no text, or too much of it, as its answer"
        except CallFailed as failure:
            answer = failure.answer or answer
            verdict, reason = Verdict.UNCLEAR, str(failure)
        return SampleScore(
            request_id=request.id,
            verdict=verdict,
            reason=one_line(reason),
            tag=request.tag,
            route=case.rerouted.route,
            source_model=request.model,
            target_model=target_model,
            logged=TokenUsage(
                input_tokens=request.input_tokens,
                output_tokens=request.output_tokens,
                reasoning_tokens=request.reasoning_tokens,
                cached_tokens=request.cached_tokens or None,
            ),
            judge_cost_usd=parse_amount(getattr(judgement, "cost_usd", None)),
            **_measured(answer),
        )

    async def _call(
        self, role: str, case: JudgeCase, call: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        """Call a party, and retry if that may help. Raises CallFailed or _StopRun."""
        estimate = case.proposer_usd if role == "proposer" else case.judge_usd
        for attempt in range(1 + self.settings.retries):
            if not self.budget.reserve(estimate):
                raise _StopRun("budget")
            answer = None
            try:
                async with asyncio.timeout(self.settings.timeout_seconds):
                    answer = await call()
                return answer
            except CallFailed as error:
                failure, answer = error, error.answer
            except TimeoutError:
                failure = CallFailed(
                    f"the {role} did not answer within {self.settings.timeout_seconds:g} s"
                )
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                failure = CallFailed(f"the {role} cancelled itself")
            except KeyboardInterrupt:
                raise _StopRun("cancelled") from None
            except Exception as error:  # user code may raise anything: this request is unclear
                failure = CallFailed(f"the {role} failed: {type(error).__name__}: {error}")
            finally:
                self.budget.settle(estimate, getattr(answer, "cost_usd", None))
            if failure.then == "stop":
                raise _StopRun("refused", str(failure))
            if failure.then == "skip" or attempt == self.settings.retries:
                raise failure
            await asyncio.sleep(self._pause(case.request.id, role, attempt, failure))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _pause(self, request_id: UUID, role: str, attempt: int, failure: CallFailed) -> float:
        """Return the seconds to wait. Raises CallFailed if the service asks for too many."""
        longest = self.settings.max_wait_seconds
        if failure.retry_after is not None and failure.retry_after > longest:
            raise CallFailed(
                f"{failure}; it asks to wait {failure.retry_after:g} s, more than max_wait_seconds",
                then="skip",
            )
        digest = blake3(f"{self.seed} {request_id} {role} {attempt}".encode()).digest(length=4)
        jitter = int.from_bytes(digest, "big") / 2**32
        backoff: float = min(longest, self.settings.backoff_seconds * 2**attempt * (0.5 + jitter))
        return max(backoff, failure.retry_after or 0.0)


def _measured(answer: object) -> dict[str, Any]:
    """What an answer took: tokens, USD and latency, as far as the proposer reports it properly."""
    if not isinstance(answer, ProposedAnswer):
        return {}
    latency = answer.latency_ms
    return {
        "answer": answer.usage if isinstance(answer.usage, TokenUsage) else None,
        "cut": answer.cut is True,
        "cost_usd": parse_amount(answer.cost_usd),
        "latency_ms": latency if type(latency) is int and 0 <= latency < 2**53 else None,
    }


def _parse_judgement(value: object) -> tuple[Verdict, str]:
    """Return a judge's verdict and reason; unclear if they are malformed."""
    if isinstance(value, tuple) and (len(value) == 2 or isinstance(value, Judgement)):
        verdict, reason = value[:2]
        is_verdict = isinstance(verdict, str) and verdict in Verdict.__members__.values()
        if is_verdict and isinstance(reason, str):
            return Verdict(verdict), reason
    return (
        Verdict.UNCLEAR,
        "the judge returned neither of acceptable, degraded and unclear with a reason",
    )
