"""The latency curve of each model: its median latency by output tokens, with standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import floor, isqrt, log, sqrt
from typing import NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
from scipy.special import bdtr, ndtri

from ttplan.engine.dialects import Ints, as_integers, fetch_from

LEAST_REQUESTS = 20
"""Bins with fewer requests are joined to their neighbour."""
LEAST_FOR_ERROR = 5
"""The standard error of a median of fewer requests is not known."""
LONGEST = 90_000_000
"""Longer latencies, in ms (25 hours), count as this one when they are scaled: a product of two is
then below 2^53, and every engine divides it exactly."""
BIN_STARTS = tuple(isqrt(2**k - 1) for k in range(80))
"""The least output tokens of each bin `floor(2 * log2(1 + tokens))`: ceil(2^(k/2)) - 1."""
BINS = len(BIN_STARTS)
_PROPORTIONAL = log(2) / 2
SHIFT = 2**27
"""Above `LONGEST`: a number and a latency pack into one integer."""


class Piece(NamedTuple):
    """Joined bins of one model's curve, from bin `first` up to the model's next piece.

    `centre` is the mean bin of its requests, `median` their median latency (ms), `error` the
    standard error of its logarithm; None if it is not known.
    """

    model: str
    first: int
    requests: int
    centre: float
    median: int
    error: float | None


@dataclass(frozen=True)
class Curves:
    """The curves of all models that requests leave or go to, by model and first bin.

    `ends` has each model's first and last bin with requests. `sources` and `targets` are the
    models that timed requests leave and go to.
    """

    pieces: tuple[Piece, ...] = ()
    ends: tuple[tuple[str, int, int], ...] = ()
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    @cached_property
    def positions(self) -> Mapping[str, range]:
        """The positions of each model's pieces."""
        first: dict[str, int] = {}
        count: dict[str, int] = {}
        for position, piece in enumerate(self.pieces):
            first.setdefault(piece.model, position)
            count[piece.model] = count.get(piece.model, 0) + 1
        return {model: range(at, at + count[model]) for model, at in first.items()}

    def by_bin(self, model: str) -> list[int]:
        """The position of the piece of each bin of a model that has a curve."""
        positions = self.positions[model]
        firsts = [self.pieces[at].first for at in positions]
        at = np.searchsorted(firsts, np.arange(BINS), side="right") - 1
        return [positions[i] for i in at.tolist()]

    @cached_property
    def slopes(self) -> list[float]:
        """How much the logarithm of the latency grows with each bin, at each piece.

        From the two pieces beside it; between 0 and proportional to the tokens, which is also the
        slope of a model with one piece.
        """
        slopes = []
        for position, piece in enumerate(self.pieces):
            own = self.positions[piece.model]
            below = self.pieces[max(position - 1, own.start)]
            above = self.pieces[min(position + 1, own.stop - 1)]
            slope = _PROPORTIONAL
            if above.centre > below.centre:
                rise = log(max(above.median, 1)) - log(max(below.median, 1))
                slope = min(max(rise / (above.centre - below.centre), 0.0), slope)
            slopes.append(slope)
        return slopes


def with_bins(mapped: ir.Table) -> ir.Table:
    """`mapped` with `bin`, that of the output tokens, and, of moved requests, `source_bin` and
    `target_bin`, those before and after: the same if there is no `projected_output`."""
    binned = mapped.mutate(bin=_bin(mapped.output_tokens))
    if "projected_output" in mapped.columns:
        target = binned.moved.ifelse(_bin(binned.projected_output), ibis.null("int32"))
        binned = binned.mutate(target_bin=target)
    return _with_both_bins(binned)


def _with_both_bins(binned: ir.Table) -> ir.Table:
    own = binned.moved.ifelse(binned.bin, ibis.null("int32"))
    return binned.mutate(
        source_bin=own, target_bin=binned.target_bin if "target_bin" in binned.columns else own
    )


def timings(mapped: ir.Table) -> ir.Table:
    """How many `requests` of `mapped` have the same models, bins and latency.

    There are fewer groups than requests, and each pass over them is as much shorter.
    """
    binned = with_bins(mapped)
    keys = ["model", "served", "moved", "answered", "bin", "latency_ms"]
    keys += ["target_bin"] if "projected_output" in mapped.columns else []
    by = binned.group_by(*(name for name in keys if name in binned.columns))
    return _with_both_bins(by.aggregate(requests=binned.count()))


def latency_counts(timed: ir.Table, models: Sequence[str]) -> ir.Table:
    """Requests that one of `models` answered, by `key`: position of the model, bin and latency.

    The key is `(position * BINS + bin) * SHIFT + latency`, with latencies up to `LONGEST`: groups
    by one number are found faster than groups by a text and two numbers.
    """
    timed = timed.filter(timed.latency_ms.notnull() & answered(timed))
    position = ibis.cases(
        *((timed.model == name, ibis.literal(i, "int64")) for i, name in enumerate(models)),
        else_=ibis.null("int64"),
    )
    ms = ibis.least(timed.latency_ms, ibis.literal(LONGEST, "int64"))
    rows = timed.select("requests", key=(position * BINS + timed.bin) * SHIFT + ms)
    known = rows.filter(rows.key.notnull())
    return known.group_by("key").aggregate(requests=known.requests.sum())


def moved_pairs(timed: ir.Table) -> ir.Table:
    """The pairs of models between which requests with a latency move."""
    moved = timed.filter(timed.moved & timed.latency_ms.notnull())
    return moved.select("model", "served").distinct()


