"""What users ask, whoever answers: prompts that grow over sessions, tags, lengths of answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]
START = datetime(2026, 5, 1, tzinfo=UTC)
DAY = 86_400.0


@dataclass(frozen=True)
class Requests:
    """Requests in order of time. Each array has a value for each of them.

    Lengths are in tokens of a reference tokenizer. Requests of one `lineage` extend one another:
    the shorter prompt is a prefix of the longer one. All prompts begin with the same `system`
    tokens.
    """

    ts: Floats
    """Seconds after `START`."""
    prompt: Ints
    answer: Ints
    session: Ints
    source: Ints
    """Which model the organisation asked: a position in the world's models."""
    tag: Texts
    noise: Floats
    """A standard normal number: how far an answer's length is off its model's mean."""
    luck: Floats
    """From 0 to 1: an answer of another model is rejected if this is below the share of those."""
    thought: Ints
    """Hidden tokens that a thinking model writes."""
    lineage: Ints
    system: Ints
    image: Ints
    """Tokens of the prompt that are images."""
    searches: Ints
    tier: Texts
    """The service tier; "" is standard."""
    hit: Bools
    """Whether the gateway's own cache has the answer."""
    failed: Bools
    """Whether any provider fails on it."""
    aborted: Bools
    """Whether the user stops the stream; the provider bills what it wrote."""
    streamed: Bools
    evicted: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    """Whether the provider dropped the prompt from its cache before its time."""

    def __len__(self) -> int:
        return len(self.ts)

    def change(self, **arrays: Any) -> Requests:
        """These requests with other values; a scalar is the value of all."""
        shaped = {
            name: np.broadcast_to(np.asarray(value, getattr(self, name).dtype), (len(self),))
            for name, value in arrays.items()
        }
        return replace(self, **shaped)


Traffic = Callable[[np.random.Generator], Requests]
"""Draws a window of requests."""


def independent(
    rng: np.random.Generator,
    n: int = 800,
    *,
    prompt: float = 1_500,
    answer: float = 250,
    spread: float = 0.6,
    days: float = 7,
) -> Requests:
    """Requests that have nothing to do with one another; lengths are lognormal, given by median."""
    return _requests(
        rng,
        ts=np.sort(rng.uniform(0, days * DAY, n)),
        prompt=_lengths(rng, n, prompt, spread),
        answer=_lengths(rng, n, answer, spread),
        session=np.arange(n),
    )


def sessions(
    rng: np.random.Generator,
    count: int = 220,
    *,
    turns: float = 5,
    first: float = 4_000,
    grows: float = 2_000,
    answer: float = 200,
    gap: float = 40,
    spread: float = 0.4,
    days: float = 7,
) -> Requests:
    """Conversations: `turns` on average, `gap` seconds apart; each prompt extends the last one."""
    length = 1 + rng.poisson(turns - 1, count)
    session = np.repeat(np.arange(count), length)
    n = len(session)
    opens = np.concatenate([[True], session[1:] != session[:-1]])
    step = np.where(opens, _lengths(rng, n, first, spread), _lengths(rng, n, grows, spread))
    wait = np.where(opens, 0.0, rng.exponential(gap, n) + 2)
    start = rng.uniform(0, days * DAY, count)[session]
    made = _requests(
        rng,
        ts=np.round(start + _sum_within(wait, opens), 3),
        prompt=_sum_within(step, opens),
        answer=_lengths(rng, n, answer, spread),
        session=session,
    )
    order = np.argsort(made.ts, kind="stable")
    return replace(made, **{name: value[order] for name, value in vars(made).items()})


def pick(rng: np.random.Generator, n: int, share: float) -> Bools:
    """True for each of `n` with probability `share`."""
    return rng.random(n) < share


def label(chosen: Bools, one: str, other: str) -> Texts:
    """`one` if chosen, else `other`."""
    return np.where(chosen, one, other).astype(object)


def _requests(rng: np.random.Generator, **given: Any) -> Requests:
    n = len(given["ts"])
    none, no = np.zeros(n, np.int64), np.zeros(n, np.bool_)
    filled: dict[str, Any] = {
        "source": none,
        "tag": np.full(n, "chat", object),
        "noise": rng.standard_normal(n),
        "luck": rng.random(n),
        "thought": none,
        "lineage": given["session"],
        "system": none,
        "image": none,
        "searches": none,
        "tier": np.full(n, "", object),
        "hit": no,
        "failed": no,
        "aborted": no,
        "streamed": no,
        "evicted": no,
    }
    return Requests(**(filled | given))


def _lengths(rng: np.random.Generator, n: int, median: float, spread: float) -> Ints:
    return np.maximum(1, rng.lognormal(np.log(median), spread, n)).astype(np.int64)


def _sum_within(values: Any, opens: Bools) -> Any:
    """Running sums that begin anew where `opens`."""
    total = np.cumsum(values)
    before = np.where(opens, total - values, 0)
    return total - np.maximum.accumulate(before)
