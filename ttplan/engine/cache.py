"""Cache hits as columns: L1 (exact match), computed here, and L2 (semantic), from a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.engine.dialects import Ints, as_integers, as_microseconds, fetch, fetch_batches
from ttplan.engine.semantic_cache.sweep import Sweep

KEY = ("provider", "model", "input_tokens", "tag")
"""The cache key: a proxy for a request's content, which logs do not have. Null and empty tags
differ."""
BATCH = 262_144
"""How many requests are fetched at once."""
_WORD = 32
"""Hits go back into the engine as bits: this many in a row."""

Bools = npt.NDArray[np.bool_]


def with_l1_hits(
    table: ir.Table,
    ttl_seconds: int,
    bypass: ir.BooleanValue,
    progress: Callable[[int], None] = lambda rows: None,
) -> ir.Table:
    """`table` and a column `l1_hit`: served by an L1 cache with that TTL. Rows in `bypass` do not
    use it.

    From a `numbered` table, numbers leave the engine in batches in (key, ts, id) order, and bits go
    back; its numbers are dropped. From another table, keys and times leave at once, and ids of hits
    go back. `progress` receives the number of requests so far.
    """
    find = _by_number if "row" in table.columns else _by_id
    return find(table, table.filter(~bypass), ttl_seconds, progress)


def _by_number(
    table: ir.Table, keyed: ir.Table, ttl_seconds: int, progress: Callable[[int], None]
) -> ir.Table:
    marks = _Marks()
    open_key: OpenKey | None = None
    seen = 0
    for batch in fetch_batches(_in_key_order(keyed), BATCH):
        keys, ts = (
            (as_integers(batch["key"]), as_integers(batch["tokens"])),
            as_microseconds(batch["ts"]),
        )
        hits, open_key = continued_hits(keys, ts, ttl_seconds, open_key)
        marks.add(as_integers(batch["row"])[hits])
        seen += batch.num_rows
        progress(seen)
    words = marks.words()
    if words.num_rows == 0:
        return table.mutate(l1_hit=ibis.literal(False)).drop("row")
    hit_words = ibis.memtable(words)
    placed = table.mutate(word=table.row >> _WORD.bit_length() - 1)
    joined = placed.left_join(hit_words, placed.word == hit_words.hit_word)
    bit = (joined.row & _WORD - 1).cast("int32")
    return joined.mutate(l1_hit=((joined.bits.fill_null(0) >> bit) & 1) == 1).drop(
        "row", "word", "hit_word", "bits"
    )


def _by_id(
    table: ir.Table, keyed: ir.Table, ttl_seconds: int, progress: Callable[[int], None]
) -> ir.Table:
    columns = keyed.select(*KEY, "ts", id=keyed.id.cast("string"))
    # An explicit flag sorts null tags together: engines differ in where they put nulls.
    rows = fetch(columns.order_by(*KEY[:-1], columns.tag.isnull(), "tag", "ts", "id"))
    hits, _ = continued_hits(
        [_codes(rows[name]) for name in KEY], as_microseconds(rows["ts"]), ttl_seconds, None
    )
    progress(rows.num_rows)
    if not hits.any():
        return table.mutate(l1_hit=ibis.literal(False))
    joined = _join_by_id(table, pa.table({"hit_id": rows["id"].filter(pa.array(hits))}))
    return joined.mutate(l1_hit=joined.hit_id.notnull()).drop("hit_id")


def _in_key_order(table: ir.Table) -> ir.Table:
    """The requests of one cache key together, by (ts, id)."""
    names = table.select("provider", "model", "tag").distinct()
    # Numbers of the few combinations sort several times faster than text.
    order = [names.provider, names.model, names.tag.isnull(), names.tag]
    numbered = names.select(
        key_provider=names.provider,
        key_model=names.model,
        key_tag=names.tag,
        key=ibis.row_number().over(order_by=order),
    )
    keyed = table.join(
        numbered,
        [
            table.provider == numbered.key_provider,
            table.model == numbered.key_model,
            table.tag.identical_to(numbered.key_tag),
        ],
    )
    return keyed.order_by("key", "input_tokens", "ts", "id").select(
        "key", "ts", "row", tokens=keyed.input_tokens
    )


class OpenKey(NamedTuple):
    """The key at the end of a batch, and the time of its last miss."""

    key: tuple[int, ...]
    missed: int


class _Marks:
    """The rows that are hits, by number."""

    def __init__(self) -> None:
        self._marks: Bools = np.zeros(0, dtype=np.bool_)

    def add(self, rows: Ints) -> None:
        need = int(rows.max(initial=-1)) + 1
        if need > len(self._marks):
            larger = np.zeros(max(need, 2 * len(self._marks)), dtype=np.bool_)
            larger[: len(self._marks)] = self._marks
            self._marks = larger
        self._marks[rows] = True

    def words(self) -> pa.Table:
        """The marks as bits, lowest first, without empty words."""
        padded = np.append(self._marks, np.zeros(-len(self._marks) % _WORD, dtype=np.bool_))
        bits = np.packbits(padded, bitorder="little").view("<u4").astype(np.int64)
        word = np.flatnonzero(bits)
        return pa.table({"hit_word": word, "bits": bits[word]})


def with_l2_mask(table: ir.Table, sweep: Sweep | None) -> ir.Table:
    """`table` and a column `l2_mask`: bit t is set if a row is a hit at the sweep's threshold t."""
    if sweep is None or not sweep.ids:
        return table.mutate(l2_mask=ibis.literal(0, "int64"))
    joined = _join_by_id(
        table, pa.table({"hit_id": sweep.ids, "mask": pa.array(sweep.masks, pa.int64())})
    )
    return joined.mutate(l2_mask=joined["mask"].fill_null(0)).drop("hit_id", "mask")


