"""Decides whether cached, written and reasoning tokens are inside of the counts or beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

CACHED, WRITTEN, TOOL, REASONING = 1, 2, 4, 8
"""Bits of a reading: the parts that are counted beside their whole."""
_INPUT = CACHED | WRITTEN | TOOL
_READINGS = (
    *(0, CACHED | WRITTEN, REASONING, CACHED | WRITTEN | REASONING, WRITTEN, CACHED),
    *(TOOL, TOOL | REASONING, _INPUT, _INPUT | REASONING, WRITTEN | REASONING, CACHED | REASONING),
)
"""The readings that a total may say, the likeliest first."""
Decision = Literal["input beside", "input inside", "output beside", "output inside"]
"""Where a row's own sums place the parts of a side, against what its sender documents."""


class Parts(NamedTuple):
    """The counts of a request as it states them."""

    input: int
    output: int
    cached: int = 0
    written: int = 0
    tool: int = 0
    reasoning: int = 0
    total: int | None = None
    uncached: int | None = None


class Reading(NamedTuple):
    """The whole input and output, what the row's own sums decided about them, and whether any
    reading gives its total."""

    input_tokens: int
    output_tokens: int
    decisions: tuple[Decision, ...] = ()
    is_explained: bool = True


def reconcile(parts: Parts, documented: int = 0) -> Reading:
    """The counts of a request, with every part inside of its whole.

    `documented` is the reading that its sender documents. A total that one reading gives decides;
    without one, a part that is greater than its whole is beside it. A total that adds only input
    and output, or leaves out cached tokens, says nothing.

    Examples
    --------
    >>> from ttplan.prices.usage.reconcile import Parts, reconcile
    >>> reading = reconcile(Parts(input=3, output=442, cached=7_917, written=350, total=8_712))
    >>> reading.input_tokens, reading.decisions
    (8270, ('input beside',))
    >>> reconcile(Parts(input=361, output=53, total=1_414)).is_explained
    False
    """
    if not (parts.cached or parts.written or parts.tool or parts.reasoning):
        is_known = parts.total in (None, 0, parts.input + parts.output)
        return Reading(parts.input, parts.output, is_explained=is_known)
    held = parts.cached + parts.written + parts.tool
    if (  # the usual case, without the search for a reading
        documented in (0, TOOL)
        and not parts.tool
        and parts.uncached is None
        and held <= parts.input
        and parts.reasoning <= parts.output
        and parts.total in (None, 0, parts.input + parts.output)
    ):
        return Reading(parts.input, parts.output)
    reading = _by_size(parts, _by_uncached(parts, documented))
    total = parts.total or None
    if total == parts.input + parts.output and parts.uncached == parts.input:
        total = None  # the sum of two of its numbers, which leaves out the rest
    is_explained = True
    if total is not None and total != _total(parts, reading):
        stated = (r for r in _READINGS if _total(parts, r) == total and _fits(parts, r))
        match = next(stated, None)
        if match is not None:
            reading = match
        else:
            is_explained = total in _partial_totals(parts)
    input_tokens, output_tokens = _input(parts, reading), _output(parts, reading)
    return Reading(
        input_tokens,
        output_tokens,
        (
            *_decision("input", input_tokens, _input(parts, documented)),
            *_decision("output", output_tokens, _output(parts, documented)),
        ),
        is_explained,
    )


def _decision(side: Literal["input", "output"], whole: int, documented: int) -> Iterator[Decision]:
    if whole > documented:
        yield "input beside" if side == "input" else "output beside"
    elif whole < documented:
        yield "input inside" if side == "input" else "output inside"


def _by_uncached(parts: Parts, documented: int) -> int:
    """The reading of the input that its uncached part tells, else the documented one."""
    held = parts.cached + parts.written
    if parts.uncached is None or not held:
        return documented
    if parts.input == parts.uncached + held:
        return documented & ~(CACHED | WRITTEN)
    return documented | CACHED | WRITTEN if parts.input == parts.uncached else documented


def _by_size(parts: Parts, reading: int) -> int:
    """A reading without parts that are greater than their whole."""
    if _inside(parts, reading) > parts.input:
        reading |= CACHED | WRITTEN
    if not reading & REASONING and parts.reasoning > parts.output:
        reading |= REASONING
    return reading


def _fits(parts: Parts, reading: int) -> bool:
    return _by_size(parts, reading) == reading


def _inside(parts: Parts, reading: int) -> int:
    """The parts of the input that a reading counts inside of it."""
    sizes = ((CACHED, parts.cached), (WRITTEN, parts.written), (TOOL, parts.tool))
    return sum(size for bit, size in sizes if not reading & bit)


def _input(parts: Parts, reading: int) -> int:
    everything = parts.cached + parts.written + parts.tool
    return parts.input + everything - _inside(parts, reading)


def _output(parts: Parts, reading: int) -> int:
    return parts.output + (parts.reasoning if reading & REASONING else 0)


def _total(parts: Parts, reading: int) -> int:
    return _input(parts, reading) + _output(parts, reading)


def _partial_totals(parts: Parts) -> set[int]:
    """Totals that senders make of some of their counts."""
    plain = parts.input + parts.output
    held = (parts.cached, parts.written, parts.cached + parts.written)
    return {plain, *(plain - size for size in held)}
