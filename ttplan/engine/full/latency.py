"""Projected latency by output tokens: a moved request keeps its own ratio to its model's curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import exp, log, sqrt
from statistics import NormalDist
from typing import NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from ttplan.engine.dialects import Ints, as_integers, compiled, fetch_from, materialised
from ttplan.engine.full.latency_curves import (
    LONGEST,
    SHIFT,
    Curves,
    answered,
    fetch_curves,
    lookup,
    timings,
    with_bins,
)
from ttplan.engine.latency import cumulate, percentile, percentile_rank
from ttplan.model.plan import Interval

QUANTILES = (0.50, 0.95)
NEGLIGIBLE = 0.01
"""Up to this share of the requests around a percentile may come from medians whose standard error
is not known."""

_NONE = -1
"""In place of a piece."""
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.975)


class CurveErrors(NamedTuple):
    """The errors of the logarithms of the projected percentiles that come from the curves; None if
    not known."""

    p50: float | None
    p95: float | None


class FullLatencies(NamedTuple):
    """Requests by projected and by recorded latency (ms), and what the projection rests on.

    `missing` requests have no recorded latency. `unprojected` ones go to a model without history:
    their latency is not known, and they are in no count of `counts`. `extrapolated` ones have
    more or fewer output tokens than every answer of their target in the log.
    """

    counts: dict[int, int]
    recorded: dict[int, int]
    curves: Curves
    missing: int
    unprojected: int
    extrapolated: int
    errors: CurveErrors

    def widen(self, q: float, interval: Interval) -> Interval | None:
        """The 95 % interval of projected percentile `q` (0.5 or 0.95), from its sampling interval
        as `infer_intervals` makes it.

        None if it cannot be told: some requests have no known latency, or the errors of the
        curves are not known.
        """
        error = self.errors[QUANTILES.index(q)]
        if self.unprojected or error is None:
            return None
        return widened(interval, percentile(self.counts, q), error)


def project_full_latency(mapped: ir.Table) -> FullLatencies:
    """The projected latencies of a mapped table.

    `mapped` has the columns `model`, `served` (the model after routing), `moved` (the request
    really goes there, and it is another model), `latency_ms`, `output_tokens`, `projected_output`
    if it may differ, and, if known, `answered` (the latency is the model's own, neither a gateway's
    cache nor a failure).
    """
    with materialised(mapped, timings) as groups:
        rows = fetch_from(groups, _recorded)
        timed = rows.filter(rows["ms"].is_valid())
        ms, requests = as_integers(timed["ms"]), as_integers(timed["requests"])
        missing = sum(rows["requests"].to_pylist()) - int(requests.sum())
        stays = ~np.asarray(timed["moved"].to_numpy(), dtype=np.bool_)
        curves = fetch_curves(groups)
        with materialised(groups, _projection, curves) as projection:
            moved = fetch_from(projection, _projected)
            values = np.concatenate([ms[stays], as_integers(moved["ms"])])
            counts = _summed(values, np.append(requests[stays], as_integers(moved["requests"])))
            windows = [_window(counts, q) for q in QUANTILES]
            numbers = tuple(end for window in windows for end in window)
            by_piece = fetch_from(projection, _by_piece, numbers=numbers)
    target, reaching, outside = (
        as_integers(by_piece[name]) for name in ("target", "requests", "extrapolated")
    )
    errors = (
        _curve_error(curves, by_piece, i, _count_between(counts, *window))
        for i, window in enumerate(windows)
    )
    return FullLatencies(
        counts,
        _summed(ms, requests),
        curves,
        missing=missing,
        unprojected=int(reaching[target == _NONE].sum()),
        extrapolated=int(outside.sum()),
        errors=CurveErrors(*errors),
    )


@contextmanager
def with_projected_latency(mapped: ir.Table, curves: Curves) -> Iterator[ir.Table]:
    """`mapped` with a column `projected_latency_ms`, for the block; null if it is not known.

    A moved request has `round_half_away(target median * latency / source median)`. If its own
    latency is not its model's, or its source's median is 0, it has the target's median.
    """
    with (
        compiled(mapped, with_bins) as binned,
        materialised(binned, _with_latency, curves) as table,
    ):
        yield table


def widened(interval: Interval, estimate: float, error: float) -> Interval:
    """An interval of a latency percentile with a standard error of its logarithm added in
    quadrature, on each side.

    The two are added as if independent. If the same requests make a curve and are scaled by it,
    their errors partly cancel, so the interval is too wide rather than too narrow.
    """
    low, high = interval
    if error == 0 or estimate <= 0:
        return interval
    up = sqrt(log(max(high, estimate) / estimate) ** 2 + (_Z * error) ** 2)
    if low > 0:
        down = sqrt(log(estimate / min(low, estimate)) ** 2 + (_Z * error) ** 2)
        low = round(estimate * exp(-down), 3)
    return low, round(estimate * exp(min(up, 100.0)), 3)


def _with_latency(binned: ir.Table, curves: Curves) -> ir.Table:
    source, target = _codes(binned, curves)
    staged = binned.mutate(source_code=source, target_code=target)
    latency = _scaled(staged.moved, staged.latency_ms, staged.source_code, staged.target_code)
    staged = staged.mutate(projected_latency_ms=latency)
    return staged.drop("source_code", "target_code", "bin", "source_bin", "target_bin")


def _codes(binned: ir.Table, curves: Curves) -> tuple[ir.IntegerValue, ir.IntegerValue]:
    """The pieces of a moved request's source and target, each packed with its median; null if it
    has none.

    A target's piece is packed as `2 * position`, plus 1 if its answers are longer or shorter than
    all of the target's.
    """
    pieces = curves.pieces
    known = curves.positions.keys()
    sources = {
        model: [at * SHIFT + pieces[at].median for at in curves.by_bin(model)]
        for model in known & set(curves.sources)
    }
    targets = {
        model: [
            (2 * at + (not first <= k <= last)) * SHIFT + pieces[at].median
            for k, at in enumerate(curves.by_bin(model))
        ]
        for model, first, last in curves.ends
        if model in curves.targets
    }
    source = lookup(binned.model, binned.source_bin, sources)
    target = lookup(binned.served, binned.target_bin, targets)
    none = ibis.null("int64")
    return (binned.moved & answered(binned)).ifelse(source, none), binned.moved.ifelse(target, none)


def _scaled(
    moved: ir.BooleanValue,
    latency: ir.IntegerColumn,
    source: ir.IntegerValue,
    target: ir.IntegerValue,
) -> ir.IntegerValue:
    to, of = target % SHIFT, source % SHIFT
    own = ibis.least(latency, ibis.literal(LONGEST, "int64"))
    # Both below 2^53: engines divide whole numbers as floats, which is exact up to there.
    ratio = (to * own + of // 2) // of
    return ibis.cases(
        (latency.isnull() | ~moved, latency),
        (source.isnull() | (of == 0), to),
        else_=ratio,
    )


def _recorded(groups: ir.Table) -> ir.Table:
    """Requests by recorded latency and whether they move."""
    by = groups.group_by(ms=groups.latency_ms, moved=groups.moved)
    return by.aggregate(requests=groups.requests.sum())


def _projection(groups: ir.Table, curves: Curves) -> ir.Table:
    """The projected latency of each group of moved requests that has a latency, and its pieces."""
    moved = groups.filter(groups.moved & groups.latency_ms.notnull())
    source, target = _codes(moved, curves)
    kept = ["latency_ms", "moved", "source_bin", "target_bin", "requests"]
    staged = moved.select(*kept, source=source, target=target)
    usable = staged.source.notnull() & (staged.source % SHIFT != 0)
    piece = staged.target // SHIFT
    return staged.select(
        projected=_scaled(staged.moved, staged.latency_ms, staged.source, staged.target),
        source=usable.ifelse(staged.source // SHIFT, _NONE),
        target=staged.target.isnull().ifelse(_NONE, piece // 2),
        source_bin=staged.source_bin,
        target_bin=staged.target_bin,
        extrapolated=staged.target.isnull().ifelse(0, piece % 2),
        requests=staged.requests,
    )


def _projected(projection: ir.Table) -> ir.Table:
    """Moved requests by projected latency."""
    known = projection.filter(projection.projected.notnull())
    return known.group_by(ms=known.projected).aggregate(requests=known.requests.sum())


def _summed(latencies: Ints, requests: Ints) -> dict[int, int]:
    """Requests by latency, in order."""
    values, at = np.unique(latencies, return_inverse=True)
    sums = np.bincount(at, weights=requests, minlength=len(values)).astype(np.int64)
    return dict(zip(values.tolist(), sums.tolist(), strict=True))


def _by_piece(projection: ir.Table, *ends: int) -> ir.Table:
    """Moved requests by source and target piece: all, and those around each percentile, with the
    sums of their bins."""
    requests = projection.requests
    sums = {
        "requests": requests.sum(),
        "extrapolated": (projection.extrapolated * requests).sum(),
    }
    for i, (low, high) in enumerate(zip(ends[::2], ends[1::2], strict=True)):
        near = projection.projected.between(low, high).fill_null(False)
        sums[f"near_{i}"] = near.ifelse(requests, 0).sum()
        for end in ("source", "target"):
            sums[f"{end}_bins_{i}"] = near.ifelse(projection[f"{end}_bin"] * requests, 0).sum()
    return projection.group_by("source", "target").aggregate(**sums)


def _window(counts: Mapping[int, int], q: float) -> tuple[int, int]:
    """The latencies around percentile `q`, between which its density is estimated.

    Their ranks are those of Hall and Sheather, On the distribution of a studentized quantile
    (1988), at 95 %.
    """
    values, cumulated = cumulate(counts)
    if not len(values):
        return 0, 0
    n = int(cumulated[-1])
    z = _NORMAL.inv_cdf(q)
    density = _NORMAL.pdf(z)
    h = n ** (-1 / 3) * _Z ** (2 / 3) * (1.5 * density**2 / (2 * z**2 + 1)) ** (1 / 3)
    h = min(max(h, 1 / n), 1 - q)
    ranks = [percentile_rank(p, n) for p in (max(q - h, 0.0), q + h)]
    low, high = values[np.searchsorted(cumulated, ranks, side="right")].tolist()
    return low, high


def _count_between(counts: Mapping[int, int], low: int, high: int) -> int:
    return sum(requests for ms, requests in counts.items() if low <= ms <= high)


def _curve_error(curves: Curves, groups: pa.Table, i: int, total: int) -> float | None:
    """The error of the logarithm of percentile `i` that comes from the curves.

    A change of the logarithm of one median by `e` moves the percentile's by `e` times the share of
    the requests around it that the median scales up, less the share that it scales down: the
    derivative of a quantile by the implicit function theorem. J.-C. Deville, Variance estimation
    for complex statistics and estimators: linearization and residual techniques (1999).

    A piece is flat, so requests that have more tokens than the piece's own get too low a latency.
    How far that moves the percentile, by the slope of the curve, is added in quadrature.
    """
    if not total:
        return None
    near = as_integers(groups[f"near_{i}"])
    shares, offset = np.zeros(len(curves.pieces)), 0.0
    slopes = np.array(curves.slopes)
    centres = np.array([piece.centre for piece in curves.pieces])
    for end, sign in (("target", 1), ("source", -1)):
        piece = as_integers(groups[end])
        used = (piece >= 0) & (near > 0)
        at = piece[used]
        np.add.at(shares, at, sign * near[used] / total)
        ahead = as_integers(groups[f"{end}_bins_{i}"])[used] - near[used] * centres[at]
        offset += sign * float((slopes[at] * ahead).sum()) / total
    unknown = sum(
        abs(share)
        for share, piece in zip(shares.tolist(), curves.pieces, strict=True)
        if piece.error is None
    )
    if unknown > NEGLIGIBLE:
        return None
    variances = (
        (share * (piece.error or 0.0)) ** 2
        for share, piece in zip(shares.tolist(), curves.pieces, strict=True)
    )
    return sqrt(sum(variances) + offset**2)
