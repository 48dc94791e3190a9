"""Looks up the price of a model, and explains it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from ttplan.model.money import Price
from ttplan.model.pricing import TokenRates
from ttplan.prices.book import PriceBook
from ttplan.prices.catalogue import catalogue_price, catalogue_version
from ttplan.prices.schedule import DAY, Period

SERVICE_TIERS = ("batch", "flex", "priority", "fast")
"""The service tiers that a lookup reports."""


class LongPromptRates(BaseModel):
    """The rates of prompts with more than `over_input_tokens` input tokens."""

    model_config = ConfigDict(frozen=True)

    over_input_tokens: int
    rates: TokenRates


class PriceLookup(BaseModel):
    """The price of a provider's model at a time: `rates` in USD per million tokens, and `longer`
    for long prompts.

    `key` is its name in a plan's table. It applies from `since` until `until` (None: unbounded),
    and in `hours` of the day (UTC) if it depends on them. `other` has the input and output rates of
    service tiers, `changes` the times of later prices. `notes` say how the name was resolved, and
    what a plan leaves out.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    source: str
    catalogue: str
    rates: TokenRates
    longer: tuple[LongPromptRates, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    hours: tuple[str, str] | None = None
    other: dict[str, tuple[Price, Price]] = {}
    changes: tuple[datetime, ...] = ()
    notes: tuple[str, ...] = ()


def look_up_price(
    model: str, book: PriceBook, *, at: datetime, provider: str | None = None
) -> PriceLookup | None:
    """The price of a model `at` a time; None if it is not known.

    `model` may be a key, `provider:model`. Without a provider it is the one that a plan uses if
    none of its log's providers offers the model: that of the price file, else the catalogue's.
    """
    if provider is None and ":" in model and not model.startswith("ft:"):
        provider, _, model = model.partition(":")
    notes: tuple[str, ...] = ()
    if provider is None:
        provider = book.provider_of(model)
    if provider is None:
        quote = catalogue_price(None, model, at)
        if quote is None:
            return None
        provider, notes = (
            quote.provider,
            tuple(note for note in quote.notes if "none of the log's providers" in note),
        )
    name, _, endpoint = provider.partition("@")
    schedule = book.schedule(name, model, endpoint or None)
    period = None if schedule is None else schedule.at(at)
    if schedule is None or period is None:
        return None
    return PriceLookup(
        key=f"{provider}:{model}",
        source=schedule.source_at(at),
        catalogue=catalogue_version(),
        rates=period.rates,
        longer=tuple(
            LongPromptRates(over_input_tokens=tier.over_input_tokens, rates=tier.rates)
            for tier in period.tiers
        ),
        since=period.start,
        until=period.end,
        hours=None
        if (period.day_from, period.day_until) == (0, DAY)
        else (_clock(period.day_from), _clock(period.day_until)),
        other=_other(book, name, model, endpoint or None, at),
        changes=tuple(
            sorted({p.start for p in schedule.periods if p.start is not None and p.start > at})
        ),
        notes=(*schedule.notes, *notes, *_flat_price_notes(period)),
    )


def _other(
    book: PriceBook, provider: str, model: str, endpoint: str | None, at: datetime
) -> dict[str, tuple[Price, Price]]:
    rates = {}
    for tier in SERVICE_TIERS:
        schedule = book.schedule(provider, model, endpoint, tier)
        period = None if schedule is None else schedule.at(at)
        if period is not None:
            rates[tier] = (period.rates.input_per_million, period.rates.output_per_million)
    return rates


_RATE_NAMES = {
    "cache_write_per_million": "cache writes",
    "cache_write_1h_per_million": "cache writes that last an hour",
    "input_audio_per_million": "audio that goes in",
    "input_image_per_million": "images that go in",
    "reasoning_per_million": "reasoning",
    "output_audio_per_million": "audio that comes out",
    "output_image_per_million": "images that come out",
    "request_usd": "a fee per request",
    "web_search_usd": "a fee per web search",
}


def _flat_price_notes(period: Period) -> list[str]:
    omitted = [_RATE_NAMES[name] for name in period.rates.beyond_flat]
    notes = [f"a plan's flat table leaves out {', '.join(omitted)}."] if omitted else []
    if period.tiers:
        notes.append("a plan's flat table has the base rate for prompts of any length.")
    if (period.day_from, period.day_until) != (0, DAY):
        notes.append("a plan's flat table has the dearest hour's rate for all hours.")
    return notes


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second % 3600 // 60:02}"
