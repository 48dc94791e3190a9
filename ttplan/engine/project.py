"""Map: the logged requests, each with its route, outcome, projected cost and cache hit, as one table expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

import ibis
import ibis.expr.types as ir

from ttplan.engine.cache import has_bit, with_l1_hits, with_l2_mask
from ttplan.engine.caveats import LeftOut
from ttplan.engine.cost import price_rules, with_cost
from ttplan.engine.dialects import compiled, fetch, is_eager, materialised, numbered
from ttplan.engine.intervals.clusters import period_start
from ttplan.engine.passes import JOINING, KEEPING, LOOKING_UP, ORDERING, SEMANTIC, Report, unheard
from ttplan.engine.replay_spec import Question
from ttplan.engine.routing import NO_ROUTE, route_index
from ttplan.engine.rows import as_read, broken, check_columns, refuse_broken
from ttplan.engine.semantic_cache.read import read_lookups
from ttplan.engine.semantic_cache.sweep import Sweep, sweep_thresholds

_LOOKED_UP = ("finish_reason", "embedding")


@contextmanager
def map_requests(
    table: ir.Table, question: Question, sweep: Sweep | None = None, report: Report = unheard
) -> Iterator[ir.Table]:
    """The rows of the question's window and organisation with what becomes of each, for the block.

    Columns beside the log's: `route`, `hit` (by a cache level whose hits count for cost) and those of `with_cost`; `cluster`
    where the question names one; where a cache is projected also `l1_hit`, `l2_hit` and `l2_mask`, the thresholds of `sweep` at
    which a row is a hit, as bits.
    """
    cluster = question.config.cluster
    routes = question.tried
    rules = price_rules(routes, question.pricing)
    kept = keep(table, question)
    rows = (
        as_read(kept)
        if cluster is None
        else as_read(kept, cluster=_CLUSTERS.get(cluster, _by_column)(kept, cluster))
    )
    rows = rows.mutate(route=route_index(rows, routes))
    ttl = question.config.l1_ttl_seconds
    if ttl is None and sweep is None:
        with compiled(with_cost(rows.mutate(hit=ibis.literal(False)), routes, rules)) as mapped:
            yield mapped
        return
    if (
        "body_lower" in rows.columns
    ):  # routes have read it: what is left to tell is whether there was one
        rows = rows.mutate(body_lower=rows.body_lower.notnull().ifelse("", ibis.null("string")))
    report(KEEPING, 0.0)
    with ExitStack() as first, ExitStack() as second:
        kept = first.enter_context((materialised if ttl is None else numbered)(rows))
        found = _with_hits(kept, question, sweep, report)
        report(JOINING, 0.0)
        # A table of its own: above a join, DuckDB's planner takes a second for the expressions that are built on it.
        hits = second.enter_context(materialised(found.mutate(hit=found.l1_hit | found.l2_hit)))
        if is_eager(hits):  # room for the passes that follow
            first.close()
        with compiled(with_cost(hits, routes, rules)) as mapped:
            yield mapped


def _with_hits(kept: ir.Table, question: Question, sweep: Sweep | None, report: Report) -> ir.Table:
    """`kept` with `l1_hit`, `l2_hit` and `l2_mask`."""
    ttl = question.config.l1_ttl_seconds
    if ttl is None:
        found = kept.mutate(l1_hit=ibis.literal(False))
    else:
        report(ORDERING, 0.0)
        total = max(1, int(fetch(kept.aggregate(n=kept.count()))["n"][0].as_py()))
        found = with_l1_hits(
            kept,
            ttl,
            _bypasses_cache(kept, question),
            lambda rows: report(LOOKING_UP, rows / total),
        )
    found = with_l2_mask(found, sweep)
    return found.mutate(l2_hit=_l2_hit(found, question))


def keep(table: ir.Table, question: Question) -> ir.Table:
    """The rows of the question's window and organisation."""
    return table.filter(_in_window(table, question), _of_org(table, question.org_id))


def find_semantic_hits(
    table: ir.Table, question: Question, report: Report = unheard
) -> Sweep | None:
    """What a semantic cache would have found at each threshold; None where none is asked for, or no row has an embedding."""
    ttl, thresholds = question.config.l2_ttl_seconds, question.config.l2_threshold_sweep
    if ttl is None or not thresholds or "embedding" not in table.columns:
        return None
    check_columns(table, _LOOKED_UP)
    kept = keep(table, question)
    report(SEMANTIC, 0.0)
    counts = fetch(
        kept.aggregate(rows=kept.count(), without=kept.embedding.isnull().sum())
    ).to_pylist()[0]
    without = int(counts["without"] or 0)
    total = max(1, int(counts["rows"]) - without)
    known = kept.filter(kept.embedding.notnull())
    if "finish_reason" not in known.columns:
        known = known.mutate(finish_reason=ibis.null("string"))
    if question.bypassing:
        known = known.mutate(route=route_index(known, question.tried))
        known = known.filter(~_bypasses_cache(known, question))
    found = sweep_thresholds(
        read_lookups(known), thresholds, ttl, read=lambda rows: report(SEMANTIC, rows / total)
    )
    found.without_embedding = without
    return found if found.total else None


def count_left_out(table: ir.Table, question: Question) -> tuple[int, LeftOut]:
    """How many rows the question keeps, and how many it leaves out and why.

    Raises InputError where the table is not one of requests: a column is missing or of another type, or a value is.
    """
    cluster = question.config.cluster
    check_columns(table, () if cluster is None or cluster in _CLUSTERS else (cluster,))
    inside, own = _in_window(table, question), _of_org(table, question.org_id)
    counts = fetch(
        table.aggregate(
            kept=(inside & own).sum(),
            late=(~inside).sum(),
            foreign=(inside & ~own).sum(),
            broken=(
                (inside & own & broken(table)) | table.ts.isnull() | table.org_id.isnull()
            ).sum(),
        )
    ).to_pylist()[0]
    if counts["broken"]:
        refuse_broken(table.filter((inside & own) | table.ts.isnull() | table.org_id.isnull()))
    return int(counts["kept"] or 0), LeftOut(int(counts["late"] or 0), int(counts["foreign"] or 0))


def _in_window(table: ir.Table, question: Question) -> ir.BooleanValue:
    start, end = (
        ibis.literal(at, "timestamp('UTC', 6)")
        for at in (question.window_start, question.window_end)
    )
    return (table.ts >= start) & (table.ts < end)


def _of_org(table: ir.Table, org_id: UUID) -> ir.BooleanValue:
    return table.org_id == ibis.literal(str(org_id)).cast(table.org_id.type())


def _bypasses_cache(kept: ir.Table, question: Question) -> ir.BooleanValue:
    return kept.route.isin(question.bypassing) & (kept.route != NO_ROUTE)


def _l2_hit(table: ir.Table, question: Question) -> ir.BooleanValue:
    chosen = question.config.l2_threshold
    if chosen is None:
        return ibis.literal(False)
    return has_bit(table.l2_mask, question.config.l2_threshold_sweep.index(chosen))


def _period(seconds: int) -> Callable[[ir.Table, str], ir.StringValue]:
    return lambda table, _name: period_start(table.ts, seconds).cast("string")


def _by_column(table: ir.Table, name: str) -> ir.StringValue:
    return table[name].cast("string")


_CLUSTERS: dict[str, Callable[[ir.Table, str], ir.StringValue]] = {
    "hour": _period(3_600),
    "day": _period(86_400),
}
