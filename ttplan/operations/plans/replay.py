"""Replay, back-test and suggest on a log: resolve the window and the prices, show progress, stop at
an interrupt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import ibis

from ttplan.doctor.flat_price_gaps import flat_price_gaps
from ttplan.engine.backtest import backtest
from ttplan.engine.dialects import fetch
from ttplan.engine.replay import checked_replay
from ttplan.engine.replay_spec import ReplayOutcome, ReplaySpec, pass_names
from ttplan.engine.suggest.suggest import suggest_by_spec
from ttplan.gateways.plan_file import read_plan_file
from ttplan.model.errors import DataError, InputError, TtplanError
from ttplan.model.plan import (
    AUTO,
    DEFAULT_BOOTSTRAP_ITERATIONS,
    IntervalMethod,
    PlanConfig,
    Projection,
    make_empty_result,
)
from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.assumption import Assumption
from ttplan.model.projection.capabilities import ModelFacts
from ttplan.model.results.backtest import Backtest
from ttplan.model.results.suggestion import Suggestions
from ttplan.model.route import ProposedRoute
from ttplan.prices import PriceBook, PriceTable, price_table, read_prices
from ttplan.prices.book import PriceSource
from ttplan.prices.facts_file import FactsSource, read_facts
from ttplan.util.monitor import PassCallback, show_progress
from ttplan.util.paths import PathLike

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from ttplan.logs.sources.parquet import ParquetLog


READING, CHECKING = "looking at the log", "checking that ids are unique"
CANCELLED = "cancelled, nothing was written"
Window = tuple[datetime, datetime]


@dataclass(frozen=True)
class ReplayOptions:
    """What a caller sets for a replay of a log.

    `window` is (inclusive, exclusive), None for the whole log. `prices` are the caller's own and
    take precedence over the catalogue's at `prices_at`, and so do `facts`. Of `assumptions`, the
    most specific applies, of equal ones the first. The projection is the full one unless `config`
    names another; the cluster of a full one is ``"auto"`` unless `config` names one.
    """

    routes: Sequence[ProposedRoute]
    config: PlanConfig
    assumptions: tuple[Assumption, ...]
    plan_id: UUID
    prices_at: datetime
    window: Window | None = None
    prices: PriceSource = None
    facts: FactsSource = None
    seed: int = 0
    bootstrap_iterations: int = DEFAULT_BOOTSTRAP_ITERATIONS
    interval_method: IntervalMethod = "auto"
    allow_unpriced: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**64:
            raise InputError(f"seed is {self.seed}; expected a whole number from 0 to 2^64 - 1")
        if "projection" not in self.config.model_fields_set:
            # The ecosystem's method draws the costs that its own projection computes.
            projection = "reference" if self.interval_method == "tt-plan-core" else "full"
            config = self.config.model_copy(update={"projection": projection})
            object.__setattr__(self, "config", config)
        if "cluster" not in self.config.model_fields_set and self.config.projection == "full":
            config = self.config.model_copy(update={"cluster": AUTO})
            object.__setattr__(self, "config", config)

    def spec(self, org_id: UUID, window: Window, prices: PriceTable) -> ReplaySpec:
        """The spec of the replay, once its window and prices are known."""
        return ReplaySpec(
            plan_id=self.plan_id,
            org_id=org_id,
            window_start=window[0],
            window_end=window[1],
            routes=tuple(self.routes),
            pricing=prices.pricing,
            config=self.config,
            seed=self.seed,
            bootstrap_iterations=self.bootstrap_iterations,
            interval_method=self.interval_method,
            book=PriceBook(self.prices),
            facts=_read_facts(self.facts),
            assumptions=self.assumptions,
            prices_at=self.prices_at,
        )


class LogSummary(NamedTuple):
    """A log's first and last timestamp (None if it is empty), and its providers and organisations,
    in order."""

    first: datetime | None
    last: datetime | None
    providers: list[str]
    orgs: list[UUID]


class BrokenReplay(Exception):
    """A replay that failed for another reason than its input. `outcome` has an empty result;
    `reason` says why."""

    def __init__(self, outcome: ReplayOutcome, cause: Exception) -> None:
        self.outcome = outcome
        self.cause = cause
        first_line = (str(cause).splitlines() or [""])[0]
        self.reason = (
            first_line
            if isinstance(cause, DataError)
            else f"{type(cause).__name__}: {first_line}".rstrip(": ")
        )
        super().__init__(self.reason)


def read_routes(
    routes: PathLike | Sequence[ProposedRoute],
    config: PlanConfig | None,
    assumptions: Sequence[Assumption] = (),
) -> tuple[Sequence[ProposedRoute], PlanConfig, tuple[Assumption, ...]]:
    """The routes, the config and the assumptions, which are read if `routes` is a plan file.

    A given config replaces the file's; given assumptions precede the file's. Raises InputError.
    """
    if not isinstance(routes, str | os.PathLike):
        return routes, config or PlanConfig(), tuple(assumptions)
    proposed, file_config, in_file = read_plan_file(routes)
    return proposed, config or file_config or PlanConfig(), (*assumptions, *in_file)


def summarise_log(table: ir.Table) -> LogSummary:
    """Summarise a whole log in one pass. `table` has the columns provider, org_id and ts."""
    rows = fetch(
        table.group_by("provider", org=table.org_id.cast("string")).aggregate(
            first=table.ts.min(), last=table.ts.max()
        )
    ).to_pylist()
    timestamps = [row[end] for row in rows for end in ("first", "last") if row[end] is not None]
    return LogSummary(
        min(timestamps, default=None),
        max(timestamps, default=None),
        sorted({row["provider"] for row in rows} - {None}),
        sorted({UUID(row["org"]) for row in rows if row["org"] is not None}),
    )


def resolve_window(log: LogSummary, window: Window | None, log_name: str) -> Window:
    """The window, or the whole log's if it is None. `log_name` names the log in errors."""
    if window is None:
        if log.first is None or log.last is None:
            raise InputError(f"{log_name} has no requests to replay; import a log first")
        return log.first, log.last + timedelta(microseconds=1)
    for timestamp in window:
        if timestamp.tzinfo is None:
            raise InputError(
                f"the window's {timestamp.isoformat()} has no time zone; expected one such as "
                f"+00:00"
            )
    return window


