"""Derive data/logged-after.parquet: what the gateway would have logged next, with the routes of
data/routes.yaml live.

    python scripts/make_after.py [OUTPUT]

The requests of the second half hour at their times, but who a route takes is answered by the
route's model: at its price, with its latency, and, as smaller models do, at greater length. What
the gateway's cache answered, and what failed, stays as it was.
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
"""How much longer the answers of a model are than those that it takes the place of."""


def takes(route: ProposedRoute, row: dict[str, Any]) -> bool:
    """Whether a route's conditions hold for a request; of conditions, those that data/routes.yaml
    uses.
    """
    when = route.when
    return (
        when.tag_equals in (None, row["tag"])
        and (not when.model_in or row["model"] in when.model_in)
        and (when.input_tokens_lt is None or row["input_tokens"] < when.input_tokens_lt)
        and (when.estimated_cost_gt is None or row["baseline_cost_usd"] > when.estimated_cost_gt)
    )


def rerouted(row: dict[str, Any], route: ProposedRoute) -> dict[str, Any]:
    """A request as the route's model answered it; as it was where that would have cost more than
    the route allows.
    """
    model = route.then.target_model
    provider, _, _, _, _, first, each = MODELS[model]
    output = math.ceil(row["output_tokens"] * LONGER.get(model, Decimal(1)))
    # What was in the first model's prompt cache is not in the other's yet.
    paid = price(model, row["input_tokens"], 0, output)
    if route.then.max_cost_usd is not None and paid > route.then.max_cost_usd:
        return row
    chance = Chance(UUID(row["id"])).of("latency after")
    noise = NormalDist(0, NOISE).inv_cdf(min(max(chance, 1e-6), 1 - 1e-6))
    upstream = round((first + 0.02 * row["input_tokens"] + each * output) * math.exp(noise))
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


def after(rows: list[dict[str, Any]], routes: list[ProposedRoute]) -> pa.Table:
    """The requests from `LIVE` on, each by the first route that takes it."""
    rows = []
    for row in rows:
        if row["ts"] < LIVE:
            continue
        route = next(
            (
                route
                for route in sorted(routes, key=lambda route: -route.priority)
                if takes(route, row)
            ),
            None,
        )
        rows.append(
            row if route is None or row["cached"] or row["status"] != 200 else rerouted(row, route)
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def main() -> None:
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "logged-after.parquet"
    rows = pq.read_table(DATA / "requests.parquet").to_pylist()
    write(after(rows, list(read_plan_file(DATA / "routes.yaml").routes)), output)


if __name__ == "__main__":
    main()
