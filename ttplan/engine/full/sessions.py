"""The prefix of each prompt that its provider has cached, in the logged world and in the routed
one.

The prompts of a session grow: each is taken to begin with the one before it. A model has a prefix
cached if the same session asked the same model within the cache's lifetime.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from ttplan.engine.full.shape import AUTOMATIC, EXPLICIT, Shape
from ttplan.engine.full.windows import World

LOGGED = World("logged", "logged_model", "input_tokens")
ROUTED = World("routed", "routed_model", "routed_input")


def shows_cache(rows: ir.Table) -> ir.BooleanValue:
    """Whether the cached tokens of a row show that its client sets cache breakpoints."""
    written = rows.cache_write_tokens if "cache_write_tokens" in rows.columns else 0
    return (rows.source_mode == EXPLICIT) & (rows.charged + written > 0)


def with_warm_prefixes(rows: ir.Table, shape: Shape) -> ir.Table:
    """`rows` with `logged_warm` and `routed_warm`, tokens of the prompt that are cached,
    `source_caches`, and `caches`: whether the model that answers caches the prompt.

    If `shape.marks`, also `marked_warm`: the prefix that would be cached at clients' breakpoints.
    Rows without a session are never warm. `rows` are of `with_session_values`, with the columns of
    their pair.
    """
    zero, no = ibis.literal(0, "int64"), ibis.literal(False)
    if not shape.sessions:
        also = {"marked_warm": zero} if shape.marks else {}
        return rows.mutate(logged_warm=zero, routed_warm=zero, caches=no, source_caches=no, **also)
    explicit = rows.explicit_session if shape.cached_explicitly else no
    source_caches = rows.in_session & (
        (rows.source_mode == AUTOMATIC) | ((rows.source_mode == EXPLICIT) & explicit)
    )
    target_caches = rows.in_session & (
        (rows.target_mode == AUTOMATIC)
        | ((rows.target_mode == EXPLICIT) & (explicit | rows.breakpoints))
    )
    rows = rows.mutate(
        source_caches=source_caches,
        caches=rows.moved.ifelse(target_caches, source_caches),
        own_ttl=rows.moved.ifelse(rows.target_ttl, rows.source_ttl),
        own_minimum=rows.moved.ifelse(rows.target_minimum, rows.source_minimum),
    )
    # A stage of its own: DuckDB shares no work between branches of a CASE.
    rows = rows.mutate(
        logged_prefix=_prefix(rows, LOGGED, rows.source_ttl, rows.source_minimum),
        routed_prefix=_prefix(rows, ROUTED, rows.own_ttl, rows.own_minimum),
    )
    also = {}
    if shape.marks:
        marked = rows.in_session & rows.moved & (rows.target_mode == EXPLICIT) & ~explicit
        also["marked_warm"] = marked.ifelse(rows.routed_prefix, zero)
    return rows.mutate(
        **also,
        logged_warm=rows.source_caches.ifelse(rows.logged_prefix, zero),
        routed_warm=rows.caches.ifelse(rows.routed_prefix, zero),
    )


def _prefix(
    rows: ir.Table, world: World, ttl: ir.IntegerValue, minimum: ir.IntegerValue
) -> ir.IntegerValue:
    """The tokens that a request shares with the one before it on the same model, if that is recent
    enough; 0 if no model answers."""
    before, gap = rows[f"{world.name}_before"], rows[f"{world.name}_gap"]
    prefix = ibis.least(before, rows[world.tokens])
    warm = before.notnull() & (gap <= ttl) & (prefix >= minimum) & (rows[world.model] >= 0)
    return warm.fill_null(False).ifelse(prefix, ibis.literal(0, "int64"))
