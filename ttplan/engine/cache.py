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
from ttplan.engine.semantic_cache.hits import Sweep

BATCH = 262_144
"""How many requests are fetched at once."""
_WORD = 32
"""Hits go back into the engine as bits: this many in a row."""

Bools = npt.NDArray[np.bool_]
Progress = Callable[[int], None]


class CacheKey(NamedTuple):
    """What makes two requests the same to a cache: columns of text, and perhaps the input tokens.

    Of these columns only the tag may be null; null and empty tags differ. With `repeats`, requests
    whose key occurs once may be left out.
    """

    texts: tuple[str, ...]
    tokens: bool = True
    repeats: bool = False


KEY = CacheKey(("provider", "model", "tag"))
"""A proxy for a request's content, which logs without a hash of the prompt do not have."""
HASHED = CacheKey(("provider", "model", "served", "prompt_hash"), tokens=False, repeats=True)
"""The prompt itself, by its hash, and the models that the log and the routes have for it."""


def with_l1_hits(
    table: ir.Table,
    ttl_seconds: int,
    bypass: ir.BooleanValue,
    progress: Progress = lambda rows: None,
) -> ir.Table:
    """`table` and a column `l1_hit`: served by an L1 cache with that TTL, by the proxy `KEY`. Rows
    in `bypass` do not use it.

    From a `numbered` table, numbers leave the engine in batches in (key, ts, id) order, and bits go
    back; its numbers are dropped. From another table, keys and times leave at once, and ids of hits
    go back. `progress` receives the number of requests so far.
    """
    lookup = _Lookup(ttl_seconds, continued_hits, progress)
    return _without_numbers(_marked(table, table.filter(~bypass), KEY, "l1_hit", lookup))


def with_hashed_hits(
    table: ir.Table,
    ttl_seconds: int,
    bypass: ir.BooleanValue,
    proxy: CacheKey,
    counts: tuple[int, int],
    progress: Progress = lambda rows: None,
) -> ir.Table:
    """As `with_l1_hits`, by `prompt_hash` and `served`, which are dropped; and `l1_bound`.

    `l1_bound` is null for rows with a hash and in `bypass`. Of the others, it says whether a
    request of the same `proxy` came within the TTL before: the only ones that can be hits.
    `counts` are the numbers of rows with a hash and without one.
    """
    hashed, unhashed = counts
    usable = table.filter(~bypass)
    unknown = table.prompt_hash.isnull() & ~bypass
    table = table.mutate(unknown=unknown)
    if hashed:
        lookup = _Lookup(ttl_seconds, continued_hits, progress)
        table = _marked(
            table, usable.filter(usable.prompt_hash.notnull()), HASHED, "l1_hit", lookup
        )
    else:
        table = table.mutate(l1_hit=ibis.literal(False))
    if unhashed:
        lookup = _Lookup(ttl_seconds, recent_hits, lambda rows: progress(hashed + rows))
        table = _marked(table, usable, proxy, "recent", lookup)
        bound = table.unknown.ifelse(table.recent, ibis.null("boolean"))
        table = table.mutate(l1_bound=bound).drop("recent")
    return _without_numbers(table.drop("unknown", "served", "prompt_hash"))


class _Lookup(NamedTuple):
    """How rows in key order are looked up: `continued_hits`, or `recent_hits`."""

    ttl_seconds: int
    rule: Callable[[Sequence[Ints], Ints, int, OpenKey | None], tuple[Bools, OpenKey | None]]
    progress: Progress


def _without_numbers(table: ir.Table) -> ir.Table:
    return table.drop("row") if "row" in table.columns else table


def _marked(
    table: ir.Table, keyed: ir.Table, key: CacheKey, name: str, lookup: _Lookup
) -> ir.Table:
    """`table` and a column `name`: whether the rule holds for a row, among those of `keyed`."""
    find = _by_number if "row" in table.columns else _by_id
    return find(table, keyed, key, name, lookup)


