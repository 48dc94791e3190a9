"""Checks a log: each row against its price, and rows against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb

from ttplan.doctor.cost_checks import (
    CALLER,
    CHECKED_COLUMNS,
    COSTS_TABLE,
    FINE,
    GROUP,
    OFF,
    check_costs,
    select_needed_columns,
)
from ttplan.doctor.gaps import find_gaps
from ttplan.doctor.kinds import FINDING_KINDS
from ttplan.doctor.patterns import Cell, explain, factor_in_words
from ttplan.model.errors import InputError
from ttplan.model.results.diagnosis import EXAMPLES, Diagnosis, Finding
from ttplan.prices.book import PriceBook
from ttplan.prices.catalogue import catalogue_version
from ttplan.prices.costing import FAILED

EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""No model was for sale before."""
_AHEAD = timedelta(minutes=5)
"""Tolerated difference of clocks."""
_RETRY_SECONDS = 120
_HOUR = 3_600_000_000


def check_rows(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    columns: Collection[str],
    book: PriceBook,
    *,
    log: str,
    at: datetime,
    notes: Sequence[str] = (),
) -> Diagnosis:
    """Check the requests of a relation `rows` (SQL, with ttplan's `columns`), as of `at`.

    Leaves nothing in the connection. Raises InputError if a required column is missing or there is
    no request.
    """
    lacking = [
        name
        for name in ("id", "ts", "provider", "model", "input_tokens", "output_tokens")
        if name not in columns
    ]
    if lacking:
        raise InputError(
            f"{log} has no column {', '.join(lacking)};"
            " expected requests with ttplan's column names"
        )
    if not connection.sql(f"SELECT 1 FROM {rows} LIMIT 1").fetchall():  # noqa: S608
        raise InputError(f"{log} has no usable request, so there is nothing to check")
    checks = check_costs(connection, rows, columns, book)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE doctor_wrong AS {checks.wrong}")
    _mark_retries(connection, select_needed_columns(rows, columns))
    both = "recorded_usd IS NOT NULL AND expected_usd IS NOT NULL"
    totals = connection.sql(
        f"SELECT count(*), sum(recorded_usd), count(*) FILTER ({both}),"  # noqa: S608
        f" count(*) FILTER ({both} AND verdict_1 = '{FINE}'),"
        f" sum(recorded_usd) FILTER ({both}), sum(expected_usd) FILTER ({both}),"
        f" count(*) FILTER ({_EMPTY}) FROM {checks.priced}"
    ).fetchall()
    ((count, recorded, compared, agreeing, compared_recorded, compared_expected, empty),) = totals
    connection.execute(f"DROP TABLE {COSTS_TABLE}")
    findings = [
        *_cost_findings(connection, book),
        *_row_findings(connection, select_needed_columns(rows, columns), at),
        *_gap_findings(connection, select_needed_columns(rows, columns)),
    ]
    connection.execute("DROP TABLE doctor_wrong")
    connection.unregister("doctor_prices")
    return Diagnosis(
        log=log,
        prices=catalogue_version() + (f", and {book.name}" if book.name else ""),
        rows=count,
        compared=compared,
        agreeing=agreeing,
        recorded_usd=recorded or 0,
        compared_recorded_usd=compared_recorded or 0,
        compared_expected_usd=compared_expected or 0,
        findings=tuple(sorted(findings, key=_weight)),
        notes=(*notes, *_empty_notes(empty), *_missing_notes(columns)),
    )


def _weight(finding: Finding) -> tuple[Any, ...]:
    effect = finding.effect_usd or Decimal(0)
    return (
        not finding.weighs,
        -abs(effect),
        -finding.count,
        finding.kind,
        finding.provider or "",
        finding.model or "",
    )


_IMPORTANT_COLUMNS = {
    "status": "which calls failed",
    "latency_ms": "latencies",
    "cache_write_tokens": "cache writes",
    "reasoning_tokens": "reasoning tokens",
}


