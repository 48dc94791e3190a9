"""Read logged requests of any format that is known or mapped: every row is used or accounted for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.logs.fields import BODIES, EMBEDDINGS, FIELDS
from ttplan.logs.report import EXAMPLES, FileRows, ReadReport, SkippedRows
from ttplan.logs.rows import SCHEMA as SCHEMA
from ttplan.logs.rows import ModelNormaliser, Normaliser, finish
from ttplan.logs.rows import as_uuid as as_uuid
from ttplan.logs.source import MappingLike, Options, Source, SourceFile
from ttplan.logs.sources.files import named, unreadable
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike, is_postgres_url

BATCH_ROWS = 50_000
OnBadRows = Literal["refuse", "skip"]


class LogReader:
    """Logged requests in a file, a glob or a folder, read once, in batches. `report` is complete when `batches` is exhausted."""

    def __init__(
        self,
        path: PathLike | Sequence[PathLike],
        *,
        format: str | None = None,
        mapping: MappingLike | None = None,
        table: str | None = None,
        on_bad_rows: OnBadRows = "refuse",
        with_bodies: bool = False,
        with_embeddings: bool = False,
        needs_cost: bool = True,
        namer: Normaliser | None = None,
    ) -> None:
        """Open the files, see what format they are, and check their columns.

        `path` is a file, a folder, a glob, several of them, or a database (a DuckDB file, a PostgreSQL server's URL), of which
        `table` is read. `format` is the name of a format (`ttplan.logs.formats.FORMATS`) or of a kind of file (csv, json, jsonl,
        parquet), where it cannot be seen; `mapping` says how to read any other. With `needs_cost` False a row without a cost is
        kept, with nothing as `cost_usd`. `namer` brings another's names to the catalogue's.

        Raises InputError where it is no such file, of no known format, or lacks a required column.
        """
        self._fields = (
            *FIELDS,
            *(BODIES if with_bodies else ()),
            *(EMBEDDINGS if with_embeddings else ()),
        )
        self._on_bad_rows = on_bad_rows
        self._needs_cost = needs_cost
        self._log = Source(
            path, format, mapping, Options(self._fields, needs_cost, on_bad_rows == "skip"), table
        )
        self.name = (
            self._log.shown(self._log.files[0]) if is_postgres_url(str(path)) else named(path)
        )
        self.format = self._log.format
        self._names = ModelNormaliser(namer) if namer is not None and self.format.named else None
        self._counts: list[FileRows] = []
        self._rows = self._used = 0
        self._skipped: Counter[str] = Counter()
        self._passed_over: Counter[str] = Counter()
        self._emptied: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)

    def __enter__(self) -> LogReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._log.close()

    def row_count(self) -> int | None:
        """About how many rows there are, exactly for Parquet; None where that is not cheap to know."""
        return self._log.row_count()

    def batches(
        self, progress: Callable[[int], None] | None = None, *, numbered: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """The usable rows, as batches of `SCHEMA`; `progress` is told how many rows were read so far.

        With `numbered`, a column `row` more says which row of the log each is, for `place`; 0 is the first.

        With `on_bad_rows` of "refuse", raises InputError at the end where any row could not be used.
        """
        for number, file in enumerate(self._log.files):
            part = self._log.first if number == 0 else self._log.part(file)
            self._counts.append(FileRows(path=self._log.shown(file), rows=0))
            before = self._rows
            for batch in self._read(part, numbered):
                if progress is not None:
                    progress(self._rows)
                yield batch
            self._counts[-1] = FileRows(path=self._log.shown(file), rows=self._rows - before)
        if self._rows == 0:
            raise InputError(f"{self.name} has no rows; expected one request a row")
        if self._skipped and self._on_bad_rows == "refuse":
            raise InputError(self._refusal())

    def place(self, row: int) -> str:
        """Where a row of the log stands, in words."""
        return self._row(row)

    def report(self) -> ReadReport:
        """What was read so far."""
        first = self._log.first
        assumed = {
            f.name: f.assumed
            for f in self._fields
            if f.assumed is not None and f.name not in first.query.present
        }
        return ReadReport(
            path=self.name,
            format=self.format.name,
            kind=first.opened.kind,
            why=self._log.why,
            files=tuple(self._counts),
            rows=self._rows,
            used=self._used,
            skipped=self._reasons(self._skipped),
            not_requests=self._reasons(self._passed_over),
            emptied=self._reasons(self._emptied),
            assumed=assumed,
            ignored_columns=tuple(key for key in first.keys if key not in first.query.used),
        )

    def _reasons(self, counts: Counter[str]) -> tuple[SkippedRows, ...]:
        return tuple(
            SkippedRows(reason=why, rows=n, examples=tuple(self._examples[why]))
            for why, n in counts.most_common()
        )

    def _read(self, part: SourceFile, numbered: bool) -> Iterator[pa.RecordBatch]:
        opened = part.opened
        try:
            reader = self._log.connection.sql(
                part.query.sql, params=opened.parameters
            ).to_arrow_reader(BATCH_ROWS)
            for batch in reader:
                good, places = self._sift(batch)
                first = self._rows
                self._rows += batch.num_rows
                self._used += good.num_rows
                made = finish(good, self._names)
                yield made.append_column("row", pc.add(places, first)) if numbered else made
        except duckdb.OutOfMemoryException as error:
            raise InputError(
                f"{opened.path}: a document in it is too large: {str(error).splitlines()[0]}"
            ) from None
        except duckdb.Error as error:
            raise unreadable(opened.path, opened.kind, error) from None

    def _sift(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.Array]:
        """The rows to use and where in the batch they are; the others are counted."""
        self._count_emptied(batch)
        places = pa.array(range(batch.num_rows), pa.int64())
        fails = pc.or_(pc.is_valid(batch["bad_field"]), pc.is_valid(batch["skip_rule"]))
        if not pc.any(fails).as_py():
            return batch, places
        bad = batch.filter(fails)
        columns = (bad.column(name).to_pylist() for name in ("bad_field", "bad_value", "skip_rule"))
        for at, name, value, rule in zip(places.filter(fails).to_pylist(), *columns, strict=True):
            where = self._row(self._rows + at)
            if rule is not None:
                self._count(self._passed_over, self.format.mapping.skip[rule].reason, where)
            else:
                self._count(
                    self._skipped,
                    self._reason(name),
                    f"{where}: " + ("nothing" if value is None else repr(value)),
                )
        fine = pc.invert(fails)
        return batch.filter(fine), places.filter(fine)

    def _count_emptied(self, batch: pa.RecordBatch) -> None:
        noted = batch["noted"]
        some = pc.fill_null(pc.greater(pc.list_value_length(noted), 0), False)
        if pc.any(some).as_py():
            for at in pc.indices_nonzero(some).to_pylist():
                for what in noted[at].as_py():
                    self._count(self._emptied, what, self._row(self._rows + at))

    def _count(self, counts: Counter[str], reason: str, example: str) -> None:
        counts[reason] += 1
        if len(self._examples[reason]) < EXAMPLES:
            self._examples[reason].append(example)

    def _reason(self, name: str) -> str:
        expected = self._log.expected(name)
        if name == "cost_usd" and self.format.name != "own":
            expected += " (a log without costs is imported with cost='recomputed')"
        return f"{name}: expected {expected}"

    def _row(self, row: int) -> str:
        """Where a row stands, counted from 1 in its file."""
        if len(self._log.files) == 1:
            return f"row {row + 1}"
        done = 0
        for count in self._counts[:-1]:
            if row < done + count.rows:
                return f"{count.path} row {row - done + 1}"
            done += count.rows
        return f"{self._counts[-1].path} row {row - done + 1}"

    def _refusal(self) -> str:
        (reason, _), *_ = self._skipped.most_common()
        count = sum(self._skipped.values())
        others = len(self._skipped) - 1
        return (
            f"{self.name}: {count:,} of {self._rows:,} rows cannot be used, so nothing was imported; "
            f"{reason}, found {'; '.join(self._examples[reason])}"
            + (f"; and {others} other {'reason' if others == 1 else 'reasons'}" if others else "")
            + ". Correct them, or leave them out with on_bad_rows='skip'"
        )
