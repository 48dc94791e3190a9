"""Requests to judge, and scripted judges and proposers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from ttplan.model.request import RequestLog
from ttplan.model.results.quality import Verdict
from ttplan.quality.protocols import QualitySettings, ReroutedRequest
from ttplan.quality.sampling import Sample, SampleRow, draw_sample

FREE = {"judge_call_usd": 0, "proposer_call_usd": 0}


def settings(**changes: Any) -> QualitySettings:
    """Settings that allow everything at no cost, with retries that do not wait."""
    return QualitySettings(
        **{"budget_usd": 1, "allow_bodies": True, "backoff_seconds": 0.0, **FREE, **changes}
    )


def request(
    number: int,
    *,
    body: str | None = "What is 2 + 2?",
    response_body: str | None = "4",
    **fields: Any,
) -> RequestLog:
    """A request whose id is its number."""
    return RequestLog(
        **{
            "id": UUID(int=number),
            "org_id": UUID(int=1),
            "ts": datetime(2026, 5, 1, tzinfo=UTC),
            "provider": "openai",
            "model": "gpt-4o",
            "input_tokens": 100,
            "output_tokens": 50,
            "cached_tokens": 0,
            "cost_usd": Decimal("0.01"),
            "baseline_cost_usd": Decimal("0.01"),
            "cached": False,
            "latency_ms": 5,
            "status": 200,
            "body": body,
            "response_body": response_body,
            **fields,
        }
    )


def universe(
    requests: Iterable[RequestLog], size: int = 1_000, *, seed: int = 0, forced: Iterable[int] = ()
) -> tuple[Sample, dict[UUID, ReroutedRequest]]:
    """A sample of the requests, and all of them as if a plan sent them to `gpt-4o-mini`."""
    listed = list(requests)
    rows = [SampleRow(r.id, r.tag, r.input_tokens) for r in listed]
    sample = draw_sample(rows, size, seed=seed, forced=[UUID(int=number) for number in forced])
    return sample, {r.id: ReroutedRequest(r, "gpt-4o-mini") for r in listed}


async def answer_at_once(request: RequestLog, target_model: str) -> str:
    """A proposer that answers at once."""
    return f"{target_model} says {request.id.int}"


class ScriptedJudge:
    """A judge that returns, or raises, what `verdict` gives for a request's number."""

    name = "a test"

    def __init__(
        self, verdict: Callable[[int], Any] = lambda _: Verdict.ACCEPTABLE, *, seconds: float = 0.0
    ) -> None:
        self.verdict = verdict
        self.seconds = seconds
        self.judged: list[int] = []
        self.seen: list[tuple[str, str]] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def judge(self, request: RequestLog, original: str, proposed: str) -> Any:
        self.judged.append(request.id.int)
        self.seen.append((original, proposed))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        answer = self.verdict(request.id.int)
        if isinstance(answer, BaseException):
            raise answer
        return (answer, f"since it is {request.id.int}") if isinstance(answer, Verdict) else answer
