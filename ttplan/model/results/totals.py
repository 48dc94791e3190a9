"""A provider's daily totals, and how a log compares with them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal, get_args

from ttplan.model.base import FrozenModel

Measure = Literal[
    "requests", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "cost_usd"
]
MEASURES: tuple[Measure, ...] = get_args(Measure)


class Total(FrozenModel):
    """The total of one UTC day, provider and model.

    Attributes
    ----------
    model : str or None
        None if the source does not distinguish models.
    requests, input_tokens, cached_tokens, cache_write_tokens, output_tokens, cost_usd
        None if the source does not have the measure. `input_tokens` include cache reads and
        writes.
    rounding_usd : Decimal
        How far the source's own rounding can have changed the cost.

    Examples
    --------
    >>> import ttplan
    >>> ttplan.Total(day="2026-05-01", provider="openai", model="gpt-4o", cost_usd="1.50").cost_usd
    Decimal('1.50')
    """

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


class Totals(FrozenModel):
    """A provider's export of daily totals, sorted by day, provider and model.

    Attributes
    ----------
    path, format : str
    why : str
        How the format was recognised.
    rows : int
        Number of results in the file.
    totals : tuple of Total
    notes : tuple of str
    """

    path: str
    format: str
    why: str
    rows: int
    totals: tuple[Total, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.rows:,} rows read as {self.format} ({self.why})"]
        if self.totals:
            lines.append(
                f"  {len(self.totals):,} totals by day and model, "
                f"{self.totals[0].day} to {self.totals[-1].day}"
            )
        return "\n".join(lines + [f"  {note}" for note in self.notes])

    __repr__ = __str__


class TotalsGap(FrozenModel):
    """A measure of one provider and model that differs between log and bill, over all days.

    `days` are up to three days with the largest differences, the worst first. Costs are USD.
    """

    provider: str
    model: str | None
    measure: Measure
    logged: Decimal
    billed: Decimal
    days: tuple[date, ...]

    @property
    def difference(self) -> Decimal:
        """Billed minus logged: positive if the log has too little."""
        return self.billed - self.logged

    def __str__(self) -> str:
        unit, spec = (" USD", ",.2f") if self.measure == "cost_usd" else ("", ",")
        share = f", {abs(self.difference) / self.billed:.1%}" if self.billed else ""
        side = "less" if self.difference > 0 else "more"
        return (
            f"{self.provider} {self.model or 'in all'}: {self.measure}: "
            f"the log has {self.logged:{spec}}{unit}, the bill {self.billed:{spec}}{unit}: "
            f"{abs(self.difference):{spec}}{unit}{share} {side} in the log"
        )


class TotalsComparison(FrozenModel):
    """A log compared with billed totals over the days that both have.

    Attributes
    ----------
    first, last : date or None
    compared : int
        Pairs of provider and model that both have.
    gaps : tuple of TotalsGap
    only_billed, only_logged : tuple of str
        Pairs that only one side has. A provider without any bill is in neither.
    left_out : tuple of str
        What was not compared, and why.
    """

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

    def __str__(self) -> str:
        if self.first is None:
            head = "nothing to compare: the log and the bill have no day and provider in common"
            details: list[str] = []
        else:
            verdict = "they agree" if self.agrees else "they differ"
            head = f"{self.compared:,} models compared, {self.first} to {self.last}: {verdict}"
            details = [
                *map(str, self.gaps),
                *(f"billed, but not in the log: {name}" for name in self.only_billed),
                *(f"in the log, but not billed: {name}" for name in self.only_logged),
            ]
        return "\n".join([head, *(f"  {line}" for line in (*details, *self.left_out))])

    __repr__ = __str__
