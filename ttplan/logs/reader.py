"""Reads logged requests of any known or mapped format: every row is used or accounted for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import reduce

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.logs.fields import TEXTS
from ttplan.logs.report import ADJUSTMENT, EXAMPLES, FileRows, ReadReport, SkippedRows
from ttplan.logs.rows import ModelNormaliser, Normaliser, finish
from ttplan.logs.source import ReadOptions, Source, SourceFile
from ttplan.logs.sources.files import display_name, unreadable
from ttplan.logs.usage_columns import UsageColumns
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike, is_postgres_url

BATCH_ROWS = 50_000
BATCH_PROMPTS = 5_000
"""How many rows are read at once if each has a prompt and an answer."""


class LogReader:
    """Reads a log once, in batches. `report` is complete when `batches` is exhausted."""

    def __init__(
        self,
        path: PathLike | Sequence[PathLike],
        options: ReadOptions | None = None,
        *,
        normalise: Normaliser | None = None,
    ) -> None:
        """Open the files, detect their format and check their columns.

        `path` is a file, a folder, a glob, several of them, or a database (a DuckDB file, the URL
        of a PostgreSQL server). `normalise` maps the names of other tools to the catalogue's.
        Raises InputError if there is no such file, its format is unknown, or a required column is
        missing.
        """
        self.options = options or ReadOptions()
        self._source = source = Source(path, self.options)
        try:
            source.first  # noqa: B018 - checks the format and the columns
            self.format = source.detected.format
        except BaseException:
            source.close()
            raise
        url = is_postgres_url(str(path))
        self.name = source.display_name(source.files[0]) if url else display_name(path)
        needs_names = normalise is not None and self.format.foreign_names
        self._normaliser = ModelNormaliser(normalise) if normalise and needs_names else None
        self._files: list[FileRows] = []
        self._rows = self._used = 0
        self._skipped: Counter[str] = Counter()
        self._not_requests: Counter[str] = Counter()
        self._emptied: Counter[str] = Counter()
        self._decided: Counter[str] = Counter()
        self._adjustments: Counter[str] = Counter()
        self._adjusted_usd = Decimal(0)
        self._usage = UsageColumns(self.format.counting)
        self._examples: dict[str, list[str]] = defaultdict(list)

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the files."""
        self._source.close()

    def row_count(self) -> int | None:
        """The approximate number of rows, exact for Parquet; None if it is expensive to know."""
        return self._source.row_count()

    def batches(
        self, progress: Callable[[int], None] | None = None, *, numbered: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """The usable rows, as batches of `REQUEST_SCHEMA`.

        `progress` is called with the number of rows read so far. With `numbered`, a further column
        `row` has each row's number in the log, from 0, for `location`. Raises InputError at the end
        if `on_bad_rows` is "refuse" and a row cannot be used.
        """
        for path in self._source.files:
            name = self._source.display_name(path)
            self._files.append(FileRows(path=name, rows=0))
            before = self._rows
            for batch in self._read(self._source.file(path), numbered):
                if progress is not None:
                    progress(self._rows)
                yield batch
            self._files[-1] = FileRows(path=name, rows=self._rows - before)
        if self._rows == 0:
            raise InputError(f"{self.name} has no rows; expected one request a row")
        if self._skipped and self.options.on_bad_rows == "refuse":
            raise InputError(self._refusal())

    def location(self, row: int) -> str:
        """The place of a row of the log, counted from 1 in its file."""
        if len(self._source.files) == 1:
            return f"row {row + 1}"
        first = 0
        for file in self._files[:-1]:
            if row < first + file.rows:
                return f"{file.path} row {row - first + 1}"
            first += file.rows
        return f"{self._files[-1].path} row {row - first + 1}"

    def report(self) -> ReadReport:
        """What was read so far."""
        file = self._source.first
        return ReadReport(
            path=self.name,
            format=self.format.name,
            kind=file.relation.kind,
            why=self._source.detected.why,
            files=tuple(self._files),
            rows=self._rows,
            used=self._used,
            skipped=self._reasons(self._skipped),
            not_requests=self._reasons(self._not_requests),
            emptied=self._reasons(self._emptied),
            decided=self._reasons(self._decided),
            adjustments=self._reasons(self._adjustments),
            adjusted_usd=self._adjusted_usd,
            assumed={
                field.name: field.assumed
                for field in self.options.fields
                if field.assumed is not None and field.name not in file.query.present
            }
            | dict(self.format.assumed),
            ignored_columns=tuple(key for key in file.keys if key not in file.query.used),
        )

    def _reasons(self, counts: Counter[str]) -> tuple[SkippedRows, ...]:
        return tuple(
            SkippedRows(reason=reason, rows=rows, examples=tuple(self._examples[reason]))
            for reason, rows in counts.most_common()
        )

    def _read(self, file: SourceFile, numbered: bool) -> Iterator[pa.RecordBatch]:
        relation = file.relation
        try:
            query = self._source.connection.sql(file.query.sql, params=relation.parameters)
            if self.options.max_rows is not None:
                query = query.limit(self.options.max_rows)
            large = file.query.present & TEXTS
            for batch in query.to_arrow_reader(BATCH_PROMPTS if large else BATCH_ROWS):
                usable, numbers = self._filter(batch)
                usable = self._with_usage(usable, numbers)
                first = self._rows
                self._rows += batch.num_rows
                self._used += usable.num_rows
                rows = finish(usable, self._normaliser)
                yield rows.append_column("row", pc.add(numbers, first)) if numbered else rows
        except duckdb.OutOfMemoryException as error:
            raise InputError(
                f"{relation.path}: a document in it is too large: {str(error).splitlines()[0]}"
            ) from None
        except duckdb.Error as error:
            raise unreadable(relation.path, relation.kind, error) from None

    def _filter(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.Array]:
        """The usable rows and their numbers in the batch; the other rows are counted."""
        self._count_emptied(batch)
        numbers = pa.array(range(batch.num_rows), pa.int64())
        marks = ("bad_field", "skip_rule", "adjustment_usd")
        unusable = reduce(pc.or_, [pc.is_valid(batch[name]) for name in marks])
        if not pc.any(unusable).as_py():
            return batch, numbers
        bad = batch.filter(unusable)
        columns = (bad.column(name).to_pylist() for name in (*marks, "bad_value"))
        bad_numbers = numbers.filter(unusable).to_pylist()
        for number, field, rule, refund, value in zip(bad_numbers, *columns, strict=True):
            location = self.location(self._rows + number)
            if refund is not None:
                self._adjusted_usd += refund
                self._count(self._adjustments, ADJUSTMENT, f"{location}: {refund.normalize():f}")
            elif rule is not None:
                self._count(self._not_requests, self.format.mapping.skip[rule].reason, location)
            else:
                text = "nothing" if value is None else repr(value)
                self._count(self._skipped, self._reason(field), f"{location}: {text}")
        usable = pc.invert(unusable)
        return batch.filter(usable), numbers.filter(usable)

    def _with_usage(self, rows: pa.RecordBatch, numbers: pa.Array) -> pa.RecordBatch:
        """The rows with counts that contain their parts; what was decided is counted."""
        normalised = self._usage.normalise(rows)
        for counts, notes in (
            (self._decided, self._usage.decided),
            (self._emptied, self._usage.left_out),
        ):
            for reason, row in notes:
                self._count(counts, reason, self.location(self._rows + numbers[row].as_py()))
        return normalised

    def _count_emptied(self, batch: pa.RecordBatch) -> None:
        notes = batch["noted"]
        has_notes = pc.fill_null(pc.greater(pc.list_value_length(notes), 0), False)
        if pc.any(has_notes).as_py():
            for number in pc.indices_nonzero(has_notes).to_pylist():
                for note in notes[number].as_py():
                    self._count(self._emptied, note, self.location(self._rows + number))

    def _count(self, counts: Counter[str], reason: str, example: str) -> None:
        counts[reason] += 1
        if len(self._examples[reason]) < EXAMPLES:
            self._examples[reason].append(example)

    def _reason(self, field: str) -> str:
        expected = self._source.expected(field)
        if field == "cost_usd" and self.format.name != "own":
            expected += " (a log without costs is imported with cost='recomputed')"
        return f"{field}: expected {expected}"

    def _refusal(self) -> str:
        (reason, _), *others = self._skipped.most_common()
        count = sum(self._skipped.values())
        more = f"; and {len(others)} other {'reason' if len(others) == 1 else 'reasons'}"
        return (
            f"{self.name}: {count:,} of {self._rows:,} rows cannot be used, so nothing was"
            f" imported; {reason}, found {'; '.join(self._examples[reason])}"
            f"{more if others else ''}. Correct them, or leave them out with on_bad_rows='skip'"
        )
