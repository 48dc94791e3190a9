"""The cost of a routed request, in exact decimals without floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import reduce
from operator import and_
from typing import NamedTuple

import ibis
import ibis.expr.types as ir

from ttplan.engine.dialects import MAX_ROW_MONEY, ROW_MONEY_TYPE, half_away
from ttplan.model.money import money_floor
from ttplan.model.pricing import ModelPricing, split_price_key
from ttplan.model.route import ProposedRoute

NO_ROUTE, NO_PRICE = -1, -1
# A price per million has 9 digits, so a price per token has 15; below 10^9 per million it has 4
# before the point.
PRICE_TYPE = "decimal(19, 15)"
# Tokens below 10^12. Their product with a price then has 33 digits: no engine needs to cut any.
TOKENS_TYPE = "decimal(12, 0)"
_RATES = ("input_price", "cached_price", "output_price")

UNCHANGED, UNPRICED, REROUTED, REFUSED = 0, 1, 2, 3
"""Outcomes: no route matches; the target has no price; the request is rerouted; the ceiling refuses
it."""


class PriceRule(NamedTuple):
    """The price for requests of one route (by index) and provider; None is every other provider."""

    route: int
    provider: str | None
    price: ModelPricing


def money_literal(amount: Decimal) -> ir.DecimalScalar:
    """An amount to compare with, clamped to the column's type; no request's cost is beyond it."""
    return ibis.literal(min(max(amount, -MAX_ROW_MONEY), MAX_ROW_MONEY), ROW_MONEY_TYPE)


def target_prices(
    target: str, pricing: Mapping[str, ModelPricing]
) -> list[tuple[str | None, ModelPricing]]:
    """The prices of a target by provider, then, under None, the price for every other provider.

    A provider's own price is that of `provider:target`; the price for the others is that of the
    first key with that model. Empty if nothing prices the target.
    """
    suffix = f":{target}"
    keys = sorted(pricing)
    other = [pricing[key] for key in keys if split_price_key(key)[1] == target][:1]
    own = [
        (key.removesuffix(suffix), pricing[key])
        for key in keys
        if key.endswith(suffix) and [pricing[key]] != other
    ]
    return [*own, *((None, price) for price in other)]


def price_rules(
    routes: Sequence[ProposedRoute], pricing: Mapping[str, ModelPricing]
) -> list[PriceRule]:
    """The price rules of the routes' targets."""
    return [
        PriceRule(index, provider, price)
        for index, route in enumerate(routes)
        for provider, price in target_prices(route.then.target_model, pricing)
    ]


def with_cost(
    table: ir.Table, routes: Sequence[ProposedRoute], rules: Sequence[PriceRule]
) -> ir.Table:
    """`table` (with `route` and `hit`) and columns `rule`, `outcome`, `moved`, `uncached_usd`,
    `projected_usd`.

    A cost is `((input - cached) * input price + cached * cached price + output * output price) /
    10^6`, rounded half away from zero to 12 digits. A projected cache hit costs 0 and is never
    refused; `moved` and `uncached_usd` hold if no gateway cache has the response.
    """
    table = with_charged(table, rule=_rule_index(table, rules))
    table = table.mutate(**{name: _token_price(table, rules, name) for name in _RATES})
    table = table.mutate(femto=_unrounded(table, *(table[name] for name in _RATES)))
    table = table.mutate(routed_usd=half_away(table.femto, table.get_backend())).drop("femto")
    outcome = ibis.cases(
        (table.route == NO_ROUTE, UNCHANGED),
        (table.rule == NO_PRICE, UNPRICED),
        *_refusals(table, routes),
        else_=REROUTED,
    )
    table = table.mutate(outcome=outcome.cast("int16"), moved=_moved(table, routes))
    zero = ibis.literal(Decimal(0), ROW_MONEY_TYPE)
    table = table.mutate(uncached_usd=table.moved.ifelse(table.routed_usd, table.cost_usd))
    return table.mutate(projected_usd=table.hit.ifelse(zero, table.uncached_usd))


def _moved(table: ir.Table, routes: Sequence[ProposedRoute]) -> ir.BooleanValue:
    """Whether a request goes to its route's target if no cache has the response."""
    return reduce(
        and_,
        (~over for over in _over_ceiling(table, routes)),
        (table.route != NO_ROUTE) & (table.rule != NO_PRICE),
    )


