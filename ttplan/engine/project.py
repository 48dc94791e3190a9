"""Map: each logged request with its route, outcome, projected cost and cache hit, as one table
expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import reduce
from operator import and_, or_
from typing import NamedTuple

import ibis
import ibis.expr.types as ir

from ttplan.engine.cache import KEY, has_bit, with_hashed_hits, with_l1_hits, with_l2_mask
from ttplan.engine.cost import NO_ROUTE, PriceRule, money_literal, price_rules, with_cost
from ttplan.engine.dialects import compiled, fetch, is_eager, materialised, numbered
from ttplan.engine.full.log_facts import fetch_log_facts
from ttplan.engine.full.project import FullMapping, map_full, prepare, rows_of, shape_of
from ttplan.engine.full.rows import failed, hash_of_prompt, modality_columns, with_route
from ttplan.engine.full.shape import RowShape
from ttplan.engine.intervals.clusters import period_start
from ttplan.engine.intervals.infer import resamples
from ttplan.engine.replay_spec import (
    JOINING,
    KEEPING,
    LOOKING_UP,
    ORDERING,
    SEMANTIC,
    ClusterKey,
    ReplaySpec,
)
from ttplan.engine.rows import (
    PERIODS,
    LeftOut,
    check_columns,
    count_window,
    lower,
    rows_in_scope,
    select_window,
    typed_columns,
)
from ttplan.engine.semantic_cache.hits import ServedPair, Sweep, diverged_or_short
from ttplan.engine.semantic_cache.read import read_lookups
from ttplan.engine.semantic_cache.sweep import sweep_thresholds
from ttplan.model.money import money_ceiling, money_floor
from ttplan.model.route import ProposedRoute, RouteConditions
from ttplan.util.monitor import SILENT, PassCallback

_SEMANTIC_COLUMNS = ("finish_reason", "embedding")


class MappedWindow(NamedTuple):
    """The mapped rows of a window, their number, how many were left out, and the semantic hits.

    `spec` has no threshold for semantic hits if `sweep` is None: hits that cannot be projected
    count as recorded. `full` has what a full projection was mapped with.
    `whole` is as in `map_window`, `session` the column of the sessions that may be resampled.
    """

    rows: ir.Table
    total: int
    left_out: LeftOut
    spec: ReplaySpec
    sweep: Sweep | None
    full: FullMapping | None = None
    whole: bool = True
    session: str | None = None


@contextmanager
def map_window(
    table: ir.Table,
    spec: ReplaySpec,
    progress: PassCallback = SILENT.report,
    *,
    whole: bool = True,
) -> Iterator[MappedWindow]:
    """Check and count the rows of a spec's window, find semantic hits, and map the rows, for the
    block.

    Without `whole`, those of a full projection have neither id, time nor input tokens, of tag and
    body only whether there is one, and numbers for the models; of the time those that may be
    resampled by it have the `minute`. Logs whose requests are resampled are whole.

    Raises InputError if the table is not one of requests.
    """
    count, left_out = count_window(table, spec)
    sweep = find_semantic_hits(table, spec, progress) if count else None
    if sweep is None:
        spec = spec.without_l2_hits()
    with ExitStack() as stack:
        full, session = None, None
        whole = whole or not spec.is_full or resamples(spec, count)
        if spec.is_full:
            rows, full = stack.enter_context(_map_full(table, spec, sweep, progress, whole))
            session = full.log.session
        else:
            rows = stack.enter_context(map_requests(table, spec, sweep, progress))
            if spec.is_auto and count:
                session = _session_column(select_window(table, spec), spec)
        yield MappedWindow(rows, count, left_out, spec, sweep, full, whole, session)


@contextmanager
def map_whole(table: ir.Table, window: MappedWindow) -> Iterator[ir.Table]:
    """The mapped rows of the window of a full projection with all their columns, for the block."""
    with _map_full(table, window.spec, window.sweep, SILENT.report, whole=True) as (rows, _):
        yield rows


@contextmanager
def map_requests(
    table: ir.Table,
    spec: ReplaySpec,
    sweep: Sweep | None = None,
    progress: PassCallback = SILENT.report,
) -> Iterator[ir.Table]:
    """The rows of the spec's window and organisation with the outcome of each, for the block.

    Columns in addition to the log's: `route`, `hit` (by a cache level whose hits count for cost)
    and those of `with_cost`; `cluster` if the spec names one; if a cache is projected also
    `l1_hit`, `l2_hit` and `l2_mask`, the thresholds of `sweep` at which a row is a hit, as bits.
    """
    routes = tuple(spec.active_routes)
    rules = tuple(price_rules(routes, spec.pricing))
    ttl = spec.config.l1_ttl_seconds
    with ExitStack() as first, ExitStack() as second:
        window = first.enter_context(compiled(table, rows_in_scope, spec.scope))
        session = _session_column(window, spec)
        cluster = spec.cluster_key(session)
        if ttl is None and sweep is None:
            yield first.enter_context(
                compiled(window, _map_uncached, cluster, routes, rules, session)
            )
            return
        progress(KEEPING, 0.0)
        keep = materialised if ttl is None else numbered
        hashes = spec.is_full and ttl is not None
        kept = first.enter_context(keep(window, _route_rows, cluster, routes, session, hashes))
        with_hits = _with_hits(kept, spec, sweep, progress)
        progress(JOINING, 0.0)
        # A table of its own: above a join, DuckDB's planner takes a second for the expressions on
        # it.
        hits = second.enter_context(
            materialised(with_hits.mutate(hit=with_hits.l1_hit | with_hits.l2_hit))
        )
        if is_eager(hits):  # frees memory for the passes that follow
            first.close()
        yield second.enter_context(compiled(hits, with_cost, routes, rules))


@contextmanager
def _map_full(
    table: ir.Table, spec: ReplaySpec, sweep: Sweep | None, progress: PassCallback, whole: bool
) -> Iterator[tuple[ir.Table, FullMapping]]:
    """As `map_requests`, for a full projection."""
    projected = spec.config.l1_ttl_seconds is not None or sweep is not None
    with ExitStack() as first, ExitStack() as second:
        window = first.enter_context(compiled(table, rows_in_scope, spec.scope))
        log, inputs, pairs = prepare(window, spec)
        row_shape, shape = shape_of(spec, log, inputs, pairs, whole)
        if projected:
            progress(KEEPING, 0.0)
            keep = materialised if spec.config.l1_ttl_seconds is None else numbered
            kept = first.enter_context(keep(window, _full_rows, row_shape))
            with_hits = _with_hits(kept, spec, sweep, progress)
            progress(JOINING, 0.0)
            rows = second.enter_context(
                materialised(with_hits.mutate(hit=with_hits.l1_hit | with_hits.l2_hit))
            )
            if is_eager(rows):
                first.close()
        else:
            rows = second.enter_context(compiled(window, _full_rows, row_shape))
        yield second.enter_context(map_full(rows, spec, log, inputs, pairs, shape))


def _full_rows(window: ir.Table, shape: RowShape) -> ir.Table:
    return rows_of(window, shape, _cluster_key, matches)


def _map_uncached(
    window: ir.Table,
    cluster: ClusterKey | None,
    routes: Sequence[ProposedRoute],
    rules: Sequence[PriceRule],
    session: str | None,
) -> ir.Table:
    rows = _routed(_typed_rows(window, cluster, session), routes)
    return with_cost(rows.mutate(hit=ibis.literal(False)), routes, rules)


def _route_rows(
    window: ir.Table,
    cluster: ClusterKey | None,
    routes: Sequence[ProposedRoute],
    session: str | None,
    hashes: bool,
) -> ir.Table:
    rows = _routed(_typed_rows(window, cluster, session, hashes), routes)
    if "body_lower" not in rows.columns:
        return rows
    # The routes have read the body; from here on only its presence matters.
    return rows.mutate(body_lower=rows.body_lower.notnull().ifelse("", ibis.null("string")))


def _typed_rows(
    window: ir.Table, cluster: ClusterKey | None, session: str | None, hashes: bool = False
) -> ir.Table:
    also = {} if cluster is None else {"cluster": _cluster_key(window, cluster)}
    if hashes:
        also["prompt_hash"] = hash_of_prompt(window)
    if session is not None:
        also["session"] = window[session].cast("string")
    return typed_columns(window, **also)


def _routed(rows: ir.Table, routes: Sequence[ProposedRoute]) -> ir.Table:
    """`rows` with `route`, and without `session`."""
    routed = with_route(rows, routes, matches)
    return routed.drop("session") if "session" in rows.columns else routed


def _session_column(window: ir.Table, spec: ReplaySpec) -> str | None:
    """The column that tells which requests a sticky route keeps together, and which may be one
    cluster; None if none is needed."""
    if not (spec.is_auto or any(route.sticky for route in spec.active_routes)):
        return None
    return fetch_log_facts(window, spec.config.session).session


def find_semantic_hits(
    table: ir.Table,
    spec: ReplaySpec,
    progress: PassCallback = SILENT.report,
    pairs: list[ServedPair] | None = None,
) -> Sweep | None:
    """The hits of a semantic cache at each threshold; None if no cache is set or no row has an
    embedding. `pairs` receives all of them."""
    ttl, thresholds = spec.config.l2_ttl_seconds, spec.config.l2_threshold_sweep
    if ttl is None or not thresholds or "embedding" not in table.columns:
        return None
    check_columns(table, _SEMANTIC_COLUMNS)
    kept = select_window(table, spec)
    if spec.cache_bypassing:
        kept = _with_raw_route(kept, spec)
    if spec.is_full:
        kept = kept.filter(~failed(kept))
    progress(SEMANTIC, 0.0)
    counts = fetch(
        kept.aggregate(rows=kept.count(), without=kept.embedding.isnull().sum())
    ).to_pylist()[0]
    without = int(counts["without"] or 0)
    total = max(1, int(counts["rows"]) - without)
    embedded = kept.filter(kept.embedding.notnull())
    for name in ("finish_reason", "answer_hash"):
        if name not in embedded.columns:
            embedded = embedded.mutate(**{name: ibis.null("string")})
    if spec.cache_bypassing:
        embedded = embedded.filter(~_bypasses_cache(embedded, spec))
    sweep = sweep_thresholds(
        read_lookups(embedded),
        thresholds,
        ttl,
        progress=lambda rows: progress(SEMANTIC, rows / total),
        differs=diverged_or_short if spec.is_full else None,
        pairs=pairs,
    )
    sweep.without_embedding = without
    return sweep if sweep.total else None


def _with_hits(
    kept: ir.Table, spec: ReplaySpec, sweep: Sweep | None, progress: PassCallback
) -> ir.Table:
    """`kept` with `l1_hit`, `l2_hit` and `l2_mask`."""
    ttl = spec.config.l1_ttl_seconds
    if ttl is None:
        table = kept.mutate(l1_hit=ibis.literal(False))
    else:
        progress(ORDERING, 0.0)
        find = _with_hashed_hits if spec.is_full else _with_proxy_hits
        table = find(kept, spec, ttl, progress)
    table = with_l2_mask(table, sweep)
    return table.mutate(l2_hit=_l2_hit(table, spec))


def _with_proxy_hits(
    kept: ir.Table, spec: ReplaySpec, ttl: int, progress: PassCallback
) -> ir.Table:
    total = max(1, int(fetch(kept.aggregate(n=kept.count()))["n"][0].as_py()))
    bypass = _bypasses_cache(kept, spec)
    return with_l1_hits(kept, ttl, bypass, lambda rows: progress(LOOKING_UP, rows / total))


def _with_hashed_hits(
    kept: ir.Table, spec: ReplaySpec, ttl: int, progress: PassCallback
) -> ir.Table:
    """`kept` with hits by the hash of the prompt, and without one those that are possible."""
    rows = fetch(kept.aggregate(n=kept.count(), hashed=kept.prompt_hash.count())).to_pylist()[0]
    total, hashed = int(rows["n"]), int(rows["hashed"])
    steps = max(1, hashed + (total if hashed < total else 0))
    ignored = spec.config.l1_upper_bound_ignores
    texts = tuple(name for name in KEY.texts if name not in ignored)
    return with_hashed_hits(
        kept.mutate(served=_served(kept, spec.active_routes)),
        ttl,
        _bypasses_cache(kept, spec),
        KEY._replace(texts=texts, tokens="input_tokens" not in ignored),
        (hashed, total - hashed),
        lambda rows: progress(LOOKING_UP, rows / steps),
    )


def _served(kept: ir.Table, routes: Sequence[ProposedRoute]) -> ir.StringValue:
    """The target of a row's route; empty if it has none."""
    if not routes:
        return ibis.literal("")
    branches = [
        (kept.route == i, ibis.literal(route.then.target_model)) for i, route in enumerate(routes)
    ]
    return ibis.cases(*branches, else_=ibis.literal(""))


