"""From a table of logged requests and what a person asks to a result, watched by that person, who may stop it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import ibis

from ttplan.doctor.flat_price_gaps import flat_price_gaps
from ttplan.engine.backtest import backtest
from ttplan.engine.basis import cost_basis
from ttplan.engine.dialects import fetch
from ttplan.engine.passes import Report, passes
from ttplan.engine.replay import replay_table
from ttplan.engine.replay_spec import Question
from ttplan.engine.suggest.suggest import suggest
from ttplan.gateways.plan_file import read_plan_file
from ttplan.model.errors import DataError, InputError, TtplanError
from ttplan.model.plan import (
    DEFAULT_BOOTSTRAP_ITERATIONS,
    IntervalMethod,
    PlanConfig,
    PlanResult,
    make_empty_result,
)
from ttplan.model.pricing import ModelPricing
from ttplan.model.results.backtest import Backtest
from ttplan.model.results.suggestion import Suggestions
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import CostBasis
from ttplan.prices import PriceBook, PriceTable, price_table, read_prices
from ttplan.util.interrupt import run
from ttplan.util.progress import passing

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from ttplan.logs.sources.parquet import ParquetLog

LOOKING, CHECKING = "looking at the log", "checking that ids are unique"
CANCELLED = "cancelled, nothing was written"
Window = tuple[datetime, datetime]
PathLike = str | os.PathLike[str]
OwnPrices = str | os.PathLike[str] | Mapping[str, ModelPricing] | None


class Survey(NamedTuple):
    """What a log says of itself: its first and last moment (None without a row), its providers and organisations, in order."""

    first: datetime | None
    last: datetime | None
    providers: list[str]
    orgs: list[UUID]


class Asked(NamedTuple):
    """What a plan asks of a log. `window` is (inclusive, exclusive), None for all of it; `prices` are one's own, over the
    catalogue's at `at`."""

    routes: Sequence[ProposedRoute]
    config: PlanConfig
    plan_id: UUID
    window: Window | None
    prices: OwnPrices
    at: datetime
    seed: int
    bootstrap_iterations: int
    interval_method: IntervalMethod
    allow_unpriced: bool


def asked_of(
    routes: PathLike | Sequence[ProposedRoute],
    config: PlanConfig | None,
    window: Window | None,
    prices: OwnPrices,
    interval_method: IntervalMethod,
    allow_unpriced: bool,
    *,
    plan_id: UUID,
    at: datetime,
) -> Asked:
    """What is asked of the log; `routes` and, unless given, the config may be in a plan file. Raises InputError."""
    proposed, written = (
        read_plan_file(routes) if isinstance(routes, str | os.PathLike) else (routes, None)
    )
    return Asked(
        routes=proposed,
        config=config or written or PlanConfig(),
        plan_id=plan_id,
        window=window,
        prices=prices,
        at=at,
        seed=0,
        bootstrap_iterations=DEFAULT_BOOTSTRAP_ITERATIONS,
        interval_method=interval_method,
        allow_unpriced=allow_unpriced,
    )


class Answered(NamedTuple):
    """The result, the prices that it was made with and where each is from, and what the log's costs are made of."""

    result: PlanResult
    pricing: Mapping[str, ModelPricing]
    sources: Mapping[str, str]
    basis: CostBasis | None = None


def survey(table: ir.Table) -> Survey:
    """Look at a whole log, in one pass. `table` has the columns provider, org_id and ts."""
    found = fetch(
        table.group_by("provider", org=table.org_id.cast("string")).aggregate(
            first=table.ts.min(), last=table.ts.max()
        )
    ).to_pylist()
    moments = [row[end] for row in found for end in ("first", "last") if row[end] is not None]
    return Survey(
        min(moments, default=None),
        max(moments, default=None),
        sorted({row["provider"] for row in found} - {None}),
        sorted({UUID(row["org"]) for row in found if row["org"] is not None}),
    )


