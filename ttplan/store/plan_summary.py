"""What a plan comes to in one row: the columns that every store gives, and where a stored result has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

from ttplan.model.plan_run import PlanRun

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["text", "moment", "count", "money", "number"]


class Figure(NamedTuple):
    """A figure of a stored result: its kind, and the way to it by keys (and positions in a pair). `otherwise` is a second way,
    for results from before the first was kept."""

    kind: Kind
    path: tuple[str | int, ...]
    otherwise: tuple[str | int, ...] | None = None


PLAIN: dict[str, Kind] = {
    "plan_id": "text",
    "name": "text",
    "status": "text",
    "created_at": "moment",
    "applied_at": "moment",
    "reverted_at": "moment",
}
"""Columns that a plan's row has as they are."""

COUNTED = ("caveats",)
"""The way to what is counted, not taken."""
_ENDS, _FOUND = "confidence_intervals", "aggregates"


def _change(end: int) -> Figure:
    return Figure("number", (_ENDS, "projected_change_usd_95", end), (_ENDS, "savings_usd_95", end))


FIGURES: dict[str, Figure] = {
    "window_start": Figure("moment", ("window_start",)),
    "window_end": Figure("moment", ("window_end",)),
    "requests": Figure("count", ("sample_size",)),
    "rerouted": Figure("count", (_FOUND, "requests_rerouted")),
    "baseline_usd": Figure("money", (_FOUND, "total_baseline_cost_usd")),
    "actual_usd": Figure("money", (_FOUND, "total_actual_cost_usd")),
    "projected_usd": Figure("money", (_FOUND, "total_projected_cost_usd")),
    "savings_usd": Figure("money", (_FOUND, "projected_change_usd")),
    "savings_usd_lo": _change(0),
    "savings_usd_hi": _change(1),
    "change_vs_actual_usd": Figure("money", (_FOUND, "change_vs_actual_usd")),
    "change_vs_actual_usd_lo": Figure("number", (_ENDS, "change_vs_actual_usd_95", 0)),
    "change_vs_actual_usd_hi": Figure("number", (_ENDS, "change_vs_actual_usd_95", 1)),
    "p50_latency_ms": Figure("number", (_FOUND, "p50_latency_ms_projected")),
    "p95_latency_ms": Figure("number", (_FOUND, "p95_latency_ms_projected")),
    "caveats": Figure("count", COUNTED),
}
"""Figures of a result that a plan's row has as JSON; `caveats` counts them. USD are per window; savings are against baseline and
negative where the plan costs more."""
ASKED = ("window_start", "window_end")
"""Those that a failed plan has, too."""
_ALWAYS = (
    *ASKED,
    "requests",
    "baseline_usd",
    "actual_usd",
    "projected_usd",
    "savings_usd",
    "change_vs_actual_usd",
)


def schema() -> pa.Schema:
    """The columns of plan figures: text, instants in UTC, whole numbers, exact USD, and the ends of intervals as floats."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "moment": pa.timestamp("us", tz="UTC"),
        "count": pa.int64(),
        "money": pa.decimal128(38, 12),
        "number": pa.float64(),
    }
    return pa.schema(
        [
            (name, types[kind])
            for name, kind in (PLAIN | {n: f.kind for n, f in FIGURES.items()}).items()
        ]
    )


def without_figures(found: pa.Table) -> list[UUID]:
    """The plans that lack a figure that every result has: their rows are none any more."""
    rows = found.select(["plan_id", "status", *_ALWAYS]).to_pylist()
    lacking = (
        row
        for row in rows
        if any(row[name] is None for name in (_ALWAYS if row["status"] != "failed" else ASKED))
    )
    return [UUID(row["plan_id"]) for row in lacking]


def figures_of(run: PlanRun) -> dict[str, Any]:
    """The row of one plan."""
    plain = {name: getattr(run, name) for name in PLAIN} | {"plan_id": str(run.plan_id)}
    known = FIGURES if run.status != "failed" else ASKED
    result = run.result.model_dump()
    return plain | dict.fromkeys(FIGURES) | {name: _figure(result, FIGURES[name]) for name in known}


def _figure(result: dict[str, Any], figure: Figure) -> Any:
    found = _at(result, figure.path)
    if found is None and figure.otherwise is not None:
        found = _at(result, figure.otherwise)
    return len(found) if figure.kind == "count" and isinstance(found, tuple) else found


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        if value is None:
            return None
        value = value[step]
    return value
