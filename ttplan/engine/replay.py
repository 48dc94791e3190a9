"""A table of requests and a spec → a result, without a clock or unseeded randomness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import ibis.expr.types as ir

from ttplan.engine.caveats import SemanticFindings, basis_caveats, collect_caveats
from ttplan.engine.cost import PriceRule, price_rules
from ttplan.engine.dialects import fetch_from
from ttplan.engine.exactness import require_exact
from ttplan.engine.full.assumptions.describe import FullDescription, describe_full
from ttplan.engine.full.latency import FullLatencies, project_full_latency, with_projected_latency
from ttplan.engine.full.money import with_usd
from ttplan.engine.intervals.clusters import with_minute
from ttplan.engine.intervals.estimate import (
    cache_hits,
    estimate,
    l1_upper_bound,
    poisoning_candidates,
    route_breakdown,
    savings_by_cause,
)
from ttplan.engine.intervals.infer import Inferred, draws_rows, infer_intervals, resamples
from ttplan.engine.intervals.studentised.infer import infer_hall
from ttplan.engine.intervals.values import projected_latency, routed_medians
from ttplan.engine.latency import Latencies, latency_counts, project_latencies
from ttplan.engine.project import MappedWindow, map_whole, map_window
from ttplan.engine.replay_spec import (
    COUNTING,
    INFERRING,
    LATENCIES,
    SUMMING,
    ReplayOutcome,
    ReplaySpec,
)
from ttplan.engine.rows import PERIODS, cost_basis, to_table
from ttplan.engine.semantic_cache.hits import Sweep
from ttplan.engine.summary import (
    POWERS,
    Cell,
    Grid,
    Summary,
    femto_per_token,
    fetch_cell_sums,
    grid_for,
    largest_amounts,
    read_amounts,
)
from ttplan.model.plan import (
    DEFAULT_BOOTSTRAP_ITERATIONS,
    Aggregates,
    IntervalMethod,
    PlanConfig,
    PlanInput,
    PlanResult,
)
from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.full import ProjectionInputs
from ttplan.model.route import ProposedRoute
from ttplan.util.monitor import SILENT, PassCallback

NIL = UUID(int=0)
FIRST_INSTANT = datetime(1, 1, 1, tzinfo=UTC)
LAST_INSTANT = datetime(9999, 12, 31, tzinfo=UTC)


def replay(plan: PlanInput, *, interval_method: IntervalMethod = "auto") -> PlanResult:
    """Compute what a plan would have done to its requests.

    A pure function: the same input gives the same JSON, to the byte.

    Parameters
    ----------
    plan
        The requests, routes, prices and assumptions.
    interval_method
        ``"auto"`` (the default) uses ``"limit"``, and ``"resample"`` below 200 requests (or
        clusters) and for heavy tails. ``"limit"``, ``"resample"`` and ``"tt-plan-core"`` are used
        as named for any log.

    Returns
    -------
    PlanResult
        Estimates, 95 % intervals and caveats. Amounts are USD per window.

    Raises
    ------
    InputError
        If the method is unknown.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from uuid import UUID
    >>> from ttplan import PlanInput, replay
    >>> plan = PlanInput(
    ...     plan_id=UUID(int=1),
    ...     org_id=UUID(int=2),
    ...     window_start=datetime(2026, 5, 1, tzinfo=UTC),
    ...     window_end=datetime(2026, 5, 2, tzinfo=UTC),
    ...     requests=(),
    ...     proposed_routes=(),
    ...     pricing={},
    ...     config={},
    ...     seed=0,
    ...     bootstrap_iterations=100,
    ... )
    >>> replay(plan).sample_size
    0
    """
    return run_replay(to_table(plan.requests), ReplaySpec.from_plan(plan, interval_method)).result


def replay_table(
    table: ir.Table,
    routes: Sequence[ProposedRoute],
    prices: Mapping[str, ModelPricing],
    config: PlanConfig | None = None,
    *,
    org_id: UUID,
    plan_id: UUID = NIL,
    window_start: datetime = FIRST_INSTANT,
    window_end: datetime = LAST_INSTANT,
    seed: int = 0,
    bootstrap_iterations: int = DEFAULT_BOOTSTRAP_ITERATIONS,
    interval_method: IntervalMethod = "auto",
    inputs: ProjectionInputs | None = None,
    progress: PassCallback | None = None,
) -> PlanResult:
    """Replay an Ibis table of requests. The rows never leave the engine that holds them.

    Parameters
    ----------
    table
        A table with the columns of `ttplan.engine.rows.SCHEMA`. Ids must be unique, which is not
        checked. On DuckDB, a full projection switches ``preserve_insertion_order`` off for the
        whole instance while it prices requests; queries of others may then return another order.
    routes
        The proposed routes, with unique ids and names.
    prices
        Prices in USD per million tokens, by ``provider:model``.
    config
        Caches and clusters; neither by default.
    org_id
        The organisation of the requests. Requests of others are left out.
    plan_id
        The id that the result has.
    window_start, window_end
        The window, as timezone-aware datetimes: inclusive, exclusive. The whole table by default.
    seed
        The seed of all resampling, from 0 to 2^64 - 1.
    bootstrap_iterations
        How many resamples an interval is made of, at least 1.
    interval_method
        As in `replay`.
    inputs
        What a full projection knows of models, such as ``result.full.inputs`` of an earlier one.
        By default, `prices` for their models, and the catalogues.
    progress
        Called with the name of each pass when it begins, and the share (0..1) that is done. An
        exception that it raises ends the replay and leaves nothing in the table's engine.

    Returns
    -------
    PlanResult
        Estimates, 95 % intervals and caveats. Amounts are USD per window.

    Raises
    ------
    InputError
        If a column is missing or has another type, a row is not a request, a route is repeated,
        the window ends before it begins, there are no resamples, or the backend's arithmetic is
        not exact.

    Examples
    --------
    >>> import ibis
    >>> from uuid import UUID
    >>> from ttplan import replay_table
    >>> from ttplan.engine.rows import to_arrow
    >>> table = ibis.memtable(to_arrow([]))
    >>> replay_table(table, [], {}, org_id=UUID(int=2)).sample_size
    0
    """
    spec = ReplaySpec(
        plan_id=plan_id,
        org_id=org_id,
        window_start=window_start,
        window_end=window_end,
        routes=tuple(routes),
        pricing=prices,
        config=config or PlanConfig(),
        seed=seed,
        bootstrap_iterations=bootstrap_iterations,
        interval_method=interval_method,
        inputs=inputs,
    )
    return checked_replay(table, spec, progress).result


def checked_replay(
    table: ir.Table, spec: ReplaySpec, progress: PassCallback | None = None
) -> ReplayOutcome:
    """`run_replay` after checks of the spec and of the table's backend. Raises InputError."""
    spec.check()
    require_exact(table.get_backend())
    return run_replay(table, spec, progress or SILENT.report)


