"""What models cost: the catalogue's prices, and a file of one's own over it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TieredPrices
from pydantic import ConfigDict, ValidationError

from ttplan.files import explain, read_yaml
from ttplan.model.errors import InputError
from ttplan.model.pricing import ModelPricing, split_price_key


class _OwnPricing(ModelPricing):
    """A price in a file that a person wrote: a name that is not known is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class PriceTable:
    """The prices that a plan uses, by `provider:model`; where each came from; targets that nothing knows; and cautions."""

    pricing: Mapping[str, ModelPricing]
    sources: Mapping[str, str]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_prices(path: str | os.PathLike[str]) -> dict[str, ModelPricing]:
    """Prices of one's own from YAML: `provider:model: {input_per_million, output_per_million, cached_input_per_million}`.

    USD per million tokens. Raises InputError naming file, key and field.
    """
    content = read_yaml(path, "prices by provider:model")
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected prices by provider:model, such as openai:gpt-4o: {{input_per_million: 2.5, …}}")
    prices: dict[str, ModelPricing] = {}
    for key, fields in content.items():
        try:
            split_price_key(key)
            own = _OwnPricing.model_validate(fields)
        except ValidationError as error:
            raise InputError(f"{path}: {key}: {explain(error)}; expected USD per million tokens") from None
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None
        prices[key] = ModelPricing.model_validate(own.model_dump())
    return prices


def price_table(
    providers: Iterable[str], targets: Iterable[str], *, at: datetime, own: Mapping[str, ModelPricing] | None = None
) -> PriceTable:
    """Prices for the targets of routes, for requests of those providers, as of `at`.

    `own` wins. Otherwise a target gets the price of each of the log's providers that offers it, or, where none does, of the
    provider that the catalogue names for the model.
    """
    pricing: dict[str, ModelPricing] = dict(own or {})
    sources = dict.fromkeys(pricing, "your price file")
    missing: list[str] = []
    notes: list[str] = []
    for target in sorted(set(targets)):
        if any(split_price_key(key)[1] == target for key in own or {}):
            continue
        offers = {p: price for p in sorted(set(providers)) if (price := catalogue_price(p, target, at)) is not None}
        if not offers:
            found = catalogue_price(None, target, at)
            offers = {} if found is None else {found.provider: found}
        if not offers:
            missing.append(target)
        for provider, quote in offers.items():
            key = f"{provider}:{target}"
            pricing[key] = quote.pricing
            sources[key] = f"genai-prices, model {quote.model}"
            if quote.tiered:
                notes.append(f"The price of {key} rises with the prompt's length; the plan uses its base rate for all requests.")
    return PriceTable(pricing, sources, tuple(missing), tuple(notes))


@dataclass(frozen=True)
class Quote:
    """The catalogue's price of a model: the flat base rate, whose model it is, and whether it has higher tiers."""

    provider: str
    model: str
    pricing: ModelPricing
    tiered: bool


def catalogue_price(provider: str | None, model: str, at: datetime) -> Quote | None:
    """What the catalogue knows of a provider's model (of any provider: None) at a date; None where it knows no price.

    Of tiered prices the base rate; cache writes, audio and images are not part of a flat price.
    """
    try:
        owner, info = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    rates = info.get_prices(at)
    base, tiered = {}, False
    for name, rate in (
        ("input_per_million", rates.input_mtok),
        ("output_per_million", rates.output_mtok),
        ("cached_input_per_million", rates.cache_read_mtok),
    ):
        tiered = tiered or isinstance(rate, TieredPrices)
        base[name] = _base(rate)
    if base["input_per_million"] is None or base["output_per_million"] is None:
        return None
    return Quote(owner.id, info.id, ModelPricing.model_validate(base), tiered)


def _base(rate: Any) -> Decimal | None:
    return rate.base if isinstance(rate, TieredPrices) else rate
