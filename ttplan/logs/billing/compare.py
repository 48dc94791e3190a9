"""Hold a log against what a provider billed, by day and model."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

import duckdb
import pyarrow as pa

from ttplan.logs.billing.totals import added
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
"""Which share of what was billed a difference may be, by default: requests of about midnight fall on either day."""
EXAMPLES = 3
_DATE = re.compile(r"[-@](20\d{6}|20\d\d-\d\d-\d\d)$")
Key = tuple[str, str | None]


def compare_totals(
    requests: pa.Table | duckdb.DuckDBPyRelation, *billed: Totals, tolerance: Decimal = TOLERANCE
) -> TotalsComparison:
    """Requests (columns as in a store) against what was billed, over the days and providers that both have.

    Counts are of requests that reached a provider and did not fail; the cost is what the log recorded. A model is the same under
    its name with and without a date. The first and the last day of a log of more than two days are left out, since it may have
    only a part of them. Raises InputError where a column is missing or the tolerance is no share.
    """
    if not 0 <= tolerance < 1:
        raise InputError(f"tolerance is {tolerance}; expected a share, such as 0.01")
    return compare_days(
        logged_totals(requests), [total for one in billed for total in one.totals], tolerance
    )


def logged_totals(requests: pa.Table | duckdb.DuckDBPyRelation) -> tuple[Total, ...]:
    """The requests' totals by UTC day, provider and model."""
    if isinstance(requests, pa.Table):
        return logged_totals(duckdb.connect().from_arrow(requests))
    columns = set(requests.columns)
    needed = {
        "ts",
        "provider",
        "model",
        "status",
        "cached",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "cost_usd",
    }
    if missing := sorted(needed - columns):
        raise InputError(f"the requests lack {', '.join(missing)}; expected rows as in a store")
    cost = "coalesce(recorded_cost_usd, cost_usd)" if "recorded_cost_usd" in columns else "cost_usd"
    written = "cache_write_tokens" if "cache_write_tokens" in columns else "NULL::BIGINT"
    reached = "FILTER (NOT cached AND status < 400)"
    found = requests.aggregate(
        f"CAST(ts AT TIME ZONE 'UTC' AS DATE) AS day, provider, model, count(*) {reached}, sum(input_tokens) {reached}, "
        f"sum(cached_tokens) {reached}, sum({written}) {reached}, sum(output_tokens) {reached}, sum({cost})",
        "1, provider, model",
    ).fetchall()
    return tuple(
        Total(
            day=day,
            provider=provider,
            model=model,
            requests=count,
            input_tokens=int(read or 0),
            cached_tokens=int(cached or 0),
            cache_write_tokens=None if wrote is None else int(wrote),
            output_tokens=int(said or 0),
            cost_usd=cost_usd,
        )
        for day, provider, model, count, read, cached, wrote, said, cost_usd in sorted(
            found, key=lambda row: row[:3]
        )
    )


def compare_days(
    logged: Sequence[Total], billed: Sequence[Total], tolerance: Decimal = TOLERANCE
) -> TotalsComparison:
    """Totals of a log against totals of a bill."""
    days, left_out = _days(logged, billed)
    providers = {total.provider for total in logged} & {total.provider for total in billed}
    if absent := sorted({total.provider for total in billed} - providers):
        left_out.append(f"billed by {', '.join(absent)}, of which the log has nothing")
    whole = {total.provider for total in billed if total.model is None}
    ours = _by_model((t for t in logged if t.day in days and t.provider in providers), whole)
    theirs = _by_model((t for t in billed if t.day in days and t.provider in providers), whole)
    both = [key for key in ours if key in theirs]
    gaps = [
        gap
        for key in both
        for measure in MEASURES
        if (gap := _gap(key, measure, ours[key], theirs[key], tolerance))
    ]
    seen = sorted({day for key in both for day in (*ours[key], *theirs[key])})
    return TotalsComparison(
        first=seen[0] if seen else None,
        last=seen[-1] if seen else None,
        compared=len(both),
        gaps=tuple(gaps),
        only_billed=_names(theirs, ours),
        only_logged=_names(ours, theirs),
        left_out=tuple(left_out),
    )


def plain_model(name: str) -> str:
    """A model's name without a date, a provider before a slash, or a spelling for people (`Claude Haiku 4.5`)."""
    short = name.rsplit("/", 1)[-1].strip().lower().replace(" ", "-").replace(".", "-")
    return _DATE.sub("", short)


def _days(logged: Sequence[Total], billed: Sequence[Total]) -> tuple[set[date], list[str]]:
    """The days to compare, and what is said of the others."""
    ours = sorted({total.day for total in logged})
    if not ours or not billed:
        return set(), []
    first, last = min(total.day for total in billed), max(total.day for total in billed)
    edges = {ours[0], ours[-1]} if len(ours) > 2 else set()
    left_out = (
        [
            f"{ours[0]} and {ours[-1]}, the log's first and last day, of which it may have only a part"
        ]
        if edges
        else []
    )
    if outside := [day for day in ours if not first <= day <= last]:
        left_out.append(f"{len(outside):,} days of the log that the bill does not have")
    span = {
        total.day
        for total in (*logged, *billed)
        if ours[0] <= total.day <= ours[-1] and first <= total.day <= last
    }
    return span - edges, left_out


def _by_model(totals: Iterable[Total], whole: set[str]) -> dict[Key, dict[date, Total]]:
    """The totals under plain names, by day; one for all models where the bill does not tell them apart."""
    found: defaultdict[Key, dict[date, Total]] = defaultdict(dict)
    for total in totals:
        model = None if total.provider in whole or total.model is None else plain_model(total.model)
        days = found[(total.provider, model)]
        days[total.day] = added(days[total.day], total) if total.day in days else total
    return dict(sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or "")))


def _gap(
    key: Key,
    measure: Measure,
    ours: Mapping[date, Total],
    theirs: Mapping[date, Total],
    tolerance: Decimal,
) -> TotalsGap | None:
    """How far a measure is off over all days; None where it is not, or where one side never has it."""
    if all(getattr(t, measure) is None for t in ours.values()) or all(
        getattr(t, measure) is None for t in theirs.values()
    ):
        return None
    logged = {day: Decimal(getattr(total, measure) or 0) for day, total in ours.items()}
    billed = {day: Decimal(getattr(total, measure) or 0) for day, total in theirs.items()}
    ours_in_all, theirs_in_all = sum(logged.values(), Decimal(0)), sum(billed.values(), Decimal(0))
    rounding = (
        sum((total.rounding_usd for total in theirs.values()), Decimal(0))
        if measure == "cost_usd"
        else Decimal(0)
    )
    if abs(theirs_in_all - ours_in_all) <= abs(theirs_in_all) * tolerance + rounding:
        return None
    off = {
        day: abs(billed.get(day, Decimal(0)) - logged.get(day, Decimal(0)))
        for day in {*logged, *billed}
    }
    worst = sorted((day for day in off if off[day]), key=lambda day: (-off[day], day))[:EXAMPLES]
    return TotalsGap(
        provider=key[0],
        model=key[1],
        measure=measure,
        logged=ours_in_all,
        billed=theirs_in_all,
        days=tuple(worst),
    )


def _names(these: Mapping[Key, object], those: Mapping[Key, object]) -> tuple[str, ...]:
    return tuple(
        f"{provider} {model or 'in all'}"
        for provider, model in these
        if (provider, model) not in those
    )
