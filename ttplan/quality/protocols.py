"""The parties of a quality check: proposer and judge, and the limits that they work within."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from ttplan.model.errors import InputError, TtplanError
from ttplan.model.money import Money
from ttplan.model.request import RequestLog
from ttplan.model.results.quality import TokenUsage, Verdict

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class ReroutedRequest(NamedTuple):
    """A request with its prompt and answer, the model that a plan sends it to, and by which route
    (its name, if known)."""

    request: RequestLog
    target_model: str
    route: str | None = None


class Judgement(NamedTuple):
    """A verdict with a one-line reason, and its cost in USD if known."""

    verdict: Verdict | str
    reason: str
    cost_usd: Decimal | None = None


class ProposedAnswer(NamedTuple):
    """The target model's answer, and its cost in USD, tokens and latency if known.

    `cut` tells that a limit of the proposer, not of the request, cut the answer off.
    """

    text: str
    cost_usd: Decimal | None = None
    usage: TokenUsage | None = None
    latency_ms: int | None = None
    cut: bool = False


class Judge(Protocol):
    """Compares answers. The result shows its attribute `name`, or else the name of its class."""

    async def judge(
        self, request: RequestLog, original: str, proposed: str
    ) -> tuple[Verdict | str, str] | Judgement:
        """Judge whether `proposed` can replace `original` as the answer to `request`.

        Returns a verdict and a reason. A call that raises is retried and then counts as unclear;
        `CallFailed` tells whether to retry.
        """


class Proposer(Protocol):
    """Answers a request with another model: `async def propose(request, target_model)`."""

    async def __call__(self, request: RequestLog, target_model: str, /) -> str | ProposedAnswer:
        """Return the target model's answer to the prompt of `request`."""


@runtime_checkable
class CostEstimator(Protocol):
    """A judge or proposer that can estimate the cost of a call."""

    def estimate_usd(self, rerouted: ReroutedRequest) -> Decimal | None:
        """Return the approximate cost of one call in USD; None if unknown."""


class QualitySettings(BaseModel):
    """The limits of a quality check.

    Parameters
    ----------
    budget_usd
        The most that the check may cost, in USD.
    allow_bodies
        Allow sending recorded prompts and answers to the proposer and the judge.
    judge_call_usd, proposer_call_usd
        The approximate cost of one call, in USD; by default the judge and the proposer estimate it.
    in_flight
        The most requests that are judged at the same time.
    retries
        How often a failed call is repeated, after `backoff_seconds`, twice that and so on, each
        varied by up to half by the seed, and at most `max_wait_seconds`.
    timeout_seconds
        The time limit of one call.

    Examples
    --------
    >>> settings = QualitySettings(budget_usd=5, allow_bodies=True)
    >>> settings.retries
    2
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
    """Sending recorded prompts and answers was not allowed. Nothing was sent."""

    def __init__(self) -> None:
        super().__init__(
            "checking quality sends recorded prompts and answers to the models that answer and "
            "judge; nothing was sent. To allow that, give allow_bodies=True"
        )


class BudgetExceeded(InputError):
    """The run may cost more than its budget. Nothing was sent."""

    def __init__(
        self, estimate_usd: Decimal, budget_usd: Decimal, requests: int, attempts: int
    ) -> None:
        self.estimate_usd = estimate_usd
        self.budget_usd = budget_usd
        estimate, budget = f"{estimate_usd.normalize():f} USD", f"{budget_usd.normalize():f} USD"
        super().__init__(
            f"judging {requests:,} requests may cost {estimate} (up to {attempts} attempts each), "
            f"above the budget of {budget}; nothing was sent. Draw fewer requests, allow fewer "
            "retries, or raise the budget"
        )


class CallFailed(TtplanError):
    """A call to a model failed. The message contains no key.

    `then` tells what to do: "retry" (after `retry_after` seconds, if given), "skip" this call,
    which would fail again, or "stop", because every call would fail. `answer` is an answer that
    cannot be used, but that took tokens.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        then: Literal["retry", "skip", "stop"] = "retry",
        retry_after: float | None = None,
        answer: ProposedAnswer | None = None,
    ) -> None:
        self.then = then
        self.answer = answer
        self.retry_after = retry_after
        super().__init__(message)


def display_name(party: object) -> str:
    """Return the name of a judge or proposer in the result, on one line."""
    name = getattr(party, "name", None) or getattr(party, "__name__", None) or type(party).__name__
    return one_line(str(name))


def one_line(text: str, limit: int = 200) -> str:
    """Return `text` on one line, without control characters, cut to `limit` characters."""
    # Do not process a very long text: four times the limit is enough to collapse.
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    line = " ".join(printable.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
