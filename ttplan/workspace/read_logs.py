"""Reads a log without a store: its rows as a table, and a report on every row."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.apply import utc_now
from ttplan.display.logs import ImportCard
from ttplan.doctor.finding_text import finding_lines
from ttplan.logs.model_names import normalise_model
from ttplan.logs.reader import LogReader
from ttplan.logs.rows import REQUEST_SCHEMA
from ttplan.logs.source import MappingLike, OnBadRows, ReadOptions
from ttplan.model.errors import InputError
from ttplan.operations.logs.check_logs import check_table
from ttplan.operations.logs.import_logs import skipped_rows
from ttplan.prices.book import PriceSource
from ttplan.store.duckdb.repeats import digest_sql, repeats_sql
from ttplan.store.protocol import (
    KINDS,
    MAX_EXAMPLES,
    REFUSED,
    ConflictKind,
    RowConflict,
    RowConflicts,
    conflict_error,
)
from ttplan.util.monitor import show_progress
from ttplan.util.paths import PathLike

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Logs:
    """The requests of a log, as `read_logs` returns them.

    Attributes
    ----------
    table : pyarrow.Table
        One row per request, with the columns of `ttplan.logs.rows.REQUEST_SCHEMA`: money in USD as
        decimals, times in UTC.
    report : ReadReport
        What was read, what was left out and why.
    """

    table: pa.Table
    report: ImportCard

    def to_pandas(self) -> pd.DataFrame:
        """The table as a DataFrame."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return repr(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def read_logs(
    path: PathLike | Sequence[PathLike],
    format: str | None = None,
    *,
    mapping: MappingLike | None = None,
    table: str | None = None,
    on_bad_rows: OnBadRows = "refuse",
    with_bodies: bool = False,
    with_embeddings: bool = False,
    with_hashes: bool = True,
    check: bool = True,
    prices: PriceSource = None,
    progress: bool | None = None,
) -> Logs:
    """Read the requests of a log into memory, without a store.

    Parameters
    ----------
    path : str, path, or a sequence of them
        A file, a folder, a glob, several of them, or a database (a DuckDB file, the URL of a
        PostgreSQL server).
    format : str, optional
        The format, or the kind of file (csv, json, jsonl, parquet), if it cannot be detected.
    mapping : path or dict, optional
        A mapping file, or its content, for any other format.
    table : str, optional
        The table of a database to read.
    on_bad_rows : {"refuse", "skip"}
        Whether a row that cannot be used, or repeats an id, is an error or is left out.
    with_bodies, with_embeddings, with_hashes : bool
        Whether to read prompts and answers, embeddings, or hashes of prompts and answers.
    check : bool
        Whether the log doctor compares each row with its price, for the findings of the report.
    prices : path or mapping, optional
        Prices in USD per million tokens that override the catalogue's.
    progress : bool, optional
        Whether to show a bar; by default on a terminal or in a notebook.

    Returns
    -------
    Logs
        The table and the report. A row without a cost is kept; its `cost_usd` is null.

    Raises
    ------
    InputError
        If the log cannot be read, or a row cannot be used; it names file, row and field.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> import ttplan
    >>> row = {"id": "a", "ts": "2026-05-01T12:00:00Z", "provider": "openai", "model": "gpt-4o",
    ...        "input_tokens": 1000, "output_tokens": 100, "cost_usd": 0.0035}
    >>> log = pathlib.Path(tempfile.mkdtemp()) / "log.jsonl"
    >>> _ = log.write_text(json.dumps(row))
    >>> logs = ttplan.read_logs(log)
    >>> len(logs), logs.report.format
    (1, 'own')
    """
    options = ReadOptions(
        format,
        mapping,
        table,
        on_bad_rows,
        with_bodies,
        with_embeddings,
        needs_cost=False,
        with_hashes=with_hashes,
    )
    with (
        LogReader(path, options, normalise=normalise_model) as log,
        show_progress("reading", progress, total=log.row_count()) as monitor,
    ):
        batches = list(log.batches(monitor.count, numbered=True))
        rows = pa.Table.from_batches(batches, REQUEST_SCHEMA.append(pa.field("row", pa.int64())))
        kept, repeats = _without_repeats(rows)
        refused = [conflicts for conflicts in repeats if conflicts.kind in REFUSED]
        if refused and on_bad_rows == "refuse":
            raise InputError(f"{log.name}: {conflict_error(refused[0], log.location)}")
        report = log.report()
        skipped = (*report.skipped, *(skipped_rows(rows, log.location) for rows in repeats))
        findings: tuple[str, ...] = ()
        if check:
            diagnosis = check_table(kept, log=log.name, prices=prices, at=utc_now())
            findings = finding_lines(diagnosis)
    report = report.model_copy(
        update={"used": kept.num_rows, "skipped": skipped, "findings": findings}
    )
    return Logs(kept, ImportCard.of(report))


def _without_repeats(rows: pa.Table) -> tuple[pa.Table, list[RowConflicts]]:
    """One row of each id, the fullest state of an answer, and the rows that were left out."""
    places = pa.array(range(rows.num_rows), pa.int64())
    names = [name for name in REQUEST_SCHEMA.names if name != "embedding"]
    with duckdb.connect() as connection:
        connection.register("logged", rows.select(names).append_column("place", places))
        entries = f"(SELECT *, {digest_sql(names)} AS digest FROM logged)"  # noqa: S608
        repeats = connection.execute(
            f"SELECT place, first, kind FROM {repeats_sql(entries)} WHERE kind <> 'kept'"  # noqa: S608
            " ORDER BY place"
        ).fetchall()
    if not repeats:
        return rows.drop_columns(["row"]), []
    counts: Counter[ConflictKind] = Counter()
    examples: dict[ConflictKind, list[RowConflict]] = defaultdict(list)
    for place, kept_place, kind in repeats:
        counts[kind] += 1
        if len(examples[kind]) < MAX_EXAMPLES:
            row, kept = (rows.slice(n, 1).to_pylist()[0] for n in (place, kept_place))
            differs = next((name for name in REQUEST_SCHEMA.names if row[name] != kept[name]), None)
            name = row["source_id"] or row["id"]
            examples[kind].append(RowConflict(name, row["row"], kept["row"], differs))
    repeated = pa.array([place for place, _, _ in repeats], pa.int64())
    left = rows.filter(pc.invert(pc.is_in(places, value_set=repeated)))
    return left.drop_columns(["row"]), [
        RowConflicts(kind, counts[kind], tuple(examples[kind])) for kind in KINDS if counts[kind]
    ]
