"""Cosine similarity of float32 vectors: a fast approximation with a bound, and an exact value."""

from __future__ import annotations

from math import fsum, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]

_HALF_ULP = 2.0**-24


class Vectors(NamedTuple):
    """`n` vectors of one length, scaled by powers of two to a norm in [0.5, 1) or 0, and 1 / norm
    (or 0)."""

    values: Floats32
    inverse_norm: Floats32


def scaled(values: npt.NDArray[np.floating]) -> Vectors:
    """The vectors, n x d, scaled. A power of two changes no digit of a float above 2^-120, and a
    scale changes no cosine."""
    exact = values.astype(np.float32).astype(np.float64)
    _, exponent = np.frexp(np.abs(exact).max(axis=1, initial=0.0))
    exact = np.ldexp(exact, -exponent[:, None])
    norm = np.sqrt(np.einsum("ij,ij->i", exact, exact))
    _, exponent = np.frexp(norm)
    exact = np.ldexp(exact, -exponent[:, None])
    norm = np.ldexp(norm, -exponent)
    inverse = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    return Vectors(exact.astype(np.float32), inverse.astype(np.float32))


def approximate(a: Vectors, b: Vectors) -> Floats32:
    """All cosines, len(a) x len(b), off by at most `tolerance` of the vectors' length."""
    cosines: Floats32 = np.matmul(a.values, b.values.T)
    cosines *= a.inverse_norm[:, None]
    cosines *= b.inverse_norm[None, :]
    return cosines


def tolerance(length: int) -> float:
    """The error bound of `approximate`, for any order of summation in a matrix product.

    N. J. Higham, Accuracy and Stability of Numerical Algorithms (2002), section 3.1: n u / (1 - n
    u) times the sum of the products' sizes, which for a cosine is at most 1; and 16 u for scaling,
    rounding and comparing.
    """
    spread = length * _HALF_ULP
    return spread / (1 - spread) + 16 * _HALF_ULP if spread < 0.5 else 2.0


def exact(vector: Floats32, vectors: Floats32) -> Floats32:
    """The cosine of `vector` with each row of `vectors`, the same on every machine.

    It is the correctly rounded sum of the products over the root of those of the squares, rounded
    to float32. If float64 sums determine that rounding in any order, they are used; otherwise each
    sum is rounded only once.
    """
    x, y = vector.astype(np.float64), vectors.astype(np.float64)
    squares = np.einsum("ij,ij->i", y, y) * float(x @ x)
    rough = np.divide(y @ x, np.sqrt(squares), out=np.zeros(len(y)), where=squares > 0)
    slack = (len(x) + 8) * 2.0**-52
    cosines: Floats32 = (rough - slack).astype(np.float32)
    for row in np.flatnonzero(cosines != (rough + slack).astype(np.float32)).tolist():
        cosines[row] = _exact_one(x, y[row])
    return cosines


def _exact_one(x: Floats64, y: Floats64) -> float:
    # A product of two float32 is exact in float64.
    size = fsum((x * x).tolist()) * fsum((y * y).tolist())
    return fsum((x * y).tolist()) / sqrt(size) if size > 0 else 0.0
