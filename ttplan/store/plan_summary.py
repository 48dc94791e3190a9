"""What a plan comes to in one row: the columns that every store gives, and where a stored result has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

from ttplan.model.stored_plan import StoredPlan

if TYPE_CHECKING:
    import pyarrow as pa

ColumnKind = Literal["text", "moment", "count", "money", "number"]


class ResultColumn(NamedTuple):
    """A figure of a stored result: its kind, and the way to it by keys (and positions in a pair). `otherwise` is a second way,
    for results from before the first was kept."""

    kind: ColumnKind
    path: tuple[str | int, ...]
    otherwise: tuple[str | int, ...] | None = None


ROW_COLUMNS: dict[str, ColumnKind] = {
    "plan_id": "text",
    "name": "text",
    "status": "text",
    "created_at": "moment",
    "applied_at": "moment",
    "reverted_at": "moment",
}
"""Columns that a plan's row has as they are."""

CAVEATS_PATH = ("caveats",)
"""The way to what is counted, not taken."""
_ENDS, _FOUND = "confidence_intervals", "aggregates"


def _change(end: int) -> ResultColumn:
    return ResultColumn(
        "number", (_ENDS, "projected_change_usd_95", end), (_ENDS, "savings_usd_95", end)
    )


RESULT_COLUMNS: dict[str, ResultColumn] = {
    "window_start": ResultColumn("moment", ("window_start",)),
    "window_end": ResultColumn("moment", ("window_end",)),
    "requests": ResultColumn("count", ("sample_size",)),
    "rerouted": ResultColumn("count", (_FOUND, "requests_rerouted")),
    "baseline_usd": ResultColumn("money", (_FOUND, "total_baseline_cost_usd")),
    "actual_usd": ResultColumn("money", (_FOUND, "total_actual_cost_usd")),
    "projected_usd": ResultColumn("money", (_FOUND, "total_projected_cost_usd")),
    "savings_usd": ResultColumn("money", (_FOUND, "projected_change_usd")),
    "savings_usd_lo": _change(0),
    "savings_usd_hi": _change(1),
    "change_vs_actual_usd": ResultColumn("money", (_FOUND, "change_vs_actual_usd")),
    "change_vs_actual_usd_lo": ResultColumn("number", (_ENDS, "change_vs_actual_usd_95", 0)),
    "change_vs_actual_usd_hi": ResultColumn("number", (_ENDS, "change_vs_actual_usd_95", 1)),
    "p50_latency_ms": ResultColumn("number", (_FOUND, "p50_latency_ms_projected")),
    "p95_latency_ms": ResultColumn("number", (_FOUND, "p95_latency_ms_projected")),
    "caveats": ResultColumn("count", CAVEATS_PATH),
}
"""Figures of a result that a plan's row has as JSON; `caveats` counts them. USD are per window; savings are against baseline and
negative where the plan costs more."""
FAILED_PLAN_COLUMNS = ("window_start", "window_end")
"""Those that a failed plan has, too."""
_ALWAYS = (
    *FAILED_PLAN_COLUMNS,
    "requests",
    "baseline_usd",
    "actual_usd",
    "projected_usd",
    "savings_usd",
    "change_vs_actual_usd",
)


def summary_schema() -> pa.Schema:
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
            for name, kind in (ROW_COLUMNS | {n: f.kind for n, f in RESULT_COLUMNS.items()}).items()
        ]
    )


def incomplete_plans(found: pa.Table) -> list[UUID]:
    """The plans that lack a figure that every result has: their rows are none any more."""
    rows = found.select(["plan_id", "status", *_ALWAYS]).to_pylist()
    lacking = (
        row
        for row in rows
        if any(
            row[name] is None
            for name in (_ALWAYS if row["status"] != "failed" else FAILED_PLAN_COLUMNS)
        )
    )
    return [UUID(row["plan_id"]) for row in lacking]


def summary_row(run: StoredPlan) -> dict[str, Any]:
    """The row of one plan."""
    plain = {name: getattr(run, name) for name in ROW_COLUMNS} | {"plan_id": str(run.plan_id)}
    known = RESULT_COLUMNS if run.status != "failed" else FAILED_PLAN_COLUMNS
    result = run.result.model_dump()
    return (
        plain
        | dict.fromkeys(RESULT_COLUMNS)
        | {name: _figure(result, RESULT_COLUMNS[name]) for name in known}
    )


def _figure(result: dict[str, Any], figure: ResultColumn) -> Any:
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
