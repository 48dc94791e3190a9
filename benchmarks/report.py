"""Tables of figures: for the terminal, and as sections of docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

DOCS = Path(__file__).parent.parent / "docs"
TITLE = "# Benchmarks\n\nWritten by `make bench` and `make bench-peer`.\n"
_LIBRARIES = ("duckdb", "ibis-framework", "numpy", "pyarrow")


class Figures(NamedTuple):
    """A table: its title, column heads and cells. The first `text_columns` are not numbers."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


def console() -> Console:
    """Return the terminal; if there is none, a console that is wide enough for every table."""
    return Console(width=None if sys.stdout.isatty() else 130)


def show(figures: Figures, console: Console) -> None:
    """Print a table."""
    table = Table(title=figures.title, title_justify="left")
    for i, head in enumerate(figures.heads):
        table.add_column(
            head, justify="left" if i < figures.text_columns else "right", no_wrap=True
        )
    for row in figures.rows:
        table.add_row(*row)
    console.print(table)


def markdown(figures: Figures) -> str:
    """Return a table as Markdown."""
    rule = ["---" if i < figures.text_columns else "---:" for i in range(len(figures.heads))]
    lines = [figures.heads, rule, *figures.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def machine() -> str:
    """Describe when and on what machine, system and versions the figures were measured."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, on {cores} cores of {_processor()}, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"ttplan {version('ttplan')}, {libraries}."
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    match = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or "an unnamed processor"


def write_section(page: Path, heading: str, text: str) -> None:
    """Put `text` under a heading of the second level. Other sections do not change."""
    head, *sections = re.split(
        r"^(?=## )", page.read_text() if page.exists() else TITLE, flags=re.MULTILINE
    )
    section = f"## {heading}\n\n{text.strip()}\n\n"
    places = [i for i, old in enumerate(sections) if old.startswith(f"## {heading}\n")]
    if places:
        sections[places[0]] = section
    else:
        sections = [*(s.rstrip("\n") + "\n\n" for s in sections), section]
    page.write_text((head.rstrip("\n") + "\n\n" + "".join(sections)).rstrip("\n") + "\n")
