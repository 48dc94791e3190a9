"""Derive data/logged-after.parquet: the log of the next half hour, with data/routes.yaml live.

    python scripts/make_after.py [OUTPUT]

The script takes the requests of the second half hour at their times. If a route matches a request,
the route's target model answers it: at its price, with its latency and, as smaller models do, with
a longer answer. Requests that the gateway's cache answered, or that failed, stay unchanged.
"""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statistics import NormalDist
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
from make_sample import DATA, MODELS, NOISE, SCHEMA, Chance, price, write

from ttplan.gateways.plan_file import read_plan_file
from ttplan.model.route import ProposedRoute

LIVE = datetime(2023, 11, 16, 18, 45, tzinfo=UTC)
"""When the routes went live, about half way through the hour."""
LONGER = {"gpt-4o-mini": Decimal("1.04"), "claude-haiku-4-5": Decimal("1.03")}
"""How much longer the answers of a model are than those that they replace."""


def matches(route: ProposedRoute, row: dict[str, Any]) -> bool:
    """Whether a request meets a route's conditions. Supports those that data/routes.yaml uses."""
    when = route.when
    return (
        when.tag_equals in (None, row["tag"])
        and (not when.model_in or row["model"] in when.model_in)
        and (when.input_tokens_lt is None or row["input_tokens"] < when.input_tokens_lt)
        and (when.estimated_cost_gt is None or row["baseline_cost_usd"] > when.estimated_cost_gt)
    )


def reroute(row: dict[str, Any], route: ProposedRoute) -> dict[str, Any]:
    """Return the request as answered by the route's model; unchanged if over the route's limit."""
    model = route.then.target_model
    provider, _, _, _, _, first_token_ms, token_ms = MODELS[model]
    output = math.ceil(row["output_tokens"] * LONGER.get(model, Decimal(1)))
    # The target's prompt cache is empty at first.
    paid = price(model, row["input_tokens"], 0, output)
    if route.then.max_cost_usd is not None and paid > route.then.max_cost_usd:
        return row
    chance = Chance(UUID(row["id"])).of("latency after")
    noise = NormalDist(0, NOISE).inv_cdf(min(max(chance, 1e-6), 1 - 1e-6))
    upstream = round(
        (first_token_ms + 0.02 * row["input_tokens"] + token_ms * output) * math.exp(noise)
    )
    return row | {
        "provider": provider,
        "model": model,
        "output_tokens": output,
        "cached_tokens": 0,
        "cost_usd": paid,
        "baseline_cost_usd": paid,
        "matched_route_id": str(route.id),
        "latency_ms": upstream + 6,
        "upstream_latency_ms": upstream,
    }


def log_after(rows: list[dict[str, Any]], routes: list[ProposedRoute]) -> pa.Table:
    """Return the requests from `LIVE` on, each answered by the first route that matches it."""
    routes = sorted(routes, key=lambda route: -route.priority)
    logged = []
    for row in rows:
        if row["ts"] < LIVE:
            continue
        route = next((route for route in routes if matches(route, row)), None)
        if route is None or row["cached"] or row["status"] != 200:
            logged.append(row)
        else:
            logged.append(reroute(row, route))
    return pa.Table.from_pylist(logged, schema=SCHEMA)


def main() -> None:
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "logged-after.parquet"
    rows = pq.read_table(DATA / "requests.parquet").to_pylist()
    write(log_after(rows, list(read_plan_file(DATA / "routes.yaml").routes)), output)


if __name__ == "__main__":
    main()
