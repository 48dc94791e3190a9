"""Exact-match (L1) cache hits: which requests would have found their answer in a cache with a given TTL."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.engine.portable import fetch

KEY = ("provider", "model", "input_tokens", "tag")
"""What stands for a request's content, which logs do not hold. A null tag and an empty one are two keys."""


def with_l1_hits(table: ir.Table, ttl_seconds: int, bypass: ir.BooleanValue) -> ir.Table:
    """`table` and a column `hit`: served by an L1 cache of that TTL. Rows that `bypass` names neither read nor fill it.

    Only the cache's keys and times leave the engine, in (key, ts, id) order; ids of hits go back in.
    """
    keyed = table.filter(~bypass).select(*KEY, "ts", id=table.id.cast("string"))
    # Null tags sort to one place by an explicit flag: engines differ in where they put nulls.
    rows = fetch(keyed.order_by(*KEY[:-1], keyed.tag.isnull(), "tag", "ts", "id"))
    hits = rows["id"].filter(pa.array(l1_hits(_starts_a_key(rows), _microseconds(rows["ts"]), ttl_seconds)))
    if len(hits) == 0:
        return table.mutate(hit=ibis.literal(False))
    found = ibis.memtable(pa.table({"hit_id": hits}))
    found = found.select(hit_id=found.hit_id.cast(table.id.type()))
    joined = table.left_join(found, table.id == found.hit_id)
    return joined.mutate(hit=joined.hit_id.notnull()).drop("hit_id")


def l1_hits(starts: npt.NDArray[np.bool_], ts: npt.NDArray[np.int64], ttl_seconds: int) -> npt.NDArray[np.bool_]:
    """Which of `n` rows are hits. Rows of one key stand together, in time order; `starts` marks the first of each; `ts` in µs.

    A row is a hit within the TTL, inclusive, of its key's last miss; a hit does not refresh the entry. So each miss decides
    which row is the next one, and the misses are what is reached from each key's first row by those jumps, which repeated
    doubling follows in log2(n) steps over whole columns.
    """
    n = len(ts)
    if n == 0:
        return np.zeros(0, dtype=np.bool_)
    # One increasing number for (key, time). Times are replaced by their ranks, so that it fits 64 bits whatever the window.
    times, rank = np.unique(ts, return_inverse=True)
    expiry = np.searchsorted(times, times + ttl_seconds * 1_000_000, side="right")
    first = (np.cumsum(starts) - 1) * (len(times) + 1)
    jump = np.append(np.searchsorted(first + rank, first + expiry[rank]), n)
    missed = np.append(starts, False)
    # A jump that leaves its key lands on the first row of the next key, which is a miss anyway.
    while True:
        landed = jump[np.flatnonzero(missed)]
        before = int(missed.sum())
        missed[landed] = True
        missed[n] = False
        if int(missed.sum()) == before:
            return ~missed[:n]
        jump = jump[jump]


def _starts_a_key(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Where the key differs from the row before."""
    starts = np.zeros(rows.num_rows, dtype=np.bool_)
    starts[:1] = True
    for name in KEY:
        column = rows[name].combine_chunks()
        here, before = column[1:], column[:-1]
        differs = pc.if_else(
            pc.and_(pc.is_valid(here), pc.is_valid(before)),
            pc.not_equal(here, before),
            pc.not_equal(pc.is_valid(here), pc.is_valid(before)),
        )
        starts[1:] |= np.asarray(differs.to_numpy(zero_copy_only=False), dtype=np.bool_)
    return starts


def _microseconds(ts: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.asarray(ts.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy(), dtype=np.int64)
