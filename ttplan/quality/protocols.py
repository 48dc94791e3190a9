"""What takes part in judging: who answers a request anew, who compares the answers, and within what limits."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from ttplan.model.errors import InputError, TtplanError
from ttplan.model.money import Money
from ttplan.model.request import RequestLog
from ttplan.model.results.quality import Verdict

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class ReroutedRequest(NamedTuple):
    """A request, with its prompt and answer, and the model that a plan would send it to."""

    request: RequestLog
    target_model: str


class Judgement(NamedTuple):
    """A verdict with its one-line reason, and what it cost to get, in USD, where that is known."""

    verdict: Verdict | str
    reason: str
    cost_usd: Decimal | None = None


class ProposedAnswer(NamedTuple):
    """The target model's answer, and what it cost, in USD, where that is known."""

    text: str
    cost_usd: Decimal | None = None


class Judge(Protocol):
    """Compares answers. An attribute `name` is shown in the result; without one the class's name is."""

    async def judge(
        self, request: RequestLog, original: str, proposed: str
    ) -> tuple[Verdict | str, str] | Judgement:
        """Whether `proposed` could stand in for `original` as an answer to `request`: a verdict and a reason.

        What it raises is retried and then counts as unclear; `CallFailed` says more exactly what to do.
        """


class Proposer(Protocol):
    """Answers a request with another model: any `async def propose(request, target_model)`."""

    async def __call__(self, request: RequestLog, target_model: str, /) -> str | ProposedAnswer:
        """The target model's answer to the prompt of `request`."""


@runtime_checkable
class CostEstimator(Protocol):
    """A judge or proposer that can say beforehand what a call would cost."""

    def estimate_usd(self, rerouted: ReroutedRequest) -> Decimal | None:
        """About what one call costs, in USD; None where that is not known."""


class QualitySettings(BaseModel):
    """The limits of a run. `allow_bodies=True` says that recorded prompts and answers may be sent to the proposer and judge.

    `judge_call_usd` and `proposer_call_usd` are about what one call costs; where they are left out the judge and the proposer
    are asked. A failed call is tried again up to `retries` times, after `backoff_seconds`, twice that and so on, each up to half
    longer or shorter by chance (of the seed), and never more than `max_wait_seconds`. `timeout_seconds` is for one call.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget_usd: Money
    allow_bodies: bool = Field(default=False, strict=True)
    judge_call_usd: Money | None = None
    proposer_call_usd: Money | None = None
    in_flight: int = Field(default=8, strict=True, ge=1, le=256)
    retries: int = Field(default=2, strict=True, ge=0, le=10)
    timeout_seconds: float = Field(default=120.0, gt=0, le=86_400, allow_inf_nan=False)
    backoff_seconds: Seconds = 0.5
    max_wait_seconds: Seconds = 60.0


class BodiesNotAllowed(InputError):
    """Nobody said that recorded prompts and answers may be sent. Nothing was."""

    def __init__(self) -> None:
        super().__init__(
            "checking quality sends recorded prompts and answers to the models that answer and judge; nothing was sent. "
            "If that may happen, say so with allow_bodies=True (--allow-bodies)"
        )


class BudgetExceeded(InputError):
    """The run would cost more than its budget. Nothing was sent."""

    def __init__(
        self, estimate_usd: Decimal, budget_usd: Decimal, requests: int, attempts: int
    ) -> None:
        self.estimate_usd = estimate_usd
        self.budget_usd = budget_usd
        estimate, budget = f"{estimate_usd.normalize():f} USD", f"{budget_usd.normalize():f} USD"
        super().__init__(
            f"judging {requests:,} requests may cost {estimate} (up to {attempts} attempts each), above the budget of {budget}; "
            "nothing was sent. Draw fewer requests, allow fewer retries, or raise the budget"
        )


class CallFailed(TtplanError):
    """A call to a model failed. The message is for people and holds no key.

    `then` says what to do: "retry" it (not before `retry_after` seconds, where given), "skip" it, since the same call would fail
    again, or "stop", since every call would fail.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        then: Literal["retry", "skip", "stop"] = "retry",
        retry_after: float | None = None,
    ) -> None:
        self.then = then
        self.retry_after = retry_after
        super().__init__(message)


def display_name(party: object) -> str:
    """What a judge or proposer is called in the result, on one line."""
    name = getattr(party, "name", None) or getattr(party, "__name__", None) or type(party).__name__
    return one_line(str(name))


def one_line(text: str, limit: int = 200) -> str:
    """`text` without control and other invisible characters, white space collapsed, cut to `limit` characters."""
    # Four times the limit: enough to collapse, and a judge's megabyte is not walked.
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    line = " ".join(shown.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
