"""Map: the logged requests, each with its route, outcome, projected cost and cache hit, as one table expression."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import ibis
import ibis.expr.types as ir

from ttplan.engine.cache import with_l1_hits
from ttplan.engine.caveats import LeftOut
from ttplan.engine.cost import price_rules, with_cost
from ttplan.engine.portable import compiled, fetch, materialised
from ttplan.engine.question import Question
from ttplan.engine.routing import NO_ROUTE, route_index
from ttplan.engine.rows import as_read, broken, check_columns, refuse_broken


@contextmanager
def map_requests(table: ir.Table, question: Question) -> Iterator[ir.Table]:
    """The rows of the question's window and organisation with `route`, `hit`, `outcome` and `projected_usd`, for the block."""
    check_columns(table)
    routes = question.tried
    rules = price_rules(routes, question.pricing)
    kept = table.filter(_in_window(table, question), _of_org(table, question.org_id))
    kept = as_read(kept)
    kept = kept.mutate(route=route_index(kept, routes))
    ttl = question.config.l1_ttl_seconds
    if ttl is None:
        yield compiled(with_cost(kept.mutate(hit=ibis.literal(False)), routes, rules))
        return
    kept = compiled(kept)
    # A table of its own: above a join, DuckDB's planner takes a second for the expressions that are built on it.
    with materialised(with_l1_hits(kept, ttl, _bypasses_cache(kept, question))) as hits:
        yield compiled(with_cost(hits, routes, rules))


def count_left_out(table: ir.Table, question: Question) -> tuple[int, LeftOut]:
    """How many rows the question keeps, and how many it leaves out and why."""
    inside, own = _in_window(table, question), _of_org(table, question.org_id)
    counts = fetch(
        table.aggregate(
            kept=(inside & own).sum(),
            late=(~inside).sum(),
            foreign=(inside & ~own).sum(),
            broken=((inside & own & broken(table)) | table.ts.isnull() | table.org_id.isnull()).sum(),
        )
    ).to_pylist()[0]
    if counts["broken"]:
        refuse_broken(table.filter((inside & own) | table.ts.isnull() | table.org_id.isnull()))
    return int(counts["kept"] or 0), LeftOut(int(counts["late"] or 0), int(counts["foreign"] or 0))


def _in_window(table: ir.Table, question: Question) -> ir.BooleanValue:
    start, end = (ibis.literal(at, "timestamp('UTC', 6)") for at in (question.window_start, question.window_end))
    return (table.ts >= start) & (table.ts < end)


def _of_org(table: ir.Table, org_id: UUID) -> ir.BooleanValue:
    return table.org_id == ibis.literal(str(org_id)).cast(table.org_id.type())


def _bypasses_cache(kept: ir.Table, question: Question) -> ir.BooleanValue:
    uncached = [i for i, route in enumerate(question.tried) if route.then.disable_cache]
    return kept.route.isin(uncached) & (kept.route != NO_ROUTE)
