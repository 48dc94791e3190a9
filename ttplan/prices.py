"""What models cost: the catalogue's prices, and a file of one's own over it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, TieredPrices, TimeOfDateConstraint
from pydantic import ConfigDict, ValidationError, field_validator

from ttplan.files import explain, read_yaml
from ttplan.model.errors import InputError
from ttplan.model.money import PRICE_DIGITS, to_decimal
from ttplan.model.pricing import ModelPricing, split_price_key


class _OwnPricing(ModelPricing):
    """A price in a file that a person wrote: a name that is not known, or a digit that would be dropped, is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _keeps_every_digit(cls, value: Any) -> Any:
        if value is not None and int(to_decimal(value).normalize().as_tuple().exponent) < -PRICE_DIGITS:
            raise ValueError(f"more than {PRICE_DIGITS} digits after the point")
        return value


@dataclass(frozen=True)
class PriceTable:
    """The prices that a plan uses, by `provider:model`; where each came from; targets that nothing knows; and cautions."""

    pricing: Mapping[str, ModelPricing]
    sources: Mapping[str, str]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quote:
    """The catalogue's price of a model: the flat base rate, whose model it is, whether it has higher tiers.

    `notes` are whole sentences: what the flat rate leaves out, and how a name that is not the catalogue's own was understood.
    """

    provider: str
    model: str
    pricing: ModelPricing
    tiered: bool
    notes: tuple[str, ...] = ()


def read_prices(path: str | os.PathLike[str]) -> dict[str, ModelPricing]:
    """Prices of one's own from YAML: `provider:model: {input_per_million, output_per_million, cached_input_per_million}`.

    USD per million tokens, at most 9 digits after the point. Raises InputError naming file, key and field.
    """
    content = read_yaml(path, "prices by provider:model")
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected prices by provider:model, such as openai:gpt-4o: {{input_per_million: 2.5, …}}")
    prices: dict[str, ModelPricing] = {}
    for key, fields in content.items():
        try:
            if not all(part and part == part.strip() for part in split_price_key(key)):
                raise ValueError(
                    f"the price key {key!r} lacks a provider or a model, or has blanks around one; expected provider:model"
                )
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

    A target gets the price of each of the log's providers that offers it, or, where none does, of the provider that
    `catalogue_price` finds for the model. `own` wins key by key, and a target that only `own` knows needs nobody else.
    """
    own = own or {}
    pricing: dict[str, ModelPricing] = dict(own)
    sources = dict.fromkeys(pricing, "your price file")
    missing: list[str] = []
    notes: list[str] = []
    ours = {split_price_key(key)[1] for key in own}
    offering = sorted(set(providers))
    for target in sorted(set(targets)):
        asked = [p for p in offering if f"{p}:{target}" not in own]
        offers = {p: quote for p in asked if (quote := catalogue_price(p, target, at)) is not None}
        if not offers and target not in ours:
            found = catalogue_price(None, target, at)
            offers = {} if found is None else {found.provider: found}
            if found is None:
                missing.append(target)
        for provider, quote in offers.items():
            key = f"{provider}:{target}"
            pricing[key] = quote.pricing
            sources[key] = f"genai-prices, model {quote.model}"
            notes.extend(f"{key}: {note}" for note in quote.notes)
    return PriceTable(pricing, sources, tuple(missing), tuple(notes))


def catalogue_price(provider: str | None, model: str, at: datetime) -> Quote | None:
    """What the catalogue (genai-prices as installed, no network) knows of a provider's model; None where it knows no price.

    With no provider it is the provider that the catalogue says a model of this name belongs to, else the dearest of those that
    list exactly this name: which of them would serve it nobody knows, and a saving is never made up. `at` decides between dated
    prices; without a zone it is UTC. What a flat price cannot express is left out: higher tiers for long prompts (the base rate
    is taken), hours of the day (the dearest is taken), batch and priority processing, fees per request or search, cache writes,
    audio and images.
    """
    if provider is None:
        return _quote(None, model, at) or _dearest_listing(model, at)
    return _quote(provider, model, at)


def _quote(provider: str | None, model: str, at: datetime) -> Quote | None:
    try:
        owner, info = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    rates, by_the_hour = _rates(info, at)
    base = {
        "input_per_million": _base(rates.input_mtok),
        "output_per_million": _base(rates.output_mtok),
        "cached_input_per_million": _base(rates.cache_read_mtok),
    }
    if base["input_per_million"] is None or base["output_per_million"] is None:
        return None
    tiered = any(isinstance(rate, TieredPrices) for rate in (rates.input_mtok, rates.output_mtok, rates.cache_read_mtok))
    said = {
        "its price rises with the prompt's length; the plan uses its base rate for all requests.": tiered,
        "its price depends on the hour; the plan uses the dearest for all requests.": by_the_hour,
        "it also costs a fee per request, which the plan leaves out.": rates.requests_kcount is not None,
        f"the catalogue takes this provider for its own {owner.id}.": provider is not None and provider.lower() != owner.id,
        f"the catalogue takes this name for its model {info.id}.": model.lower() != info.id.lower(),
        f"{owner.id} lists no price of its own; this is that of the model's maker.": all(info is not m for m in owner.models),
    }
    notes = tuple(note for note, holds in said.items() if holds)
    return Quote(owner.id, info.id, ModelPricing.model_validate(base), tiered, notes)


def _dearest_listing(model: str, at: datetime) -> Quote | None:
    listing = [p.id for p in get_snapshot().providers if any(m.id.lower() == model.lower() for m in p.models)]
    quotes = [quote for p in sorted(listing) if (quote := _quote(p, model, at)) is not None]
    if not quotes:
        return None
    dearest = max(quotes, key=lambda q: (q.pricing.input_per_million + q.pricing.output_per_million, q.provider))
    note = (
        f"none of the log's providers offers it; the price is that of {dearest.provider}, the dearest of {len(quotes)} that do."
    )
    return Quote(dearest.provider, dearest.model, dearest.pricing, dearest.tiered, (*dearest.notes, note))


def _rates(info: ModelInfo, at: datetime) -> tuple[ModelPrice, bool]:
    """The price in force on a day, and whether it depends on the hour: the dearest then, so that no saving is made up."""
    if isinstance(info.prices, ModelPrice):
        return info.prices, False
    candidates = list(_of_the_day(info.prices, at))
    return max(candidates, key=lambda rates: (_base(rates.input_mtok) or 0, _base(rates.output_mtok) or 0)), len(candidates) > 1


def _of_the_day(conditions: list[ConditionalPrice], at: datetime) -> Iterator[ModelPrice]:
    """All prices that some hour of the day has: the last in force wins; one bound to hours leaves room for those before it."""
    for conditional in reversed(conditions):
        if isinstance(conditional.constraint, TimeOfDateConstraint):
            yield conditional.prices
        elif conditional.constraint is None or conditional.constraint.active(at):
            yield conditional.prices
            return
    yield conditions[0].prices


def _base(rate: Any) -> Decimal | None:
    return rate.base if isinstance(rate, TieredPrices) else rate
