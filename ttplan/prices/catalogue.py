"""The prices of the installed catalogue, genai-prices; no network access."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from ttplan.model.pricing import ModelPricing, TokenRates
from ttplan.prices.names import find_listed
from ttplan.prices.schedule import DAY, Period, Schedule, Tier

STANDARD = frozenset({"", "default", "standard", "standard_only", "auto", "on_demand", "on-demand"})
"""Logged service tiers with the standard price."""
_CONTEXTS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "batch": ({"processing": "batch"},),
    "flex": ({"service_tier": "flex"},),
    "on_demand_flex": ({"service_tier": "flex"},),
    "priority": ({"service_tier": "priority"},),
    "on_demand_priority": ({"service_tier": "priority"},),
    "fast": ({"service_tier": "fast"}, {"speed": "fast"}),
}
"""The names of a service tier in the catalogue."""
_RATES = {
    "input_per_million": "input_mtok",
    "output_per_million": "output_mtok",
    "cached_input_per_million": "cache_read_mtok",
    "cache_write_per_million": "cache_write_mtok",
    "cache_write_1h_per_million": "cache_write_1h_mtok",
    "input_audio_per_million": "input_audio_mtok",
    "input_image_per_million": "input_image_mtok",
    "reasoning_per_million": "output_reasoning_mtok",
    "output_audio_per_million": "output_audio_mtok",
    "output_image_per_million": "output_image_mtok",
}
_UNCOUNTED_CHARGES = {
    "social_searches_kcount": "searches of social media",
    "storage_searches_kcount": "searches of stored files",
    "cache_audio_read_mtok": "cached audio at a rate of its own",
    "cache_image_read_mtok": "cached images at a rate of their own",
    "input_video_mtok": "video that goes in",
    "output_video_mtok": "video that comes out",
    "output_citation_mtok": "citations",
    "audio_hours": "hours of audio",
    "input_audio_hours": "hours of audio that go in",
    "input_document_kpages": "pages of documents",
    "input_annotated_document_kpages": "annotated pages of documents",
    "input_mchars": "characters",
    "input_text_messages_kcount": "messages",
}
"""Charges of some models that no column of a log counts."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Quote:
    """The catalogue's flat base price of a model, its provider, and whether it has higher tiers.

    `notes` are sentences on what the flat price leaves out, and on how the name was resolved.
    """

    provider: str
    model: str
    pricing: ModelPricing
    tiered: bool
    notes: tuple[str, ...] = ()


def catalogue_price(provider: str | None, model: str, at: datetime) -> Quote | None:
    """The catalogue's price of a provider's model; None if it has none.

    Without a provider it is the one to which the catalogue attributes the model, else the most
    expensive of those that list exactly this name, so that savings are never overstated. `at`
    selects among dated prices; without a time zone it is UTC. A flat price leaves out higher tiers
    for long prompts (it is the base rate), hours of the day (it is the most expensive), batch and
    priority processing, fees per request or search, cache writes, audio and images.
    `catalogue_schedule` has those that depend on columns of a log.
    """
    if provider is None:
        return _quote(None, model, at) or _dearest_listing(model, at)
    return _quote(provider, model, at)


def catalogue_schedule(
    provider: str, model: str, service_tier: str | None = None
) -> Schedule | None:
    """The catalogue's prices of a provider's model by date, hour and prompt length; None if none.

    `service_tier` is as logged ("batch", "flex"). Times at which the catalogue has no price for a
    tier have no period.
    """
    match = find_listed(provider, model)
    if match is None:
        return None
    owner, info = match
    periods = _merged(_periods(owner, info, (service_tier or "").strip().lower()))
    if not periods:
        return None
    priced = [p for conditional in _conditionals(info) for p in conditional.prices.__dict__]
    charges = sorted({_UNCOUNTED_CHARGES[key] for key in priced if key in _UNCOUNTED_CHARGES})
    extra = (
        (f"it also charges for {', '.join(charges)}, which no column of a log counts.",)
        if charges
        else ()
    )
    return Schedule(
        owner.id,
        info.id,
        source(info.id),
        periods,
        (*_name_notes(provider, model, owner, info), *extra),
    )


