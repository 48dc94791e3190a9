"""Draw the pictures of README and docs: `python scripts/make_pictures.py`.

docs/card.svg is the sample's plan. docs/coverage.svg says how often intervals cover the truth of logs whose requests come in
sessions.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import matplotlib.pyplot as plt
from rich.console import Console
from rich.text import Text

import ttplan
from ttplan.audit.keys import key_from_hex

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.bursts import coverage  # noqa: E402

SESSIONS = (15, 30, 60, 120, 250, 500)
LOGS = 2_000


def main() -> None:
    draw_card()
    draw_coverage()


def draw_coverage() -> None:
    """Coverage over 2,000 synthetic logs of each number of sessions (tests/bursts.py), by request and by session."""
    shares = [coverage(count, LOGS, seed=count) for count in SESSIONS]
    plt.rcParams |= {"svg.hashsalt": "ttplan", "svg.fonttype": "none", "font.size": 11}
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.axhline(95, color="0.5", linewidth=1, linestyle=":")
    axes.annotate("promised: 95 %", (SESSIONS[0], 95), xytext=(0, 4), textcoords="offset points", color="0.35")
    for i, (name, colour, marker) in enumerate((("by request", "#d55e00", "s"), ("cluster: session_id", "#0072b2", "o"))):
        found = [100 * pair[i] for pair in shares]
        axes.plot(SESSIONS, found, color=colour, marker=marker, label=name)
        for x, y in zip(SESSIONS, found, strict=True):
            axes.annotate(f"{y:.0f}", (x, y), xytext=(0, -14), textcoords="offset points", ha="center", color=colour)
    axes.set(
        xscale="log",
        xlabel="sessions in the log (some 25 requests each)",
        ylabel="intervals that cover the truth, %",
        ylim=(0, 105),
    )
    axes.set_xticks(SESSIONS, [str(n) for n in SESSIONS])
    axes.minorticks_off()
    axes.legend(frameon=False, loc="center right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(ROOT / "docs" / "coverage.svg", metadata={"Date": None})


def draw_card() -> None:
    """The card of the sample's plan, as a terminal shows it."""
    with tempfile.TemporaryDirectory() as folder:
        ids = (UUID(int=n) for n in range(1, 100))
        workspace = ttplan.open(
            Path(folder) / "s.duckdb",
            key=key_from_hex("11" * 32),
            clock=lambda: datetime(2026, 5, 1, 12, tzinfo=UTC),
            new_id=lambda: next(ids),
        )
        workspace.import_logs(ROOT / "data" / "requests.parquet", progress=False)
        card = repr(workspace.plan(ROOT / "data" / "routes.yaml", name="cheaper models for short chat and code"))
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(Text(card))
    svg = console.export_svg(title="ttplan", unique_id="card")
    # No font from elsewhere: whoever looks has a monospace one.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "monospace")
    (ROOT / "docs" / "card.svg").write_text(svg)


if __name__ == "__main__":
    main()