def run_replay(
    table: ir.Table, spec: ReplaySpec, progress: PassCallback = SILENT.report
) -> ReplayOutcome:
    """Map, summarise, infer."""
    progress(COUNTING, 0.0)
    with map_window(table, spec, progress, whole=False) as window:
        spec, sweep = window.spec, window.sweep
        latencies = None
        if window.full is not None and window.total:
            progress(LATENCIES, 0.0)
            latencies = project_full_latency(window.rows)
        summary = (
            summarise(window.rows, spec, sweep=sweep, progress=progress, full=latencies)
            if window.total
            else Summary(Grid(1, 1))
        )
        progress(INFERRING, 0.0)
        aggregates = estimate(summary, spec, sweep)
        full = None
        if window.full is not None and window.total:
            full = describe_full(window.rows, window.full, aggregates, spec)
            aggregates = full.aggregates
        inferred = _infer(summary, table, window, spec, full, latencies)
    basis = cost_basis(table, spec)
    semantic = (
        None
        if spec.config.l2_ttl_seconds is None
        else SemanticFindings(spec.config.l2_threshold, sweep)
    )
    caveats = collect_caveats(summary, window.left_out, spec, aggregates, inferred, semantic)
    result = PlanResult(
        plan_id=spec.plan_id,
        org_id=spec.org_id,
        window_start=spec.window_start,
        window_end=spec.window_end,
        sample_size=window.total,
        aggregates=aggregates,
        confidence_intervals=inferred.intervals,
        interval_method=inferred.method,
        interval_unit=inferred.unit or spec.interval_unit,
        clusters=inferred.clusters,
        per_route_breakdown=route_breakdown(summary, spec, inferred.route_95),
        caveats=(*caveats, *(() if full is None else full.caveats), *basis_caveats(basis)),
        cache_hits=cache_hits(summary, spec),
        savings_by_cause=savings_by_cause(summary),
        poisoning_candidates=poisoning_candidates(sweep),
        proposed_routes=tuple(spec.routes),
        assumptions=() if full is None else full.assumptions,
        full=None if full is None else full.details,
        per_month=inferred.per_month,
        change_by_cause=None if full is None else full.causes,
        l1_upper_bound=l1_upper_bound(summary),
    )
    return ReplayOutcome(result, spec.pricing, cost_basis=basis)


