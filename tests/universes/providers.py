"""Providers: what a model writes, caches, refuses and bills. Money is in whole 10^-12 USD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tests.universes.traffic import START, Bools, Floats, Ints, Requests, Texts

PICO = 10**12
KINDS = ("input", "cached", "write", "write_1h", "image", "output", "reasoning")
"""Kinds of tokens with a rate of their own."""


class Rates(NamedTuple):
    """USD per million tokens, with at most 6 digits after the point. None is the rate of its
    side."""

    input: float
    output: float
    cached: float | None = None
    write: float | None = None
    write_1h: float | None = None
    image: float | None = None
    reasoning: float | None = None
    request_usd: float = 0

    def of(self, kind: str) -> int:
        """10^-12 USD per token of a kind."""
        rates: dict[str, float | None] = self._asdict()
        sides = {"write_1h": ("write", "input"), "output": (), "reasoning": ("output",)}
        names = (kind, *sides.get(kind, ("input",)))
        return round(next(r for r in map(rates.get, names) if r is not None) * 10**6)

    def scaled(self, factor: float) -> Rates:
        """The rates times a factor."""
        scaled: dict[str, Any] = {
            k: None if v is None else round(v * factor, 6) for k, v in self._asdict().items()
        }
        return Rates(**scaled)

    def fields(self) -> dict[str, float]:
        """The rates as a price file names them."""
        names = {
            "input": "input_per_million",
            "output": "output_per_million",
            "cached": "cached_input_per_million",
            "write": "cache_write_per_million",
            "write_1h": "cache_write_1h_per_million",
            "image": "input_image_per_million",
            "reasoning": "reasoning_per_million",
            "request_usd": "request_usd",
        }
        rates = self._asdict()
        return {names[k]: v for k, v in rates.items() if v is not None and (v or k != names[k])}


@dataclass(frozen=True)
class PromptCache:
    """How a provider caches prompts: by itself, or at breakpoints that clients set."""

    mode: Literal["automatic", "explicit", "none"] = "explicit"
    minimum: int = 1_024
    ttl: int = 300
    long_ttl: int | None = None
    step: int = 1
    """Prefixes are read in multiples of this."""

    def fields(self) -> dict[str, Any]:
        """The rule as a facts file has it."""
        rule: dict[str, Any] = {
            "mode": self.mode,
            "minimum_tokens": self.minimum,
            "ttl_seconds": self.ttl,
        }
        return rule if self.long_ttl is None else rule | {"long_ttl_seconds": self.long_ttl}


NO_CACHE = PromptCache("none", minimum=0)


@dataclass(frozen=True)
class Model:
    """A model: what it costs, what it can serve, and how it writes."""

    provider: str
    name: str
    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    """Rates of whole prompts that are longer than so many tokens, in rising order."""
    services: Mapping[str, Rates] = field(default_factory=dict)
    later: tuple[tuple[float, Rates], ...] = ()
    """Rates from so many seconds after `START`, in order; they replace `rates`."""
    cache: PromptCache = NO_CACHE
    context: int = 1_000_000
    longest: int = 200_000
    """The longest answer, hidden tokens included."""
    images: bool = True
    thinks: float = 0
    """Hidden tokens for each token of thought that a request wants."""
    tokens: float = 1
    """Tokens of a prompt for each token of the reference tokenizer."""
    verbosity: float = 1
    """Mean length of an answer, by that of the reference."""
    spread: float = 0
    """Standard deviation of the logarithm of an answer's length around that."""
    search_usd: float = 0
    """Fee of a web search."""
    lists_searches: bool = False
    """Whether the price file has that fee."""
    listed: bool = True
    """Whether the price file has the model."""

    @property
    def key(self) -> str:
        """Its key in price and facts files."""
        return f"{self.provider}:{self.name}"

    def read(self, requests: Requests) -> Ints:
        """Tokens of each prompt."""
        return _rounded(requests.prompt * self.tokens)

    def write(self, requests: Requests) -> Ints:
        """Tokens of each answer that the user sees."""
        drift = np.exp(self.spread * requests.noise - self.spread**2 / 2)
        return np.maximum(1, _rounded(requests.answer * self.verbosity * drift))

    def think(self, requests: Requests) -> Ints:
        """Hidden tokens of each answer."""
        return _rounded(requests.thought * self.thinks)

    def refuses(self, requests: Requests) -> Bools:
        """Whether it cannot serve a prompt."""
        shortest = self.read(requests) + 1
        return (shortest > self.context) | ((requests.image > 0) & (not self.images))

    def too_long(self, requests: Requests) -> Bools:
        """Whether an answer does not fit."""
        output = self.write(requests) + self.think(requests)
        return (output > self.longest) | (self.read(requests) + output > self.context)

    def price_fields(self) -> Any:
        """The prices as a price file has them."""
        first: dict[str, Any] = dict(self.rates.fields())
        if self.tiers:
            first["tiers"] = [
                {"over_input_tokens": over, **rates.fields()} for over, rates in self.tiers
            ]
        if self.services:
            first["service_tiers"] = {k: v.fields() for k, v in self.services.items()}
        if self.lists_searches:
            first["web_search_usd"] = self.search_usd
        if not self.later:
            return first
        dated = [
            {"from": (START + timedelta(seconds=since)).isoformat(), **rates.fields()}
            for since, rates in self.later
        ]
        return [{"from": "2026-01-01T00:00:00+00:00", **first}, *dated]

    def fact_fields(self) -> dict[str, Any]:
        """What a facts file says of it."""
        return {
            "context_tokens": self.context,
            "output_tokens": self.longest,
            "images": self.images,
            "reasoning": self.thinks > 0,
            "cache": self.cache.fields(),
        }


class Usage(NamedTuple):
    """What calls of one model used, by call. Input includes cached, written and image tokens;
    output includes reasoning."""

    input: Ints
    output: Ints
    reasoning: Ints
    cached: Ints
    written: Ints
    long_written: Ints
    """The part of the written tokens that are kept for an hour."""
    image: Ints


def bill(model: Model, usage: Usage, ts: Floats, tier: Texts, searches: Ints) -> Ints:
    """What each call of a model costs at its time, in whole 10^-12 USD."""
    fresh = usage.input - usage.cached - usage.written - usage.image
    if (fresh < 0).any():
        raise ValueError("parts of a prompt add up to more than the prompt")
    counts = {
        "input": fresh,
        "cached": usage.cached,
        "write": usage.written - usage.long_written,
        "write_1h": usage.long_written,
        "image": usage.image,
        "output": usage.output - usage.reasoning,
        "reasoning": usage.reasoning,
    }
    total = np.zeros(len(ts), np.int64)
    for rows, rates in _priced(model, usage.input, ts, tier):
        cost = sum(counts[kind] * rates.of(kind) for kind in KINDS)
        total = np.where(rows, cost + round(rates.request_usd * PICO), total)
    return total + searches * round(model.search_usd * PICO)


def _priced(model: Model, prompt: Ints, ts: Floats, tier: Texts) -> Iterator[tuple[Bools, Rates]]:
    """The rates of a model and the calls that they apply to; later ones override earlier ones."""
    yield np.ones(len(ts), np.bool_), model.rates
    for since, rates in model.later:
        yield ts >= since, rates
    for over, rates in model.tiers:
        yield prompt > over, rates
    for name, rates in model.services.items():
        yield tier == name, rates


def _rounded(values: npt.NDArray[np.floating[Any]]) -> Ints:
    """Rounded half up."""
    rounded: Ints = np.floor(values + 0.5).astype(np.int64)
    return rounded
