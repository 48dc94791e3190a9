"""A plain reading of the semantic cache's contract: one loop over rows and thresholds, one exact cosine at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from math import fsum, sqrt
from typing import NamedTuple
from uuid import UUID

import numpy as np

from tests.oracle import Row
from ttplan.model.request import RequestLog


class Projection(NamedTuple):
    """One threshold's pass: the ids that hit, their sources, and which are candidates for poisoning."""

    total: int
    hits: dict[UUID, UUID]
    poisoned: set[UUID]


def cosine(a: Sequence[float], b: Sequence[float]) -> np.float32:
    """Of float32 vectors; products of two such are exact in float64, and fsum rounds their sum once."""
    if len(a) != len(b):
        return np.float32(0)
    x, y = [float(np.float32(v)) for v in a], [float(np.float32(v)) for v in b]
    # A scale changes no cosine; a power of two changes no digit.
    up, down = scale(x), scale(y)
    x, y = [v / up for v in x], [v / down for v in y]
    size = fsum(v * v for v in x) * fsum(v * v for v in y)
    return np.float32(fsum(v * w for v, w in zip(x, y, strict=True)) / sqrt(size)) if size else np.float32(0)


def scale(values: Sequence[float]) -> float:
    """A power of two near the largest value."""
    top = max((abs(v) for v in values), default=0.0)
    return 2.0 ** (Fraction(top).numerator.bit_length() - Fraction(top).denominator.bit_length()) if top else 1.0


def diverged(source: RequestLog, current: RequestLog) -> bool:
    """Whether serving the one's answer for the other may be wrong."""
    if source.finish_reason is not None and current.finish_reason is not None and source.finish_reason != current.finish_reason:
        return True
    return abs(source.output_tokens - current.output_tokens) > max(20, current.output_tokens // 4)


def project(rows: Sequence[Row], threshold: float, ttl: timedelta) -> Projection:
    """One pass in (ts, id) order."""
    entries: dict[tuple[str, str], list[RequestLog]] = {}
    out = Projection(0, {}, set())
    total = 0
    for row in sorted(rows, key=lambda row: (row.request.ts, row.request.id)):
        r = row.request
        if r.embedding is None or (row.route is not None and row.route.then.disable_cache):
            continue
        total += 1
        bucket = entries.setdefault((r.provider, r.model), [])
        best: tuple[np.float32, RequestLog] | None = None
        for entry in bucket:
            if expired(entry.ts, r.ts, ttl):
                continue
            near = cosine(r.embedding, entry.embedding or ())
            if near >= np.float32(threshold) and (best is None or near > best[0]):
                best = near, entry
        if best is None:
            bucket.append(r)
            continue
        out.hits[r.id] = best[1].id
        if diverged(best[1], r):
            out.poisoned.add(r.id)
    return out._replace(total=total)


def expired(then: datetime, now: datetime, ttl: timedelta) -> bool:
    """Whether an entry of `then` is older than the TTL."""
    return now - then > ttl
