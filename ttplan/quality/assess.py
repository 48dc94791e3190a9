"""Run a sample past a proposer and a judge, a bounded number at a time, and keep what was scored whatever happens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from blake3 import blake3

from ttplan.model.errors import InputError
from ttplan.model.money import round_money, to_decimal
from ttplan.model.request import RequestLog
from ttplan.model.results.quality import QualityResult, SampleScore, StopReason, Verdict
from ttplan.quality.budget import BudgetTracker
from ttplan.quality.chat_format import MAX_BODY, read_answer
from ttplan.quality.protocols import (
    BodiesNotAllowed,
    BudgetExceeded,
    CallFailed,
    CostEstimator,
    Judge,
    Judgement,
    ProposedAnswer,
    Proposer,
    QualitySettings,
    ReroutedRequest,
    display_name,
    one_line,
)
from ttplan.quality.result import RunRecord, summarise
from ttplan.quality.sampling import Sample

POLL_SECONDS = 0.05
T = TypeVar("T")
Progress = Callable[[int], None]


class CancelToken(Protocol):
    """Says whether to stop: an `asyncio.Event` or a `threading.Event` does."""

    def is_set(self) -> bool:
        """Whether to stop now."""


class _Stop(Exception):
    """Nothing more is to be sent."""

    def __init__(self, why: StopReason, detail: str = "") -> None:
        self.why = why
        self.detail = detail


class _Case(NamedTuple):
    """One request ready to be judged, with what its calls are thought to cost in USD."""

    request: RequestLog
    target_model: str
    original: str
    proposer_usd: Decimal
    judge_usd: Decimal


async def assess(
    sample: Sample,
    requests: Mapping[UUID, ReroutedRequest],
    judge: Judge,
    proposer: Proposer,
    *,
    settings: QualitySettings,
    unrecorded: int = 0,
    cancel: CancelToken | None = None,
    progress: Progress | None = None,
) -> QualityResult:
    """Have every request of `sample` answered anew and the answers compared.

    `requests` holds each sampled request with its bodies and target model. Requests are taken in the sample's order;
    `progress` is told how many are done. `unrecorded` is how many requests were not drawn from since they have no bodies, for a
    caveat. Cancelling the task, or setting `cancel`, ends the run and gives the result of what was scored by then; so does a
    budget that is reached, and a service that refuses every call.

    Before anything is sent: BodiesNotAllowed without `allow_bodies`, BudgetExceeded where (proposer + judge) * requests *
    (1 + retries) is estimated above the budget, InputError where a request is missing or a cost is not known.
    """
    if not settings.allow_bodies:
        raise BodiesNotAllowed
    cases = _cases(sample, requests, judge, proposer, settings)
    estimate = sum((case.proposer_usd + case.judge_usd for case in cases), Decimal(0)) * (
        1 + settings.retries
    )
    if estimate > settings.budget_usd:
        raise BudgetExceeded(estimate, settings.budget_usd, len(cases), 1 + settings.retries)
    work = _Work(judge, proposer, settings, sample.seed, progress)
    async with AsyncExitStack() as stack:
        if cases:
            for party in (judge, proposer):
                if hasattr(party, "__aenter__"):
                    await stack.enter_async_context(party)  # type: ignore[arg-type]
            await work.run(cases, cancel)
    run = RunRecord(
        scores=work.scores,
        judge=display_name(judge),
        proposer=display_name(proposer),
        skipped=len(sample.ids) - len(cases),
        unrecorded=unrecorded,
        ready=frozenset(case.request.id for case in cases),
        stopped=work.stopped,
        stopped_detail=work.detail,
        budget_usd=settings.budget_usd,
        cost_usd=work.ledger.spent_usd,
        cost_is_estimated=work.ledger.estimated,
        calls=work.ledger.calls,
    )
    return summarise(sample, run)


def assess_sync(
    sample: Sample,
    requests: Mapping[UUID, ReroutedRequest],
    judge: Judge,
    proposer: Proposer,
    *,
    settings: QualitySettings,
    unrecorded: int = 0,
    cancel: threading.Event | None = None,
    progress: Progress | None = None,
) -> QualityResult:
    """`assess` for those who do not await, in a notebook too: it runs on a loop and a thread of its own.

    So what judge and proposer use must not belong to another loop, and `progress` is called on that thread. Ctrl-C (or a
    notebook's stop button) ends the run and gives what was scored; a second one gives up at once.
    """
    stop = cancel or threading.Event()
    return _in_thread(
        assess(
            sample,
            requests,
            judge,
            proposer,
            settings=settings,
            unrecorded=unrecorded,
            cancel=stop,
            progress=progress,
        ),
        stop,
    )


def _in_thread(work: Coroutine[Any, Any, T], stop: threading.Event) -> T:
    outcome: list[T] = []
    failure: list[BaseException] = []
    begun, ended = threading.Event(), threading.Event()

    def target() -> None:
        begun.set()
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:  # raised again below, in the thread that asked
            failure.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=target, name="ttplan-quality", daemon=True)
    launched = interrupted = False
    while True:
        try:
            if not launched:
                launched = True
                thread.start()
            while not ended.wait(POLL_SECONDS):
                pass
            break
        except KeyboardInterrupt:
            # It may come while the thread is being started: then there is nothing to wait for, or will be in a moment.
            if interrupted or not begun.wait(1.0):
                raise
            interrupted = True
            stop.set()
    if failure:
        raise failure[0]
    return outcome[0]


def _cases(
    sample: Sample,
    requests: Mapping[UUID, ReroutedRequest],
    judge: Judge,
    proposer: Proposer,
    settings: QualitySettings,
) -> list[_Case]:
    """What can be judged, in the sample's order: requests with a prompt and an answer of a size that can be sent."""
    cases = []
    for key in sample.ids:
        if key not in requests:
            raise InputError(
                f"the sample has request {key}, but no such request was given; give every sampled request"
            )
        request, target_model = requests[key]
        if request.id != key:
            raise InputError(
                f"request {request.id} was given under the id {key}; give each request under its own id"
            )
        if (
            not request.body
            or not request.response_body
            or max(len(request.body), len(request.response_body)) > MAX_BODY
        ):
            continue
        original = read_answer(request.response_body)
        if original is None:
            continue
        proposer_usd = _call_usd(proposer, "proposer", settings.proposer_call_usd, requests[key])
        judge_usd = _call_usd(judge, "judge", settings.judge_call_usd, requests[key])
        cases.append(_Case(request, target_model, original, proposer_usd, judge_usd))
    return cases


def _call_usd(
    party: object, role: str, given: Decimal | None, rerouted: ReroutedRequest
) -> Decimal:
    found = (
        given
        if given is not None or not isinstance(party, CostEstimator)
        else party.estimate_usd(rerouted)
    )
    if found is None:
        raise InputError(
            f"what a call of the {role} costs is not known, so the budget cannot be kept; give {role}_call_usd "
            "(0 for a model on your own machine), or a price to a ready one"
        )
    try:
        amount = round_money(to_decimal(found))
    except ValueError as error:
        raise InputError(
            f"the {role}'s estimate of a call cannot be used: {error}; expected an amount in USD"
        ) from None
    if amount < 0:
        raise InputError(f"the {role} estimates a call at {amount:f} USD; expected 0 or more")
    return amount


class _Work:
    """One run: its workers share an iterator over the cases, a ledger, and the scores so far."""

    def __init__(
        self,
        judge: Judge,
        proposer: Proposer,
        settings: QualitySettings,
        seed: int,
        progress: Progress | None,
    ) -> None:
        self.judge = judge
        self.proposer = proposer
        self.settings = settings
        self.seed = seed
        self.progress = progress
        self.ledger = BudgetTracker(settings.budget_usd)
        self.scores: dict[UUID, SampleScore] = {}
        self.stopped: StopReason | None = None
        self.detail = ""

    async def run(self, cases: list[_Case], cancel: CancelToken | None) -> None:
        """Score the cases, `in_flight` at a time, until they are done or something says stop."""
        waiting = iter(cases)
        workers = {
            asyncio.create_task(self._worker(waiting))
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
            # The caller gets a result in place of the cancellation, so the cancellation ends here.
            self._stop("cancelled")
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        finally:
            for worker in workers:
                worker.cancel()
            ended = await asyncio.gather(*workers, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome
        if len(self.scores) == len(cases):
            self.stopped, self.detail = None, ""

    def _stop(self, why: StopReason, detail: str = "") -> None:
        if self.stopped is None:
            self.stopped, self.detail = why, detail

    async def _worker(self, waiting: Iterator[_Case]) -> None:
        for case in waiting:
            if self.stopped is not None:
                return
            try:
                verdict, reason = await self._score(case)
            except _Stop as stop:
                self._stop(stop.why, stop.detail)
                return
            request_id = case.request.id
            self.scores[request_id] = SampleScore(
                request_id=request_id, verdict=verdict, reason=one_line(reason)
            )
            if self.progress is not None:
                self.progress(len(self.scores))

    async def _score(self, case: _Case) -> tuple[Verdict, str]:
        """A verdict and a reason; unclear where either side could not be asked. Raises _Stop."""
        request = case.request
        try:
            answer = await self._call(
                "proposer", case, lambda: self.proposer(request, case.target_model)
            )
            text = answer.text if isinstance(answer, ProposedAnswer) else answer
            if not isinstance(text, str) or len(text) > MAX_BODY:
                return (
                    Verdict.UNCLEAR,
                    "the proposer gave no text, or too much of it, as its answer",
                )
            judged = await self._call(
                "judge", case, lambda: self.judge.judge(request, case.original, text)
            )
        except CallFailed as failed:
            return Verdict.UNCLEAR, str(failed)
        return _verdict(judged)

    async def _call(
        self, role: str, case: _Case, call: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        """What a call returns, tried again where that may help. Raises CallFailed in the end, and _Stop."""
        estimate = case.proposer_usd if role == "proposer" else case.judge_usd
        for attempt in range(1 + self.settings.retries):
            if not self.ledger.reserve(estimate):
                raise _Stop("budget")
            answer = None
            try:
                async with asyncio.timeout(self.settings.timeout_seconds):
                    answer = await call()
                return answer
            except CallFailed as failed:
                failure = failed
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
                raise _Stop("cancelled") from None
            except Exception as error:  # a judge is the caller's own code: whatever it raises is one request that is unclear
                failure = CallFailed(f"the {role} failed: {type(error).__name__}: {error}")
            finally:
                self.ledger.settle(estimate, getattr(answer, "cost_usd", None))
            if failure.then == "stop":
                raise _Stop("refused", str(failure))
            if failure.then == "skip" or attempt == self.settings.retries:
                raise failure
            await asyncio.sleep(self._pause(case.request.id, role, attempt, failure))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _pause(self, request_id: UUID, role: str, attempt: int, failure: CallFailed) -> float:
        """Seconds until the next attempt. Raises the failure where the service asks for more than one would wait."""
        longest = self.settings.max_wait_seconds
        if failure.retry_after is not None and failure.retry_after > longest:
            raise CallFailed(
                f"{failure}; it asks to wait {failure.retry_after:g} s, more than max_wait_seconds",
                then="skip",
            )
        chance = (
            int.from_bytes(
                blake3(f"{self.seed} {request_id} {role} {attempt}".encode()).digest(length=4),
                "big",
            )
            / 2**32
        )
        backoff: float = min(longest, self.settings.backoff_seconds * 2**attempt * (0.5 + chance))
        return max(backoff, failure.retry_after or 0.0)


def _verdict(judged: object) -> tuple[Verdict, str]:
    """What a judge returned, as far as it makes sense."""
    if isinstance(judged, tuple) and (len(judged) == 2 or isinstance(judged, Judgement)):
        said, reason = judged[:2]
        if (
            isinstance(said, str)
            and said in Verdict.__members__.values()
            and isinstance(reason, str)
        ):
            return Verdict(said), reason
    return (
        Verdict.UNCLEAR,
        "the judge returned neither of acceptable, degraded and unclear with a reason",
    )