def _with_raw_route(window: ir.Table, spec: ReplaySpec) -> ir.Table:
    """A window as it was logged, with `route`."""
    session = _session_column(window, spec)
    if session is not None:
        window = window.mutate(session=window[session].cast("string"))
    if spec.is_full:
        window = window.mutate(**modality_columns(window, spec.active_routes))
    return with_route(window, spec.active_routes, matches)


def _bypasses_cache(kept: ir.Table, spec: ReplaySpec) -> ir.BooleanValue:
    """Requests that neither read nor fill a cache: of some routes, and failed ones."""
    bypass = kept.route.isin(spec.cache_bypassing) & (kept.route != NO_ROUTE)
    return bypass | kept.failed if "failed" in kept.columns else bypass


def _l2_hit(table: ir.Table, spec: ReplaySpec) -> ir.BooleanValue:
    threshold = spec.config.l2_threshold
    if threshold is None:
        return ibis.literal(False)
    return has_bit(table.l2_mask, spec.config.l2_threshold_sweep.index(threshold))


def _cluster_key(table: ir.Table, cluster: ClusterKey) -> ir.StringValue:
    if cluster.name in PERIODS:
        return period_start(table.ts, PERIODS[cluster.name]).cast("string")
    key = table[cluster.name].cast("string")
    return ibis.coalesce(key, table.id.cast("string")) if cluster.null_alone else key


