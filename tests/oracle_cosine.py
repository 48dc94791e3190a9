"""One exact cosine at a time: what a semantic cache compares, for the row loop of
tests/oracle.py."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import fsum, sqrt

import numpy as np


def cosine(a: Sequence[float], b: Sequence[float]) -> np.float32:
    """Of float32 vectors; products of two such are exact in float64, and fsum rounds their sum
    once."""
    return _cosine(_kept(tuple(a)), _kept(tuple(b)))


@lru_cache(maxsize=200)
def _kept(values: tuple[float, ...]) -> tuple[float, ...]:
    """The same object for the same numbers, so that what is remembered below takes little room."""
    return values


@lru_cache(maxsize=10_000)  # a loop over thresholds asks for the same ones again
def _cosine(a: tuple[float, ...], b: tuple[float, ...]) -> np.float32:
    if len(a) != len(b):
        return np.float32(0)
    (x, x_size), (y, y_size) = _scaled(a), _scaled(b)
    size = x_size * y_size
    return (
        np.float32(fsum(v * w for v, w in zip(x, y, strict=True)) / sqrt(size))
        if size
        else np.float32(0)
    )


@lru_cache(maxsize=200)
def _scaled(values: tuple[float, ...]) -> tuple[list[float], float]:
    """A scale changes no cosine; a power of two changes no digit. With the sum of its squares."""
    single = [float(np.float32(v)) for v in values]
    top = scale(single)
    scaled = [v / top for v in single]
    return scaled, fsum(v * v for v in scaled)


def scale(values: Sequence[float]) -> float:
    """A power of two near the largest value."""
    top = max((abs(v) for v in values), default=0.0)
    return (
        2.0 ** (Fraction(top).numerator.bit_length() - Fraction(top).denominator.bit_length())
        if top
        else 1.0
    )
