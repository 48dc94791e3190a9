"""The prefix of each prompt that its provider has cached, in the logged world and in the routed
one.

The prompts of a session grow: each is taken to begin with the one before it. A model has a prefix
cached if the same session asked the same model within the cache's lifetime.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

import ibis
import ibis.expr.types as ir

from ttplan.engine.full.shape import AUTOMATIC, EXPLICIT, Shape
from ttplan.engine.full.windows import with_any, with_previous


def with_warm_prefixes(rows: ir.Table, shape: Shape) -> ir.Table:
    """`rows` with `logged_warm` and `routed_warm`, tokens of the prompt that are cached, and
    `caches`: whether the model that answers caches the prompt.

    Rows without a session are never warm. `rows` has `session`, `logged_model` and `routed_model`
    (numbers, negative where no model is asked), `routed_input`, `moved` and the parameters of its
    pair.
    """
    if not shape.sessions:
        zero, no = ibis.literal(0, "int64"), ibis.literal(False)
        return rows.mutate(logged_warm=zero, routed_warm=zero, caches=no, source_caches=no)
    rows = _with_explicit_sessions(rows, shape)
    explicit = rows.explicit_session
    own = rows.session.notnull()
    source_caches = own & (
        (rows.source_mode == AUTOMATIC) | ((rows.source_mode == EXPLICIT) & explicit)
    )
    target_caches = own & (
        (rows.target_mode == AUTOMATIC)
        | ((rows.target_mode == EXPLICIT) & (explicit | rows.breakpoints))
    )
    rows = rows.mutate(
        source_caches=source_caches,
        caches=rows.moved.ifelse(target_caches, source_caches),
        routed_minimum=rows.moved.ifelse(rows.target_minimum, rows.source_minimum),
        routed_ttl=rows.moved.ifelse(rows.target_ttl, rows.source_ttl),
    )
    rows = with_previous(rows, ("session", "logged_model"), ("input_tokens", "ts"), "logged_")
    rows = with_previous(rows, ("session", "routed_model"), ("routed_input", "ts"), "routed_")
    logged = _warm(rows, "logged", "input_tokens", "source", shape)
    routed = _warm(rows, "routed", "routed_input", "routed", shape)
    zero = ibis.literal(0, "int64")
    return rows.mutate(
        logged_warm=(rows.source_caches & (rows.logged_model >= 0)).ifelse(logged, zero),
        routed_warm=(rows.caches & (rows.routed_model >= 0)).ifelse(routed, zero),
    )


def _with_explicit_sessions(rows: ir.Table, shape: Shape) -> ir.Table:
    """`rows` with `explicit_session`: whether the client of a row's session sets cache breakpoints,
    which the cached tokens in its log show."""
    if not shape.cached_explicitly:
        return rows.mutate(explicit_session=ibis.literal(False))
    shows = (rows.source_mode == EXPLICIT) & (rows.charged + rows.cache_write_tokens > 0)
    return with_any(rows.mutate(shows=shows), "session", "shows", "explicit_session")


def _warm(rows: ir.Table, world: str, tokens: str, rule: str, shape: Shape) -> ir.IntegerValue:
    """The tokens that a request shares with the one before it, if that is recent enough."""
    before, at = rows[f"{world}_{tokens}"], rows[f"{world}_ts"]
    recent = reduce(
        or_,
        (
            (rows[f"{rule}_ttl"] == seconds) & (rows.ts <= at + ibis.interval(seconds=seconds))
            for seconds in shape.ttls
        ),
        ibis.literal(False),
    )
    prefix = ibis.least(before, rows[tokens])
    warm = before.notnull() & recent & (prefix >= rows[f"{rule}_minimum"])
    return warm.fill_null(False).ifelse(prefix, ibis.literal(0, "int64"))
