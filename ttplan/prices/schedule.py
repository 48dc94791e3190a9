"""What a model costs when: periods that do not overlap, each with its rates and the higher ones of longer prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ttplan.model.pricing import TokenRates

DAY = 86_400
"""Seconds of a day."""


@dataclass(frozen=True)
class Tier:
    """The rates of all tokens of a request that has more than `over_input_tokens` input tokens."""

    over_input_tokens: int
    rates: TokenRates


@dataclass(frozen=True)
class Period:
    """A price in force from `start` (inclusive; None: always was) until `end` (exclusive; None: still is).

    Where it depends on the hour it holds from second `day_from` (inclusive) until `day_until` (exclusive) of the UTC day.
    `tiers` are in rising order; `rates` are those of requests below the first.
    """

    rates: TokenRates
    start: datetime | None = None
    end: datetime | None = None
    day_from: int = 0
    day_until: int = DAY
    tiers: tuple[Tier, ...] = ()

    def holds(self, at: datetime) -> bool:
        """Whether the price is in force at a moment; one without a zone is UTC."""
        moment = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        second = moment.hour * 3600 + moment.minute * 60 + moment.second
        dated = (self.start is None or self.start <= moment) and (
            self.end is None or moment < self.end
        )
        return dated and self.day_from <= second < self.day_until

    def rates_for(self, input_tokens: int) -> TokenRates:
        """The rates of a request with that many input tokens."""
        return next(
            (t.rates for t in reversed(self.tiers) if input_tokens > t.over_input_tokens),
            self.rates,
        )


@dataclass(frozen=True)
class Schedule:
    """All prices of one model at one provider, and where they are from: before `since`, `earlier_source`. A moment in no period
    has no known price.

    `notes` are whole sentences: how a name was understood, and what costs besides and is no token that a log has.
    """

    provider: str
    model: str
    source: str
    periods: tuple[Period, ...]
    notes: tuple[str, ...] = ()
    since: datetime | None = None
    earlier_source: str = ""

    def source_at(self, moment: datetime) -> str:
        """Where the price in force at a moment is from."""
        return (
            self.earlier_source if self.since is not None and moment < self.since else self.source
        )

    def at(self, moment: datetime) -> Period | None:
        """The price in force at a moment, None where none is known."""
        return next((period for period in self.periods if period.holds(moment)), None)

    def before(self, end: datetime) -> tuple[Period, ...]:
        """The periods as far as they lie before a moment."""
        early = (p for p in self.periods if p.start is None or p.start < end)
        return tuple(replace(p, end=end if p.end is None else min(p.end, end)) for p in early)
