"""Check a log: hold every row against its price and the rows against one another, and say what was found."""

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
"""Before this no model here was for sale."""
_AHEAD = timedelta(minutes=5)
"""Clocks differ by less."""
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
    """Check the requests of a relation `rows` (SQL, with those columns, in our names), which is called `log`, as of now, `at`.

    Leaves nothing in the connection. Raises InputError where a column that every log has is
    missing.
    """
    lacking = [
        name
        for name in ("id", "ts", "provider", "model", "input_tokens", "output_tokens")
        if name not in columns
    ]
    if lacking:
        raise InputError(
            f"{log} has no column {', '.join(lacking)}; expected requests in our column names"
        )
    judged = check_costs(connection, rows, columns, book)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE doctor_wrong AS {judged.wrong}")
    _tell_retries(connection, select_needed_columns(rows, columns))
    both = "recorded_usd IS NOT NULL AND expected_usd IS NOT NULL"
    ((count, recorded, compared, agreeing, ours, theirs),) = connection.sql(
        f"SELECT count(*), sum(recorded_usd), count(*) FILTER ({both}), count(*) FILTER ({both} AND verdict_1 = '{FINE}'), "  # noqa: S608
        f"sum(recorded_usd) FILTER ({both}), sum(expected_usd) FILTER ({both}) FROM {judged.priced}"
    ).fetchall()
    connection.execute("DROP TABLE doctor_judged")
    found = [
        *_costs(connection),
        *_rows_of(connection, select_needed_columns(rows, columns), at),
        *_gaps(connection, select_needed_columns(rows, columns)),
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
        compared_recorded_usd=ours or 0,
        compared_expected_usd=theirs or 0,
        findings=tuple(sorted(found, key=_weight)),
        notes=(*notes, *_unseen(columns)),
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


_MATTERS = {
    "status": "which calls failed",
    "latency_ms": "latencies",
    "cache_write_tokens": "cache writes",
    "reasoning_tokens": "reasoning tokens",
}


def _unseen(columns: Collection[str]) -> Iterator[str]:
    missing = [what for name, what in _MATTERS.items() if name not in columns]
    if missing:
        yield f"The log does not say {', '.join(missing)}: nothing was checked there."


def _finding(
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
        **dict(zip(GROUP, group, strict=True)),
        count=count,
        effect_usd=effect,
        detail=detail,
        examples=tuple(examples[:EXAMPLES]),
        in_a_plan=known.in_a_plan,
        remedy=known.remedy,
        weighs=known.weighs,
    )


# --- costs --------------------------------------------------------------------------------------------------------------


def _tell_retries(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Failed calls that were billed, and that the same caller made again soon after."""
    same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM w.{name}" for name in CALLER[1:])
    connection.execute(
        f"UPDATE doctor_wrong SET verdict = 'retry_billed' WHERE verdict = 'failed_billed' AND id IN ("  # noqa: S608
        f"SELECT w.id FROM doctor_wrong w JOIN {rows} r ON r.provider = w.provider AND r.model = w.model "
        f"AND r.input_tokens = w.input_tokens AND {same} AND r.ts > w.ts AND r.ts <= w.ts + to_seconds({_RETRY_SECONDS}) "
        "WHERE w.verdict = 'failed_billed')"
    )


def _costs(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    group = ", ".join(GROUP)
    found = connection.sql(
        f"SELECT {group}, verdict, mask, bin, count(*), sum(effect_usd), coalesce(sum(recorded_usd), 0), "  # noqa: S608
        f"coalesce(sum(expected_usd), 0), min(shown_id, {EXAMPLES}) FROM doctor_wrong GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    off: dict[tuple[Any, ...], list[Cell]] = defaultdict(list)
    for *key, verdict, mask, ratio, count, effect, recorded, expected, examples in found:
        if verdict == OFF:
            off[tuple(key)].append(Cell(mask, ratio, count, recorded, expected, tuple(examples)))
        else:
            yield _finding(verdict, key, count, effect, examples)
    for group_key, cells in off.items():
        for kind, explained, factor in explain(cells):
            effect = sum((c.expected_usd - c.recorded_usd for c in explained), Decimal(0))
            examples = sorted(example for cell in explained for example in cell.examples)
            detail = "" if factor is None else factor_in_words(factor)
            yield _finding(
                kind, group_key, sum(c.rows for c in explained), effect, examples, detail
            )


# --- rows against one another ----------------------------------------------------------------------------------------------


def _rows_of(connection: duckdb.DuckDBPyConnection, rows: str, at: datetime) -> Iterator[Finding]:
    group = ", ".join(GROUP)
    alike = ", ".join(
        name
        for name in CHECKED_COLUMNS
        if name not in ("id", "source_id", "cost_usd", "recorded_cost_usd", "cost_basis")
    )
    told = f"min(coalesce(source_id, id), {EXAMPLES})"
    # A second that has two requests of a kind is no surprise; a microsecond is, and so is the same latency.
    exact = "(latency_ms IS NOT NULL OR epoch_us(ts) % 1000000 <> 0) AND input_tokens + output_tokens > 0"
    served = f"latency_ms = 0 AND NOT coalesce(cached, FALSE) AND coalesce(status, 200) < {FAILED} AND output_tokens > 0"
    queries = {
        "repeated_id": f"SELECT {group}, sum(n - 1), -sum((n - 1) * recorded), min(told, {EXAMPLES}) FROM (SELECT {_any(GROUP)}, "  # noqa: S608
        f"count(*) AS n, min(recorded_usd) AS recorded, min(coalesce(source_id, id)) AS told FROM {rows} GROUP BY id "
        f"HAVING count(*) > 1) GROUP BY {group}",
        "logged_twice": f"SELECT {group}, sum(n - 1), -sum((n - 1) * recorded_usd), min(told, {EXAMPLES}) FROM ("  # noqa: S608
        f"SELECT {alike}, recorded_usd, count(DISTINCT id) AS n, min(coalesce(source_id, id)) || ' = ' || "
        f"max(coalesce(source_id, id)) AS told FROM {rows} WHERE {exact} GROUP BY {alike}, recorded_usd HAVING min(id) <> max(id)"
        f") GROUP BY {group}",
        "clock_skew": f"SELECT {group}, count(*), -sum(recorded_usd), {told} FROM {rows} WHERE ts > $late OR ts < $early "  # noqa: S608
        f"GROUP BY {group}",
        "latency_zero": f"SELECT {group}, count(*), NULL, {told} FROM {rows} WHERE {served} GROUP BY {group}",  # noqa: S608
    }
    for kind, query in queries.items():
        values = {"late": at + _AHEAD, "early": EARLIEST} if "$late" in query else None
        for *key, count, effect, examples in connection.sql(
            f"{query} ORDER BY ALL", params=values
        ).fetchall():
            yield _finding(kind, key, int(count), effect, sorted(examples))


def _any(names: Sequence[str]) -> str:
    return ", ".join(f"min({name}) AS {name}" for name in names)


def _gaps(connection: duckdb.DuckDBPyConnection, rows: str) -> Iterator[Finding]:
    found = connection.sql(
        f"SELECT epoch_us(ts) // {_HOUR}, count(*), sum(recorded_usd) FROM {rows} WHERE ts >= $early GROUP BY ALL",  # noqa: S608
        params={"early": EARLIEST},
    ).fetchall()
    gaps = sorted(
        find_gaps({hour: count for hour, count, _ in found}), key=lambda gap: -gap.expected
    )
    if not gaps:
        return
    missing = sum(gap.expected for gap in gaps)
    mean = sum((usd or Decimal(0) for *_, usd in found), Decimal(0)) / sum(
        count for _, count, _ in found
    )
    told = [
        f"{g.start:%Y-%m-%d %H:%M} to {g.end:%Y-%m-%d %H:%M} UTC, usually {g.expected:,} requests"
        for g in gaps
    ]
    hours = sum(int((gap.end - gap.start).total_seconds()) // 3600 for gap in gaps)
    yield _finding(
        "gap",
        [None] * len(GROUP),
        hours,
        missing * mean,
        told,
        f"about {missing:,} requests would be usual then",
    )
