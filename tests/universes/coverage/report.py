"""Writes docs/coverage.md and its chart."""

from __future__ import annotations

from collections.abc import Mapping

from tests.paths import DOCS
from tests.universes.coverage.measure import FIGURES, Coverage, Measured
from tests.universes.coverage.worlds import COVERAGE_WORLDS

LABELS = {
    "pct": "savings, %",
    "usd": "savings, USD",
    "hits": "cache hits",
    "month": "a coming month",
}
_COLOURS = {"pct": "#1f77b4", "usd": "#d95f02", "hits": "#7570b3", "month": "#1b9e77"}
_LEFT, _TOP, _ROW, _WIDTH, _LOW = 150, 40, 22, 480, 0.6


def write_report(measured: Mapping[str, Measured], seeds: int) -> None:
    """Write the page and the chart."""
    (DOCS / "coverage_worlds.svg").write_text(chart(measured))
    (DOCS / "coverage.md").write_text(page(measured, seeds))


def page(measured: Mapping[str, Measured], seeds: int) -> str:
    """The page, in Markdown."""
    header = "| World | " + " | ".join(LABELS[name] for name in FIGURES) + " | resampled by |"
    rows = []
    for name, own in measured.items():
        world = COVERAGE_WORLDS[name]
        cells = [_cell(own.figures[figure], figure in world.covers) for figure in FIGURES]
        unit, count = own.units.most_common(1)[0]
        share = "" if count == seeds else f" ({count / seeds:.0%})"
        rows.append(f"| `{name}`: {world.about} | {' | '.join(cells)} | {unit}{share} |")
    return "\n".join([_INTRODUCTION.format(seeds=seeds), header, "|---" * 6 + "|", *rows, "", _END])


def _cell(coverage: Coverage, must_cover: bool) -> str:
    covered = f"{coverage.covered:.0%}"
    shown = f"**{covered}**" if must_cover else covered
    none = f", none in {coverage.none:.0%}" if coverage.none else ""
    return f"{shown} ({coverage.width:.2f}{none})"


def chart(measured: Mapping[str, Measured]) -> str:
    """A dot for each figure of each world, over its coverage."""
    height = _TOP + _ROW * len(measured) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 20} {height}" '
        'font-family="sans-serif" font-size="11" fill="#555" role="img">',
        "<title>How often 95 % intervals cover the truth, by world</title>",
    ]
    for i, name in enumerate(FIGURES):
        x = _LEFT + 120 * i
        parts.append(f'<circle cx="{x}" cy="12" r="4" fill="{_COLOURS[name]}"/>')
        parts.append(f'<text x="{x + 8}" y="16">{LABELS[name]}</text>')
    bottom = _TOP + _ROW * len(measured)
    for tick in (0.6, 0.7, 0.8, 0.9, 0.95, 1.0):
        at = round(_place(tick))
        colour = "#2a2" if tick == 0.95 else "#ccc"
        parts.append(f'<path d="M{at} {_TOP - 10}V{bottom}" stroke="{colour}"/>')
        parts.append(
            f'<text x="{at}" y="{bottom + 16}" text-anchor="middle">{tick * 100:.0f} %</text>'
        )
    for row, (name, own) in enumerate(measured.items()):
        y = _TOP + _ROW * row + 6
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{name}</text>')
        for i, figure in enumerate(FIGURES):
            parts.append(
                f'<circle cx="{_place(own.figures[figure].covered):.1f}" cy="{y - 4.5 + 3 * i}" '
                f'r="3.5" fill="{_COLOURS[figure]}"/>'
            )
    return "\n".join([*parts, "</svg>", ""])


def _place(share: float) -> float:
    return _LEFT + _WIDTH * (max(share, _LOW) - _LOW) / (1 - _LOW)


_INTRODUCTION = """# How often intervals cover the truth

Each world below is simulated traffic with a known truth. {seeds} windows of each were drawn, and
the intervals made by the functions that plans use (`tests/universes/coverage/`). A cell has the
share of 95 % intervals that cover the truth and, in brackets, their mean width as a multiple of the
best possible: 3.92 standard errors of the figure, which nobody knows who has one log. Of a coming
month, the truth is the total of 30.44 days after the window, from any day of the week. Figures in
bold must cover: 92 to 98 % for percentages, at least 90 % for USD, 90 to 98 % for a month. The
others show where a log is too small, or not of whole weeks; the card then has a caveat.

![Coverage by world](coverage_worlds.svg)
"""
_END = """`make universes` prints this table for other numbers of windows, with the bias of each
figure. The [method page](method.md#intervals) says how intervals are made.
"""
