"""The user's own prices in YAML: flat, dated, or by prompt length, service tier and endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import pairwise
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ttplan.model.errors import InputError
from ttplan.model.money import PRICE_DIGITS, to_decimal
from ttplan.model.pricing import ModelPricing, TokenRates, split_price_key
from ttplan.model.request import MAX_TOKENS
from ttplan.prices.schedule import Period, Tier
from ttplan.util.paths import PathLike
from ttplan.util.yaml_files import describe_validation_error, read_yaml

_EXAMPLE = "openai:gpt-4o: {input_per_million: 2.5, …}"
_RATES = tuple(name for name in TokenRates.model_fields if name.endswith("_per_million"))


_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _instant(value: Any) -> Any:
    """A date means 00:00 UTC."""
    if isinstance(value, str) and _DATE.fullmatch(value):
        with suppress(ValueError):  # such as 2026-02-30, which the field refuses
            value = date.fromisoformat(value)
    return (
        datetime.combine(value, time(), tzinfo=UTC)
        if isinstance(value, date) and not isinstance(value, datetime)
        else value
    )


_Instant = Annotated[AwareDatetime, BeforeValidator(_instant)]


class _Rates(TokenRates):
    """Rates in a file: an unknown name, or a digit that would be dropped, is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator(*_RATES, mode="before")
    @classmethod
    def _keeps_every_digit(cls, value: Any) -> Any:
        if (
            value is not None
            and int(to_decimal(value).normalize().as_tuple().exponent) < -PRICE_DIGITS
        ):
            raise ValueError(f"more than {PRICE_DIGITS} digits after the point")
        return value

    @property
    def rates(self) -> TokenRates:
        return TokenRates(**{name: getattr(self, name) for name in TokenRates.model_fields})


class _Tier(_Rates):
    over_input_tokens: int = Field(strict=True, gt=0, lt=MAX_TOKENS)


class _Tiered(_Rates):
    tiers: tuple[_Tier, ...] = ()

    @model_validator(mode="after")
    def _rise(self) -> _Tiered:
        if any(
            low.over_input_tokens >= high.over_input_tokens for low, high in pairwise(self.tiers)
        ):
            raise ValueError("tiers: expected over_input_tokens to rise from one to the next")
        return self

    def period(self, start: datetime | None, end: datetime | None) -> Period:
        return Period(
            self.rates,
            start,
            end,
            tiers=tuple(Tier(t.over_input_tokens, t.rates) for t in self.tiers),
        )


class _Dated(_Tiered):
    start: _Instant | None = Field(default=None, alias="from")
    service_tiers: dict[str, _Tiered] = Field(default_factory=dict)


@dataclass(frozen=True)
class CustomPrice:
    """Own prices of a key, in order of time: without a service tier, and of each tier."""

    periods: tuple[Period, ...]
    service_tiers: Mapping[str, tuple[Period, ...]]


CustomPrices = Mapping[str, CustomPrice]
"""By `provider:model`, or `provider@endpoint:model` for one endpoint only."""


def read_price_file(path: PathLike) -> dict[str, CustomPrice]:
    """Read a price file (docs/formats.md), in USD per million tokens.

    Raises InputError, naming file, key and field, if it is not valid.
    """
    content = read_yaml(path, "prices by provider:model")
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected prices by provider:model, such as {_EXAMPLE}")
    prices: dict[str, CustomPrice] = {}
    for key, fields in content.items():
        try:
            if not all(part and part == part.strip() for part in split_price_key(key)):
                raise ValueError(
                    f"the price key {key!r} lacks a provider or a model, or has blanks around one;"
                    " expected provider:model"
                )
            prices[key] = _own_price(fields)
        except ValidationError as error:
            raise InputError(
                f"{path}: {key}: {describe_validation_error(error)};"
                " expected USD per million tokens"
            ) from None
        except ValueError as error:
            where = "" if repr(key) in str(error) else f"{key}: "
            raise InputError(f"{path}: {where}{error}") from None
    return prices


def read_prices(path: PathLike, at: datetime | None = None) -> dict[str, ModelPricing]:
    """The flat prices of a price file by `provider:model`, as a plan uses them.

    Of dated prices, the one that applies `at` that time, or the newest. Prices of an endpoint are
    left out, since a plan does not know endpoints. USD per million tokens, with at most 9 decimal
    places. Raises InputError as `read_price_file` does.
    """
    return flat_prices(read_price_file(path), at)


def flat_prices(own: CustomPrices, at: datetime | None = None) -> dict[str, ModelPricing]:
    """The flat prices that a plan uses of own prices, as in `read_prices`."""
    periods = {
        key: price.periods[-1]
        if at is None
        else next((p for p in price.periods if p.holds(at)), None)
        for key, price in own.items()
        if "@" not in split_price_key(key)[0]
    }
    return {key: period.rates.flat for key, period in periods.items() if period is not None}


def from_flat(prices: Mapping[str, ModelPricing]) -> dict[str, CustomPrice]:
    """Flat prices as prices without dates."""
    return {
        key: CustomPrice((Period(TokenRates.model_validate(p.model_dump())),), {})
        for key, p in prices.items()
    }


def _own_price(fields: Any) -> CustomPrice:
    entries = [
        _Dated.model_validate(entry)
        for entry in (fields if isinstance(fields, list) and fields else [fields])
    ]
    starts = [entry.start for entry in entries]
    if any(
        late is None or (early is not None and late <= early) for early, late in pairwise(starts)
    ):
        raise ValueError(
            "expected each price of a list but the first to have a from, later than the one before"
        )
    ends = [*starts[1:], None]
    tiers = sorted({name for entry in entries for name in entry.service_tiers})
    return CustomPrice(
        tuple(entry.period(entry.start, end) for entry, end in zip(entries, ends, strict=True)),
        {name.lower(): _of_tier(name, entries, ends) for name in tiers},
    )


def _of_tier(
    name: str, entries: Sequence[_Dated], ends: Sequence[datetime | None]
) -> tuple[Period, ...]:
    offered = zip(entries, ends, strict=True)
    return tuple(
        entry.service_tiers[name].period(entry.start, end)
        for entry, end in offered
        if name in entry.service_tiers
    )