def source(model: str) -> str:
    """The source of a catalogue price, for a message."""
    return f"genai-prices, model {model}"


@lru_cache
def catalogue_version() -> str:
    """The installed catalogue's name and version."""
    return f"genai-prices {version('genai-prices')}"


def _name_notes(
    provider: str | None, model: str, owner: Provider, info: ModelInfo
) -> Iterator[str]:
    if provider is not None and provider.lower() != owner.id:
        yield f"the catalogue takes this provider for its own {owner.id}."
    if model.lower() != info.id.lower():
        yield f"the catalogue takes this name for its model {info.id}."
    if all(info is not m for m in owner.models):
        yield f"{owner.id} lists no price of its own; this is that of the model's maker."


def _quote(provider: str | None, model: str, at: datetime) -> Quote | None:
    match = find_listed(provider, model)
    if match is None:
        return None
    owner, info = match
    rates, by_the_hour = _dearest_of_the_day(info, at)
    base = {name: _base(getattr(rates, _RATES[name])) for name in ModelPricing.model_fields}
    if base["input_per_million"] is None or base["output_per_million"] is None:
        return None
    tiered = any(
        isinstance(getattr(rates, _RATES[name]), TieredPrices) for name in ModelPricing.model_fields
    )
    applicable_notes = {
        "its price rises with the prompt's length;"
        " the plan uses its base rate for all requests.": tiered,
        "its price depends on the hour; the plan uses the dearest for all requests.": by_the_hour,
        "it also costs a fee per request, which the plan leaves out.": (
            rates.requests_kcount is not None
        ),
    }
    notes = (
        *(note for note, holds in applicable_notes.items() if holds),
        *_name_notes(provider, model, owner, info),
    )
    return Quote(owner.id, info.id, ModelPricing.model_validate(base), tiered, notes)


def _dearest_listing(model: str, at: datetime) -> Quote | None:
    listing = [
        p.id
        for p in get_snapshot().providers
        if any(m.id.lower() == model.lower() for m in p.models)
    ]
    quotes = [quote for p in sorted(listing) if (quote := _quote(p, model, at)) is not None]
    if not quotes:
        return None
    dearest = max(
        quotes,
        key=lambda q: (q.pricing.input_per_million + q.pricing.output_per_million, q.provider),
    )
    note = (
        f"none of the log's providers offers it; the price is that of {dearest.provider},"
        f" the dearest of {len(quotes)} that do."
    )
    return Quote(
        dearest.provider, dearest.model, dearest.pricing, dearest.tiered, (*dearest.notes, note)
    )


def _dearest_of_the_day(info: ModelInfo, at: datetime) -> tuple[ModelPrice, bool]:
    """The price on a day, the most expensive if it depends on the hour, and whether it does."""
    if isinstance(info.prices, ModelPrice):
        return info.prices, False
    candidates = list(_of_the_day(info.prices, at))
    return max(
        candidates, key=lambda rates: (_base(rates.input_mtok) or 0, _base(rates.output_mtok) or 0)
    ), len(candidates) > 1


def _of_the_day(conditions: list[ConditionalPrice], at: datetime) -> Iterator[ModelPrice]:
    """The prices of any hour of the day: the last that applies, and those bound to hours after
    it."""
    for conditional in reversed(conditions):
        if isinstance(conditional.constraint, TimeOfDateConstraint):
            yield conditional.prices
        elif conditional.constraint is None or conditional.constraint.active(at):
            yield conditional.prices
            return
    yield conditions[0].prices


def _base(rate: Any) -> Decimal | None:
    return rate.base if isinstance(rate, TieredPrices) else rate


def _conditionals(info: ModelInfo) -> list[ConditionalPrice]:
    return (
        [ConditionalPrice(prices=info.prices)]
        if isinstance(info.prices, ModelPrice)
        else info.prices
    )


