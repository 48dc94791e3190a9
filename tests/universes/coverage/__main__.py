"""Prints how often intervals cover the truth: `python -m tests.universes.coverage --seeds 200`.

`--write` writes docs/coverage.md and its chart, docs/coverage_worlds.svg.
"""

from __future__ import annotations

import argparse

from tests.universes.coverage.measure import FIGURES, Measured, measure
from tests.universes.coverage.report import write_report
from tests.universes.coverage.worlds import COVERAGE_WORLDS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.universes.coverage", description=__doc__)
    parser.add_argument("names", nargs="*", help="worlds; all if left out")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    unknown = set(options.names) - set(COVERAGE_WORLDS)
    if unknown:
        parser.error(f"no world {', '.join(sorted(unknown))}")
    measured = {}
    print(f"{'':18}" + "".join(f"{name + ': bias, covered, width':>34}" for name in FIGURES))
    for name in options.names or COVERAGE_WORLDS:
        measured[name] = measure(COVERAGE_WORLDS[name], options.seeds)
        print(describe(name, measured[name]), flush=True)
    if options.write:
        write_report(measured, options.seeds)


def describe(name: str, measured: Measured) -> str:
    """One line on a world."""
    cells = []
    for coverage in measured.figures.values():
        none = f" ({coverage.none:.0%} none)" if coverage.none else ""
        cells.append(
            f"{coverage.bias:+8.1%} {coverage.covered:7.1%} {coverage.width:6.2f}{none}".rjust(34)
        )
    units = ", ".join(f"{unit} {count}" for unit, count in measured.units.most_common(3))
    return f"{name:18}{''.join(cells)}  {units}"


if __name__ == "__main__":
    main()
