"""A model's price told to a person."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from ttplan.display.text import WIDTH, wrap
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


def price_text(answer: PriceLookup) -> str:
    """The price as text."""
    lines = [
        *wrap(answer.key, WIDTH),
        *wrap(_from(answer), WIDTH - 2, initial_indent="  ", subsequent_indent="  "),
        "  USD per million tokens",
    ]
    lines += [f"    {name:<24}{rates}" for name, rates in _rows(answer)]
    if answer.rates.request_usd:
        lines.append(f"    {'besides, per request':<24}{_plain(answer.rates.request_usd)} USD")
    if answer.changes:
        lines.append(f"  another price from {', '.join(_day(at) for at in answer.changes[:3])}")
    for note in answer.notes:
        lines += wrap(note, WIDTH - 2, initial_indent="  ! ", subsequent_indent="    ")
    return "\n".join(lines)


def _from(answer: PriceLookup) -> str:
    return f"{answer.source}; {answer.catalogue}; {_in_force(answer)}"


def _in_force(answer: PriceLookup) -> str:
    since = "always" if answer.since is None else f"since {_day(answer.since)}"
    until = "" if answer.until is None else f" until {_day(answer.until)}"
    hours = "" if answer.hours is None else f", {answer.hours[0]} to {answer.hours[1]} UTC"
    return f"{since}{until}{hours}"


def _rows(answer: PriceLookup) -> list[tuple[str, str]]:
    return [
        *((_RATES[field], _plain(rate)) for field, rate in _known(answer.rates, tuple(_RATES))),
        *(
            (f"over {tier.over_input_tokens:,} tokens", _brief(tier.rates))
            for tier in answer.longer
        ),
        *(
            (tier, f"input {_plain(into)}, output {_plain(out)}")
            for tier, (into, out) in answer.other.items()
        ),
    ]


def _brief(rates: TokenRates) -> str:
    shown = ("input_per_million", "cached_input_per_million", "output_per_million")
    return ", ".join(f"{_RATES[field]} {_plain(rate)}" for field, rate in _known(rates, shown))


def _known(rates: TokenRates, fields: tuple[str, ...]) -> list[tuple[str, Decimal]]:
    return [(field, rate) for field in fields if (rate := getattr(rates, field)) is not None]


def _plain(rate: Decimal) -> str:
    return f"{rate.normalize():f}"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M} UTC"
