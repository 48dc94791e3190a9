"""The flat prices of a plan: the catalogue's on one day, overridden by the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ttplan.model.pricing import ModelPricing, split_price_key
from ttplan.prices.catalogue import catalogue_price, source

PRICE_FILE = "your price file"


@dataclass(frozen=True)
class PriceTable:
    """Prices by `provider:model`, their sources, the targets without a known price, and notes."""

    pricing: Mapping[str, ModelPricing]
    sources: Mapping[str, str]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()


def price_table(
    providers: Iterable[str],
    targets: Iterable[str],
    *,
    at: datetime,
    own: Mapping[str, ModelPricing] | None = None,
) -> PriceTable:
    """Prices for the targets of routes, for requests of those providers, as of `at`.

    A target gets the price of each of the log's providers that offers it, or, if none does, of the
    provider that `catalogue_price` finds for the model. `own` overrides key by key; a target with
    an own price needs no other.
    """
    own = own or {}
    pricing: dict[str, ModelPricing] = dict(own)
    sources = dict.fromkeys(pricing, PRICE_FILE)
    missing: list[str] = []
    notes: list[str] = []
    own_models = {split_price_key(key)[1] for key in own}
    offering = sorted(set(providers))
    for target in sorted(set(targets)):
        without_own = [p for p in offering if f"{p}:{target}" not in own]
        offers = {
            p: quote for p in without_own if (quote := catalogue_price(p, target, at)) is not None
        }
        if not offers and target not in own_models:
            fallback = catalogue_price(None, target, at)
            offers = {} if fallback is None else {fallback.provider: fallback}
            if fallback is None:
                missing.append(target)
        for provider, quote in offers.items():
            key = f"{provider}:{target}"
            pricing[key] = quote.pricing
            sources[key] = source(quote.model)
            notes.extend(f"{key}: {note}" for note in quote.notes)
    return PriceTable(pricing, sources, tuple(missing), tuple(notes))
