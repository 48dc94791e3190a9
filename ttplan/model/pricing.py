"""Prices: USD per million tokens, keyed `provider:model`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from ttplan.model.money import Money, Price


class ModelPricing(BaseModel):
    """What one model costs, in USD per million tokens, 9 digits after the point.

    `cached_input_per_million` of None charges cached input at the full rate; 0 is free.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    input_per_million: Price
    output_per_million: Price
    cached_input_per_million: Price | None = None

    @property
    def cached_rate(self) -> Price:
        """The rate of a cached input token, whether or not the model has one of its own."""
        return (
            self.input_per_million
            if self.cached_input_per_million is None
            else self.cached_input_per_million
        )


class TokenRates(ModelPricing):
    """Every rate that one model has while one price holds: USD per million tokens, and a fee in USD per request.

    A kind of token whose rate is None costs what all tokens of its side do: input for cache writes, audio and images that go in,
    output for reasoning, audio and images that come out; 0 is free. One-hour cache writes cost what others do, unless they have
    a rate.
    """

    cache_write_per_million: Price | None = None
    cache_write_1h_per_million: Price | None = None
    input_audio_per_million: Price | None = None
    input_image_per_million: Price | None = None
    reasoning_per_million: Price | None = None
    output_audio_per_million: Price | None = None
    output_image_per_million: Price | None = None
    request_usd: Money | None = None

    @property
    def write_rate(self) -> Price:
        """The rate of a token that is written to the provider's cache, whether or not the model has one of its own."""
        return (
            self.input_per_million
            if self.cache_write_per_million is None
            else self.cache_write_per_million
        )

    @property
    def flat(self) -> ModelPricing:
        """The three rates that a plan's table has."""
        return ModelPricing(
            input_per_million=self.input_per_million,
            output_per_million=self.output_per_million,
            cached_input_per_million=self.cached_input_per_million,
        )

    @property
    def beyond_flat(self) -> tuple[str, ...]:
        """The names of the rates that a plan's table has no place for, where they differ from the flat one."""
        own = {
            "cache_write_per_million": self.input_per_million,
            "cache_write_1h_per_million": self.write_rate,
            "input_audio_per_million": self.input_per_million,
            "input_image_per_million": self.input_per_million,
            "reasoning_per_million": self.output_per_million,
            "output_audio_per_million": self.output_per_million,
            "output_image_per_million": self.output_per_million,
            "request_usd": 0,
        }
        return tuple(name for name, flat in own.items() if getattr(self, name) not in (None, flat))


def split_price_key(key: str) -> tuple[str, str]:
    """`provider, model` of a price key, split at its first colon. Raises ValueError where there is none."""
    provider, colon, model = key.partition(":")
    if not colon:
        raise ValueError(f"the price key {key!r} has no colon; expected provider:model")
    return provider, model


def find_price(
    pricing: Mapping[str, ModelPricing], provider: str, target: str
) -> ModelPricing | None:
    """The price of `target` for a request of `provider`: the provider's own, else the first in key order, else None."""
    own = pricing.get(f"{provider}:{target}")
    if own is not None:
        return own
    return next(
        (pricing[key] for key in sorted(pricing) if split_price_key(key)[1] == target), None
    )
