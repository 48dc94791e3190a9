"""Prices: USD per million tokens, keyed `provider:model`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from ttplan.model.money import Price


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
        return self.input_per_million if self.cached_input_per_million is None else self.cached_input_per_million


def split_price_key(key: str) -> tuple[str, str]:
    """`provider, model` of a price key, split at its first colon. Raises ValueError where there is none."""
    provider, colon, model = key.partition(":")
    if not colon:
        raise ValueError(f"the price key {key!r} has no colon; expected provider:model")
    return provider, model


def price_for(pricing: Mapping[str, ModelPricing], provider: str, target: str) -> ModelPricing | None:
    """The price of `target` for a request of `provider`: the provider's own, else the first in key order, else None."""
    own = pricing.get(f"{provider}:{target}")
    if own is not None:
        return own
    return next((pricing[key] for key in sorted(pricing) if split_price_key(key)[1] == target), None)
