"""Compares a log with what a provider billed, by day and model."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

import duckdb
import pyarrow as pa

from ttplan.logs.billing.totals import add_totals
from ttplan.model.errors import InputError
from ttplan.model.results.totals import (
    MEASURES,
    Measure,
    Total,
    Totals,
    TotalsComparison,
    TotalsGap,
)

TOLERANCE = Decimal("0.01")
"""Default share of the billed amount by which a log may differ: requests around midnight may count
for either day."""
EXAMPLES = 3
_DATE = re.compile(r"[-@](20\d{6}|20\d\d-\d\d-\d\d)$")
_COLUMNS = "ts provider model status cached input_tokens cached_tokens output_tokens cost_usd"
Key = tuple[str, str | None]
DailyTotals = Mapping[date, Total]


def compare_totals(
    requests: pa.Table | duckdb.DuckDBPyRelation, *billed: Totals, tolerance: Decimal = TOLERANCE
) -> TotalsComparison:
    """Compare requests with what was billed, over the days and providers that both have.

    The counts are of requests that reached a provider and did not fail; the cost is the recorded
    one. A model name with a date equals the same name without it. If the log has more than two
    days, its first and its last are left out, since they may be incomplete.

    Parameters
    ----------
    requests : pyarrow.Table or DuckDBPyRelation
        Requests with the columns of a store, such as `read_logs(...).table`.
    *billed : Totals
        Billing exports, from `read_totals`.
    tolerance : Decimal
        Share of the billed amount by which the log may differ; at least 0 and below 1.

    Returns
    -------
    TotalsComparison
        The measures that differ, and what only one side has.

    Raises
    ------
    InputError
        If a column is missing or the tolerance is out of range.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import pyarrow as pa
    >>> import ttplan
    >>> from ttplan.logs.rows import REQUEST_SCHEMA
    >>> export = pathlib.Path(tempfile.mkdtemp()) / "activity.csv"
    >>> _ = export.write_text(
    ...     "Date,Slug,Usage,BYOK Usage,Requests\\n2026-05-04,openai/gpt-4o,1.5,0,20\\n"
    ... )
    >>> requests = pa.Table.from_pylist([], REQUEST_SCHEMA)
    >>> ttplan.compare_totals(requests, ttplan.read_totals(export)).compared
    0
    """
    if not 0 <= tolerance < 1:
        raise InputError(f"tolerance is {tolerance}; expected a share, such as 0.01")
    billed_totals = [total for totals in billed for total in totals.totals]
    return compare_days(logged_totals(requests), billed_totals, tolerance)


def logged_totals(requests: pa.Table | duckdb.DuckDBPyRelation) -> tuple[Total, ...]:
    """The totals of requests by UTC day, provider and model."""
    if isinstance(requests, pa.Table):
        with duckdb.connect() as connection:
            return logged_totals(connection.from_arrow(requests))
    columns = set(requests.columns)
    if missing := sorted(set(_COLUMNS.split()) - columns):
        raise InputError(f"the requests lack {', '.join(missing)}; expected rows as in a store")
    cost = "coalesce(recorded_cost_usd, cost_usd)" if "recorded_cost_usd" in columns else "cost_usd"
    written = "cache_write_tokens" if "cache_write_tokens" in columns else "NULL::BIGINT"
    reached = "FILTER (NOT cached AND status < 400)"
    totals = requests.aggregate(
        "CAST(ts AT TIME ZONE 'UTC' AS DATE) AS day, provider, model,"
        f" count(*) {reached} AS requests,"
        f" coalesce(sum(input_tokens) {reached}, 0)::HUGEINT AS input_tokens,"
        f" coalesce(sum(cached_tokens) {reached}, 0)::HUGEINT AS cached_tokens,"
        f" (sum({written}) {reached})::HUGEINT AS cache_write_tokens,"
        f" coalesce(sum(output_tokens) {reached}, 0)::HUGEINT AS output_tokens,"
        f" sum({cost}) AS cost_usd",
        "1, provider, model",
    ).order("day, provider, model")
    rows = totals.fetchall()
    return tuple(Total(**dict(zip(totals.columns, row, strict=True))) for row in rows)


def compare_days(
    logged: Sequence[Total], billed: Sequence[Total], tolerance: Decimal = TOLERANCE
) -> TotalsComparison:
    """Compare the totals of a log with billed totals."""
    days, left_out = _days(logged, billed)
    billed_providers = {total.provider for total in billed}
    providers = {total.provider for total in logged} & billed_providers
    if absent := sorted(billed_providers - providers):
        left_out.append(f"billed by {', '.join(absent)}, of which the log has nothing")
    without_models = {total.provider for total in billed if total.model is None}
    in_log, in_bill = (
        _by_model((t for t in totals if t.day in days and t.provider in providers), without_models)
        for totals in (logged, billed)
    )
    both = [key for key in in_log if key in in_bill]
    gaps = (_gap(k, m, in_log[k], in_bill[k], tolerance) for k in both for m in MEASURES)
    compared_days = {day for key in both for day in (*in_log[key], *in_bill[key])}
    return TotalsComparison(
        first=min(compared_days, default=None),
        last=max(compared_days, default=None),
        compared=len(both),
        gaps=tuple(gap for gap in gaps if gap is not None),
        only_billed=_only_in(in_bill, in_log),
        only_logged=_only_in(in_log, in_bill),
        left_out=tuple(left_out),
    )


def plain_model(name: str) -> str:
    """A model name without date, provider prefix, or display spelling (`Claude Haiku 4.5`)."""
    short = name.rsplit("/", 1)[-1].strip().lower().replace(" ", "-").replace(".", "-")
    return _DATE.sub("", short)


def _days(logged: Sequence[Total], billed: Sequence[Total]) -> tuple[set[date], list[str]]:
    """The days to compare, and notes on the days that are left out."""
    log_days = sorted({total.day for total in logged})
    if not log_days or not billed:
        return set(), []
    first, last = min(total.day for total in billed), max(total.day for total in billed)
    edges, notes = set(), []
    if len(log_days) > 2:
        edges = {log_days[0], log_days[-1]}
        notes.append(
            f"{log_days[0]} and {log_days[-1]}, the log's first and last day,"
            " of which it may have only a part"
        )
    if outside := [day for day in log_days if not first <= day <= last]:
        notes.append(f"{len(outside):,} days of the log that the bill does not have")
    first, last = max(first, log_days[0]), min(last, log_days[-1])
    all_days = {total.day for total in (*logged, *billed)}
    return {day for day in all_days if first <= day <= last} - edges, notes


def _by_model(totals: Iterable[Total], without_models: set[str]) -> dict[Key, dict[date, Total]]:
    """The totals by plain model name and day; one name for all models of a provider whose bill does
    not distinguish them."""
    by_model: defaultdict[Key, dict[date, Total]] = defaultdict(dict)
    for total in totals:
        all_models = total.provider in without_models or total.model is None
        days = by_model[total.provider, None if all_models else plain_model(total.model or "")]
        days[total.day] = add_totals(days[total.day], total) if total.day in days else total
    return dict(sorted(by_model.items(), key=lambda item: (item[0][0], item[0][1] or "")))


def _gap(
    key: Key, measure: Measure, in_log: DailyTotals, in_bill: DailyTotals, tolerance: Decimal
) -> TotalsGap | None:
    """The difference of a measure over all days; None if it is tolerated, or a side lacks it."""
    if any(
        all(getattr(total, measure) is None for total in side.values())
        for side in (in_log, in_bill)
    ):
        return None
    logged, billed = (
        {day: Decimal(getattr(total, measure) or 0) for day, total in side.items()}
        for side in (in_log, in_bill)
    )
    logged_sum, billed_sum = (sum(side.values(), Decimal(0)) for side in (logged, billed))
    rounding = Decimal(0)
    if measure == "cost_usd":
        rounding = sum((total.rounding_usd for total in in_bill.values()), Decimal(0))
    if abs(billed_sum - logged_sum) <= abs(billed_sum) * tolerance + rounding:
        return None
    differences = {
        day: abs(billed.get(day, Decimal(0)) - logged.get(day, Decimal(0)))
        for day in {*logged, *billed}
    }
    worst = sorted(
        (day for day in differences if differences[day]), key=lambda day: (-differences[day], day)
    )
    return TotalsGap(
        provider=key[0],
        model=key[1],
        measure=measure,
        logged=logged_sum,
        billed=billed_sum,
        days=tuple(worst[:EXAMPLES]),
    )


def _only_in(side: Iterable[Key], other: Mapping[Key, object]) -> tuple[str, ...]:
    """The names that only one side has."""
    return tuple(
        f"{provider} {model or 'in all'}"
        for provider, model in side
        if (provider, model) not in other
    )
