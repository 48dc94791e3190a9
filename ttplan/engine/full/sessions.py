"""The prefix of each prompt that its provider has cached, in the logged world and in the routed
one.

The prompts of a session grow: each is taken to begin with the one before it. A model has a prefix
cached if the same session asked the same model within the cache's lifetime.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce
from operator import or_

import ibis
import ibis.expr.types as ir

from ttplan.engine.dialects import compiled
from ttplan.engine.full.shape import AUTOMATIC, EXPLICIT, Shape
from ttplan.engine.full.windows import World, with_session_values

_LOGGED = World("logged", "logged_model", "input_tokens")
_ROUTED = World("routed", "routed_model", "routed_input")


@contextmanager
def with_warm_prefixes(rows: ir.Table, shape: Shape, count: int) -> Iterator[ir.Table]:
    """`rows` with `logged_warm` and `routed_warm`, tokens of the prompt that are cached,
    `source_caches`, and `caches`: whether the model that answers caches the prompt; for the block.
    If `shape.marks`, also `marked_warm`: the prefix that would be cached at clients' breakpoints.

    Rows without a session are never warm. `rows` has `session`, `logged_model` and `routed_model`
    (numbers, negative where no model is asked), `routed_input`, `moved`, the parameters of its
    pair, and `count` rows.
    """
    with ExitStack() as stack:
        if shape.sessions:
            worlds = (_LOGGED, _ROUTED)
            explicit = shape.cached_explicitly
            rows = stack.enter_context(with_session_values(rows, worlds, explicit, count))
        yield stack.enter_context(compiled(rows, _with_warm, shape))


def shows_cache(rows: ir.Table) -> ir.BooleanValue:
    """Whether the cached tokens of a row show that its client sets cache breakpoints."""
    written = rows.cache_write_tokens if "cache_write_tokens" in rows.columns else 0
    return (rows.source_mode == EXPLICIT) & (rows.charged + written > 0)


def _with_warm(rows: ir.Table, shape: Shape) -> ir.Table:
    zero, no = ibis.literal(0, "int64"), ibis.literal(False)
    if not shape.sessions:
        also = {"marked_warm": zero} if shape.marks else {}
        return rows.mutate(logged_warm=zero, routed_warm=zero, caches=no, source_caches=no, **also)
    explicit = rows.explicit_session if shape.cached_explicitly else no
    own = rows.session.notnull()
    source_caches = own & (
        (rows.source_mode == AUTOMATIC) | ((rows.source_mode == EXPLICIT) & explicit)
    )
    target_caches = own & (
        (rows.target_mode == AUTOMATIC)
        | ((rows.target_mode == EXPLICIT) & (explicit | rows.breakpoints))
    )
    caches = rows.moved.ifelse(target_caches, source_caches)
    logged = _warm(rows, _LOGGED, rows.source_ttl, rows.source_minimum, shape)
    routed = _warm(
        rows,
        _ROUTED,
        rows.moved.ifelse(rows.target_ttl, rows.source_ttl),
        rows.moved.ifelse(rows.target_minimum, rows.source_minimum),
        shape,
    )
    also = {}
    if shape.marks:
        marked = own & rows.moved & (rows.target_mode == EXPLICIT) & ~explicit
        also["marked_warm"] = (marked & (rows.routed_model >= 0)).ifelse(routed, zero)
    return rows.mutate(
        **also,
        source_caches=source_caches,
        caches=caches,
        logged_warm=(source_caches & (rows.logged_model >= 0)).ifelse(logged, zero),
        routed_warm=(caches & (rows.routed_model >= 0)).ifelse(routed, zero),
    )


def _warm(
    rows: ir.Table, world: World, ttl: ir.IntegerValue, minimum: ir.IntegerValue, shape: Shape
) -> ir.IntegerValue:
    """The tokens that a request shares with the one before it, if that is recent enough."""
    before, at = rows[f"{world.name}_before"], rows[f"{world.name}_ts"]
    recent = reduce(
        or_,
        (
            (ttl == seconds) & (rows.ts <= at + ibis.interval(seconds=seconds))
            for seconds in shape.ttls
        ),
        ibis.literal(False),
    )
    prefix = ibis.least(before, rows[world.tokens])
    warm = before.notnull() & recent & (prefix >= minimum)
    return warm.fill_null(False).ifelse(prefix, ibis.literal(0, "int64"))