def window_of(found: Survey, window: Window | None, log: str) -> Window:
    """The window as given, else that of the whole log, which `log` names."""
    if window is None:
        if found.first is None or found.last is None:
            raise InputError(f"{log} has no requests to replay; import a log first")
        return found.first, found.last + timedelta(microseconds=1)
    for moment in window:
        if moment.tzinfo is None:
            raise InputError(
                f"the window's {moment.isoformat()} has no time zone; expected one such as +00:00"
            )
    return window


def price_routes(
    routes: Iterable[ProposedRoute],
    providers: Iterable[str],
    own: OwnPrices,
    at: datetime,
    allow_unpriced: bool,
) -> PriceTable:
    """Prices of all targets. Raises InputError for a target without one, unless `allow_unpriced`."""
    given = read_prices(own, at) if isinstance(own, str | os.PathLike) else own
    enabled = [route for route in routes if route.enabled]
    table = price_table(providers, [r.then.target_model for r in enabled], at=at, own=given)
    if table.missing and not allow_unpriced:
        model = table.missing[0]
        route = next(r.name for r in enabled if r.then.target_model == model)
        raise InputError(
            f"no price for model {model!r}, the target of route {route!r}; give one in a price file (prices, --prices), or "
            "let such requests count at their actual cost (allow_unpriced, --allow-unpriced)"
        )
    return table


class Broke(Exception):
    """A replay that broke by no fault of what was asked: what is known of its plan, and why. Its result is empty."""

    def __init__(self, found: Answered, cause: Exception) -> None:
        self.found = found
        self.cause = cause
        lines = str(cause).splitlines() or [""]
        self.reason = (
            lines[0]
            if isinstance(cause, DataError)
            else f"{type(cause).__name__}: {lines[0]}".rstrip(": ")
        )
        super().__init__(self.reason)


def replay_log(
    table: ir.Table, asked: Asked, org_id: UUID, log: str, progress: bool | None = None
) -> Answered:
    """Replay a log that a store has. `progress` of None shows a bar on a terminal or in a notebook.

    Raises InputError, and KeyboardInterrupt at an interrupt, after which nothing runs and nothing is left in the table's engine.
    """
    return _watched(
        table,
        asked,
        lambda report: _answer(table, survey(table), asked, org_id, log, report),
        progress,
    )


def backtest_log(
    table: ir.Table, asked: Asked, org_id: UUID, log: str, period: timedelta
) -> Backtest:
    """Back-test on a log that a store has, from the window's start in whole periods. Raises InputError."""
    found = survey(table)
    start, end = window_of(found, asked.window, log)
    priced = price_routes(
        asked.routes, found.providers, asked.prices, asked.at, asked.allow_unpriced
    )
    return backtest(
        table,
        asked.routes,
        priced.pricing,
        asked.config,
        org_id=org_id,
        start=start,
        end=end,
        period=period,
        seed=asked.seed,
        bootstrap_iterations=asked.bootstrap_iterations,
        interval_method=asked.interval_method,
    )


def suggest_routes(
    table: ir.Table,
    targets: Sequence[str],
    by: Sequence[str],
    window: Window | None,
    prices: OwnPrices,
    at: datetime,
    org_id: UUID,
    log: str,
    *,
    min_share: float,
    limit: int,
) -> Suggestions:
    """Suggest routes for a log that a store has, with the catalogue's prices at `at` under one's own. Raises InputError."""
    given = read_prices(prices, at) if isinstance(prices, str | os.PathLike) else prices
    looked = survey(table)
    start, end = window_of(looked, window, log)
    priced = price_table(looked.providers, targets, at=at, own=given)
    found = suggest(
        table,
        targets,
        by,
        priced.pricing,
        org_id=org_id,
        window_start=start,
        window_end=end,
        min_share=min_share,
        limit=limit,
    )
    return found.model_copy(update={"notes": (*found.notes, *priced.notes)})