def price_routes(options: ReplayOptions, providers: Iterable[str]) -> PriceTable:
    """Prices of all targets. Raises InputError for a target without one, unless
    `allow_unpriced`."""
    enabled = [route for route in options.routes if route.enabled]
    table = price_table(
        providers,
        [route.then.target_model for route in enabled],
        at=options.prices_at,
        own=_read_own(options.prices, options.prices_at),
    )
    if table.missing and not options.allow_unpriced:
        model = table.missing[0]
        route = next(r.name for r in enabled if r.then.target_model == model)
        raise InputError(
            f"no price for model {model!r}, the target of route {route!r}; give one in a price "
            f"file (prices), or "
            "let such requests count at their actual cost (allow_unpriced)"
        )
    return table


def replay_log(
    table: ir.Table,
    options: ReplayOptions,
    org_id: UUID,
    log_name: str,
    progress: bool | None = None,
) -> ReplayOutcome:
    """Replay a stored log. If `progress` is None, a bar is shown on a terminal or in a notebook.

    Raises InputError, and KeyboardInterrupt at an interrupt; nothing is left in the table's engine
    then.
    """
    return _with_progress(
        table,
        options,
        lambda report: _replay(table, summarise_log(table), options, org_id, log_name, report),
        progress,
    )


def replay_parquet(
    parquet: ParquetLog,
    options: ReplayOptions,
    org_id: UUID | None,
    default_org: UUID,
    log_name: str,
    progress: bool | None = None,
) -> ReplayOutcome:
    """Replay requests in Parquet files. Requests without an organisation belong to the store's,
    `org_id`.

    If the store has none, the files' organisation is used, or else `default_org`. Raises the errors
    of `replay_log`, and InputError for an id that occurs twice.
    """

    def work(report: PassCallback) -> ReplayOutcome:
        log = summarise_log(parquet.table)
        report(CHECKING, 0.0)
        _refuse_repeated_ids(parquet.table, log_name)
        org = org_id or _only_org(log.orgs, default_org, log_name)
        table = parquet.table.mutate(
            org_id=ibis.coalesce(parquet.table.org_id, ibis.literal(str(org)).cast("uuid"))
        )
        return _replay(table, log, options, org, log_name, report)

    outcome = _with_progress(parquet.table, options, work, progress)
    files = "one Parquet file" if parquet.files == 1 else f"{parquet.files:,} Parquet files"
    return _with_caveats(
        outcome, f"Requests were read where they are, in {files}, and not imported."
    )


def backtest_log(
    table: ir.Table, options: ReplayOptions, org_id: UUID, log_name: str, period: timedelta
) -> Backtest:
    """Back-test on a stored log, in whole periods from the window's start. Raises InputError."""
    log = summarise_log(table)
    window = resolve_window(log, options.window, log_name)
    prices = price_routes(options, log.providers)
    return backtest(table, options.spec(org_id, window, prices), period)