def _infer(
    summary: Summary,
    table: ir.Table,
    window: MappedWindow,
    spec: ReplaySpec,
    full: FullDescription | None,
    latencies: FullLatencies | None,
) -> Inferred:
    """The intervals; those of a full projection with the errors of its assumptions and curves."""
    inferred, error = None, 0.0 if full is None else full.standard_error
    if summary.total.requests and (spec.studentises or spec.is_auto):
        inferred = infer_hall(
            summary,
            window.rows,
            spec,
            window.session,
            lambda: _timed_rows(summary, window.rows, spec, latencies),
            error,
            None if full is None else _at_plan_prices(full.aggregates, spec),
            {} if full is None else full.cause_errors,
        )
    if inferred is None or not spec.studentises:
        others = _infer_otherwise(summary, table, window, spec, inferred, latencies, error)
        inferred = others if inferred is None else others._replace(unit=inferred.unit)
    if latencies is None:
        return inferred
    intervals = inferred.intervals
    widened = {
        f"{name}_latency_ms_95": None if interval is None else latencies.widen(q, interval)
        for name, q, interval in (
            ("p50", 0.50, intervals.p50_latency_ms_95),
            ("p95", 0.95, intervals.p95_latency_ms_95),
        )
    }
    return inferred._replace(intervals=intervals.model_copy(update=widened))


def _infer_otherwise(
    summary: Summary,
    table: ir.Table,
    window: MappedWindow,
    spec: ReplaySpec,
    chosen: Inferred | None,
    latencies: FullLatencies | None,
    error: float,
) -> Inferred:
    """The intervals by another method than `hall`, by the unit that it chose, if it did."""
    rows = with_usd(window.rows)
    if chosen is not None:
        spec = replace(spec, unit=chosen.unit)
        if chosen.unit in PERIODS:
            minute = with_minute(rows).minute
            rows = rows.mutate(cluster=(minute - minute % PERIODS[chosen.unit]).cast("string"))
    with ExitStack() as stack:
        if not window.whole and draws_rows(summary, spec):
            rows = stack.enter_context(map_whole(table, window))
        by_rows = spec.cluster is not None or resamples(spec, summary.total.requests)
        if latencies is not None and by_rows:
            rows = stack.enter_context(with_projected_latency(rows, latencies.curves))
        return infer_intervals(summary, rows, spec, error)


@contextmanager
def _timed_rows(
    summary: Summary, rows: ir.Table, spec: ReplaySpec, latencies: FullLatencies | None
) -> Iterator[ir.Table]:
    """Mapped rows with a column `projected_latency_ms`, for the block."""
    if latencies is not None:
        with with_projected_latency(rows, latencies.curves) as table:
            yield table
    else:
        latency = projected_latency(rows, routed_medians(summary.medians, spec))
        yield rows.mutate(projected_latency_ms=latency)


