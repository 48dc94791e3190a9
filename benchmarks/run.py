"""All benchmarks of `make bench`: speed and memory. Nothing here is a test.

python -m benchmarks.run [--quick] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from rich.console import Console

from benchmarks.chains import chain_figures, write_chains
from benchmarks.chart import draw
from benchmarks.measure import KINDS, Kind
from benchmarks.projections import projection_figures, write_projections
from benchmarks.report import DOCS, Figures, machine, markdown, show, write_section
from benchmarks.report import console as terminal
from benchmarks.stores import APPLIES, ORGANISATIONS, WRITERS, store_rates

QUICK_ROWS, QUICK_EMBEDDED_ROWS = 1_000_000, 10_000
HEADS = ("what", "requests", "seconds", "requests/s", "growth", "peak memory, MB")
READING = """
Each measurement is a separate process on a store of generated requests of a month (with embeddings:
of a day), from opening the file to the result. The figure is the shortest of three runs; no run
starts after 10 s. Intervals use the method `limit`, unless another one is named; the other two
methods take 10,000 resamples. Growth is how many times longer a run takes than with the size
before, divided by how many times more requests it has: 1 is linear. L2 tries the four thresholds of
the default sweep on embeddings of 1,536 numbers, of four models, each with its own cache. With a
TTL of a month, no entry expires. A full projection also reads sessions, prices by time, limits and
cache rules. Most of the memory is the cache of DuckDB, which keeps the data
that it has read while there is room.

Targets on 2 cores: a million requests under 1 s, 10 million under 3 s, linear growth.

![time by number of requests](benchmarks.svg)
"""

WRITING = f"""
{WRITERS} processes, two in each of {ORGANISATIONS} organisations, apply {APPLIES:,} plans of one
route each as fast as they can. An apply is one transaction (status, route, signed entry), after
which the entry is read back. At the end, every chain is verified: no gap, no fork, and no
acknowledged entry is missing. PostgreSQL runs on the same machine with its default settings, so
every commit waits for the disk. A dash means that it is not installed.
"""


def measure(
    kinds: dict[str, Kind], folder: Path, console: Console
) -> dict[str, list[tuple[int, float, float]]]:
    """Return rows, seconds and peak megabytes of each kind, size by size."""
    points: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    tasks = [
        (rows, kind.make.__name__, name) for name, kind in kinds.items() for rows in kind.sizes
    ]
    last: Path | None = None
    for rows, log, name in sorted(tasks, key=lambda task: (task[1], task[0])):
        path = folder / f"{log}-{rows}.duckdb"
        if last is not None and last != path:
            last.unlink()
        if not path.exists():
            _run(name, rows, path)
        last = path
        console.print(f"{KINDS[name].label}: {rows:,} requests", style="dim")
        measurement = json.loads(_run(name, rows, path))
        points[name].append((rows, measurement["seconds"], measurement["peak_mb"]))
    return {name: points[name] for name in kinds}


def _run(kind: str, rows: int, path: Path) -> str:
    command = [sys.executable, "-m", "benchmarks.measure", kind, str(rows), str(path)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
    )
    if done.returncode:
        raise SystemExit(f"{kind}, {rows:,} requests: the measurement failed")
    return done.stdout


def tabulate(measurements: dict[str, list[tuple[int, float, float]]]) -> Figures:
    """Return the table of what `measure` returned."""
    rows = []
    for name, points in measurements.items():
        before: tuple[int, float] | None = None
        for count, seconds, peak in points:
            growth = "" if before is None else f"{seconds / before[1] / (count / before[0]):.2f}"
            rows.append(
                (
                    KINDS[name].label,
                    f"{count:,}",
                    f"{seconds:.2f}",
                    f"{count / seconds:,.0f}",
                    growth,
                    f"{peak:,.0f}",
                )
            )
            before = count, seconds
    return Figures("replay and suggest", HEADS, rows)


def smaller(kind: Kind) -> Kind:
    """Return a kind with the sizes that `--quick` measures."""
    limit = QUICK_ROWS if kind.make is KINDS["limit"].make else QUICK_EMBEDDED_ROWS
    return kind._replace(sizes=tuple(size for size in kind.sizes if size <= limit))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure, print a table, and write it with a chart."
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="up to a million requests, 10,000 with embeddings; writes only to --out",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="the folder for benchmarks.md and benchmarks.svg (default: docs)",
    )
    arguments = parser.parse_args()
    console = terminal()
    kinds = {name: smaller(kind) for name, kind in KINDS.items()} if arguments.quick else KINDS
    with tempfile.TemporaryDirectory() as folder:
        measurements = measure(kinds, Path(folder), console)
    replays = tabulate(measurements)
    projections = projection_figures(quick=arguments.quick)
    chains = chain_figures(quick=arguments.quick)
    rates = [(store, "–" if rate is None else f"{rate:,.0f}") for store, rate in store_rates()]
    stores = Figures(
        f"{APPLIES:,} applies by {WRITERS} writers in {ORGANISATIONS} organisations",
        ("store", "applies/s"),
        rates,
    )
    for figures in (replays, projections, chains, stores):
        show(figures, console)
    out = arguments.out or (None if arguments.quick else DOCS)
    if out is not None:
        page = out / "benchmarks.md"
        write_section(page, "Replay", f"{machine()}\n{READING}\n{markdown(replays)}")
        write_projections(projections, page)
        write_chains(chains, page)
        write_section(page, "Stores", f"{machine()}\n{WRITING}\n{markdown(stores)}")
        draw(
            out / "benchmarks.svg",
            {name: kind.label for name, kind in kinds.items()},
            {
                name: [(rows, seconds) for rows, seconds, _ in points]
                for name, points in measurements.items()
            },
        )
        console.print(f"wrote {page} and its chart")


if __name__ == "__main__":
    main()
