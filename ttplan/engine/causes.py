"""What a full projection changes of each request's cost, in a fixed order: prices, tokens, caches,
fees. What these leave of actual minus projected cost was recorded beside the list price."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import ibis
import ibis.expr.types as ir

from ttplan.engine.dialects import money_type
from ttplan.engine.full.money import amount, amount_sum, as_usd, has_amount, rounded
from ttplan.engine.full.requests import MEDIA, exact_cost, follows_price, split_tokens
from ttplan.engine.full.shape import Shape
from ttplan.model.results.parts import ChangeByCause

CAUSES = ("prices", "tokens", "caches", "fees")
"""The causes in their order; `recorded` is what they leave."""
_CACHING = ("cached", "write", "write_1h")
_SIDES = ("source", "target")


def with_causes(rows: ir.Table, shape: Shape) -> ir.Table:
    """`rows` with `<cause>_usd` for each of `CAUSES` that the shape can have.

    `rows` are of `project_costs`: `amount` is the list price of a moved request on its target,
    `uncached_usd` what a request costs if no gateway cache answers, and `extra_usd` what of it are
    answers that are asked again or cut off, if there are any.

    The tokens of a moved request are priced without a cache at the source and at the target, and
    then as many as the target has. A request that stays changes by its provider's cache alone, and
    one that a gateway's cache answers, or answered, by that cache.
    """
    backend = rows.get_backend()
    money = "int64" if shape.pico else money_type(backend)
    zero = ibis.literal(0, money)

    def in_unit(amount: ir.NumericValue) -> ir.NumericValue:
        return amount if shape.pico else as_usd(amount, backend)

    rows = _with_list_prices(rows, shape)
    counted = rows.list_counted if "list_counted" in rows.columns else rows.list_target
    listed: dict[str, ir.NumericValue] = {
        "prices": rows.list_source - rows.list_target,
        "tokens": rows.list_target - counted,
        "caches": counted - rows.amount - rows.list_source + rows.explained,
    }
    if shape.reprices:
        nothing = rows.explained - rows.explained
        listed["prices"] += follows_price(rows).ifelse(rows.current - rows.explained, nothing)
    if shape.fees:
        listed["fees"] = rows.source_fees - rows.target_fees
        listed["caches"] -= listed["fees"]
    known = rows.moved & rows.explained.notnull()
    rows = rows.mutate(
        **{
            f"{name}_usd": known.ifelse(in_unit(amount), zero).fill_null(zero)
            for name, amount in listed.items()
        }
    )
    if "extra_usd" in rows.columns:
        rows = rows.mutate(tokens_usd=(rows.tokens_usd - rows.extra_usd).cast(money))
    others = rows.prices_usd + rows.tokens_usd
    if shape.fees:
        others += rows.fees_usd
    by_cache = (rows.cost_usd - rows.uncached_usd - others).cast(money)
    caches = (~rows.moved | rows.cached).ifelse(by_cache, rows.caches_usd)
    hits = rows.hit.ifelse(rows.uncached_usd, zero)
    return rows.mutate(caches_usd=(caches + hits).cast(money))


def _with_list_prices(rows: ir.Table, shape: Shape) -> ir.Table:
    """`rows` with the list prices of their tokens without a cache: those of the source there and
    at the target, and, if their number may differ, those of the target (`list_counted`); and with
    the fees of both.

    A stage of its own: DuckDB shares no work between branches of a CASE.
    """
    backend = rows.get_backend()
    carries = tuple(name for name in shape.carries if name not in _CACHING)
    plain = shape._replace(carries=carries, fees=False)
    own = split_tokens(
        plain,
        rows.input_tokens,
        rows.output_tokens,
        {"reasoning": rows.hidden}
        | {name: rows[column] for name, (column, _) in MEDIA.items() if name in carries},
    )
    costs = {f"list_{side}": exact_cost(rows, own, side, plain) for side in _SIDES}
    if shape.scaled or "reasoning" in carries:
        counted = split_tokens(
            plain,
            rows.new_input,
            rows.new_output,
            {"reasoning": rows.new_hidden}
            | {name: rows[f"new_{name}"] for name in MEDIA if name in carries},
        )
        costs["list_counted"] = exact_cost(rows, counted, "target", plain)
    if shape.fees:
        costs |= {f"{side}_fees": exact_cost(rows, {}, side, shape) for side in _SIDES}
    return rows.mutate(**{name: rounded(cost, backend) for name, cost in costs.items()})


def cause_sums(rows: ir.Table) -> dict[str, ir.NumericScalar]:
    """The sum of each of `CAUSES` that mapped rows have."""
    backend = rows.get_backend()
    return {
        name: amount_sum(amount(rows, f"{name}_usd"), backend)
        for name in CAUSES
        if has_amount(rows, f"{name}_usd")
    }


def split_change(sums: Mapping[str, Decimal], change: Decimal) -> ChangeByCause:
    """The split of actual minus projected cost, given the sums (USD) of `CAUSES`.

    Examples
    --------
    >>> split_change({"prices": Decimal(5), "tokens": Decimal(-1)}, Decimal(3)).recorded
    Decimal('-1')
    """
    own = {name: sums.get(name, Decimal(0)) for name in CAUSES}
    return ChangeByCause(**own, recorded=change - sum(own.values(), Decimal(0)))
