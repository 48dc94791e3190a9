"""The projected cost of each request, once the recorded costs have been compared with prices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir

from ttplan.engine.causes import CAUSES, with_causes
from ttplan.engine.dialects import money_type
from ttplan.engine.full.money import (
    as_usd,
    at_least_zero,
    product,
    rounded,
    scaled,
    times,
    total_of,
    whole_name,
)
from ttplan.engine.full.requests import (
    ANSWERED,
    INPUT_PARTS,
    OUTPUT_PARTS,
    exact_cost,
    follows_price,
    spread,
    with_target_parts,
    with_tokens,
)
from ttplan.engine.full.sessions import with_warm_prefixes
from ttplan.engine.full.shape import Shape


class Flags(NamedTuple):
    """Which parts of `with_projected` differ from nothing for some pair."""

    factors: bool
    redo: bool
    rest: bool
    fill: bool


def with_cold(rows: ir.Table, terms: ir.Table, carried: ir.Table, shape: Shape) -> ir.Table:
    """`rows` (of `route_requests`, with session values) with the columns of their terms and of
    `carried`, their cached prefixes, `cold`, the exact cost on the target without a cached prefix,
    and the tokens of its parts (`with_target_parts`)."""
    known = terms.join(carried, [terms.pair == carried.carried_pair]).drop("pair")
    rows = with_tokens(with_warm_prefixes(rows.join(known, "term"), shape), shape)
    rows = with_target_parts(rows, shape)
    parts = {name: rows[f"n_{name}"] for name in shape.carries}
    return rows.mutate(
        cold=exact_cost(rows, parts, "target", shape),
        discount=product(parts["cached"], rows.target_discount),
        spread=spread(rows),
    )


def project_costs(
    rows: ir.Table, terms: ir.Table, carried: ir.Table, flags: Flags, shape: Shape
) -> ir.Table:
    """`rows` (as `with_cold` takes them) with the columns that a summary reads.

    A moved request costs its tokens on the target, less its cached prefix, times the factor that
    the gateway applies, plus the part of the recorded cost that stays, plus the share of answers
    that are asked again. A request that stays changes by what its own cached prefix gains or loses.
    """
    backend = rows.get_backend()
    money = "int64" if shape.pico else money_type(backend)
    zero = ibis.literal(0, money)

    def in_unit(amount: ir.NumericValue) -> ir.NumericValue:
        return amount if shape.pico else as_usd(amount, backend)

    rows = with_cold(rows, terms, carried, shape)
    rows = rows.mutate(
        read=scaled(rows.routed_warm, rows.fit),
        lost=scaled(rows.logged_warm, rows.fit) - scaled(rows.routed_warm, rows.fit),
    )
    if shape.marks:
        rows = rows.mutate(marks_read=scaled(rows.marked_warm, rows.fit))
    # One amount for both, since engines compute both branches of a CASE.
    shift = rounded(product(rows.lost.abs(), rows.spread.abs()), backend)
    rows = rows.mutate(
        amount=rows.moved.ifelse(target_cost(rows, rows.read, backend), shift),
        discount=total_of([product(rows.read, rows.spread), rows.discount], backend),
    )
    rows = rows.mutate(cache_size=rounded(rows.discount.abs(), backend))
    amount, listed, cache_size = rows.amount, rows.explained, rows.cache_size
    if flags.factors:
        own, other = _factor(rows, "source_factor"), _factor(rows, "factor")
        amount = times(amount, rows.moved.ifelse(other, own), backend)
        listed = times(listed, own, backend)
        cache_size = times(cache_size, other, backend)
    rows = rows.mutate(
        amount_usd=in_unit(amount),
        listed_usd=in_unit(listed),
        cache_size=in_unit(cache_size),
    )
    if flags.fill:
        rows = _filled(rows)
    if shape.reprices:
        rows = _repriced(rows, flags.factors, in_unit)
    cost, extra = rows.amount_usd, zero
    rest_usd = (rows.cost_usd - rows.listed_usd.fill_null(rows.cost_usd)).cast(money)
    if flags.rest:
        cost = cost + rows.rest_stays.ifelse(rest_usd, zero)
    if flags.redo:
        share = rows.redo_micro if shape.pico else rows.redo_share
        again = times(rows.cost_usd, share, backend)
        cost, extra = cost + again, rows.moved.ifelse(again, zero)
    negative = (rows.lost < 0) != (rows.spread < 0)
    shift = negative.ifelse(-rows.amount_usd, rows.amount_usd)
    kept = rows.source_caches & ~rows.failed & ~rows.cached & ~rows.hit & (rows.lost != 0)
    shift = kept.ifelse(shift, zero).fill_null(zero)
    if shape.attempts:
        again = times(rows.attempt, rows.attempt_share, backend).cast(money).fill_null(zero)
        shift = (shift + again).cast(money)
        extra = rows.moved.ifelse(extra, again)
    moved_usd = ibis.greatest(cost, zero).cast(money)
    kept_usd = ibis.greatest(rows.cost_usd + shift, zero).cast(money)
    answered = rows.cached & (~rows.moved | (rows.outcome == ANSWERED)) & ~rows.bypass
    cache_usd = (rows.discount < 0).ifelse(-rows.cache_size, rows.cache_size)
    rows = rows.mutate(
        uncached_usd=rows.moved.ifelse(moved_usd, kept_usd),
        provider_cache_usd=rows.moved.ifelse(cache_usd, zero).fill_null(zero),
        rest_usd=rows.moved.ifelse(rest_usd, zero),
        projected_hit=rows.hit | answered,
        **({"extra_usd": extra.cast(money)} if flags.redo or shape.attempts else {}),
    )
    rows = with_causes(rows, shape)
    kept = {*_KEPT, *(_WHOLE if shape.whole else ())}
    kept_columns = [
        name for name in rows.columns if name in kept or name.startswith(("n_", "marks_"))
    ]
    kept_columns = [name for name in kept_columns if name not in _RESTS]
    model, served = rows.pair_model, rows.target_name
    if not shape.whole:  # numbers are copied and compared faster than texts
        model, served = rows.model_number, rows.target_number
    amounts = {name: rows[name] for name in _AMOUNTS if name in rows.columns}
    amounts["projected_usd"] = rows.hit.ifelse(zero, rows.uncached_usd)
    if shape.pico:
        if "l1_hit" not in rows.columns:  # no hit is projected
            amounts["projected_usd"] = amounts.pop("uncached_usd")
        amounts = {whole_name(name): values for name, values in amounts.items()}
    answer = {}
    if shape.whole or shape.scaled or "reasoning" in shape.carries:
        answer = {"projected_output": rows.moved.ifelse(rows.new_output, rows.output_tokens)}
    return rows.select(
        *kept_columns,
        **amounts,
        model=model,
        route=rows.pair_route,
        hit=rows.projected_hit,
        served=rows.moved.ifelse(served, model),
        answered=~rows.failed & ~rows.cached,
        **answer,
    )


def _filled(rows: ir.Table) -> ir.Table:
    """`rows` with the price of those that are recorded at no cost."""
    lost = rows.fill & (rows.cost_usd == 0) & ~rows.failed & ~rows.cached & (rows.listed_usd > 0)
    money = rows.cost_usd.type()
    cost = lost.fill_null(False).ifelse(rows.listed_usd.cast(money), rows.cost_usd)
    return rows.mutate(
        filled_usd=(cost - rows.cost_usd).cast(money),
        cost_usd=cost.cast(money),
        baseline_cost_usd=ibis.greatest(rows.baseline_cost_usd, cost).cast(money),
    )


def _repriced(
    rows: ir.Table, factors: bool, in_unit: Callable[[ir.NumericValue], ir.NumericValue]
) -> ir.Table:
    """`rows` whose recorded costs change with the price of their model until the plan's moment."""
    backend, money = rows.get_backend(), rows.cost_usd.type()
    current = rows.current
    if factors:
        current = times(current, _factor(rows, "source_factor"), backend)
    current = in_unit(current)
    zero = ibis.literal(0, money)
    change = follows_price(rows).ifelse((current - rows.listed_usd).cast(money), zero)
    cost = ibis.greatest(rows.cost_usd + change, zero).cast(money)
    return rows.mutate(
        listed_usd=(rows.listed_usd + change).cast(money),
        cost_usd=cost,
        baseline_cost_usd=ibis.greatest(rows.baseline_cost_usd + change, zero).cast(money),
    )


