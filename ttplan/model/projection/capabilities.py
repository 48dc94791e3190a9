"""What a model can serve, and how its provider caches prompts."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from ttplan.model.base import FrozenModel

CacheMode = Literal["automatic", "explicit", "none"]
"""Whether a provider caches prompts by itself, at breakpoints that the client sets, or never."""


class Capabilities(FrozenModel):
    """What a model can serve. None means that it is not known.

    Attributes
    ----------
    context_tokens, output_tokens : int or None
        The most tokens of prompt and answer together, and of the answer.
    images, audio, tools, structured_output : bool or None
        Whether it reads images and audio, calls tools, and answers by a schema.
    reasoning : bool or None
        Whether it can think: write hidden tokens that are billed as output.
    source : str
        Where this comes from.
    """

    context_tokens: int | None = Field(default=None, gt=0)
    output_tokens: int | None = Field(default=None, gt=0)
    images: bool | None = None
    audio: bool | None = None
    tools: bool | None = None
    structured_output: bool | None = None
    reasoning: bool | None = None
    source: str = ""


class CacheRule(FrozenModel):
    """How a provider caches the prompts of a model.

    Attributes
    ----------
    mode : {"automatic", "explicit", "none"}
    minimum_tokens : int
        The shortest prefix that is cached.
    ttl_seconds : int
        How long after its last use a prefix is warm.
    long_ttl_seconds : int or None
        The same for writes that are billed at the rate of an hour.
    source : str
        The page that says so.
    as_of : date or None
        When the page was read.
    """

    mode: CacheMode
    minimum_tokens: int = Field(default=0, ge=0)
    ttl_seconds: int = Field(default=300, gt=0)
    long_ttl_seconds: int | None = Field(default=None, gt=0)
    source: str = ""
    as_of: date | None = None

    def writes_long(self, long_writes: bool) -> bool:
        """Whether writes last an hour, for a client that asks for that if `long_writes`."""
        return long_writes and self.long_ttl_seconds is not None

    def lifetime(self, long_writes: bool) -> int:
        """How many seconds a prefix is warm, for such a client."""
        long = self.long_ttl_seconds if long_writes else None
        return self.ttl_seconds if long is None else long


class ModelFacts(FrozenModel):
    """What is known of one model of one provider."""

    capabilities: Capabilities = Capabilities()
    cache: CacheRule | None = None