def has_bit(mask: ir.IntegerColumn, bit: int) -> ir.BooleanValue:
    """Whether that bit of a mask is set."""
    return (mask & (1 << bit)) != 0


def _join_by_id(table: ir.Table, hits: pa.Table) -> ir.Table:
    ids = ibis.memtable(hits)
    ids = ids.mutate(hit_id=ids.hit_id.cast(table.id.type()))
    return table.left_join(ids, table.id == ids.hit_id)


def continued_hits(
    keys: Sequence[Ints], ts: Ints, ttl_seconds: int, open_key: OpenKey | None
) -> tuple[Bools, OpenKey | None]:
    """The hits of a batch that follows one that ended in `open_key`, and the key in which this one
    ends.

    A key is one number of each of `keys`; rows are in (key, ts) order, `ts` in µs.
    """
    n = len(ts)
    if n == 0:
        return np.zeros(0, dtype=np.bool_), open_key
    starts = np.zeros(n, dtype=np.bool_)
    starts[0] = True
    for key in keys:
        starts[1:] |= key[1:] != key[:-1]
    served = 0
    if open_key is not None and open_key.key == tuple(int(key[0]) for key in keys):
        same = int(np.argmax(starts[1:])) + 1 if starts[1:].any() else n
        # In time order: the rows that the key's last miss serves, then a miss.
        served = int(
            np.searchsorted(ts[:same], open_key.missed + ttl_seconds * 1_000_000, side="right")
        )
        starts[0] = False
        starts[served : served + 1] = True
    hits = np.ones(n, dtype=np.bool_)
    hits[served:] = l1_hits(starts[served:], ts[served:], ttl_seconds)
    misses = np.flatnonzero(~hits)
    if len(misses) == 0:
        return hits, open_key
    return hits, OpenKey(tuple(int(key[-1]) for key in keys), int(ts[misses[-1]]))


def l1_hits(starts: Bools, ts: Ints, ttl_seconds: int) -> Bools:
    """The hits among rows that are grouped by key, in time order; `starts` marks each key's first
    row; `ts` in µs.

    A row is a hit within the TTL, inclusive, of its key's last miss; a hit does not refresh the
    entry. So each miss determines the next one, and the misses are the rows that these jumps reach
    from each key's first row. Repeated doubling follows the jumps in log2(n) steps over whole
    columns.
    """
    n = len(ts)
    if n == 0:
        return np.zeros(0, dtype=np.bool_)
    # One increasing number for (key, time).
    number = np.cumsum(starts) - 1
    since = ts - ts.min()
    span = int(since.max()) + 1
    ttl = min(ttl_seconds * 1_000_000, span)
    if (int(number[-1]) + 1) * (span + 1) < 2**63:
        here = number * span + since
        expiry = number * span + np.minimum(since + ttl, span - 1)
    else:  # does not fit: use the ranks of times
        times, rank = np.unique(since, return_inverse=True)
        here = number * len(times) + rank
        expiry = number * len(times) + (np.searchsorted(times, times + ttl, side="right") - 1)[rank]
    jump = np.append(np.searchsorted(here, expiry, side="right"), n)
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


def _codes(column: pa.ChunkedArray) -> Ints:
    """A number for each distinct value, including null."""
    return as_integers(
        pc.dictionary_encode(column.combine_chunks(), null_encoding="encode").indices
    )
