"""The values of each request that are resampled, and its projected latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ttplan.engine.cost import REROUTED, price_rules
from ttplan.engine.dialects import as_amounts, as_integers, fetch, fetch_from
from ttplan.engine.intervals.bootstrap import FloatRows, Rows
from ttplan.engine.replay_spec import ReplaySpec


def fetch_rows(mapped: ir.Table, medians: Mapping[str, int], spec: ReplaySpec) -> Rows:
    """The values of each mapped row that are resampled, in id order."""
    routed = routed_medians(medians, spec)
    table = fetch_from(
        mapped, _resampled, spec.counts_hits, tuple(routed), numbers=tuple(routed.values())
    )
    return Rows(
        difference=as_amounts(table["difference"]),
        baseline=as_amounts(table["baseline"]),
        actual_difference=as_amounts(table["actual_difference"]),
        hit=np.asarray(table["counted_hit"].to_numpy(), dtype=np.bool_),
        latency=as_integers(table["latency"].drop_null()),
    )


def _resampled(
    mapped: ir.Table, projects_hits: bool, routes: Sequence[int], *medians: int
) -> ir.Table:
    columns = mapped.select(
        "id",
        difference=mapped.baseline_cost_usd - mapped.projected_usd,
        baseline=mapped.baseline_cost_usd,
        actual_difference=mapped.cost_usd - mapped.projected_usd,
        counted_hit=mapped.hit if projects_hits else mapped.cached,
        latency=projected_latency(mapped, dict(zip(routes, medians, strict=True))),
    )
    return columns.order_by("id")


def fetch_float_rows(mapped: ir.Table, medians: Mapping[str, int], spec: ReplaySpec) -> FloatRows:
    """The values of each mapped row that `tt-plan-core` resamples, in id order, with costs in
    float64."""
    columns = mapped.select(
        "id",
        "rule",
        "outcome",
        "hit",
        "charged",
        "input_tokens",
        "output_tokens",
        "cached",
        baseline=mapped.baseline_cost_usd.cast("string"),
        actual=mapped.cost_usd.cast("string"),
        latency=projected_latency(mapped, routed_medians(medians, spec)),
    )
    table = fetch(columns.order_by("id"))
    rules = price_rules(spec.active_routes, spec.pricing)
    rates = np.array(
        [
            (
                float(r.price.input_per_million),
                float(r.price.cached_rate),
                float(r.price.output_per_million),
            )
            for r in rules
        ]
        or [(0.0, 0.0, 0.0)]
    )[as_integers(table["rule"])]
    charged, output = as_integers(table["charged"]), as_integers(table["output_tokens"])
    fresh = as_integers(table["input_tokens"]) - charged
    routed = fresh * rates[:, 0] / 1e6 + charged * rates[:, 1] / 1e6 + output * rates[:, 2] / 1e6
    hit = np.asarray(table["hit"].to_numpy(), dtype=np.bool_)
    rerouted = as_integers(table["outcome"]) == REROUTED
    return FloatRows(
        baseline=_floats(table["baseline"]),
        projected=np.where(hit, 0.0, np.where(rerouted, routed, _floats(table["actual"]))),
        hit=np.asarray(table["cached"].to_numpy(), dtype=np.bool_),
        latency=as_integers(table["latency"].drop_null()),
    )


def routed_medians(medians: Mapping[str, int], spec: ReplaySpec) -> dict[int, int]:
    """The median latency (ms) of each route's target, by the route's position; only known ones."""
    targets = [route.then.target_model for route in spec.active_routes]
    return {i: medians[target] for i, target in enumerate(targets) if target in medians}


def projected_latency(mapped: ir.Table, medians: Mapping[int, int]) -> ir.IntegerColumn:
    """The latency (ms) of each mapped row after its route, by `routed_medians`; null if the log has
    none. The rows of a full projection have it already."""
    if "projected_latency_ms" in mapped.columns:
        return mapped.projected_latency_ms
    branches = [
        (
            mapped.latency_ms.notnull() & (mapped.outcome >= REROUTED) & (mapped.route == route),
            ibis.literal(median, "int64"),
        )
        for route, median in medians.items()
    ]
    return ibis.cases(*branches, else_=mapped.latency_ms) if branches else mapped.latency_ms


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """The nearest double of each decimal, from its digits: engines' casts may not round
    correctly."""
    return np.array([float(text) for text in column.to_pylist()], dtype=np.float64)
