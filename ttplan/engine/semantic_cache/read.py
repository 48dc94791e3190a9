"""Reads requests with an embedding in order and in batches: only live cache entries stay in
memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.engine.dialects import as_integers, as_microseconds, fetch_batches
from ttplan.engine.semantic_cache.sweep import LookupBatch
from ttplan.model.errors import DataError

PART = 4_096
"""Requests per batch: 25 MB at 1,536 numbers each."""
Key = tuple[str, str]


def read_lookups(known: ir.Table) -> Iterator[Iterator[LookupBatch]]:
    """The requests of each (provider, model) in (ts, id) order, in batches.

    Raises DataError if an embedding has a value that is not a finite number.
    """
    rows = known.select(
        "provider",
        "model",
        "ts",
        "finish_reason",
        "answer_hash",
        id=known.id.cast("string"),
        output_tokens=known.output_tokens.cast("int64"),
        embedding=known.embedding.cast("array<float32>"),
    )
    for _, parts in groupby(
        _parts(rows.order_by("provider", "model", "ts", "id")), key=itemgetter(0)
    ):
        yield (part for _, part in parts)


def _parts(ordered: ir.Table) -> Iterator[tuple[Key, LookupBatch]]:
    """Batches of one key each, in the table's order."""
    for batch in fetch_batches(ordered, PART):
        keys = list(zip(batch["provider"].to_pylist(), batch["model"].to_pylist(), strict=True))
        start = 0
        for key, run in groupby(keys):
            stop = start + sum(1 for _ in run)
            yield key, _lookups(batch.slice(start, stop - start))
            start = stop


def _lookups(batch: pa.RecordBatch) -> LookupBatch:
    ids = batch["id"].to_pylist()
    return LookupBatch(
        ids,
        as_microseconds(batch["ts"]),
        batch["finish_reason"].to_pylist(),
        as_integers(batch["output_tokens"]),
        _vectors(batch["embedding"], ids),
        batch["answer_hash"].to_pylist(),
    )


def _vectors(
    column: pa.ListArray, ids: list[str]
) -> list[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    lengths = pc.list_value_length(column).to_numpy()
    # A null becomes NaN; float32 has no finite number above 3.4 * 10^38.
    flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    stops = np.cumsum(lengths)
    if not np.isfinite(flat).all():
        row = int(np.searchsorted(stops, int(np.flatnonzero(~np.isfinite(flat))[0]), side="right"))
        raise DataError(
            f"request {ids[row]}: its embedding has a number that is missing, not finite or too "
            f"large "
            "for 32 bits"
        )
    return np.split(flat, stops[:-1])
