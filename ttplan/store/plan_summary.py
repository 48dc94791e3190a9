"""The columns of a plan summary, one row per plan, and where a stored result has their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

from ttplan.model.stored_plan import StoredPlan

if TYPE_CHECKING:
    import pyarrow as pa

ColumnKind = Literal["text", "timestamp", "count", "money", "number"]
Path = tuple[str | int, ...]
"""The keys, and positions in a pair, that lead to a value."""


class ResultColumn(NamedTuple):
    """A value of a stored result. `fallback` is the path in results that are older than `path`."""

    kind: ColumnKind
    path: Path
    fallback: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The path, and the fallback if there is one."""
        return (self.path,) if self.fallback is None else (self.path, self.fallback)


ROW_COLUMNS: dict[str, ColumnKind] = {
    "plan_id": "text",
    "name": "text",
    "status": "text",
    "created_at": "timestamp",
    "applied_at": "timestamp",
    "reverted_at": "timestamp",
}
"""Columns of the plan's row."""

CAVEATS_PATH = ("caveats",)
"""The path of the one value that is counted."""
_INTERVALS, _AGGREGATES, _MONTH = "confidence_intervals", "aggregates", "per_month"


def _money(name: str) -> ResultColumn:
    return ResultColumn("money", (_AGGREGATES, name))


def _interval_end(name: str, end: int, fallback: str | None = None) -> ResultColumn:
    older = None if fallback is None else (_INTERVALS, fallback, end)
    return ResultColumn("number", (_INTERVALS, name, end), older)


RESULT_COLUMNS: dict[str, ResultColumn] = {
    "window_start": ResultColumn("timestamp", ("window_start",)),
    "window_end": ResultColumn("timestamp", ("window_end",)),
    "requests": ResultColumn("count", ("sample_size",)),
    "rerouted": ResultColumn("count", (_AGGREGATES, "requests_rerouted")),
    "baseline_usd": _money("total_baseline_cost_usd"),
    "actual_usd": _money("total_actual_cost_usd"),
    "projected_usd": _money("total_projected_cost_usd"),
    "savings_usd": _money("projected_change_usd"),
    "savings_usd_lo": _interval_end("projected_change_usd_95", 0, "savings_usd_95"),
    "savings_usd_hi": _interval_end("projected_change_usd_95", 1, "savings_usd_95"),
    "change_vs_actual_usd": _money("change_vs_actual_usd"),
    "change_vs_actual_usd_lo": _interval_end("change_vs_actual_usd_95", 0),
    "change_vs_actual_usd_hi": _interval_end("change_vs_actual_usd_95", 1),
    "per_month_usd": ResultColumn("money", (_MONTH, "change_vs_actual_usd")),
    "per_month_usd_lo": ResultColumn("number", (_MONTH, "change_vs_actual_usd_95", 0)),
    "per_month_usd_hi": ResultColumn("number", (_MONTH, "change_vs_actual_usd_95", 1)),
    "p50_latency_ms": ResultColumn("number", (_AGGREGATES, "p50_latency_ms_projected")),
    "p95_latency_ms": ResultColumn("number", (_AGGREGATES, "p95_latency_ms_projected")),
    "caveats": ResultColumn("count", CAVEATS_PATH),
}
"""Columns that come from the result, which the plan's row has as JSON. USD are per window; savings
are against baseline, and negative if the plan costs more."""
FAILED_PLAN_COLUMNS = ("window_start", "window_end")
"""The columns of `RESULT_COLUMNS` that a failed plan has, too."""
_REQUIRED = (
    *FAILED_PLAN_COLUMNS,
    "requests",
    "baseline_usd",
    "actual_usd",
    "projected_usd",
    "savings_usd",
    "change_vs_actual_usd",
)


def summary_schema() -> pa.Schema:
    """The Arrow schema: text, UTC timestamps, integers, exact USD, and interval ends as floats."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "count": pa.int64(),
        "money": pa.decimal128(38, 12),
        "number": pa.float64(),
    }
    kinds = ROW_COLUMNS | {name: column.kind for name, column in RESULT_COLUMNS.items()}
    return pa.schema([(name, types[kind]) for name, kind in kinds.items()])


def incomplete_plans(summaries: pa.Table) -> list[UUID]:
    """The plans that lack a value that every result has: their rows are corrupt."""
    rows = summaries.select(["plan_id", "status", *_REQUIRED]).to_pylist()
    return [
        UUID(row["plan_id"])
        for row in rows
        if any(
            row[name] is None
            for name in (FAILED_PLAN_COLUMNS if row["status"] == "failed" else _REQUIRED)
        )
    ]


def summary_row(run: StoredPlan) -> dict[str, Any]:
    """The summary of one plan."""
    row = {name: getattr(run, name) for name in ROW_COLUMNS} | {"plan_id": str(run.plan_id)}
    known = FAILED_PLAN_COLUMNS if run.status == "failed" else RESULT_COLUMNS
    result = run.result.model_dump()
    values = {name: _value(result, RESULT_COLUMNS[name]) for name in known}
    return row | dict.fromkeys(RESULT_COLUMNS) | values


def _value(result: dict[str, Any], column: ResultColumn) -> Any:
    values = (_at(result, path) for path in column.paths)
    value = next((value for value in values if value is not None), None)
    return len(value or ()) if column.path == CAVEATS_PATH else value


def _at(value: Any, path: Path) -> Any:
    for step in path:
        if value is None:
            return None
        value = value.get(step) if isinstance(value, dict) else value[step]
    return value
