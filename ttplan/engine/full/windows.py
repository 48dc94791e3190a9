"""Values of other rows of the same group: by window functions, or computed here for an engine
without them (Ibis has none for Polars)."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.engine.dialects import Ints, as_integers, fetch

_WITHOUT_WINDOWS = {"polars"}


def with_previous(
    rows: ir.Table, group: Sequence[str], columns: Sequence[str], prefix: str
) -> ir.Table:
    """`rows` with columns `prefix` + name: the values of the row before in its group, by (ts, id);
    null for the first. The columns are whole numbers or timestamps."""
    if rows.get_backend().name not in _WITHOUT_WINDOWS:
        window = ibis.window(group_by=[rows[name] for name in group], order_by=[rows.ts, rows.id])
        return rows.mutate(**{prefix + name: rows[name].lag().over(window) for name in columns})
    fetched, same = _fetch_grouped(rows, group, columns)
    earlier = {prefix + name: _shifted(fetched[name], same) for name in columns}
    return _joined(rows, fetched["id"], earlier)


def with_first(rows: ir.Table, group: Sequence[str], column: str, name: str) -> ir.Table:
    """`rows` with a boolean column `name`: that of the first row of its group, by (ts, id)."""
    if rows.get_backend().name not in _WITHOUT_WINDOWS:
        window = ibis.window(group_by=[rows[key] for key in group], order_by=[rows.ts, rows.id])
        return rows.mutate(**{name: rows[column].first().over(window)})
    fetched, same = _fetch_grouped(rows, group, [column])
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(same))))
    return _joined(rows, fetched["id"], {name: fetched[column].take(pa.array(starts))})


def with_any(rows: ir.Table, group: str, column: str, name: str) -> ir.Table:
    """`rows` with a boolean column `name`: whether a boolean column is true in any row of its
    group."""
    if rows.get_backend().name not in _WITHOUT_WINDOWS:
        window = ibis.window(group_by=rows[group])
        seen = rows[column].ifelse(1, 0).max().over(window)
        return rows.mutate(**{name: seen == 1})
    found = fetch(rows.filter(rows[column]).select(group).distinct())[group].to_pylist()
    holds = rows[group].isin([value for value in found if value is not None])
    return rows.mutate(**{name: holds if found else ibis.literal(False)})


def _fetch_grouped(
    rows: ir.Table, group: Sequence[str], columns: Sequence[str]
) -> tuple[pa.Table, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """The rows in the order of their groups and times, and which have the group of the row
    before."""
    needed = dict.fromkeys([*group, "ts", *columns])
    selected = rows.select(*needed, id=rows.id.cast("string"))
    fetched = fetch(selected)
    order = pc.sort_indices(
        fetched, sort_keys=[(name, "ascending") for name in (*group, "ts", "id")]
    )
    fetched = fetched.take(order)
    same = np.ones(fetched.num_rows, dtype=np.bool_)
    same[:1] = False
    for name in group:
        codes: Ints = as_integers(
            pc.dictionary_encode(fetched[name].combine_chunks(), null_encoding="encode").indices
        )
        same[1:] &= codes[1:] == codes[:-1]
    return fetched, same


def _shifted(
    column: pa.ChunkedArray, same: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> pa.ChunkedArray:
    before = np.arange(len(same)) - 1
    return column.take(pa.array(before, mask=~same))


def _joined(rows: ir.Table, ids: pa.ChunkedArray, columns: dict[str, pa.ChunkedArray]) -> ir.Table:
    beside = ibis.memtable(pa.table({"joined_id": ids} | columns))
    beside = beside.mutate(joined_id=beside.joined_id.cast(rows.id.type()))
    return rows.left_join(beside, rows.id == beside.joined_id).drop("joined_id")
