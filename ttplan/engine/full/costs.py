"""The projected cost of each request, once the recorded costs have been compared with prices."""

from __future__ import annotations

from decimal import Decimal

import ibis
import ibis.expr.types as ir

from ttplan.engine.cost import PRICE_TYPE, token_cost
from ttplan.engine.dialects import (
    ROW_MONEY_TYPE,
    half_away,
    half_away_product,
    money_type,
)
from ttplan.engine.full.requests import ANSWERED
from ttplan.engine.full.shape import MICRO

_FACTOR_TYPE = "decimal(10, 6)"
_FACTORED_TYPE = "decimal(27, 12)"
"""Money that is multiplied with a factor: engines keep the product, of 38 digits, whole."""
_NOTHING = ibis.literal(Decimal(0), "decimal(38, 15)")


def with_projected(
    rows: ir.Table,
    carried: ir.Table,
    factors: bool,
    redo: bool,
    rest: bool,
    fill: bool,
    attempts: bool,
) -> ir.Table:
    """`rows` (of `with_cold_costs`) with the columns that a summary reads.

    A moved request costs its tokens on the target, less its cached prefix, times the factor that
    the gateway applies, plus the part of the recorded cost that stays, plus the share of answers
    that are asked again. A request that stays changes by what its own cached prefix gains or loses.
    `factors`, `redo` and `rest` say which of these differ from nothing for some pair, and `fill`
    whether requests that are recorded at no cost take their price.
    """
    rows = rows.join(carried, [rows.pair == carried.carried_pair])
    backend = rows.get_backend()
    money = money_type(backend)
    zero = ibis.literal(Decimal(0), ROW_MONEY_TYPE)
    rows = rows.mutate(
        read=fitted(rows.routed_warm, rows.fit), logged_read=fitted(rows.logged_warm, rows.fit)
    )
    rows = rows.mutate(
        exact=(rows.cold - token_cost(rows.read, rows.spread)).cast("decimal(38, 15)"),
        lost=rows.logged_read - rows.read,
    )
    rows = rows.mutate(
        target_usd=half_away(ibis.greatest(rows.exact, _NOTHING), backend),
        shift_size=half_away(token_cost(rows.lost.abs(), rows.spread.abs()), backend),
    )
    if factors:
        rows = rows.mutate(
            target_usd=_times(rows.target_usd, rows.factor, backend),
            shift_size=_times(rows.shift_size, rows.source_factor, backend),
            listed_usd=_times(rows.explained_usd, rows.source_factor, backend),
        )
    else:
        rows = rows.mutate(listed_usd=rows.explained_usd)
    if fill:
        rows = _filled(rows)
    if "current_usd" in rows.columns:
        rows = _repriced(rows, factors)
    cost = rows.target_usd
    rest_usd = (rows.cost_usd - rows.listed_usd.fill_null(rows.cost_usd)).cast(money)
    rows = rows.mutate(rest_usd=rows.moved.ifelse(rest_usd, zero.cast(money)))
    if rest:
        cost = cost + rows.rest_stays.ifelse(rows.rest_usd, zero.cast(money))
    if redo:
        cost = cost + _times(rows.cost_usd, rows.redo_share, backend)
    negative = (rows.lost < 0) != (rows.spread < 0)
    shift = negative.ifelse(-rows.shift_size, rows.shift_size)
    kept = rows.source_caches & ~rows.failed & ~rows.cached & ~rows.hit & (rows.lost != 0)
    shift = kept.ifelse(shift, zero.cast(money)).fill_null(zero.cast(money))
    if attempts:
        again = _times(rows.attempt_usd, rows.attempt_share, backend).cast(money)
        shift = (shift + again.fill_null(zero.cast(money))).cast(money)
    moved_usd = ibis.greatest(cost, zero.cast(money)).cast(money)
    kept_usd = ibis.greatest(rows.cost_usd + shift, zero.cast(money)).cast(money)
    rows = rows.mutate(uncached_usd=rows.moved.ifelse(moved_usd, kept_usd))
    projected = rows.hit.ifelse(zero.cast(money), rows.uncached_usd)
    answered = rows.cached & (~rows.moved | (rows.outcome == ANSWERED)) & ~rows.bypass
    rows = rows.mutate(
        projected_usd=projected,
        hit=rows.hit | answered,
        provider_cache_usd=_cache_discount(rows, factors, backend),
        rule=ibis.literal(0, "int16"),
        served=rows.moved.ifelse(rows.target_name, rows.model),
        answered=~rows.failed & ~rows.cached,
        projected_output=rows.moved.ifelse(rows.new_output, rows.output_tokens),
    )
    return rows.select(*_kept_columns(rows))


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


def _repriced(rows: ir.Table, factors: bool) -> ir.Table:
    """`rows` whose recorded costs change with the price of their model until the plan's moment."""
    backend, money = rows.get_backend(), rows.cost_usd.type()
    current = _times(rows.current_usd, rows.source_factor, backend) if factors else rows.current_usd
    priced = ~rows.failed & ~rows.cached
    change = (current - rows.listed_usd).cast(money)
    change = priced.ifelse(change, None).fill_null(ibis.literal(Decimal(0), money))
    cost = ibis.greatest(rows.cost_usd + change, ibis.literal(Decimal(0), money)).cast(money)
    return rows.mutate(
        listed_usd=(rows.listed_usd + change).cast(money),
        cost_usd=cost,
        baseline_cost_usd=ibis.greatest(
            rows.baseline_cost_usd + change, ibis.literal(Decimal(0), money)
        ).cast(money),
    )


def fitted(warm: ir.IntegerValue, fit: ir.IntegerValue) -> ir.IntegerValue:
    return (warm * fit * 2 + MICRO) // (2 * MICRO)


def _times(amount: ir.DecimalValue, factor: ir.DecimalValue, backend: object) -> ir.DecimalValue:
    return half_away_product(amount.cast(_FACTORED_TYPE) * factor.cast(_FACTOR_TYPE), backend)


def _cache_discount(rows: ir.Table, factors: bool, backend: object) -> ir.DecimalValue:
    """What the provider's cache takes off the cost of a moved request."""
    recorded = (rows.target_rate_input - rows.target_rate_cached).cast(PRICE_TYPE)
    exact = token_cost(rows.read, rows.spread) + token_cost(rows.n_cached, recorded)
    exact = exact.cast("decimal(38, 15)")
    size = half_away(exact.abs(), backend)
    if factors:
        size = _times(size, rows.factor, backend)
    zero = ibis.literal(Decimal(0), ROW_MONEY_TYPE).cast(money_type(backend))
    signed = (exact < 0).ifelse(-size, size)
    return rows.moved.ifelse(signed, zero).fill_null(zero)


_KEPT = (
    "id",
    "org_id",
    "ts",
    "provider",
    "model",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cost_usd",
    "baseline_cost_usd",
    "cached",
    "latency_ms",
    "tag",
    "body_lower",
    "cluster",
    "route",
    "outcome",
    "reason",
    "rule",
    "moved",
    "hit",
    "l1_hit",
    "l2_hit",
    "l2_mask",
    "uncached_usd",
    "projected_usd",
    "provider_cache_usd",
    "rest_usd",
    "filled_usd",
    "pair",
    "target_piece",
    "read",
    "routed_warm",
    "new_input",
    "served",
    "answered",
    "projected_output",
    "searches",
)


def _kept_columns(rows: ir.Table) -> list[str]:
    parts = [name for name in rows.columns if name.startswith("n_")]
    return [name for name in (*_KEPT, *parts) if name in rows.columns]
