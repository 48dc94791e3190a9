"""Why costs are off: the mistakes and constant factors that explain most rows of a provider's model, found on counts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from ttplan.doctor.cost_checks import MISTAKES

LEAST_ROWS = 20
"""A factor that fewer rows share is no pattern."""
_LEAST_SHARE = 0.5
"""Nor is one that fewer of the rows share that nothing else explains."""
_WINDOW = 5
"""How many bins beside one another are one factor: 1 %."""


class Cell(NamedTuple):
    """Rows that are off alike: explained by the same mistakes, at about the same ratio; `bin` of None is too small for one."""

    mask: int
    bin: int | None
    rows: int
    recorded_usd: Decimal
    expected_usd: Decimal
    examples: tuple[str, ...]


class Pattern(NamedTuple):
    """One explanation, and the cells that it explains. `factor` is recorded over expected, for "constant_factor"."""

    kind: str
    cells: tuple[Cell, ...]
    factor: Decimal | None = None


def explain(cells: Sequence[Cell]) -> Iterator[Pattern]:
    """The explanations of the rows of one price, those of most rows first; each row has one.

    A mistake needs no more than one row, since it names a row's cost to the digit; of a mistake and a factor that explain as
    many, the mistake does. What nothing explains is "cost_off".
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
            chosen = [c for c in rest if c.bin is not None and low <= c.bin < low + _WINDOW]
            factor = sum((c.recorded_usd for c in chosen), Decimal(0)) / sum(
                (c.expected_usd for c in chosen), Decimal(0)
            )
            yield Pattern("constant_factor", tuple(chosen), factor)
        elif explained:
            chosen = [c for c in rest if c.mask >> bit & 1]
            yield Pattern(MISTAKES[bit], tuple(chosen))
        else:
            yield Pattern("cost_off", tuple(rest))
            return
        taken = set(map(id, chosen))
        rest = [c for c in rest if id(c) not in taken]


def _densest(cells: Sequence[Cell]) -> tuple[int, int]:
    """The first bin of the window with the most rows, and how many it has."""
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
    """What a factor probably is."""
    named = next(
        (words for value, words in _NAMED if abs(factor / value - 1) <= Decimal("0.01")), None
    )
    guess = named or (
        "another currency or a markup" if factor > 1 else "another currency or a discount"
    )
    return f"recorded is {factor:.4g} times the price; probably {guess}"