# --- conditions of routes -------------------------------------------------------------------------


def route_index(table: ir.Table, routes: Sequence[ProposedRoute]) -> ir.IntegerColumn:
    """The position in `routes` (in order of precedence) of the first that matches each row by
    itself, or `NO_ROUTE`."""
    if not routes:
        return ibis.literal(NO_ROUTE, "int16")
    branches = [
        (matches(table, route.when), ibis.literal(i, "int16")) for i, route in enumerate(routes)
    ]
    return ibis.cases(*branches, else_=ibis.literal(NO_ROUTE, "int16"))


def matches(table: ir.Table, when: RouteConditions) -> ir.BooleanValue:
    """Whether all conditions hold. A condition on a value that a row lacks is false, or null, which
    CASE takes as false."""
    conditions = [
        build(table, getattr(when, name))
        for name, build in _CONDITIONS.items()
        if getattr(when, name) is not None and getattr(when, name) != ()
    ]
    return reduce(and_, conditions, ibis.literal(True))


def _prompt_contains(table: ir.Table, keywords: tuple[str, ...]) -> ir.BooleanValue:
    if "body_lower" not in table.columns:
        return ibis.literal(False)
    return reduce(or_, (table.body_lower.contains(lower(keyword)) for keyword in keywords))


def _has(table: ir.Table, column: str, value: bool) -> ir.BooleanValue:
    """Only full projections read whether a request has images or audio."""
    if column not in table.columns:
        return ibis.literal(False)
    return table[column] if value else ~table[column]


_CONDITIONS: dict[str, Callable[..., ir.BooleanValue]] = {
    "model_in": lambda t, models: t.model.isin(models),
    "input_tokens_lt": lambda t, bound: t.input_tokens < bound,
    "input_tokens_gt": lambda t, bound: t.input_tokens > bound,
    "tag_equals": lambda t, tag: t.tag == tag,
    "has_images": lambda t, value: _has(t, "has_images", value),
    "has_audio": lambda t, value: _has(t, "has_audio", value),
    "prompt_contains_any_of": _prompt_contains,
    "estimated_cost_gt": lambda t, bound: t.baseline_cost_usd > money_literal(money_floor(bound)),
    "estimated_cost_lt": lambda t, bound: t.baseline_cost_usd < money_literal(money_ceiling(bound)),
}
