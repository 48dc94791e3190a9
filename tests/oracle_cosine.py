"""One exact cosine at a time: what a semantic cache compares, for the row loop of tests/oracle.py."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import fsum, sqrt

import numpy as np


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
