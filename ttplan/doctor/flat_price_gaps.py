"""What the flat prices of a plan leave out for rerouted requests, and the effect on the cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import ibis.expr.types as ir
import pyarrow as pa

from ttplan.engine.dialects import fetch
from ttplan.engine.project import map_requests
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import select_window
from ttplan.model.plan import PlanConfig
from ttplan.model.pricing import ModelPricing, split_price_key
from ttplan.prices.book import PriceBook
from ttplan.prices.catalogue import STANDARD
from ttplan.prices.costing import PRICES, expected_costs, filled_columns, price_rows, token_parts

_KINDS: Mapping[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "writes": ((("write", "input"), ("write_1h", "input")), "write to the provider's cache"),
    "audio": ((("in_audio", "input"), ("out_audio", "output")), "have audio"),
    "images": ((("in_image", "input"), ("out_image", "output")), "have images"),
    "reasoning": (
        (("reasoning", "output"),),
        "have reasoning, which their target charges at a rate of its own",
    ),
}
"""Kinds of tokens without a flat rate: pairs of their own rate and the flat rate used for them."""
_OTHERS = {
    "tier": "have a prompt so long that their target charges a higher rate",
    "fee": "pay their target a fee per request",
    "search": "pay their target a fee per web search",
}
_MONEY = "DECIMAL(38, 12)"


def flat_price_gaps(
    table: ir.Table, spec: ReplaySpec, book: PriceBook, at: datetime
) -> tuple[str, ...]:
    """Caveats on what the flat prices leave out for rerouted requests, each with its effect in USD.

    The targets' full prices are those of `book` as of `at`. Projected cache hits are not deducted.
    Only for logs in DuckDB; for others the result is empty.
    """
    backend: Any = table.get_backend()
    if backend.name != "duckdb":
        return ()
    kept = select_window(table, spec)
    providers = fetch(kept.select("provider").distinct())["provider"].to_pylist()
    prices = _target_prices(spec, book, at, sorted(filter(None, providers)))
    tiers = "service_tier" in table.columns
    if not prices.num_rows or not (_differs_from_flat(prices) or tiers):
        return ()
    # Without caches one pass is enough.
    plain = replace(spec, config=PlanConfig())
    with map_requests(table, plain) as mapped:
        moved = mapped.filter(mapped.moved).select("route", beyond_id=mapped.id)
        routes = pa.table(
            {
                "route": range(len(spec.active_routes)),
                "target": [r.then.target_model for r in spec.active_routes],
            }
        )
        connection = backend.con
        connection.register("beyond_prices", prices)
        connection.register(
            "beyond_routes",
            routes.cast(pa.schema([("route", pa.int64()), ("target", pa.string())])),
        )
        try:
            rows = (
                f"(SELECT r.* REPLACE (t.target AS model) FROM ({backend.compile(kept)}) r "  # noqa: S608
                f"JOIN ({backend.compile(moved)}) m ON m.beyond_id = r.id "
                "JOIN beyond_routes t ON t.route = m.route)"
            )
            return tuple(_caveats(connection, rows, kept.columns, prices))
        finally:
            connection.unregister("beyond_prices")
            connection.unregister("beyond_routes")


def _target_prices(
    spec: ReplaySpec, book: PriceBook, at: datetime, providers: list[str]
) -> pa.Table:
    """The prices of each target for requests of each provider, as `expected_costs` reads them."""
    rows: list[dict[str, Any]] = []
    for target in sorted({route.then.target_model for route in spec.active_routes}):
        for provider in providers:
            owner = _owner(spec.pricing, provider, target)
            schedule = None if owner is None else book.schedule(owner, target)
            for period in () if schedule is None else schedule.periods:
                day = replace(period, day_from=0, day_until=86_400)
                if day.holds(at):
                    key = {
                        "provider": provider,
                        "model": target,
                        "endpoint": None,
                        "service_tier": None,
                    }
                    rows.extend(price_rows(key, replace(period, start=None, end=None), len(rows)))
    return pa.Table.from_pylist(rows, schema=PRICES)


def _owner(pricing: Mapping[str, ModelPricing], provider: str, target: str) -> str | None:
    """The provider whose price a plan uses for a target."""
    if f"{provider}:{target}" in pricing:
        return provider
    return next(
        (owner for owner, model in map(split_price_key, sorted(pricing)) if model == target), None
    )


def _differs_from_flat(prices: pa.Table) -> bool:
    pairs = [pair for kinds, _ in _KINDS.values() for pair in kinds]
    rows = prices.to_pylist()
    return any(row["fee"] or row["search_fee"] or row["over_tokens"] > 0 for row in rows) or any(
        row[f"rate_{own}"] != row[f"rate_{flat}"] for row in rows for own, flat in pairs
    )


def _caveats(
    connection: Any, rows: str, columns: tuple[str, ...], prices: pa.Table
) -> Iterator[str]:
    have = filled_columns(connection, rows, columns) - {
        "endpoint",
        "service_tier",
        "cached",
        "status",
    }
    split = token_parts(have)
    sums = {
        name: " + ".join(
            f"n_{own}::DECIMAL(12, 0) * (p.rate_{own} - p.rate_{flat})"
            for own, flat in kinds
            if own in split
        )
        for name, (kinds, _) in _KINDS.items()
    }
    extras = [f"({sql})::{_MONEY} AS x_{name}" for name, sql in sums.items() if sql]
    tier = "r.service_tier" if "service_tier" in columns else "NULL"
    kept = ", ".join(
        [
            "r.input_tokens, r.output_tokens, least(r.cached_tokens, r.input_tokens) AS charged",
            f"lower(trim({tier})) AS tier",
            "p.rate_input, p.rate_cached, p.rate_output",
            f"p.fee::{_MONEY} AS x_fee",
            f"(n_searches::DECIMAL(6, 0) * p.search_fee)::{_MONEY} AS x_search",
            *extras,
        ]
    )
    flat = " + ".join(
        f"{count}::DECIMAL(12, 0) * (f.rate_{name} - b.rate_{name})"
        for count, name in (
            ("(f.input_tokens - f.charged)", "input"),
            ("f.charged", "cached"),
            ("f.output_tokens", "output"),
        )
    )
    names = ["tier", *(name for name, sql in sums.items() if sql), "fee", "search"]
    counted = ", ".join(
        f"count(*) FILTER (x_{name} <> 0), coalesce(sum(x_{name}), 0)" for name in names
    )
    priced = expected_costs(rows, "beyond_prices", have, kept)
    standard = ", ".join(f"'{name}'" for name in sorted(STANDARD))
    (totals,) = connection.sql(
        f"SELECT {counted}, count(*) FILTER (tier NOT IN ({standard})), "  # noqa: S608
        f"coalesce(sum(full_usd) FILTER (tier NOT IN ({standard})), 0) "
        f"FROM (SELECT f.*, ({flat})::{_MONEY} AS x_tier "
        f"FROM ({priced}) f LEFT JOIN beyond_prices b ON b.piece = f.base_piece)"
    ).fetchall()
    descriptions = _OTHERS | {name: text for name, (_, text) in _KINDS.items()}
    for name, count, usd in zip(names, totals[0::2], totals[1::2], strict=False):
        if count:
            yield _caveat(count, descriptions[name], usd)
    count, usd = totals[-2:]
    if count:
        yield (
            f"{count:,} rerouted {_requests(count)} ran as batch, flex or priority; "
            f"the plan has their target at its standard rate, {usd:,.2f} USD in all."
        )


def _caveat(count: int, what: str, usd: Decimal) -> str:
    side = "more" if usd > 0 else "less"
    digits = 2 if abs(usd) >= 1 else 6
    return (
        f"{count:,} rerouted {_requests(count)} {what}; the plan's flat prices leave that out: "
        f"the projected cost would be {abs(usd):,.{digits}f} USD {side}."
    )


def _requests(count: int) -> str:
    return "request" if count == 1 else "requests"
