"""Explains wrong costs of a model by mistakes and constant factors, from counts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from ttplan.doctor.cost_checks import MISTAKES

LEAST_ROWS = 20
"""Rows that have to share a factor."""
_LEAST_SHARE = 0.5
"""Share of the unexplained rows that have to share a factor."""
_WINDOW = 5
"""Adjacent bins that count as one factor: 1 %."""


class Cell(NamedTuple):
    """Rows with the same possible mistakes and about the same ratio of costs; `bin` is None if the
    costs are too small for a ratio."""

    mask: int
    bin: int | None
    rows: int
    recorded_usd: Decimal
    expected_usd: Decimal
    examples: tuple[str, ...]


class Pattern(NamedTuple):
    """An explanation and the cells that it explains. `factor` is recorded over expected cost, for
    "constant_factor"."""

    kind: str
    cells: tuple[Cell, ...]
    factor: Decimal | None = None


def explain(cells: Sequence[Cell]) -> Iterator[Pattern]:
    """The explanations of the rows of one price, the most frequent first; each row has one.

    A single row is enough for a mistake, since the mistake gives its exact cost. If a mistake and a
    factor explain equally many rows, the mistake counts. Rows without an explanation are
    "cost_off".
    """
    rest = list(cells)
    while rest:
        mistakes = Counter(
            {bit: sum(c.rows for c in rest if c.mask >> bit & 1) for bit in range(len(MISTAKES))}
        )
        bit, explained = max(mistakes.items(), key=lambda item: (item[1], -item[0]))
        low, sharing = _densest(rest)
        total = sum(c.rows for c in rest)
        if sharing > explained and sharing >= LEAST_ROWS and sharing >= _LEAST_SHARE * total:
            matching = [c for c in rest if c.bin is not None and low <= c.bin < low + _WINDOW]
            recorded = sum((c.recorded_usd for c in matching), Decimal(0))
            factor = recorded / sum((c.expected_usd for c in matching), Decimal(0))
            yield Pattern("constant_factor", tuple(matching), factor)
        elif explained:
            matching = [c for c in rest if c.mask >> bit & 1]
            yield Pattern(MISTAKES[bit], tuple(matching))
        else:
            yield Pattern("cost_off", tuple(rest))
            return
        taken = set(map(id, matching))
        rest = [c for c in rest if id(c) not in taken]


def _densest(cells: Sequence[Cell]) -> tuple[int, int]:
    """The first bin of the window with the most rows, and its number of rows."""
    counts = Counter[int]()
    for cell in cells:
        if cell.bin is not None:
            counts[cell.bin] += cell.rows
    windows = {
        low: sum(counts[low + i] for i in range(_WINDOW))
        for b in counts
        for low in range(b - _WINDOW + 1, b + 1)
    }
    return max(windows.items(), key=lambda item: (item[1], -abs(item[0]), item[0]), default=(0, 0))


_NAMED = (
    (Decimal("0.5"), "half: batch prices, or half of the calls' tokens"),
    (Decimal(2), "twice: batch calls billed in full, or each call counted twice"),
    (Decimal(100), "a hundredfold: cents taken for dollars"),
    (Decimal("0.01"), "a hundredth: dollars taken for cents"),
    (Decimal(1000), "a thousandfold: prices per thousand tokens taken for prices per million"),
    (Decimal("0.001"), "a thousandth: prices per million tokens taken for prices per thousand"),
    (Decimal(10**6), "a millionfold: a price per token taken for one per million"),
    (Decimal("0.000001"), "a millionth: a price per million taken for one per token"),
)


def factor_in_words(factor: Decimal) -> str:
    """The factor and its probable cause."""
    named = next(
        (words for value, words in _NAMED if abs(factor / value - 1) <= Decimal("0.01")), None
    )
    guess = named or (
        "another currency or a markup" if factor > 1 else "another currency or a discount"
    )
    return f"recorded is {factor:.4g} times the price; probably {guess}"