def target_cost(rows: ir.Table, read: ir.IntegerValue, backend: Any) -> ir.NumericValue:
    """The rounded cost of `rows` (of `with_cold`) on the target, less that of the cached tokens."""
    reads = product(read, rows.spread)
    return rounded(at_least_zero(total_of([rows.cold, -reads], backend)), backend)


def _factor(rows: ir.Table, name: str) -> ir.NumericValue:
    """A factor as `times` takes it."""
    return rows[f"{name}_micro" if rows.explained.type().is_integer() else name]


_WHOLE = ("id", "ts", "input_tokens")
_RESTS = {f"{of}_{parts[-1]}" for of in ("n", "marks") for parts in (INPUT_PARTS, OUTPUT_PARTS)}
"""What the other parts leave is not kept."""
_AMOUNTS = (
    *(f"{cause}_usd" for cause in CAUSES),
    "cost_usd",
    "baseline_cost_usd",
    "uncached_usd",
    "provider_cache_usd",
    "rest_usd",
    "filled_usd",
)
_KEPT = (
    "output_tokens",
    "cached",
    "latency_ms",
    "tag",
    "body_lower",
    "cluster",
    "minute",
    "outcome",
    "reason",
    "moved",
    "l1_hit",
    "l1_bound",
    "l2_hit",
    "l2_mask",
    "pair",
    "target_piece",
    "read",
    "routed_warm",
    "new_input",
    "searches",
)