_EMPTY = (
    "input_tokens = 0 AND output_tokens = 0 AND recorded_usd = 0"
    f" AND NOT coalesce(cached, FALSE) AND coalesce(status, 200) < {FAILED}"
)


def _empty_notes(rows: int) -> Iterator[str]:
    if rows:
        requests = "request has" if rows == 1 else "requests have"
        yield (
            f"{rows:,} {requests} neither tokens nor a cost: aborted calls, or streams without"
            " their usage (stream_options.include_usage)."
        )


def _missing_notes(columns: Collection[str]) -> Iterator[str]:
    missing = [text for name, text in _IMPORTANT_COLUMNS.items() if name not in columns]
    if missing:
        yield f"The log does not say {', '.join(missing)}: nothing was checked there."


def new_finding(
    kind: str,
    group: Sequence[Any],
    count: int,
    effect: Decimal | None,
    examples: Sequence[str],
    detail: str = "",
) -> Finding:
    known = FINDING_KINDS[kind]
    return Finding(
        kind=kind,
        title=known.title,
        **dict(zip(GROUP, group, strict=False)),
        count=count,
        effect_usd=effect,
        detail=detail,
        examples=tuple(examples[:EXAMPLES]),
        in_a_plan=known.in_a_plan,
        remedy=known.remedy,
        weighs=known.weighs,
    )