def suggest_routes(
    table: ir.Table,
    targets: Sequence[str],
    by: Sequence[str],
    window: Window | None,
    prices: PriceSource,
    at: datetime,
    org_id: UUID,
    log_name: str,
    *,
    min_share: float,
    limit: int,
    facts: FactsSource = None,
    projection: Projection = "full",
) -> Suggestions:
    """Suggest routes for a stored log, with the caller's prices over the catalogue's at `at`.
    Raises InputError."""
    own = _read_own(prices, at)
    log = summarise_log(table)
    start, end = resolve_window(log, window, log_name)
    priced = price_table(log.providers, targets, at=at, own=own)
    spec = ReplaySpec(
        plan_id=UUID(int=0),
        org_id=org_id,
        window_start=start,
        window_end=end,
        routes=(),
        pricing=priced.pricing,
        config=PlanConfig(projection=projection),
        book=PriceBook(prices),
        facts=_read_facts(facts),
        prices_at=at,
    )
    suggestions = suggest_by_spec(table, spec, targets, by, min_share=min_share, limit=limit)
    return suggestions.model_copy(update={"notes": (*suggestions.notes, *priced.notes)})


def _read_facts(facts: FactsSource) -> Mapping[str, ModelFacts]:
    return read_facts(facts) if isinstance(facts, str | os.PathLike) else facts or {}


def _read_own(prices: PriceSource, at: datetime) -> Mapping[str, ModelPricing] | None:
    return read_prices(prices, at) if isinstance(prices, str | os.PathLike) else prices


def _refuse_repeated_ids(table: ir.Table, log_name: str) -> None:
    # Exact and cheap enough: 100 million UUIDs take seconds, and spill within the memory limit.
    ids = fetch(table.aggregate(ids=table.id.count(), distinct=table.id.nunique())).to_pylist()[0]
    if ids["ids"] != ids["distinct"]:
        known = table.filter(table.id.notnull())
        counts = known.group_by("id").aggregate(rows=known.count())
        repeated = counts.filter(counts.rows > 1).order_by("id").limit(1)
        example = fetch(repeated.select("rows", id=repeated.id.cast("string"))).to_pylist()[0]
        raise InputError(
            f"{log_name}: the request id {example['id']!r} stands in {example['rows']} rows; "
            f"expected every id "
            "once in all files"
        )


def _only_org(orgs: Sequence[UUID], default_org: UUID, log_name: str) -> UUID:
    if len(orgs) > 1:
        raise InputError(
            f"{log_name} has requests of {len(orgs)} organisations; open the store with the org_id "
            f"of one"
        )
    return orgs[0] if orgs else default_org


def _replay(
    table: ir.Table,
    log: LogSummary,
    options: ReplayOptions,
    org_id: UUID,
    log_name: str,
    report: PassCallback,
) -> ReplayOutcome:
    window = resolve_window(log, options.window, log_name)
    prices = price_routes(options, log.providers)
    spec = options.spec(org_id, window, prices)
    try:
        outcome = checked_replay(table, spec, report)
    except Exception as error:
        if isinstance(error, TtplanError) and not isinstance(error, DataError):
            raise
        empty = make_empty_result(options.plan_id, org_id, window, tuple(options.routes))
        raise BrokenReplay(ReplayOutcome(empty, prices.pricing, prices.sources), error) from error
    if spec.is_full:
        return replace(outcome, price_sources=prices.sources)
    gaps = flat_price_gaps(table, spec, PriceBook(options.prices), options.prices_at)
    return replace(_with_caveats(outcome, *gaps), price_sources=prices.sources)


def _with_caveats(outcome: ReplayOutcome, *caveats: str) -> ReplayOutcome:
    result = outcome.result
    return replace(
        outcome, result=result.model_copy(update={"caveats": (*result.caveats, *caveats)})
    )


def _with_progress(
    table: ir.Table,
    options: ReplayOptions,
    replay: Callable[[PassCallback], ReplayOutcome],
    show: bool | None,
) -> ReplayOutcome:
    """`replay` with a progress bar, stopped by an interrupt."""
    backend = table.get_backend()
    connection: Any = backend.con if backend.name == "duckdb" else None
    if connection is not None:  # makes query_progress() available
        connection.execute("SET enable_progress_bar = true")
        connection.execute("SET enable_progress_bar_print = false")

    def share() -> float | None:
        percent = -1.0 if connection is None else connection.query_progress()
        return None if percent < 0 else percent / 100

    def stop() -> None:
        if connection is not None:
            connection.interrupt()

    passes = [READING, CHECKING, *pass_names(options.config)]
    with show_progress("replaying", show, passes=passes, poll_share=share) as monitor:

        def work() -> ReplayOutcome:
            monitor.report(READING)
            return replay(monitor.report)

        try:
            return monitor.run(work, stop)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(CANCELLED) from None
