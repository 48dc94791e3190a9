"""What a provider says of whole days, and how a log compares with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

Measure = Literal[
    "requests", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "cost_usd"
]
MEASURES: tuple[Measure, ...] = (
    "requests",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost_usd",
)


class Total(BaseModel):
    """One UTC day of one provider and model; `model` is None where the source does not tell models apart.

    `input_tokens` include what a cache read and wrote. A measure is None where the source does not have it. `rounding_usd` is how
    far the source's own rounding can have moved the cost, in USD.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    provider: str
    model: str | None
    requests: int | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    rounding_usd: Decimal = Decimal(0)


class Totals(BaseModel):
    """What a provider's export of daily buckets holds: one `Total` a day, provider and model, in that order.

    `rows` is how many results the file has; `notes` say what to know about it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    format: str
    why: str
    rows: int
    totals: tuple[Total, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.rows:,} rows read as {self.format} ({self.why})"]
        if self.totals:
            lines.append(
                f"  {len(self.totals):,} totals by day and model, {self.totals[0].day} to {self.totals[-1].day}"
            )
        return "\n".join(lines + [f"  {note}" for note in self.notes])


class TotalsGap(BaseModel):
    """One measure of one provider and model in which log and bill differ, over all days that were compared.

    `days` are up to three days on which it differs most, the worst first. The amount is USD where the measure is the cost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str
    model: str | None
    measure: Measure
    logged: Decimal
    billed: Decimal
    days: tuple[date, ...]

    @property
    def difference(self) -> Decimal:
        """Billed minus logged: positive where the log has too little."""
        return self.billed - self.logged

    def __str__(self) -> str:
        unit, spec = (" USD", ",.2f") if self.measure == "cost_usd" else ("", ",")
        share = f", {abs(self.difference) / self.billed:.1%}" if self.billed else ""
        side = "less" if self.difference > 0 else "more"
        return (
            f"{self.provider} {self.model or 'in all'}: {self.measure}: the log has {self.logged:{spec}}{unit}, the bill "
            f"{self.billed:{spec}}{unit}: {abs(self.difference):{spec}}{unit}{share} {side} in the log"
        )


class TotalsComparison(BaseModel):
    """A log held against what was billed, day by day, over the days that both have, `first` to `last`.

    `compared` counts the pairs of provider and model that both have. `only_billed` and `only_logged` are those of one side alone;
    a provider that was not billed at all is in neither. `left_out` says what was not compared, and why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: date | None
    last: date | None
    compared: int
    gaps: tuple[TotalsGap, ...]
    only_billed: tuple[str, ...]
    only_logged: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether something was compared and nothing differs."""
        return self.compared > 0 and not (self.gaps or self.only_billed or self.only_logged)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.first is None:
            return "\n".join(
                [
                    "nothing to compare: the log and the bill have no day and provider in common",
                    *_indented(self.left_out),
                ]
            )
        head = f"{self.compared:,} models compared, {self.first} to {self.last}: {'they agree' if self.agrees else 'they differ'}"
        return "\n".join(
            [
                head,
                *_indented(map(str, self.gaps)),
                *_indented(f"billed, but not in the log: {name}" for name in self.only_billed),
                *_indented(f"in the log, but not billed: {name}" for name in self.only_logged),
                *_indented(self.left_out),
            ]
        )


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
