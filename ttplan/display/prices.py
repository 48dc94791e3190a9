"""A model's price as text."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from ttplan.display.card import Card, Table
from ttplan.display.render import card_text
from ttplan.model.pricing import TokenRates
from ttplan.prices.lookup import PriceLookup

_RATES = {
    "input_per_million": "input",
    "cached_input_per_million": "cached",
    "cache_write_per_million": "cache write",
    "cache_write_1h_per_million": "1 h write",
    "input_audio_per_million": "audio in",
    "input_image_per_million": "image in",
    "output_per_million": "output",
    "reasoning_per_million": "reasoning",
    "output_audio_per_million": "audio out",
    "output_image_per_million": "image out",
}
_BRIEF_RATES = ("input_per_million", "cached_input_per_million", "output_per_million")


def price_text(price: PriceLookup) -> str:
    """The price as text."""
    return card_text(price_card(price))


def price_card(price: PriceLookup) -> Card:
    """The card of a price, in USD per million tokens."""
    rows = [(_RATES[field], _amount(rate)) for field, rate in _known(price.rates, tuple(_RATES))]
    rows += [(f"over {t.over_input_tokens:,} tokens", _brief(t.rates)) for t in price.longer]
    rows += [
        (tier, f"input {_amount(input_rate)}, output {_amount(output_rate)}")
        for tier, (input_rate, output_rate) in price.other.items()
    ]
    fees = {"request": price.rates.request_usd, "web search": price.rates.web_search_usd}
    rows += [(f"besides, per {unit}", f"{_amount(fee)} USD") for unit, fee in fees.items() if fee]
    changes = ", ".join(map(_date, price.changes[:3]))
    return Card(
        "price",
        price.key,
        lines=(f"{price.source}; {price.catalogue}; {_validity(price)}",),
        tables=(Table.of(rows, caption="USD per million tokens"),),
        notes=((f"another price from {changes}",) if changes else ()) + tuple(price.notes),
    )


def _validity(price: PriceLookup) -> str:
    since = "always" if price.since is None else f"since {_date(price.since)}"
    until = "" if price.until is None else f" until {_date(price.until)}"
    hours = "" if price.hours is None else f", {price.hours[0]} to {price.hours[1]} UTC"
    return f"{since}{until}{hours}"


def _brief(rates: TokenRates) -> str:
    return ", ".join(
        f"{_RATES[field]} {_amount(rate)}" for field, rate in _known(rates, _BRIEF_RATES)
    )


def _known(rates: TokenRates, fields: tuple[str, ...]) -> list[tuple[str, Decimal]]:
    return [(field, rate) for field in fields if (rate := getattr(rates, field)) is not None]


def _amount(rate: Decimal) -> str:
    return f"{rate.normalize():f}"


def _date(at: datetime) -> str:
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M} UTC"
