"""The true calls that every generated file is made from and every reader has to recover."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

START = datetime(2026, 5, 4, tzinfo=UTC)

# Provider, model, USD per million tokens of input, cache read, cache write and output; reasoning.
MODELS: tuple[tuple[str, str, str, str, str, str, bool], ...] = (
    ("openai", "gpt-4o-2024-08-06", "2.5", "1.25", "2.5", "10", False),
    ("openai", "gpt-4o-mini", "0.15", "0.075", "0.15", "0.6", False),
    ("openai", "o4-mini", "1.1", "0.275", "1.1", "4.4", True),
    ("anthropic", "claude-sonnet-4-5-20250929", "3", "0.3", "3.75", "15", False),
    ("anthropic", "claude-haiku-4-5", "1", "0.1", "1.25", "5", False),
    ("google", "gemini-2.5-flash", "0.3", "0.03", "0.3", "2.5", True),
)
TASKS = ("chat", "summary", "extract", "triage")


class Call(NamedTuple):
    """One call. `input` includes `cached` and `written`, `output` includes `reasoning`; `cost` is
    exact, in USD."""

    number: int
    id: UUID
    ts: datetime
    provider: str
    model: str
    input: int
    cached: int
    written: int
    output: int
    reasoning: int
    cost: Decimal
    latency_ms: int
    first_ms: int
    streamed: bool
    status: int
    hit: bool
    finish: str
    task: str
    user: str
    session: str

    @property
    def end(self) -> datetime:
        return self.ts + timedelta(milliseconds=self.latency_ms)

    @property
    def first(self) -> datetime | None:
        """The time of its first token; None if it was not streamed."""
        return (
            self.ts + timedelta(milliseconds=self.first_ms)
            if self.streamed and self.status == 200
            else None
        )


def price(model: str, fresh: int, cached: int, written: int, output: int) -> Decimal:
    """The cost in USD of disjoint token counts."""
    _, _, each, read, write, out, _ = next(row for row in MODELS if row[1] == model)
    return (
        fresh * Decimal(each)
        + cached * Decimal(read)
        + written * Decimal(write)
        + output * Decimal(out)
    ) / 1_000_000


def calls(count: int, seed: int, days: int = 7) -> list[Call]:
    """`count` calls over so many days, in order of time: the same for the same seed."""
    chance = random.Random(seed)
    made = []
    for number, second in enumerate(sorted(chance.sample(range(days * 86_400), count))):
        provider, model, *_, reasons = MODELS[chance.randrange(len(MODELS))]
        status = chance.choices((200, 429, 500, 400), (94, 2, 2, 2))[0]
        hit = status == 200 and chance.random() < 0.04
        fresh = chance.randrange(20, 3_000)
        cached = 128 * chance.randrange(8, 40) if chance.random() < 0.3 else 0
        written = (
            chance.randrange(1_024, 4_000)
            if provider == "anthropic" and chance.random() < 0.3
            else 0
        )
        reasoning = chance.randrange(64, 900) if reasons and chance.random() < 0.8 else 0
        answer_tokens = chance.randrange(1, 700)
        if status != 200:
            fresh, cached, written, reasoning, answer_tokens = 0, 0, 0, 0, 0
        latency = 3 if hit else chance.randrange(200, 400) + 9 * (answer_tokens + reasoning)
        made.append(
            Call(
                number,
                UUID(int=chance.getrandbits(128), version=4),
                START + timedelta(seconds=second, milliseconds=chance.randrange(1000)),
                provider,
                model,
                fresh + cached + written,
                cached,
                written,
                answer_tokens + reasoning,
                reasoning,
                Decimal(0)
                if hit
                else price(model, fresh, cached, written, answer_tokens + reasoning),
                latency,
                max(1, latency // 4),
                chance.random() < 0.5,
                status,
                hit,
                "length" if answer_tokens > 660 else "stop",
                TASKS[chance.randrange(len(TASKS))],
                f"user-{chance.randrange(12)}",
                f"session-{chance.randrange(40)}",
            )
        )
    return made


def lines(rows: Iterable[Any]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)


def zipped(text: str) -> bytes:
    """A text as gzip, the same for the same text."""
    return gzip.compress(text.encode(), mtime=0)