def _mark_retries(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Mark failed calls that were billed and that the same caller soon repeated."""
    same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM w.{name}" for name in CALLER[1:])
    connection.execute(
        "UPDATE doctor_wrong SET verdict = 'retry_billed' WHERE verdict = 'failed_billed'"  # noqa: S608
        f" AND id IN (SELECT w.id FROM doctor_wrong w JOIN {rows} r ON r.provider = w.provider"
        f" AND r.model = w.model AND r.input_tokens = w.input_tokens AND {same}"
        f" AND r.ts > w.ts AND r.ts <= w.ts + to_seconds({_RETRY_SECONDS})"
        " WHERE w.verdict = 'failed_billed')"
    )


def _price_since(book: PriceBook, group: Sequence[Any]) -> str:
    """From when on a price is known of requests that had none; empty if there never is one."""
    provider, model, tier, endpoint = group
    schedule = book.schedule(provider, model, endpoint, tier)
    starts = [] if schedule is None else [p.start for p in schedule.periods if p.start is not None]
    of_tier = f" for {tier}" if tier else ""
    return f"a price{of_tier} is known since {min(starts):%Y-%m-%d}" if starts else ""


def _cost_findings(connection: duckdb.DuckDBPyConnection, book: PriceBook) -> Iterator[Finding]:
    group = ", ".join(GROUP)
    groups = connection.sql(
        f"SELECT {group}, verdict, mask, bin, count(*), sum(effect_usd),"  # noqa: S608
        " coalesce(sum(recorded_usd), 0), coalesce(sum(expected_usd), 0),"
        f" min(shown_id, {EXAMPLES}) FROM doctor_wrong GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    off: dict[tuple[Any, ...], list[Cell]] = defaultdict(list)
    for *key, verdict, mask, ratio, count, effect, recorded, expected, examples in groups:
        if verdict == OFF:
            off[tuple(key)].append(Cell(mask, ratio, count, recorded, expected, tuple(examples)))
        else:
            detail = _price_since(book, key) if verdict == "unpriced" else ""
            yield new_finding(verdict, key, count, effect, examples, detail)
    for group_key, cells in off.items():
        for kind, explained, factor in explain(cells):
            effect = sum((c.expected_usd - c.recorded_usd for c in explained), Decimal(0))
            examples = sorted(example for cell in explained for example in cell.examples)
            detail = "" if factor is None else factor_in_words(factor)
            yield new_finding(
                kind, group_key, sum(c.rows for c in explained), effect, examples, detail
            )


def _row_findings(
    connection: duckdb.DuckDBPyConnection, rows: str, at: datetime
) -> Iterator[Finding]:
    group = ", ".join(GROUP)
    alike = ", ".join(
        name
        for name in CHECKED_COLUMNS
        if name not in ("id", "source_id", "cost_usd", "recorded_cost_usd", "cost_basis")
    )
    shown = "coalesce(source_id, id)"
    examples_sql = f"min({shown}, {EXAMPLES})"
    # Two equal requests in a second may be chance; in a microsecond, or with equal latency, not.
    exact = (
        "(latency_ms IS NOT NULL OR epoch_us(ts) % 1000000 <> 0)"
        " AND input_tokens + output_tokens > 0"
    )
    served = (
        "latency_ms = 0 AND NOT coalesce(cached, FALSE)"
        f" AND coalesce(status, 200) < {FAILED} AND output_tokens > 0"
    )
    queries = {
        "repeated_id": f"SELECT {group}, sum(n - 1), -sum((n - 1) * recorded),"  # noqa: S608
        f" min(shown, {EXAMPLES}) FROM (SELECT {_any(GROUP)}, count(*) AS n,"
        f" min(recorded_usd) AS recorded, min({shown}) AS shown FROM {rows} GROUP BY id"
        f" HAVING count(*) > 1) GROUP BY {group}",
        "logged_twice": f"SELECT {group}, sum(n - 1), -sum((n - 1) * recorded_usd),"  # noqa: S608
        f" min(shown, {EXAMPLES}) FROM (SELECT {alike}, recorded_usd, count(DISTINCT id) AS n,"
        f" min({shown}) || ' = ' || max({shown}) AS shown FROM {rows} WHERE {exact}"
        f" GROUP BY {alike}, recorded_usd HAVING min(id) <> max(id)) GROUP BY {group}",
        "clock_skew": f"SELECT {group}, count(*), -sum(recorded_usd), {examples_sql}"  # noqa: S608
        f" FROM {rows} WHERE ts > $late OR ts < $early GROUP BY {group}",
        "latency_zero": f"SELECT {group}, count(*), NULL, {examples_sql} FROM {rows}"  # noqa: S608
        f" WHERE {served} GROUP BY {group}",
        "total_unexplained": f"SELECT {group}, count(*), NULL, {examples_sql} FROM {rows}"  # noqa: S608
        f" WHERE usage_reading = 'unexplained' GROUP BY {group}",
    }
    for kind, query in queries.items():
        values = {"late": at + _AHEAD, "early": EARLIEST} if "$late" in query else None
        for *key, count, effect, examples in connection.sql(
            f"{query} ORDER BY ALL", params=values
        ).fetchall():
            yield new_finding(kind, key, int(count), effect, sorted(examples))


def _any(names: Sequence[str]) -> str:
    return ", ".join(f"min({name}) AS {name}" for name in names)


def _gap_findings(connection: duckdb.DuckDBPyConnection, rows: str) -> Iterator[Finding]:
    by_hour = connection.sql(
        f"SELECT epoch_us(ts) // {_HOUR}, count(*), sum(recorded_usd) FROM {rows}"  # noqa: S608
        " WHERE ts >= $early GROUP BY ALL",
        params={"early": EARLIEST},
    ).fetchall()
    gaps = sorted(
        find_gaps({hour: count for hour, count, _ in by_hour}), key=lambda gap: -gap.expected
    )
    if not gaps:
        return
    missing = sum(gap.expected for gap in gaps)
    cost = sum((usd or Decimal(0) for *_, usd in by_hour), Decimal(0))
    mean_cost = cost / sum(count for _, count, _ in by_hour)
    examples = [
        f"{g.start:%Y-%m-%d %H:%M} to {g.end:%Y-%m-%d %H:%M} UTC, usually {g.expected:,} requests"
        for g in gaps
    ]
    yield new_finding(
        "gap",
        (),
        sum(int((gap.end - gap.start).total_seconds()) // 3600 for gap in gaps),
        missing * mean_cost,
        examples,
        f"about {missing:,} requests would be usual then",
    )