def _at_plan_prices(aggregates: Aggregates, spec: ReplaySpec) -> float | None:
    """The change at the prices of the plan's moment, USD; None if it is the headline's."""
    if spec.config.prices_at == "plan" or aggregates.savings_at_plan_prices_usd is None:
        return None
    return float(aggregates.savings_at_plan_prices_usd)


def summarise(
    mapped: ir.Table,
    spec: ReplaySpec,
    grid: Grid | None = None,
    sweep: Sweep | None = None,
    progress: PassCallback = SILENT.report,
    full: FullLatencies | None = None,
) -> Summary:
    """The summary of mapped rows. Parts of one log must share the grid of the whole.

    `full` has the latencies of a full projection.
    """
    progress(LATENCIES, 0.0)
    latencies: Latencies
    if full is None:
        counts = fetch_from(mapped, latency_counts)
        latencies = project_latencies(counts, spec.active_routes)
    else:
        counts = fetch_from(mapped, _largest)
        latencies = Latencies(full.counts, full.recorded, {}, full.missing, full.unprojected)
    grid = grid or grid_for(counts)
    thresholds = 0 if sweep is None else len(sweep.thresholds)
    progress(SUMMING, 0.0)
    rows = fetch_cell_sums(mapped, grid, thresholds).to_pylist()
    rules, read = price_rules(spec.active_routes, spec.pricing), read_amounts(mapped)
    cells: dict[tuple[int, int], Cell] = defaultdict(Cell)
    for row in sorted(rows, key=lambda row: (row["route"], row["outcome"])):
        cells[(row["route"], row["outcome"])] += _cell(row, rules, read)
    return Summary(
        grid=grid,
        cells=dict(cells),
        powers={(j, k): sum(int(row[f"p{j}{k}"]) for row in rows) for j, k in POWERS},
        actual_powers={j: sum(int(row[f"a{j}"]) for row in rows) for j in range(1, 5)},
        latency=latencies.counts,
        recorded_latency=latencies.recorded,
        medians=latencies.medians,
        no_latency=latencies.missing,
        latency_unprojected=latencies.unprojected,
        untagged=sum(row["untagged"] for row in rows),
        bodiless=sum(row["bodiless"] for row in rows),
        largest=max((read(row["largest"]) for row in rows), default=0),
        carriers=sum(int(row["carriers"] or 0) for row in rows),
        sizes=(
            sum(int(row["size_s"] or 0) for row in rows),
            sum(int(row["size_a"] or 0) for row in rows),
        ),
        sweep={
            t: (
                sum(row[f"also_l1_{t}"] or 0 for row in rows),
                sum(read(row[f"saved_{t}"]) for row in rows),
            )
            for t in range(thresholds)
        },
    )


def _largest(mapped: ir.Table) -> ir.Table:
    return mapped.aggregate(**largest_amounts(mapped))


def _cell(row: Mapping[str, Any], rules: Sequence[PriceRule], read: Callable[[Any], int]) -> Cell:
    counts = {name: int(row.get(name) or 0) for name in _COUNTED}
    amounts = {
        name: read(row.get(name))
        for name in ("actual", "baseline", "projected", "l1_saved", "l2_saved", "bound_cost")
    }
    if not row["moved"]:
        return Cell(**counts, **amounts)
    return Cell(
        **counts,
        **amounts,
        moved_baseline=amounts["baseline"],
        moved_uncached=read(row["uncached"]),
        discount=_discount(row, rules, read),
    )


def _discount(
    row: Mapping[str, Any], rules: Sequence[PriceRule], read: Callable[[Any], int]
) -> int:
    """The discount of the target's rate for cached tokens, in whole 10^-15 USD."""
    if "provider_cache" in row:
        return read(row["provider_cache"]) * 1_000
    price = rules[row["rule"]].price
    per_token = femto_per_token(price.input_per_million - price.cached_rate)
    return int(row["charged"]) * per_token


_COUNTED = (
    *("requests", "recorded_hits", "projected_hits", "repriced_hits"),
    *("l1_hits", "l2_hits", "both_hits", "unhashed", "bound_hits"),
)
