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
    arrow_table,
    as_integers,
    as_microseconds,
    fetch,
    materialised,
)
from ttplan.engine.full.shape import Shape

MOST_ROWS = 2**24
"""Up to this many rows are sorted here: they take less than 2 GB."""
_WITHOUT_WINDOWS = {"polars"}
Bools = npt.NDArray[np.bool_]


class World(NamedTuple):
    """The columns of a model's number, negative for none, and of the tokens of the prompt."""

    name: str
    model: str
    tokens: str


class _Sessions(NamedTuple):
    """The number of each row's session, -1 for none; the positions of the others by (session, ts,
    id); and whether some of them have the same session and time."""

    codes: Ints
    order: Ints
    tied: bool


@contextmanager
def with_session_values(
    rows: ir.Table, worlds: tuple[World, ...], shape: Shape, count: int
) -> Iterator[ir.Table]:
    """`rows` with `<world>_before` and `<world>_gap` for each world, for the block: the tokens of
    the row before in the same session on the same model, by (ts, id), and the microseconds since;
    null for the first.

    If some provider caches explicitly, also `explicit_session`: whether any row of the session has
    a true `shows`. `rows` has `id`, `session`, which may be null and becomes `in_session`, and
    `count` rows. The ids are only kept if rows are whole. If sessions are the clusters, `cluster`
    tells them apart, and a row without a session is one.
    """
    shows, ids = shape.cached_explicitly, shape.whole
    backend = rows.get_backend()
    if backend.name not in _WITHOUT_WINDOWS and (backend.name != "duckdb" or count > MOST_ROWS):
        with materialised(rows, _by_windows, worlds, shows, shape.clusters) as table:
            yield table
        return
    fetched = fetch(rows if ids else rows.drop("id"))
    sessions = _sorted(fetched, "session")
    if sessions.tied and not ids:  # only then ids matter, which take time
        fetched = fetch(rows)
        sessions = _sorted(fetched, "session")
    for name, values in _session_values(fetched, sessions, worlds, shows).items():
        fetched = fetched.append_column(name, values)
    if shape.clusters:
        codes = sessions.codes
        alone = np.arange(len(codes), 2 * len(codes))
        fetched = fetched.append_column("cluster", pa.array(np.where(codes < 0, alone, codes)))
    with arrow_table(backend, fetched.drop_columns(["session"])) as table:
        yield table


def _by_windows(rows: ir.Table, worlds: tuple[World, ...], shows: bool, clusters: bool) -> ir.Table:
    columns: dict[str, ir.Value] = {"in_session": rows.session.notnull()}
    if clusters:
        columns["cluster"] = ibis.coalesce(rows.session, rows.id.cast("string"))
    for world in worlds:
        window = ibis.window(
            group_by=[rows.session, rows[world.model]], order_by=[rows.ts, rows.id]
        )
        columns[f"{world.name}_before"] = rows[world.tokens].lag().over(window)
        before = rows.ts.lag().over(window)
        columns[f"{world.name}_gap"] = rows.ts.delta(before, unit="microsecond")
    if shows:
        seen = rows.shows.ifelse(1, 0).max().over(ibis.window(group_by=rows.session))
        columns["explicit_session"] = seen == 1
    return rows.mutate(**columns).drop("session")


def _session_values(
    fetched: pa.Table, sessions: _Sessions, worlds: Sequence[World], shows: bool
) -> dict[str, pa.Array]:
    """The columns of `with_session_values`, in the order of the fetched rows."""
    codes = sessions.codes
    ts = as_microseconds(fetched["ts"])
    result = {"in_session": pa.array(codes >= 0)}
    for world in worlds:
        previous = _previous(sessions, as_integers(fetched[world.model]))
        first = previous < 0
        tokens = as_integers(fetched[world.tokens])
        result[f"{world.name}_before"] = pa.array(tokens[previous], mask=first)
        result[f"{world.name}_gap"] = pa.array(ts - ts[previous], mask=first)
    if shows:
        found = np.zeros(len(codes) + 1, dtype=np.bool_)
        found[codes[np.asarray(fetched["shows"].fill_null(False).to_numpy())]] = True
        found[-1] = False
        result["explicit_session"] = pa.array(found[codes])
    return result


def _sorted(fetched: pa.Table, group: str) -> _Sessions:
    """The sessions of rows with `ts`, the text `group`, and perhaps `id`."""
    encoded = pc.dictionary_encode(fetched[group].combine_chunks())
    codes = as_integers(encoded.indices.fill_null(-1))
    ts = as_microseconds(fetched["ts"])
    by_time = None if (ts[1:] >= ts[:-1]).all() else np.argsort(ts, kind="stable")
    order = _grouped(codes, by_time)
    same = codes[order[1:]] == codes[order[:-1]]
    tied = same & (ts[order[1:]] == ts[order[:-1]])
    if tied.any() and "id" in fetched.column_names:
        marked = order[np.append(tied, False) | np.append(False, tied)]
        ids = fetched["id"].cast(pa.string()).take(pa.array(marked)).combine_chunks()
        rank = np.zeros(len(codes), dtype=np.int64)
        rank[marked] = as_integers(pc.rank(ids, tiebreaker="first"))
        order = _grouped(codes, np.lexsort((rank, ts)))
    return _Sessions(codes, order, bool(tied.any()))


def _grouped(codes: Ints, order: Ints | None = None) -> Ints:
    """The positions with a code of at least 0 by code, within a code as in `order`."""
    # One sort of packed numbers takes a quarter of the time of a stable sort's.
    bits = max(len(codes) - 1, 0).bit_length()
    packed = (codes if order is None else codes[order]) << bits | np.arange(len(codes))
    packed = np.sort(packed[packed >= 0])
    at = packed & ((1 << bits) - 1)
    return at if order is None else order[at]


def _previous(sessions: _Sessions, models: Ints) -> Ints:
    """The position of the row before on the same model in the same session; -1 if there is none."""
    codes, order, _ = sessions
    count = int(models.max(initial=0)) + 1
    ordered = models[order]
    groups = np.where(ordered < 0, -1, codes[order] * count + ordered)
    at = order[_grouped(groups)]
    follows = (codes[at[1:]] == codes[at[:-1]]) & (models[at[1:]] == models[at[:-1]])
    previous = np.full(len(models), -1, dtype=np.int64)
    previous[at[1:][follows]] = at[:-1][follows]
    return previous


def with_first(rows: ir.Table, group: str, column: str, name: str) -> ir.Table:
    """`rows` with a boolean column `name`: that of the first row of its group, by (ts, id)."""
    if rows.get_backend().name not in _WITHOUT_WINDOWS:
        window = ibis.window(group_by=rows[group], order_by=[rows.ts, rows.id])
        return rows.mutate(**{name: rows[column].first().over(window)})
    fetched = fetch(rows.select(group, "ts", column, id=rows.id.cast("string")))
    codes, order, _ = _sorted(fetched, group)
    starts = np.append(True, codes[order[1:]] != codes[order[:-1]])[: len(order)]
    firsts = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    first = pa.table(
        {
            name: fetched[column].take(pa.array(firsts)),
            "joined_id": fetched["id"].take(pa.array(order)),
        }
    )
    beside = ibis.memtable(first)
    beside = beside.mutate(joined_id=beside.joined_id.cast(rows.id.type()))
    return rows.left_join(beside, rows.id == beside.joined_id).drop("joined_id")
