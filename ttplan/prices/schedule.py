"""The prices of a model over time: disjoint periods, each with rates and tiers for long prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ttplan.model.pricing import TokenRates

DAY = 86_400
"""Seconds of a day."""


@dataclass(frozen=True)
class Tier:
    """The rates of all tokens of a request with more than `over_input_tokens` input tokens."""

    over_input_tokens: int
    rates: TokenRates


@dataclass(frozen=True)
class Period:
    """A price from `start` (inclusive, None: unbounded) to `end` (exclusive, None: unbounded).

    It applies from second `day_from` (inclusive) to `day_until` (exclusive) of the UTC day. `tiers`
    are in rising order; `rates` apply below the first.
    """

    rates: TokenRates
    start: datetime | None = None
    end: datetime | None = None
    day_from: int = 0
    day_until: int = DAY
    tiers: tuple[Tier, ...] = ()

    def holds(self, at: datetime) -> bool:
        """Whether the price applies at a time; without a time zone it is UTC."""
        time = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        second = time.hour * 3600 + time.minute * 60 + time.second
        dated = (self.start is None or self.start <= time) and (self.end is None or time < self.end)
        return dated and self.day_from <= second < self.day_until

    def levels(self) -> Iterator[tuple[int, int | None, TokenRates]]:
        """The ranges of prompt lengths and their rates: bounds are exclusive and inclusive, None
        is unbounded."""
        overs = [-1, *(tier.over_input_tokens for tier in self.tiers)]
        rates = [self.rates, *(tier.rates for tier in self.tiers)]
        yield from zip(overs, [*overs[1:], None], rates, strict=True)

    def rates_for(self, input_tokens: int) -> TokenRates:
        """The rates of a request with that many input tokens."""
        return next(
            (t.rates for t in reversed(self.tiers) if input_tokens > t.over_input_tokens),
            self.rates,
        )


@dataclass(frozen=True)
class Schedule:
    """All prices of a model at a provider, and their source: `earlier_source` before `since`.

    Outside of the periods the price is not known. `notes` are sentences on how a name was resolved,
    and on charges that a log does not count.
    """

    provider: str
    model: str
    source: str
    periods: tuple[Period, ...]
    notes: tuple[str, ...] = ()
    since: datetime | None = None
    earlier_source: str = ""

    def source_at(self, moment: datetime) -> str:
        """The source of the price at a time."""
        return (
            self.earlier_source if self.since is not None and moment < self.since else self.source
        )

    def at(self, moment: datetime) -> Period | None:
        """The price at a time; None if it is not known."""
        return next((period for period in self.periods if period.holds(moment)), None)

    def before(self, end: datetime) -> tuple[Period, ...]:
        """The parts of the periods before a time."""
        early = (p for p in self.periods if p.start is None or p.start < end)
        return tuple(replace(p, end=end if p.end is None else min(p.end, end)) for p in early)