def replay_lake(
    lake: ParquetLog,
    asked: Asked,
    org_id: UUID | None,
    otherwise: UUID,
    log: str,
    progress: bool | None = None,
) -> Answered:
    """Replay requests in Parquet files, those without an organisation as the store's, `org_id`.

    A store without one takes the files'; `otherwise`, where they have none. Raises as `replay_log` does, and InputError for an id
    that stands there twice.
    """

    def answer(report: Report) -> Answered:
        found = survey(lake.table)
        report(CHECKING, 0.0)
        _refuse_repeats(lake.table, log)
        org = org_id or _only_org(found.orgs, otherwise, log)
        table = lake.table.mutate(
            org_id=ibis.coalesce(lake.table.org_id, ibis.literal(str(org)).cast("uuid"))
        )
        return _answer(table, found, asked, org, log, report)

    answered = _watched(lake.table, asked, answer, progress)
    files = "one Parquet file" if lake.files == 1 else f"{lake.files:,} Parquet files"
    note = f"Requests were read where they are, in {files}, and not imported."
    return answered._replace(
        result=answered.result.model_copy(update={"caveats": (*answered.result.caveats, note)})
    )


def _refuse_repeats(table: ir.Table, log: str) -> None:
    # Exact, and cheaper than it looks: 100 million UUIDs take seconds and spill within the limit.
    found = fetch(table.aggregate(ids=table.id.count(), distinct=table.id.nunique())).to_pylist()[0]
    if found["ids"] != found["distinct"]:
        known = table.filter(table.id.notnull())
        counts = known.group_by("id").aggregate(rows=known.count())
        twice = counts.filter(counts.rows > 1).order_by("id").limit(1)
        example = fetch(twice.select("rows", id=twice.id.cast("string"))).to_pylist()[0]
        raise InputError(
            f"{log}: the request id {example['id']!r} stands in {example['rows']} rows; expected every id once in all files"
        )


def _only_org(orgs: Sequence[UUID], otherwise: UUID, log: str) -> UUID:
    if len(orgs) > 1:
        raise InputError(
            f"{log} has requests of {len(orgs)} organisations; say whose this store is: open it with org_id (--org)"
        )
    return orgs[0] if orgs else otherwise


def _answer(
    table: ir.Table, found: Survey, asked: Asked, org_id: UUID, log: str, report: Report
) -> Answered:
    start, end = window_of(found, asked.window, log)
    priced = price_routes(
        asked.routes, found.providers, asked.prices, asked.at, asked.allow_unpriced
    )
    try:
        result = replay_table(
            table,
            asked.routes,
            priced.pricing,
            asked.config,
            org_id=org_id,
            plan_id=asked.plan_id,
            window_start=start,
            window_end=end,
            seed=asked.seed,
            bootstrap_iterations=asked.bootstrap_iterations,
            interval_method=asked.interval_method,
            progress=report,
        )
    except Exception as error:
        if isinstance(error, TtplanError) and not isinstance(error, DataError):
            raise
        nothing = make_empty_result(asked.plan_id, org_id, (start, end), tuple(asked.routes))
        raise Broke(Answered(nothing, priced.pricing, priced.sources), error) from error
    question = Question(asked.plan_id, org_id, start, end, tuple(asked.routes), priced.pricing)
    beyond = flat_price_gaps(table, question, PriceBook(asked.prices), asked.at)
    result = result.model_copy(update={"caveats": (*result.caveats, *beyond)})
    return Answered(result, priced.pricing, priced.sources, cost_basis(table, question))


def _watched(
    table: ir.Table, asked: Asked, answer: Callable[[Report], Answered], show: bool | None
) -> Answered:
    """`answer`, with a bar, and ended by an interrupt."""
    backend = table.get_backend()
    connection: Any = backend.con if backend.name == "duckdb" else None
    if connection is not None:  # so that a query can be asked how far it is
        connection.execute("SET enable_progress_bar = true")
        connection.execute("SET enable_progress_bar_print = false")

    def share() -> float | None:
        percent = -1.0 if connection is None else connection.query_progress()
        return None if percent < 0 else percent / 100

    def stop() -> None:
        if connection is not None:
            connection.interrupt()

    with passing("replaying", [LOOKING, CHECKING, *passes(asked.config)], share, show) as report:

        def work(check: Callable[[], None]) -> Answered:
            def told(name: str, done: float) -> None:
                check()
                report(name, done)

            told(LOOKING, 0.0)
            return answer(told)

        try:
            return run(work, stop)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(CANCELLED) from None