def _by_number(
    table: ir.Table, keyed: ir.Table, key: CacheKey, name: str, lookup: _Lookup
) -> ir.Table:
    marks = _Marks()
    open_key: OpenKey | None = None
    seen = 0
    for batch in fetch_batches(_in_key_order(keyed, key), BATCH):
        keys = [
            as_integers(batch[part]) for part in ("key", "tokens") if part in batch.schema.names
        ]
        ts = as_microseconds(batch["ts"])
        hits, open_key = lookup.rule(keys, ts, lookup.ttl_seconds, open_key)
        marks.add(as_integers(batch["row"])[hits])
        seen += batch.num_rows
        lookup.progress(seen)
    words = marks.words()
    if words.num_rows == 0:
        return table.mutate(**{name: ibis.literal(False)})
    hit_words = ibis.memtable(words)
    placed = table.mutate(word=table.row >> _WORD.bit_length() - 1)
    joined = placed.left_join(hit_words, placed.word == hit_words.hit_word)
    bit = (joined.row & _WORD - 1).cast("int32")
    marked = ((joined.bits.fill_null(0) >> bit) & 1) == 1
    return joined.mutate(**{name: marked}).drop("word", "hit_word", "bits")


def _by_id(table: ir.Table, keyed: ir.Table, key: CacheKey, name: str, lookup: _Lookup) -> ir.Table:
    names = [*key.texts, *(("input_tokens",) if key.tokens else ())]
    columns = keyed.select(*names, "ts", id=keyed.id.cast("string"))
    rows = fetch(columns.order_by(*_order(columns, names), "ts", "id"))
    keys = [_codes(rows[name]) for name in names]
    hits, _ = lookup.rule(keys, as_microseconds(rows["ts"]), lookup.ttl_seconds, None)
    lookup.progress(rows.num_rows)
    if not hits.any():
        return table.mutate(**{name: ibis.literal(False)})
    joined = _join_by_id(table, pa.table({"hit_id": rows["id"].filter(pa.array(hits))}))
    return joined.mutate(**{name: joined.hit_id.notnull()}).drop("hit_id")


def _order(table: ir.Table, names: Sequence[str]) -> list[ir.Value]:
    # An explicit flag sorts null tags together: engines differ in where they put nulls.
    flag = [table.tag.isnull()] if "tag" in names else []
    return [*flag, *(table[name] for name in names)]


def _in_key_order(table: ir.Table, key: CacheKey) -> ir.Table:
    """The requests of one cache key together, by (ts, id)."""
    names = table.select(*key.texts).distinct()
    if key.repeats:
        counted = table.group_by(*key.texts).aggregate(n=table.count())
        names = counted.filter(counted.n > 1).drop("n")
    # Numbers of the few combinations sort several times faster than text.
    numbered = names.select(
        **{f"key_{name}": names[name] for name in key.texts},
        key=ibis.row_number().over(order_by=_order(names, key.texts)),
    )
    equal = [
        table[name].identical_to(numbered[f"key_{name}"])
        if name == "tag"
        else table[name] == numbered[f"key_{name}"]
        for name in key.texts
    ]
    keyed = table.join(numbered, equal)
    tokens = {"tokens": keyed.input_tokens} if key.tokens else {}
    order = ["key", *(["input_tokens"] if key.tokens else []), "ts", "id"]
    return keyed.order_by(*order).select("key", "ts", "row", **tokens)


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


def recent_hits(
    keys: Sequence[Ints], ts: Ints, ttl_seconds: int, open_key: OpenKey | None
) -> tuple[Bools, OpenKey | None]:
    """As `continued_hits`: the rows that come within the TTL of the row before with their key,
    which is also the one that the open key keeps. Every hit of a finer key is one of them."""
    if len(ts) == 0:
        return np.zeros(0, dtype=np.bool_), open_key
    same = np.ones(len(ts), dtype=np.bool_)
    same[0] = open_key is not None and open_key.key == tuple(int(key[0]) for key in keys)
    for key in keys:
        same[1:] &= key[1:] == key[:-1]
    since = np.diff(ts, prepend=open_key.missed if open_key is not None else ts[0])
    end = OpenKey(tuple(int(key[-1]) for key in keys), int(ts[-1]))
    return same & (since <= ttl_seconds * 1_000_000), end


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
