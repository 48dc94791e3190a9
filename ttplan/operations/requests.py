"""Import logs, check them, and page through the logged requests."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from ttplan.doctor.cost_choice import CostBasis
from ttplan.model.errors import InputError
from ttplan.model.pricing import ModelPricing
from ttplan.operations.context import Context
from ttplan.operations.filters import TimeLike, check_limit, parse_time_or_none
from ttplan.util.paths import PathLike

if TYPE_CHECKING:
    import ibis
    import pyarrow as pa

    from ttplan.logs.report import ReadReport
    from ttplan.logs.source import MappingLike, OnBadRows
    from ttplan.model.results.diagnosis import Diagnosis

PAGE_SIZE = 1_000
"""How many requests or entries a page has by default."""
_TEXT = ("id", "matched_route_id")
REQUEST_COLUMNS = (
    "id",
    "ts",
    "provider",
    "model",
    "tag",
    "status",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cost_usd",
    "baseline_cost_usd",
    "cached",
    "cache_layer",
    "latency_ms",
    "matched_route_id",
    "finish_reason",
    "session_id",
    "source_id",
)
"""The columns of a page of requests. Prompts and answers are not among them."""


class RequestPage(NamedTuple):
    """Requests in the order of (ts, id), and whether more follow."""

    rows: pa.Table | None
    more: bool
    exact: bool


def import_logs(
    context: Context,
    path: PathLike | Sequence[PathLike],
    *,
    format: str | None = None,
    mapping: MappingLike | None = None,
    table: str | None = None,
    on_bad_rows: OnBadRows = "refuse",
    cost: CostBasis = "recorded",
    prices: PathLike | Mapping[str, ModelPricing] | None = None,
    with_bodies: bool = False,
    with_embeddings: bool = False,
    with_hashes: bool = True,
    check: bool = True,
    progress: bool | None = None,
) -> ReadReport:
    """Add the requests of a log, in one transaction or not at all.

    Importing a file again adds nothing.

    Parameters
    ----------
    path : path or sequence of paths
        A file, a folder, a glob, several of them, or a database.
    format : str, optional
        The log's format, if it cannot be recognised.
    mapping : path or dict, optional
        How to read any other format: a YAML file or a dict.
    table : str, optional
        The table to read of a database.
    on_bad_rows : {"refuse", "skip"}, default "refuse"
        Refuse a log with rows that cannot be used, or leave such rows out and report them.
    cost : {"recorded", "recomputed", "doctor"}, default "recorded"
        The baseline: costs as recorded; recomputed from tokens and prices; or recorded, but
        recomputed if the record is certainly wrong.
    prices : path or mapping of str to ModelPricing, optional
        Your own prices in USD; they take precedence over the catalogue of each request's day.
    with_bodies : bool, default False
        Keep prompts and answers.
    with_embeddings : bool, default False
        Keep embeddings.
    with_hashes : bool, default True
        Read prompts and answers to keep their hashes, which tell equal ones, and not the texts.
    check : bool, default True
        Report what the log doctor finds, as `check_logs` does for all that is stored.
    progress : bool, optional
        Show a progress bar. If left out, it appears on a terminal and in a notebook.

    Returns
    -------
    ImportCard
        What was read, added, skipped and why.

    Raises
    ------
    InputError
        Names the file, the row and the field. The store stays as it was.

    Examples
    --------
    >>> report = ws.import_logs("requests.parquet")
    >>> report.added, report.already_there == report.used
    (0, True)
    """
    from ttplan.operations.logs.import_logs import ImportOptions
    from ttplan.operations.logs.import_logs import import_logs as import_into

    options = ImportOptions(
        cost=cost,
        prices=prices,
        format=format,
        mapping=mapping,
        table=table,
        on_bad_rows=on_bad_rows,
        with_bodies=with_bodies,
        with_embeddings=with_embeddings,
        with_hashes=with_hashes,
        check=check,
        progress=progress,
    )
    return import_into(context.store, path, options, new_id=context.new_org, at=context.clock())


def check_logs(
    context: Context,
    *,
    prices: PathLike | Mapping[str, ModelPricing] | None = None,
    totals: PathLike | Sequence[PathLike] = (),
) -> Diagnosis:
    """Check every logged request against its price, and the requests against one another.

    Nothing is changed.

    Parameters
    ----------
    prices : path or mapping of str to ModelPricing, optional
        Your own prices in USD; they take precedence over the catalogue of each request's day.
    totals : path or sequence of paths, optional
        A provider's exports of usage or costs by day, to compare the log with.

    Returns
    -------
    DiagnosisCard
        Where the log is wrong, and what that is worth in USD.

    Raises
    ------
    InputError
        If prices or totals cannot be used.

    Examples
    --------
    >>> ws.check_logs().result.rows
    2000
    """
    from ttplan.operations.logs.check_logs import check_store

    days = [totals] if isinstance(totals, str | os.PathLike) else totals
    return check_store(context.store, context.name, prices=prices, totals=days, at=context.clock())


def requests(
    context: Context,
    *,
    limit: int = PAGE_SIZE,
    after: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    tag: str | None = None,
    status: int | None = None,
    since: TimeLike | None = None,
    until: TimeLike | None = None,
    exact: bool = False,
) -> RequestPage:
    """Show a page of the logged requests, by time and id.

    Parameters
    ----------
    limit : int, default 1,000
        The most requests to show.
    after : str, optional
        The id of the last request of the page before.
    provider, model, tag : str, optional
        Only requests with this value.
    status : int, optional
        Only requests with this HTTP status.
    since, until : time, optional
        When the request was logged: from (inclusive) and to (exclusive). A timezone-aware
        datetime, an ISO 8601 string or a date (00:00 UTC).
    exact : bool, default False
        Money as decimals to the last digit, instead of floats.

    Returns
    -------
    View
        A DataFrame with the columns `ttplan.views.REQUESTS`. A note says if more follow.

    Raises
    ------
    InputError
        If a filter cannot be used.

    Examples
    --------
    >>> page = ws.requests(limit=2, since="2026-04-02")
    >>> len(page), str(page["ts"].min().date())
    (2, '2026-04-02')
    """
    start, end = parse_time_or_none(since, "since"), parse_time_or_none(until, "until")
    check_limit(limit)
    equal = {"provider": provider, "model": model, "tag": tag, "status": status}

    from ttplan.engine.dialects import fetch

    with context.store.read() as snapshot:
        if not snapshot.request_count():
            return RequestPage(None, False, exact)
        table = snapshot.requests()
        conditions = [table[name] == value for name, value in equal.items() if value is not None]
        if start is not None:
            conditions.append(table.ts >= _literal(start))
        if end is not None:
            conditions.append(table.ts < _literal(end))
        if after is not None:
            conditions.append(_later(table, after))
        page = table.filter(*conditions) if conditions else table
        page = page.order_by("ts", "id").limit(limit + 1)
        columns = {
            name: page[name].cast("string") if name in _TEXT else page[name]
            for name in REQUEST_COLUMNS
        }
        rows = fetch(page.select(**columns))
    return RequestPage(rows.slice(0, limit), rows.num_rows > limit, exact)


def _literal(time: datetime) -> ibis.Value:
    import ibis

    return ibis.literal(time, "timestamp('UTC', 6)")


def _later(table: ibis.Table, after: str) -> ibis.Value:
    """Whether a request comes after the one with this id, by (ts, id)."""
    import ibis

    from ttplan.engine.dialects import fetch

    try:
        last = ibis.literal(str(UUID(after))).cast(table.id.type())
    except ValueError:
        last = None
    rows = [] if last is None else fetch(table.filter(table.id == last).select("ts")).to_pylist()
    if not rows:
        raise InputError(
            f"after is {after!r:.60}, and no request has that id; expected the id of the last row "
            "of a page"
        )
    at = _literal(rows[0]["ts"])
    return (table.ts > at) | ((table.ts == at) & (table.id > last))
