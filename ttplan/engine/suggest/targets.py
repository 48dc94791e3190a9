"""Requests with what each would cost on every target, as one table expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import ibis
import ibis.expr.types as ir

from ttplan.engine.cost import target_prices, with_charged, with_target_cost
from ttplan.engine.full.requests import INELIGIBLE
from ttplan.model.money import MONEY_STEP
from ttplan.model.pricing import ModelPricing


def on_targets(
    rows: ir.Table, targets: Sequence[str], pricing: Mapping[str, ModelPricing]
) -> ir.Table:
    """`rows` and, for each target, `projected_<i>` and `saved_<i>`, in USD, and whether it cannot
    serve the request: `unserved_<i>`. A flat rate serves all."""
    columns = (
        "ts",
        "provider",
        "model",
        "tag",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "cost_usd",
        "baseline_cost_usd",
        *_cluster(rows),
    )
    table = with_charged(rows.select(*columns))
    for i, target in enumerate(targets):
        table = with_target_cost(table, f"projected_{i}", target_prices(target, pricing))
        saved = table.cost_usd - table[f"projected_{i}"]
        zero = ibis.literal(Decimal(0), saved.type())
        # A request that is with the target already saves nothing by going there, whatever the price
        # list says of its cost.
        table = table.mutate(
            **{
                f"saved_{i}": (table.model == target).ifelse(ibis.least(saved, zero), saved),
                f"unserved_{i}": ibis.literal(False),
            }
        )
    return table


def on_targets_in_full(mapped: Sequence[ir.Table], targets: Sequence[str]) -> ir.Table:
    """As `on_targets`, of the rows of full projections that each send all requests to one
    target."""
    columns = ("ts", "model", "tag", "input_tokens", "cost_usd", "baseline_cost_usd")
    table = mapped[0].select("id", *columns, *_cluster(mapped[0]))
    for i, rows in enumerate(mapped):
        saved = rows.cost_usd - rows.projected_usd
        zero = ibis.literal(Decimal(0), saved.type())
        least = ibis.literal(-MONEY_STEP, saved.type())
        # A request that the target cannot serve saves nothing; the least loss there is makes a
        # route that leaves it out the better one.
        unserved = (rows.outcome == INELIGIBLE).ifelse(least, zero)
        own = rows.select(
            **{
                f"id_{i}": rows.id,
                f"projected_{i}": rows.projected_usd,
                f"saved_{i}": rows.moved.ifelse(saved, unserved),
                f"unserved_{i}": rows.outcome == INELIGIBLE,
            }
        )
        table = table.join(own, [table.id == own[f"id_{i}"]]).drop(f"id_{i}")
    return table


def with_began(rows: ir.Table) -> ir.Table:
    """`rows` and `began`: when the first request of each row's cluster arrived, if there are
    clusters, else when its own did."""
    if "cluster" not in rows.columns:
        return rows.mutate(began=rows.ts)
    first = rows.group_by(key=rows.cluster).aggregate(began=rows.ts.min())
    return rows.join(first, [rows.cluster == first.key]).drop("key")


def _cluster(rows: ir.Table) -> tuple[str, ...]:
    return ("cluster",) if "cluster" in rows.columns else ()
