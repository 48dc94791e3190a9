"""What a model's price would be here, and why: what `ttplan prices` answers."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from ttplan.model.money import Price
from ttplan.model.pricing import TokenRates
from ttplan.prices.book import PriceBook
from ttplan.prices.catalogue import catalogue_price, catalogue_version
from ttplan.prices.schedule import DAY, Period

TIERS_OF_SERVICE = ("batch", "flex", "priority", "fast")
"""The service tiers that an answer looks for."""


class LongPromptRates(BaseModel):
    """The rates of prompts with more than so many input tokens."""

    model_config = ConfigDict(frozen=True)

    over_input_tokens: int
    rates: TokenRates


class PriceLookup(BaseModel):
    """What a provider's model costs at a moment: `rates`, in USD per million tokens, and those of `longer` prompts.

    `key` is what a plan's table calls it, `source` where the price is from. It holds from `since` until `until` (None: always
    was, still is), in `hours` of the day (UTC) where it depends on them. `other` are the input and output rates of service tiers,
    `changes` the moments at which another price begins. `notes` say how the name was understood, and what a plan leaves out.
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
    """What `book` says that a model costs `at` a moment; None where no price is known.

    `model` may be a key, `provider:model`. Without a provider it is the one that a plan would take where none of its log's offers
    the model: one's own price file's first, else the catalogue's.
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
        # What the quote says of the flat rate is said by the figures here.
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
        notes=(*schedule.notes, *notes, *_beyond(period)),
    )


def _other(
    book: PriceBook, provider: str, model: str, endpoint: str | None, at: datetime
) -> dict[str, tuple[Price, Price]]:
    found = {}
    for tier in TIERS_OF_SERVICE:
        schedule = book.schedule(provider, model, endpoint, tier)
        period = None if schedule is None else schedule.at(at)
        if period is not None:
            found[tier] = (period.rates.input_per_million, period.rates.output_per_million)
    return found


_WORDS = {
    "cache_write_per_million": "cache writes",
    "cache_write_1h_per_million": "cache writes that last an hour",
    "input_audio_per_million": "audio that goes in",
    "input_image_per_million": "images that go in",
    "reasoning_per_million": "reasoning",
    "output_audio_per_million": "audio that comes out",
    "output_image_per_million": "images that come out",
    "request_usd": "a fee per request",
}


def _beyond(period: Period) -> list[str]:
    beyond = [_WORDS[name] for name in period.rates.beyond_flat]
    notes = [f"a plan's flat table leaves out {', '.join(beyond)}."] if beyond else []
    if period.tiers:
        notes.append("a plan's flat table has the base rate for prompts of any length.")
    if (period.day_from, period.day_until) != (0, DAY):
        notes.append("a plan's flat table has the dearest hour's rate for all hours.")
    return notes


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second % 3600 // 60:02}"
