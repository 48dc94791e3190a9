"""Draw the pictures of README and docs: `python scripts/make_pictures.py`.

docs/card.svg is the card of the sample's plan. docs/coverage.svg shows how often intervals cover
the truth of logs whose requests come in sessions (a simulation of 12,000 logs). docs/notebook/ has
the views and plots of docs/notebook.md, of generated requests. With the argument `card`, `coverage`
or `notebook`, only these are drawn.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import matplotlib.pyplot as plt
from rich.console import Console
from rich.text import Text

import ttplan
from ttplan import plots
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # for `tests`

from tests.plots import test_plots  # noqa: E402
from tests.support import universe  # noqa: E402
from tests.support.bursts import coverage  # noqa: E402

PICTURES = ROOT / "docs" / "notebook"
SESSIONS = (15, 30, 60, 120, 250, 500)
LOGS = 2_000


def main() -> None:
    functions = {"card": draw_card, "coverage": draw_coverage, "notebook": draw_notebook}
    for name in sys.argv[1:] or functions:
        functions[name]()


def draw_notebook() -> None:
    """Every view and every plot, of generated requests of two weeks."""
    _use_stable_svg()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = (UUID(int=n) for n in range(1, 100))
        times = (datetime(2026, 6, n, 9, 30, tzinfo=UTC) for n in range(1, 30))
        ws = ttplan.open(
            folder / "plans.duckdb",
            key=key_from_hex("11" * 32),
            clock=lambda: next(times),
            new_id=lambda: next(ids),
        )
        log = folder / "log.jsonl"
        log.write_text("".join(json.dumps(row) + "\n" for row in _requests()))
        ws.import_logs(log, progress=False)
        plans = [
            ws.plan(_routes(*targets), name=name, progress=False)
            for name, targets in _PLANS.items()
        ]
        ws.apply(plans[0])
        ws.apply(plans[1], allow_stale=True)
        ws.revert(plans[1])

        plan = plans[0]
        by_route = ws.savings("route", plan=plan)
        views = {
            "plans": ws.plans(),
            "savings": ws.savings(),
            "savings_by": by_route,
            "latencies": ws.latencies(plan).head(8),
            "assumptions": ws.assumptions(plan),
            "routes": ws.routes(),
            "route_history": ws.route_history("short chat"),
            "requests": ws.requests(limit=4),
            "entries": ws.entries(),
        }
        for name, view in views.items():
            _draw_text(repr(view), PICTURES / f"{name}.svg", name)
        drawn = {
            "savings": plots.savings(ws.savings()),
            "routes": plots.routes(by_route),
            "cost_per_day": plots.cost_per_day(
                ws.savings(("day", "model", "target_model"), plan=plan)
            ),
            "latency": plots.latency(ws.latencies(plan)),
            "sweep": plots.sweep(test_plots.swept(0.85, 0.9, 0.92, 0.95)),
            "projected_actual": plots.projected_actual(test_plots.reconciled()),
            "break_even": plots.break_even(test_plots.assumed(test_plots.OUTPUT, test_plots.REDO)),
            "chain": plots.chain(ws.entries()),
        }
        for name, axes in drawn.items():
            plt.sca(axes)
            plt.savefig(PICTURES / f"plot_{name}.svg", metadata={"Date": None})


_PLANS = {
    "cheaper models for short chat": ("gpt-4o-mini", "claude-haiku-4-5"),
    "all chat to the smallest": ("gpt-4o-mini", "gpt-4o-mini"),
    "code to a larger one": ("claude-opus-4-1", "claude-haiku-4-5"),
}


def _requests() -> list[dict[str, object]]:
    """The requests of tests/support/universe.py, spread over two weeks and four models."""
    rows = []
    for n, request in enumerate(universe.log(1_400, seed=5)):
        row = json.loads(request.model_dump_json())
        arrival = datetime(2026, 5, 4, tzinfo=UTC) + timedelta(minutes=14 * n + n % 7)
        models = ("gpt-4o-mini", "claude-haiku-4-5", "claude-sonnet-4-5", *["gpt-4o"] * 7)
        model = models[n % 10]
        row["id"] = str(UUID(int=5_000 + n))
        row["ts"] = arrival.isoformat()
        row["model"] = model
        row["provider"] = "openai" if model.startswith("gpt") else "anthropic"
        if n % 10 <= 1:
            row["latency_ms"] = row["latency_ms"] // 3 + 200
        rows.append(row)
    return rows


def _routes(chat: str, code: str) -> list[ProposedRoute]:
    routes = {
        "short chat": (chat, RouteConditions(tag_equals="chat", input_tokens_lt=600)),
        "code": (code, RouteConditions(tag_equals="code")),
    }
    return [
        ProposedRoute(
            id=UUID(int=n),
            name=name,
            priority=10 * n,
            when=when,
            then=RouteAction(target_model=target),
        )
        for n, (name, (target, when)) in enumerate(routes.items(), 1)
    ]


def _draw_text(text: str, path: Path, unique_id: str) -> None:
    """Text as a terminal shows it."""
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(Text(text))
    svg = console.export_svg(title="ttplan", unique_id=unique_id)
    # No font from the network: the reader's own monospace font is enough.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "monospace")
    path.parent.mkdir(exist_ok=True)
    path.write_text(svg)


def _use_stable_svg() -> None:
    """Make plots the same in every run, with text as text."""
    plt.rcParams["svg.hashsalt"] = "ttplan"
    plt.rcParams["svg.fonttype"] = "none"


def draw_coverage() -> None:
    """Coverage over 2,000 synthetic logs of each number of sessions, by request and by session."""
    shares = [coverage(count, LOGS, seed=count) for count in SESSIONS]
    _use_stable_svg()
    plt.rcParams["font.size"] = 11
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.axhline(95, color="0.5", linewidth=1, linestyle=":")
    axes.annotate(
        "promised: 95 %", (SESSIONS[0], 95), xytext=(0, 4), textcoords="offset points", color="0.35"
    )
    series = (("by request", "#d55e00", "s"), ("cluster: session_id", "#0072b2", "o"))
    for i, (name, colour, marker) in enumerate(series):
        percent = [100 * pair[i] for pair in shares]
        axes.plot(SESSIONS, percent, color=colour, marker=marker, label=name)
        for x, y in zip(SESSIONS, percent, strict=True):
            axes.annotate(
                f"{y:.0f}",
                (x, y),
                xytext=(0, -14),
                textcoords="offset points",
                ha="center",
                color=colour,
            )
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
    ids = (UUID(int=n) for n in range(1, 100))
    with tempfile.TemporaryDirectory() as folder:
        ws = ttplan.open(
            Path(folder) / "plans.duckdb",
            key=key_from_hex("11" * 32),
            clock=lambda: datetime(2026, 5, 1, 12, tzinfo=UTC),
            new_id=lambda: next(ids),
        )
        ws.import_logs(ROOT / "data" / "requests.parquet", progress=False)
        plan = ws.plan(ROOT / "data" / "routes.yaml", name="cheaper models for short chat and code")
        _draw_text(repr(plan), ROOT / "docs" / "card.svg", "card")


if __name__ == "__main__":
    main()
