"""Projected latency: a rerouted request takes its target model's median."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.engine.cost import REROUTED
from ttplan.engine.summary import largest_amounts
from ttplan.model.route import ProposedRoute


class Latencies(NamedTuple):
    """Requests by projected and by recorded latency (ms), and how many have no latency or no
    projection."""

    counts: dict[int, int]
    recorded: dict[int, int]
    medians: dict[str, int]
    missing: int
    unprojected: int


def latency_counts(mapped: ir.Table) -> ir.Table:
    """Requests by model, destination and recorded latency, with `largest_amounts`, which saves a
    pass."""
    sent = mapped.mutate(to=(mapped.outcome >= REROUTED).ifelse(mapped.route, -1))
    return sent.group_by("model", "to", "latency_ms").aggregate(
        requests=sent.count(), **largest_amounts(sent)
    )


def project_latencies(counts: pa.Table, routes: Sequence[ProposedRoute]) -> Latencies:
    """From `latency_counts`: the window's medians by model, then the requests by projected
    latency."""
    known = counts.filter(counts["latency_ms"].is_valid())
    medians = target_medians(counts, routes)
    projected: Counter[int] = Counter()
    recorded: Counter[int] = Counter()
    unprojected = 0
    for to, part in _by_destination(known).items():
        target = routes[to].then.target_model if to >= 0 else None
        own = dict(zip(part["latency_ms"].to_pylist(), part["requests"].to_pylist(), strict=True))
        recorded.update(own)
        if target is None:
            projected.update(own)
        elif target in medians:
            projected[medians[target]] += sum(own.values())
        else:
            projected.update(own)
            unprojected += sum(own.values())
    missing = sum(counts.filter(counts["latency_ms"].is_null())["requests"].to_pylist())
    return Latencies(
        dict(sorted(projected.items())),
        dict(sorted(recorded.items())),
        medians,
        missing,
        unprojected,
    )


def target_medians(counts: pa.Table, routes: Sequence[ProposedRoute]) -> dict[str, int]:
    """The median latency (ms) by target model: element n // 2 of the sorted list, if there is
    any."""
    known = counts.filter(counts["latency_ms"].is_valid())
    targets = {route.then.target_model for route in routes}
    return {
        model: median for model in sorted(targets) if (median := _median(known, model)) is not None
    }


def percentile(counts: Mapping[int, int], q: float) -> float:
    """Element `round_half_away(q * (n - 1))` of the sorted values; 0 if there are none."""
    values, cumulated = cumulate(counts)
    if len(values) == 0:
        return 0.0
    return float(
        values[np.searchsorted(cumulated, percentile_rank(q, int(cumulated[-1])), side="right")]
    )


def percentile_rank(q: float, n: int) -> int:
    """The 0-based rank of percentile `q` among `n` sorted values, as the reference computes it."""
    exact = q * (n - 1)
    return int(exact) + (exact - int(exact) >= 0.5)


def cumulate(counts: Mapping[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The distinct values in order, and how many requests have at most each."""
    values = np.fromiter(sorted(counts), dtype=np.int64, count=len(counts))
    return values, np.cumsum(
        np.fromiter((counts[v] for v in values.tolist()), dtype=np.int64, count=len(counts))
    )


def _median(known: pa.Table, model: str) -> int | None:
    own = (
        known.filter(pc.equal(known["model"], model))
        .group_by("latency_ms")
        .aggregate([("requests", "sum")])
    )
    if own.num_rows == 0:
        return None
    values, cumulated = cumulate(
        dict(zip(own["latency_ms"].to_pylist(), own["requests_sum"].to_pylist(), strict=True))
    )
    return int(values[np.searchsorted(cumulated, int(cumulated[-1]) // 2, side="right")])


def _by_destination(known: pa.Table) -> dict[int, pa.Table]:
    summed = (
        known.group_by(["to", "latency_ms"])
        .aggregate([("requests", "sum")])
        .rename_columns(["to", "latency_ms", "requests"])
    )
    return {
        to: summed.filter(pc.equal(summed["to"], to))
        for to in sorted(set(summed["to"].to_pylist()))
    }
