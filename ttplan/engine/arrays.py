"""Arrow columns as numpy's arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
Amounts = Ints | npt.NDArray[np.object_]
"""Whole 10^-12 USD: 64-bit numbers where they fit, else Python's own."""


def as_integers(column: pa.Array | pa.ChunkedArray) -> Ints:
    """A column of whole numbers with no nulls as 64-bit ones."""
    return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)


def as_amounts(column: pa.ChunkedArray) -> Amounts:
    """USD as whole 10^-12 USD."""
    # The digits of a decimal with 12 of them after the point, read as a whole number.
    whole = column.cast(pa.decimal128(38, 12)).combine_chunks().view(pa.decimal128(38, 0))
    try:
        return as_integers(whole)
    except pa.ArrowInvalid:
        return np.array([int(value) for value in whole.to_pylist()], dtype=np.object_)


def as_microseconds(ts: pa.Array | pa.ChunkedArray) -> Ints:
    """Instants as microseconds since 1970."""
    return as_integers(ts.cast(pa.timestamp("us", tz="UTC")))