def with_charged(table: ir.Table, **also: ir.Value) -> ir.Table:
    """`table` with a column `charged`, the input tokens billed at the cached rate, and columns
    `also`."""
    return table.mutate(charged=ibis.least(table.cached_tokens, table.input_tokens), **also)


def with_target_cost(
    table: ir.Table, name: str, prices: Sequence[tuple[str | None, ModelPricing]]
) -> ir.Table:
    """`table` (with `charged`) and a column `name`: the cost of each request at prices of
    `target_prices`.

    The last price must be the one under None, so that every request has a price.
    """
    rates = {f"{name}_{rate}": _provider_price(table, prices, rate) for rate in _RATES}
    priced = table.mutate(**rates)
    raw = priced.mutate(femto=_unrounded(priced, *(priced[rate] for rate in rates)))
    return raw.mutate(**{name: half_away(raw.femto, table.get_backend())}).drop("femto", *rates)


def _unrounded(
    table: ir.Table, fresh_rate: ir.Value, cached_rate: ir.Value, output_rate: ir.Value
) -> ir.DecimalValue:
    """The cost of a request to 10^-15 USD. Engines share no work between branches of a CASE, so
    this is a stage of its own."""
    return (
        token_cost(table.input_tokens - table.charged, fresh_rate)
        + token_cost(table.charged, cached_rate)
        + token_cost(table.output_tokens, output_rate)
    )


def token_cost(tokens: ir.IntegerValue, price: ir.DecimalValue) -> ir.DecimalValue:
    """The exact cost of that many tokens, with 15 digits after the point."""
    return tokens.cast(TOKENS_TYPE) * price


def _provider_price(
    table: ir.Table, prices: Sequence[tuple[str | None, ModelPricing]], name: str
) -> ir.DecimalValue:
    *own, (_, other) = prices
    default = _per_token(other, name)
    # Most targets have one price for all providers: a constant, which an engine folds.
    branches = [
        (table.provider == provider, ibis.literal(_per_token(price, name), PRICE_TYPE))
        for provider, price in own
        if _per_token(price, name) != default
    ]
    constant = ibis.literal(default, PRICE_TYPE)
    return ibis.cases(*branches, else_=constant).cast(PRICE_TYPE) if branches else constant


def _rule_index(table: ir.Table, rules: Sequence[PriceRule]) -> ir.IntegerValue:
    if not rules:
        return ibis.literal(NO_PRICE, "int16")
    branches = [
        (
            table.route == rule.route
            if rule.provider is None
            else (table.route == rule.route) & (table.provider == rule.provider),
            ibis.literal(i, "int16"),
        )
        for i, rule in enumerate(rules)
    ]
    return ibis.cases(*branches, else_=ibis.literal(NO_PRICE, "int16"))


def _token_price(table: ir.Table, rules: Sequence[PriceRule], name: str) -> ir.DecimalValue:
    zero = ibis.literal(Decimal(0), PRICE_TYPE)
    if not rules:
        return zero
    branches = [
        (table.rule == i, ibis.literal(_per_token(rule.price, name), PRICE_TYPE))
        for i, rule in enumerate(rules)
    ]
    return ibis.cases(*branches, else_=zero).cast(PRICE_TYPE)


def _per_token(price: ModelPricing, name: str) -> Decimal:
    per_million = {
        "input_price": price.input_per_million,
        "cached_price": price.cached_rate,
        "output_price": price.output_per_million,
    }
    return per_million[name].scaleb(-6)


def _refusals(
    table: ir.Table, routes: Sequence[ProposedRoute]
) -> list[tuple[ir.BooleanValue, int]]:
    return [(over & ~table.hit, REFUSED) for over in _over_ceiling(table, routes)]


def _over_ceiling(table: ir.Table, routes: Sequence[ProposedRoute]) -> list[ir.BooleanValue]:
    """For each route with a ceiling, whether a row matches it and would cost more."""
    return [
        (table.route == i)
        & (table.routed_usd > money_literal(money_floor(route.then.max_cost_usd)))
        for i, route in enumerate(routes)
        if route.then.max_cost_usd is not None
    ]
