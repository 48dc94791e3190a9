"""Prices: USD per million tokens, keyed `provider:model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ttplan.model.base import LenientModel, OmitsDefaults
from ttplan.model.money import Money, Price, RequestMoney


class ModelPricing(LenientModel):
    """The price of one model, in USD per million tokens, 9 digits after the point.

    Parameters
    ----------
    input_per_million, output_per_million : Decimal, float or int
    cached_input_per_million : Decimal, float or int, optional
        None charges cached input at the full rate; 0 is free.

    Examples
    --------
    >>> import ttplan
    >>> price = ttplan.ModelPricing(input_per_million=2.5, output_per_million=10)
    >>> price.cached_rate
    Decimal('2.500000000')
    """

    input_per_million: Price
    output_per_million: Price
    cached_input_per_million: Price | None = None

    @property
    def cached_rate(self) -> Price:
        """Rate of a cached input token: its own, else that of input."""
        return _first(self.cached_input_per_million, self.input_per_million)


class TokenRates(OmitsDefaults, ModelPricing):
    """All rates of a model during one price period: USD per million tokens, per request and per web
    search.

    A rate of None is that of its side: input for cache writes, input audio and input images;
    output for reasoning, output audio and output images; 0 is free. One-hour cache writes default
    to the rate of other cache writes.
    """

    cache_write_per_million: Price | None = None
    cache_write_1h_per_million: Price | None = None
    input_audio_per_million: Price | None = None
    input_image_per_million: Price | None = None
    reasoning_per_million: Price | None = None
    output_audio_per_million: Price | None = None
    output_image_per_million: Price | None = None
    request_usd: Money | None = None
    web_search_usd: RequestMoney | None = None
    OMITTED: ClassVar[frozenset[str]] = frozenset({"web_search_usd"})

    @property
    def write_rate(self) -> Price:
        """Rate of a cache write token: its own, else that of input."""
        return _first(self.cache_write_per_million, self.input_per_million)

    @property
    def flat(self) -> ModelPricing:
        """The three rates that a plan's price table has."""
        return ModelPricing.model_validate(
            {name: getattr(self, name) for name in ModelPricing.model_fields}
        )

    @property
    def beyond_flat(self) -> tuple[str, ...]:
        """Names of the rates that differ from the flat ones and that a price table cannot hold."""
        defaults = {
            "cache_write_per_million": self.input_per_million,
            "cache_write_1h_per_million": self.write_rate,
            "input_audio_per_million": self.input_per_million,
            "input_image_per_million": self.input_per_million,
            "reasoning_per_million": self.output_per_million,
            "output_audio_per_million": self.output_per_million,
            "output_image_per_million": self.output_per_million,
            "request_usd": 0,
            "web_search_usd": 0,
        }
        return tuple(
            name for name, default in defaults.items() if getattr(self, name) not in (None, default)
        )


def _first(rate: Price | None, default: Price) -> Price:
    return default if rate is None else rate


def split_price_key(key: str) -> tuple[str, str]:
    """Split a price key at its first colon into provider and model. Raises ValueError if none."""
    provider, colon, model = key.partition(":")
    if not colon:
        raise ValueError(f"the price key {key!r} has no colon; expected provider:model")
    return provider, model


def first_price_key(pricing: Mapping[str, ModelPricing], model: str) -> str | None:
    """The first key, in order, of a model at any provider; None if there is none."""
    return next((key for key in sorted(pricing) if split_price_key(key)[1] == model), None)


def find_price(
    pricing: Mapping[str, ModelPricing], provider: str, target: str
) -> ModelPricing | None:
    """Return the price of `target` for a provider: its own, else the first in key order."""
    own = pricing.get(f"{provider}:{target}")
    if own is not None:
        return own
    key = first_price_key(pricing, target)
    return None if key is None else pricing[key]