def _periods(owner: Provider, info: ModelInfo, service_tier: str) -> Iterator[Period]:
    standard = service_tier in STANDARD
    # A price borrowed from the maker of the model has no service tiers: they are the maker's.
    borrowed = all(info is not m for m in owner.models)
    context = None if standard else _context(info, service_tier)
    if not standard and (context is None or borrowed):
        return
    dates, seconds = _breaks(info)
    for start, end in pairwise([None, *dates, None]):
        for day_from, day_until in pairwise(seconds):
            sample = (start or _before(dates)) + timedelta(seconds=day_from)
            if context is not None and not _offers(info, context, sample):
                continue
            price = info.get_prices(sample, context)
            if price.input_mtok is not None:
                tiers = tuple(Tier(over, _token_rates(price, over)) for over in _thresholds(price))
                yield Period(_token_rates(price, 0), start, end, day_from, day_until, tiers)


def _merged(periods: Iterable[Period]) -> tuple[Period, ...]:
    """Periods in order of time; adjacent periods with the same price are merged."""
    merged: list[Period] = []
    for period in sorted(periods, key=lambda p: (p.day_from, p.day_until, p.start or _EPOCH)):
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.end == period.start
            and replace(last, start=None, end=None) == replace(period, start=None, end=None)
        ):
            merged[-1] = replace(last, end=period.end)
        else:
            merged.append(period)
    return tuple(sorted(merged, key=lambda p: (p.start or _EPOCH, p.day_from)))


def _context(info: ModelInfo, service_tier: str) -> Mapping[str, str] | None:
    """The catalogue's name of a service tier, if the model has prices for it."""
    spelt = _CONTEXTS.get(service_tier, ())
    return next(
        (c for c in spelt if any(variant.when == c for variant in info.price_variants or ())), None
    )


def _offers(info: ModelInfo, context: Mapping[str, str], at: datetime) -> bool:
    matching = (v.constraint for v in info.price_variants or () if v.when == context)
    return any(constraint is None or constraint.active(at) for constraint in matching)


def _breaks(info: ModelInfo) -> tuple[list[datetime], list[int]]:
    """The days on which a price begins, and the seconds of the day at which one changes."""
    constraints = [
        c.constraint
        for c in (*_conditionals(info), *(info.price_variants or ()))
        if c.constraint is not None
    ]
    days = {_midnight(c.start_date) for c in constraints if isinstance(c, StartDateConstraint)}
    hours = {
        _second(t)
        for c in constraints
        if isinstance(c, TimeOfDateConstraint)
        for t in (c.start_time, c.end_time)
    }
    return sorted(days), sorted({0, *hours, DAY})


def _before(dates: list[datetime]) -> datetime:
    return dates[0] - timedelta(days=1) if dates else _EPOCH


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _second(at: time) -> int:
    time_utc = datetime.combine(
        _EPOCH.date(), at if at.tzinfo else at.replace(tzinfo=UTC)
    ).astimezone(UTC)
    return time_utc.hour * 3600 + time_utc.minute * 60 + time_utc.second


def _thresholds(price: ModelPrice) -> list[int]:
    tiered = [
        rate for key in _RATES.values() if isinstance(rate := getattr(price, key), TieredPrices)
    ]
    return sorted({tier.start for rate in tiered for tier in rate.tiers})


def _token_rates(price: ModelPrice, over: int) -> TokenRates:
    """The rates of requests with more than `over` input tokens, up to the next threshold."""
    rates = {name: _rate(getattr(price, key), over) for name, key in _RATES.items()}
    per_thousand = {
        "request_usd": _base(price.requests_kcount),
        "web_search_usd": _base(price.__dict__.get("web_searches_kcount")),
    }
    fees = {name: None if fee is None else fee / 1000 for name, fee in per_thousand.items()}
    # A model without output, such as one for embeddings, has no rate for it.
    rates["output_per_million"] = rates["output_per_million"] or Decimal(0)
    return TokenRates.model_validate(rates | fees)


def _rate(rate: Any, over: int) -> Decimal | None:
    if not isinstance(rate, TieredPrices):
        return rate  # type: ignore[no-any-return]
    return (
        next((tier.price for tier in reversed(rate.tiers) if over >= tier.start), rate.base)
        if over
        else rate.base
    )
