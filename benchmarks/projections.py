"""What a full projection takes beside a reference one.

python -m benchmarks.projections [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import ttplan
from benchmarks.logs import ORG, make_log
from benchmarks.measure import ROUTES
from benchmarks.report import DOCS, Figures, console, machine, markdown, show, write_section
from ttplan.model.plan import PlanConfig, Projection

ROWS, QUICK_ROWS, RUNS = 1_000_000, 100_000, 5
MOST = 1.6
HEADS = ("projection", "requests", "CPU s", "of reference", "seconds", "of reference")
READING = f"""
`ws.plan` on a DuckDB store of generated requests of a month, twenty per session, with the default
clusters, from the plan file to the stored plan. Both projections take turns in one process; the
first run of each is not counted, and each figure is the least of {RUNS} runs. CPU seconds are those
of all threads. They vary less than the elapsed time.

Target on 2 cores: `full` takes at most {MOST} times the CPU seconds of `reference`: """


class Effort(NamedTuple):
    """The least CPU and elapsed seconds."""

    cpu: float
    elapsed: float


def projection_figures(*, quick: bool) -> Figures:
    """Measure both projections."""
    rows = QUICK_ROWS if quick else ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.duckdb"
        make_log(path, rows)
        efforts = _measure(path)
    base = efforts["reference"]
    cells = [
        (
            f"`{name}`",
            f"{rows:,}",
            *(f"{own.cpu:.2f}", f"{own.cpu / base.cpu:.2f}"),
            *(f"{own.elapsed:.2f}", f"{own.elapsed / base.elapsed:.2f}"),
        )
        for name, own in efforts.items()
    ]
    return Figures("projections", HEADS, cells)


def _measure(path: Path) -> dict[str, Effort]:
    kinds: tuple[Projection, ...] = ("reference", "full")
    workspace = ttplan.open(path, org_id=ORG)
    runs: dict[str, list[Effort]] = {kind: [] for kind in kinds}
    for _ in range(1 + RUNS):
        for kind in kinds:
            cpu, start = time.process_time(), time.perf_counter()
            workspace.plan(ROUTES, name=kind, config=PlanConfig(projection=kind))
            elapsed = time.perf_counter() - start
            runs[kind].append(Effort(time.process_time() - cpu, elapsed))
    return {
        kind: Effort(*map(min, zip(*counted[1:], strict=True))) for kind, counted in runs.items()
    }


def write_projections(figures: Figures, page: Path) -> None:
    """Write the section of the benchmarks page."""
    reached = all(float(row[3]) <= MOST for row in figures.rows)
    reading = f"{READING}{'reached' if reached else 'missed'}."
    write_section(page, "Projections", f"{machine()}\n{reading}\n\n{markdown(figures)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a full and a reference projection.")
    parser.add_argument(
        "--quick", action="store_true", help="100,000 requests; do not change docs/benchmarks.md"
    )
    quick = parser.parse_args().quick
    figures = projection_figures(quick=quick)
    show(figures, console())
    if not quick:
        write_projections(figures, DOCS / "benchmarks.md")


if __name__ == "__main__":
    main()
