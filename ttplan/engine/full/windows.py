"""Values of other rows of the same session.

Spark and large DuckDB tables compute them by window functions. Otherwise the sessions are sorted
here, which takes a third of the time; and Ibis has no window functions for Polars.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.engine.dialects import (
    Ints,
    as_integers,
    as_microseconds,
    fetch,
    is_eager,
    materialised,
    side_by_side,
)

MOST_ROWS = 2**24
"""Up to this many rows are sorted here: they take less than 2 GB."""
_WITHOUT_WINDOWS = {"polars"}
Bools = npt.NDArray[np.bool_]


class World(NamedTuple):
    """The columns of a model's number, negative for none, and of the tokens of the prompt."""

    name: str
    model: str
    tokens: str


@contextmanager
def with_session_values(
    rows: ir.Table, worlds: tuple[World, ...], shows: bool, count: int
) -> Iterator[ir.Table]:
    """`rows` with `<world>_before` and `<world>_ts` for each world, for the block: the tokens and
    time of the row before in the same session on the same model, by (ts, id); null for the first.

    With `shows` also `explicit_session`: whether any row of the session has a true `shows`. `rows`
    has `session`, which may be null, and `count` rows.
    """
    backend = rows.get_backend().name
    if backend not in _WITHOUT_WINDOWS and (backend != "duckdb" or count > MOST_ROWS):
        with materialised(rows, _by_windows, worlds, shows) as table:
            yield table
        return
    names = ["session", "ts", *(n for w in worlds for n in (w.model, w.tokens))]
    needed = list(dict.fromkeys([*names, *(["shows"] if shows else [])]))
    if is_eager(rows):
        values = _session_values(fetch(rows.select(*needed)), rows, worlds, shows)
        with side_by_side(rows, values) as table:
            yield table
        return
    fetched = fetch(rows.select(*needed, joined_id=rows.id.cast("string")))
    values = _session_values(fetched, rows, worlds, shows)
    yield _joined(rows, values.append_column("joined_id", fetched["joined_id"]))


def _by_windows(rows: ir.Table, worlds: tuple[World, ...], shows: bool) -> ir.Table:
    columns: dict[str, ir.Value] = {}
    for world in worlds:
        window = ibis.window(
            group_by=[rows.session, rows[world.model]], order_by=[rows.ts, rows.id]
        )
        columns[f"{world.name}_before"] = rows[world.tokens].lag().over(window)
        columns[f"{world.name}_ts"] = rows.ts.lag().over(window)
    if shows:
        seen = rows.shows.ifelse(1, 0).max().over(ibis.window(group_by=rows.session))
        columns["explicit_session"] = seen == 1
    return rows.mutate(**columns)


def _session_values(
    fetched: pa.Table, rows: ir.Table, worlds: Sequence[World], shows: bool
) -> pa.Table:
    """The columns of `with_session_values`, in the order of the fetched rows."""
    session = pc.dictionary_encode(fetched["session"].combine_chunks())
    has = np.asarray(session.is_valid())
    codes = as_integers(session.indices.fill_null(-1))
    order, same = _order(codes, has, fetched, rows)
    result: dict[str, pa.Array] = {}
    for world in worlds:
        previous = _previous(order, same, as_integers(fetched[world.model]))
        known = previous >= 0
        for name, column in (("before", world.tokens), ("ts", "ts")):
            values = fetched[column].combine_chunks()
            at = pa.array(previous, mask=~known)
            result[f"{world.name}_{name}"] = values.take(at)
    if shows:
        found = np.zeros(len(session.dictionary) + 1, dtype=np.bool_)
        found[codes[np.asarray(fetched["shows"].fill_null(False).to_numpy())]] = True
        found[-1] = False
        result["explicit_session"] = pa.array(found[codes])
    return pa.table(result)


def _order(codes: Ints, has: Bools, fetched: pa.Table, rows: ir.Table) -> tuple[Ints, Bools]:
    """The positions of the rows with a session by (session, ts, id), and which of them have the
    session of the one before."""
    ts = as_microseconds(fetched["ts"])
    at = np.flatnonzero(has)
    order = at[np.lexsort((ts[at], codes[at]))]
    same = np.zeros(len(order), dtype=np.bool_)
    same[1:] = codes[order[1:]] == codes[order[:-1]]
    tied = same[1:] & (ts[order[1:]] == ts[order[:-1]])
    if tied.any():  # only then ids matter
        ids = fetched["joined_id"] if "joined_id" in fetched.column_names else _ids(rows)
        rank = np.zeros(len(codes), dtype=np.int64)
        marked = order[np.append(tied, False) | np.append(False, tied)]
        own = pc.rank(ids.take(pa.array(marked)).combine_chunks(), tiebreaker="first")
        rank[marked] = as_integers(own)
        order = at[np.lexsort((rank[at], ts[at], codes[at]))]
    return order, same


def _ids(rows: ir.Table) -> pa.ChunkedArray:
    return fetch(rows.select(id=rows.id.cast("string")))["id"]


def _previous(order: Ints, same: Bools, models: Ints) -> Ints:
    """The position of the row before on the same model in the same session; -1 if there is none."""
    previous = np.full(len(models), -1, dtype=np.int64)
    ordered, session = models[order], np.cumsum(~same)
    for model in np.unique(ordered[ordered >= 0]).tolist():
        at = np.flatnonzero(ordered == model)
        own, number = order[at], session[at]
        follows = number[1:] == number[:-1]
        previous[own[1:][follows]] = own[:-1][follows]
    return previous


def with_first(rows: ir.Table, group: str, column: str, name: str) -> ir.Table:
    """`rows` with a boolean column `name`: that of the first row of its group, by (ts, id)."""
    if rows.get_backend().name not in _WITHOUT_WINDOWS:
        window = ibis.window(group_by=rows[group], order_by=[rows.ts, rows.id])
        return rows.mutate(**{name: rows[column].first().over(window)})
    fetched = fetch(rows.select(group, "ts", column, joined_id=rows.id.cast("string")))
    codes = pc.dictionary_encode(fetched[group].combine_chunks())
    order, same = _order(
        as_integers(codes.indices.fill_null(-1)), np.asarray(codes.is_valid()), fetched, rows
    )
    starts = order[np.maximum.accumulate(np.where(same, 0, np.arange(len(same))))]
    first = pa.table(
        {
            name: fetched[column].take(pa.array(starts)),
            "joined_id": fetched["joined_id"].take(pa.array(order)),
        }
    )
    return _joined(rows, first)


def _joined(rows: ir.Table, columns: pa.Table) -> ir.Table:
    beside = ibis.memtable(columns)
    beside = beside.mutate(joined_id=beside.joined_id.cast(rows.id.type()))
    return rows.left_join(beside, rows.id == beside.joined_id).drop("joined_id")
