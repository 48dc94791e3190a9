"""The hits of a semantic cache, and which of them may get a wrong answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_LISTED = 1_000
"""How many poisoning candidates a result lists."""
SHORT = 20
"""Of answers with fewer tokens neither length nor finish reason tells whether they are the same."""


class CacheEntry(NamedTuple):
    """A request and its outcome, as a cache entry or as a hit."""

    id: str
    finish_reason: str | None
    output_tokens: int
    answer_hash: str | None = None


class ServedPair(NamedTuple):
    """A hit, the request whose answer it is served, and the thresholds at which it is, as bits."""

    request: str
    source: str
    mask: int


class PoisonCandidate(NamedTuple):
    """A hit whose outcome differs from that of its source, at these positions in the sweep."""

    request: CacheEntry
    source: CacheEntry
    cosine: float
    at: tuple[int, ...]


Differs = Callable[[CacheEntry, CacheEntry], bool]
"""Whether serving the first's answer for the second may be wrong."""


@dataclass
class Sweep:
    """The hits of a sweep. `masks` has bit t set if a request (`ids`) is a hit at
    `thresholds[t]`."""

    thresholds: tuple[float, ...]
    without_embedding: int = 0
    """Requests that could not be looked up."""
    total: int = 0
    hits: list[int] = field(default_factory=list)
    poisoned: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    masks: list[int] = field(default_factory=list)
    candidates: list[PoisonCandidate] = field(default_factory=list)
    """The first ones: those that a result lists."""
    suspects: int = 0
    """The number of all candidates, and below of the requests that are one at any threshold."""
    poisoned_requests: int = 0
    differs: Differs = lambda source, request: False
    pairs: list[ServedPair] | None = None

    def __post_init__(self) -> None:
        self.hits = self.hits or [0] * len(self.thresholds)
        self.poisoned = self.poisoned or [0] * len(self.thresholds)


def diverged(source: CacheEntry, request: CacheEntry) -> bool:
    """Whether two outcomes differ so much that serving one for the other may be wrong."""
    finishes = source.finish_reason is not None and request.finish_reason is not None
    return (finishes and source.finish_reason != request.finish_reason) or (
        abs(source.output_tokens - request.output_tokens) > max(20, request.output_tokens // 4)
    )


def diverged_or_short(source: CacheEntry, request: CacheEntry) -> bool:
    """As `diverged`, and for short answers; never for answers that are known to be equal."""
    if source.answer_hash is not None and source.answer_hash == request.answer_hash:
        return False
    shorter = min(source.output_tokens, request.output_tokens)
    return shorter < SHORT or diverged(source, request)
