"""Read logged requests from a file in our own column names: every row is used or accounted for."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Literal
from uuid import NAMESPACE_URL, UUID, uuid5

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.logs.fields import BODIES, EMBEDDINGS, FIELDS, UUID_TEXT, Field
from ttplan.logs.files import Source, open_source, unreadable
from ttplan.logs.report import EXAMPLES, ReadReport, Skipped
from ttplan.model.errors import InputError

BATCH = 50_000
NAMESPACE = uuid5(NAMESPACE_URL, "ttplan:requests")
"""Where ids that are not UUIDs get theirs from; the original is kept as `source_id`."""
OnBadRows = Literal["refuse", "skip"]
_MONEY = pa.decimal128(38, 12)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("org_id", pa.string()),
        ("ts", pa.timestamp("us", tz="UTC")),
        ("provider", pa.string()),
        ("model", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("cost_usd", _MONEY),
        ("baseline_cost_usd", _MONEY),
        ("cached", pa.bool_()),
        ("cache_layer", pa.string()),
        ("matched_route_id", pa.string()),
        ("latency_ms", pa.int64()),
        ("upstream_latency_ms", pa.int64()),
        ("status", pa.int32()),
        ("tag", pa.string()),
        ("finish_reason", pa.string()),
        ("body", pa.string()),
        ("response_body", pa.string()),
        ("body_lower", pa.string()),
        ("source_id", pa.string()),
        ("session_id", pa.string()),
        ("user_id", pa.string()),
        ("api_key_id", pa.string()),
        ("embedding", pa.list_(pa.float32())),
        ("cache_write_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
        ("input_audio_tokens", pa.int64()),
        ("output_audio_tokens", pa.int64()),
        ("input_image_tokens", pa.int64()),
        ("output_image_tokens", pa.int64()),
        ("streamed", pa.bool_()),
        ("service_tier", pa.string()),
        ("endpoint", pa.string()),
        ("provider_usage", pa.string()),
        ("logged_provider", pa.string()),
        ("logged_model", pa.string()),
        ("recorded_cost_usd", _MONEY),
        ("cost_basis", pa.string()),
    ]
)
"""The rows that come out. `org_id` is null where the file has none; `body_lower` is the body lower-cased by Python."""


class LogFile:
    """A file of logged requests, read once, in batches. `report` is complete when `batches` is exhausted."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,
        on_bad_rows: OnBadRows = "refuse",
        with_bodies: bool = False,
        with_embeddings: bool = False,
    ) -> None:
        """Open the file and check its columns. Raises InputError where it is no such file or lacks a required column."""
        self._fields = (*FIELDS, *(BODIES if with_bodies else ()), *(EMBEDDINGS if with_embeddings else ()))
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        names = [field.name for field in self._fields]
        self.source = open_source(self._connection, path, names, format, [field.name for field in EMBEDDINGS])
        self._on_bad_rows = on_bad_rows
        self._rows = 0
        self._used = 0
        self._skipped: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)
        _check_columns(self.source, self._fields)

    def row_count(self) -> int | None:
        """How many rows there are, where that is cheap to know: for Parquet."""
        if self.source.format != "parquet":
            return None
        found = self._connection.execute("SELECT count(*) FROM read_parquet($path)", {"path": self.source.path}).fetchall()
        return int(found[0][0])

    def batches(self, progress: Callable[[int], None] | None = None) -> Iterator[pa.RecordBatch]:
        """The usable rows, as batches of `SCHEMA`; `progress` is told how many rows were read so far.

        With `on_bad_rows` of "refuse", raises InputError at the end where any row could not be used.
        """
        query = _query(self.source, self._fields)
        try:
            reader: pa.RecordBatchReader = self._connection.sql(query, params={"path": self.source.path}).to_arrow_reader(BATCH)
            for batch in reader:
                self._rows += batch.num_rows
                good = self._sift(batch)
                self._used += good.num_rows
                if progress is not None:
                    progress(self._rows)
                yield _finish(good)
        except duckdb.Error as error:
            raise unreadable(self.source.path, self.source.format, error) from None
        if self._rows == 0:
            raise InputError(f"{self.source.path} has no rows; expected one request a row")
        if self._skipped and self._on_bad_rows == "refuse":
            raise InputError(self._refusal())

    def report(self) -> ReadReport:
        """What was read so far."""
        assumed = {f.name: f.assumed for f in self._fields if f.assumed is not None and f.name not in self.source.fields}
        return ReadReport(
            path=self.source.path,
            format=self.source.format,
            why=self.source.why,
            rows=self._rows,
            used=self._used,
            skipped=tuple(
                Skipped(reason=reason, rows=rows, examples=tuple(self._examples[reason]))
                for reason, rows in self._skipped.most_common()
            ),
            assumed=assumed,
            ignored_columns=self.source.ignored,
        )

    def _sift(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        bad = batch.filter(pc.is_valid(batch["bad_field"]))
        kinds = {field.name: field for field in self._fields}
        for row, name, value in zip(*(bad.column(c).to_pylist() for c in ("row_number", "bad_field", "bad_value")), strict=True):
            reason = f"{name}: expected {kinds[name].kind.expected}"
            self._skipped[reason] += 1
            if len(self._examples[reason]) < EXAMPLES:
                self._examples[reason].append(f"row {row}: " + ("nothing" if value is None else repr(value)))
        return batch.filter(pc.is_null(batch["bad_field"])) if bad.num_rows else batch

    def _refusal(self) -> str:
        (reason, _), *_ = self._skipped.most_common()
        count = sum(self._skipped.values())
        others = len(self._skipped) - 1
        return (
            f"{self.source.path}: {count:,} of {self._rows:,} rows cannot be used, so nothing was imported; "
            f"{reason}, found {'; '.join(self._examples[reason])}"
            + (f"; and {others} other {'reason' if others == 1 else 'reasons'}" if others else "")
            + ". Correct them, or leave them out with on_bad_rows='skip' (--skip-bad-rows)"
        )


def _check_columns(source: Source, fields: tuple[Field, ...]) -> None:
    missing = [field.name for field in fields if field.required and field.name not in source.fields]
    if missing:
        have = ", ".join([*sorted(source.fields), *source.ignored][:20]) or "none"
        raise InputError(
            f"{source.path}: no column {', '.join(missing)}; expected at least "
            f"{', '.join(f.name for f in fields if f.required)}; the file has {have}"
        )


def _query(source: Source, fields: tuple[Field, ...]) -> str:
    """One SELECT: each field's value, and the first field whose text is none of its kind. Names are our own."""
    present = [field for field in fields if field.name in source.fields]
    csv = source.format == "csv"
    cleaned = ", ".join(f"NULLIF({f.name}, '') AS {f.name}" if csv and f.kind.pattern else f.name for f in present)
    values = ", ".join(f"{f.kind.value.format(c=f.name)} AS {f.name}_value" for f in present)
    bad = " ".join(f"WHEN {_is_bad(f)} THEN '{f.name}'" for f in present)
    found = " ".join(f"WHEN bad_field = '{f.name}' THEN left(CAST({f.name} AS VARCHAR), 40)" for f in present if f not in BODIES)
    chosen = ", ".join(f"{_chosen(f, f in present)} AS {f.name}" for f in fields)
    return f"""
        WITH texts AS (SELECT row_number() OVER () AS row_number, {cleaned} FROM {source.relation}),
        valued AS (SELECT *, {values} FROM texts),
        judged AS (SELECT *, CASE {bad} END AS bad_field FROM valued)
        SELECT row_number, bad_field, CASE {found} END AS bad_value, {chosen} FROM judged
    """  # noqa: S608


def _is_bad(field: Field) -> str:
    text = field.name
    misspelt = f"NOT regexp_full_match({text}, '{field.kind.pattern}') OR " if field.kind.pattern else ""
    wrong = f"({text} IS NOT NULL AND ({misspelt}{text}_value IS NULL))"
    return f"({text} IS NULL OR {wrong})" if field.required else wrong


def _chosen(field: Field, present: bool) -> str:
    return f"coalesce({field.name}_value, {field.default})" if present else field.default


def _finish(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Ids become UUIDs, and the body gets its lower case."""
    columns = {name: batch[name] for name in batch.schema.names if name in SCHEMA.names}
    ids = columns["id"].cast(pa.string())
    columns["source_id"] = pc.if_else(_are_uuids(ids), pa.scalar(None, pa.string()), ids)
    columns["id"] = _as_uuids(ids)
    columns["org_id"] = _as_uuids(columns["org_id"].cast(pa.string()))
    bodies = columns.get("body")
    if bodies is not None:
        columns["body_lower"] = pa.array([None if b is None else b.lower() for b in bodies.to_pylist()], pa.string())
    nothing = pa.nulls(batch.num_rows)
    return pa.record_batch([columns.get(f.name, nothing).cast(f.type) for f in SCHEMA], schema=SCHEMA)


def _are_uuids(ids: pa.Array) -> pa.Array:
    return pc.match_substring_regex(ids, f"^(?:{UUID_TEXT.pattern})$")


def _as_uuids(ids: pa.Array) -> pa.Array:
    given = _are_uuids(ids)
    if pc.all(given).as_py() is not False:
        return pc.utf8_lower(ids)
    return pa.array([as_uuid(text) for text in ids.to_pylist()], pa.string())


def as_uuid(text: str | None) -> str | None:
    """A UUID's canonical text: the id itself where it is one, else a UUIDv5 of it."""
    if text is None:
        return None
    try:
        return str(UUID(text)) if len(text) == 36 else str(uuid5(NAMESPACE, text))
    except ValueError:
        return str(uuid5(NAMESPACE, text))