def answered(mapped: ir.Table) -> ir.BooleanValue:
    """Whether the latency is the model's own: neither a gateway's cache nor a failure."""
    return mapped.answered if "answered" in mapped.columns else ibis.literal(True)


def fetch_latency_counts(timed: ir.Table, models: Sequence[str]) -> tuple[Ints, Ints]:
    """The keys of `latency_counts` in order, and the requests of each."""
    counts = fetch_from(timed, latency_counts, tuple(models))
    keys, requests = as_integers(counts["key"]), as_integers(counts["requests"])
    order = np.argsort(keys)
    return keys[order], requests[order]


def fetch_curves(timed: ir.Table) -> Curves:
    """The curves of a table of `timings`."""
    pairs = fetch_from(timed, moved_pairs)
    sources, targets = (tuple(sorted(set(pairs[name].to_pylist()))) for name in ("model", "served"))
    models = sorted({*sources, *targets})
    if not models:
        return Curves()
    keys, requests = fetch_latency_counts(timed, models)
    pieces, ends = [], []
    edges = np.searchsorted(keys, np.arange(len(models) + 1) * BINS * SHIFT).tolist()
    for model, (start, stop) in zip(models, pairwise(edges), strict=True):
        if start == stop:
            continue
        bins, latencies = np.divmod(keys[start:stop], SHIFT)
        bins %= BINS
        ends.append((model, int(bins[0]), int(bins[-1])))
        firsts = _joined(bins, requests[start:stop])
        parts = np.searchsorted(bins, [*firsts, BINS]).tolist()
        for first, (low, high) in zip(firsts, pairwise(parts), strict=True):
            part = bins[low:high], latencies[low:high], requests[start:stop][low:high]
            pieces.append(_piece(model, first, *part))
    return Curves(tuple(pieces), tuple(ends), sources, targets)


def lookup(
    model: ir.StringColumn, k: ir.IntegerColumn, values: Mapping[str, Sequence[int]]
) -> ir.IntegerValue:
    """Element `k`, a bin, of the values of a model; null for other models."""
    missing = ibis.null("int64")
    if not values:
        return missing
    arrays = {name: ibis.literal(list(own), "array<int64>") for name, own in values.items()}
    return ibis.cases(*((model == name, arrays[name][k]) for name in sorted(arrays)), else_=missing)


def _bin(tokens: ir.IntegerColumn) -> ir.IntegerValue:
    """The bin of each number of output tokens: floor(2 * log2(1 + tokens))."""
    return _search(tokens, _BINS)


def _search(tokens: ir.IntegerColumn, bins: Sequence[int]) -> ir.IntegerValue:
    """A binary search for the bin as nested conditions: floats could differ between engines."""
    if len(bins) == 1:
        return ibis.literal(bins[0], "int32")
    middle = len(bins) // 2
    return (tokens < BIN_STARTS[bins[middle]]).ifelse(
        _search(tokens, bins[:middle]), _search(tokens, bins[middle:])
    )


_BINS = [k for k in range(BINS) if k != 1]
"""Bin 1 is empty: 2 * log2(1 + 1) is 2."""


def _joined(bins: Ints, requests: Ints) -> list[int]:
    """The first bin of each piece.

    Bins with requests are joined upwards until they have `LEAST_REQUESTS`, a rest downwards. An
    empty bin belongs to the nearer piece, the lower one if both are as near.
    """
    totals = np.bincount(bins, weights=requests, minlength=BINS).astype(np.int64)
    pieces: list[list[int]] = [[]]
    for k in np.flatnonzero(totals).tolist():
        if pieces[-1] and totals[pieces[-1]].sum() >= LEAST_REQUESTS:
            pieces.append([])
        pieces[-1].append(k)
    if len(pieces) > 1 and totals[pieces[-1]].sum() < LEAST_REQUESTS:
        rest = pieces.pop()
        pieces[-1] += rest
    return [0, *((below[-1] + above[0]) // 2 + 1 for below, above in pairwise(pieces))]


def _piece(model: str, first: int, bins: Ints, latencies: Ints, requests: Ints) -> Piece:
    """The piece with these requests by latency. Its median is element n // 2 of the sorted
    latencies."""
    values, at = np.unique(latencies, return_inverse=True)
    cumulated = np.cumsum(np.bincount(at, weights=requests).astype(np.int64))
    n = int(cumulated[-1])
    c = _error_rank(n)
    ranks = np.searchsorted(cumulated, (c - 1, n // 2, n - c), side="right")
    low, median, high = values[ranks].tolist()
    centre = int((bins * requests).sum()) / n
    return Piece(model, first, n, centre, median, _error(n, low, high))


def _error_rank(n: int) -> int:
    return max(1, floor((n + 1) / 2 - sqrt(n) + 0.5))


def _error(n: int, low: int, high: int) -> float | None:
    """The standard error of the logarithm of a median, from two order statistics.

    (log x_(n-c+1) - log x_(c)) / 2z with c = round((n + 1) / 2 - sqrt(n)), and z the normal
    quantile of the probability with which the two contain the median: R. M. Price and D. G.
    Bonett, Estimating the variance of the sample median (2001), and, on the logarithm,
    Distribution-free confidence intervals for difference and ratio of medians (2002). Latencies
    below 1 ms count as 1.
    """
    if n < LEAST_FOR_ERROR:
        return None
    z = -float(ndtri(bdtr(_error_rank(n) - 1, n, 0.5)))
    return (log(max(high, 1)) - log(max(low, 1))) / (2 * z)
