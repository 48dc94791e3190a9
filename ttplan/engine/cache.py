"""Cache hits as columns: L1 (exact match), which is found here, and L2 (semantic), which a sweep has found."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.engine.portable import fetch
from ttplan.engine.semantic import Sweep

KEY = ("provider", "model", "input_tokens", "tag")
"""What stands for a request's content, which logs do not hold. A null tag and an empty one are two keys."""
_MOST = 2**62

Ints = npt.NDArray[np.int64]


def with_l1_hits(table: ir.Table, ttl_seconds: int, bypass: ir.BooleanValue) -> ir.Table:
    """`table` and a column `l1_hit`: served by an L1 cache of that TTL. Rows that `bypass` names neither read nor fill it.

    Only the cache's keys and times leave the engine; ids of hits go back in.
    """
    rows = fetch(table.filter(~bypass).select(*KEY, "ts", id=table.id.cast("string")))
    if rows.num_rows == 0:
        return table.mutate(l1_hit=ibis.literal(False))
    key, ts = _key_numbers(rows), _microseconds(rows["ts"])
    order = _by_key_and_time(key, ts, rows["id"])
    key = key[order]
    hits = rows["id"].take(order[l1_hits(np.append(True, key[1:] != key[:-1]), ts[order], ttl_seconds)])
    if len(hits) == 0:
        return table.mutate(l1_hit=ibis.literal(False))
    joined = _join_by_id(table, pa.table({"hit_id": hits}))
    return joined.mutate(l1_hit=joined.hit_id.notnull()).drop("hit_id")


def with_l2_mask(table: ir.Table, found: Sweep | None) -> ir.Table:
    """`table` and a column `l2_mask`: bit t is set where a row is a hit at the sweep's threshold t."""
    if found is None or not found.ids:
        return table.mutate(l2_mask=ibis.literal(0, "int64"))
    joined = _join_by_id(table, pa.table({"hit_id": found.ids, "mask": pa.array(found.masks, pa.int64())}))
    return joined.mutate(l2_mask=joined["mask"].fill_null(0)).drop("hit_id", "mask")


def has_bit(mask: ir.IntegerColumn, bit: int) -> ir.BooleanValue:
    """Whether that bit of a mask is set."""
    return (mask & (1 << bit)) != 0


def _join_by_id(table: ir.Table, hits: pa.Table) -> ir.Table:
    found = ibis.memtable(hits)
    found = found.mutate(hit_id=found.hit_id.cast(table.id.type()))
    return table.left_join(found, table.id == found.hit_id)


def l1_hits(starts: npt.NDArray[np.bool_], ts: Ints, ttl_seconds: int) -> npt.NDArray[np.bool_]:
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


def _key_numbers(rows: pa.Table) -> Ints:
    """A number for each row that stands for its key: the same for the same key, else another one."""
    numbers, span = np.zeros(rows.num_rows, dtype=np.int64), 1
    for name in KEY:
        encoded = rows[name].combine_chunks().dictionary_encode("encode")
        values = len(encoded.dictionary)
        if span * values >= _MOST:
            found, numbers = np.unique(numbers, return_inverse=True)
            span = len(found)
        numbers = numbers * values + np.asarray(encoded.indices.to_numpy(), dtype=np.int64)
        span *= values
    return numbers


def _by_key_and_time(key: Ints, ts: Ints, ids: pa.ChunkedArray) -> Ints:
    """The order of the rows by (key, ts, id).

    An engine takes several times as long, since it compares the text of keys, and of ids where nothing else differs: here only
    those ids are compared.
    """
    order = np.lexsort((ts, key))
    tied = (key[order[1:]] == key[order[:-1]]) & (ts[order[1:]] == ts[order[:-1]])
    places = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
    if len(places):
        run = np.cumsum(np.append(True, ~tied))[places]
        tie = pa.table({"run": run, "id": ids.take(order[places])})
        by_id = pc.sort_indices(tie, sort_keys=[("run", "ascending"), ("id", "ascending")]).to_numpy()
        order[places] = order[places][by_id]
    return order


def _microseconds(ts: pa.ChunkedArray) -> Ints:
    return np.asarray(ts.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy(), dtype=np.int64)
