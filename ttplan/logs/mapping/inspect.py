"""Inspects a file of an unknown format, drafts the mapping that reads it, and tries the draft.

The result has the keys of the file, the kinds of their values, how many there are, and the range of
numbers and times. Of the file's texts it has only words that say what kind of row it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from ttplan.logs.mapping.draft import Draft, draft_mapping
from ttplan.logs.mapping.sample import SAMPLE_ROWS, KeySummary, SampledRows, sample_rows
from ttplan.logs.model_names import normalise_model
from ttplan.logs.reader import LogReader
from ttplan.logs.report import ReadReport
from ttplan.logs.source import ReadOptions, Source
from ttplan.logs.sources.files import FileHead, find_files, unreadable
from ttplan.model.errors import InputError
from ttplan.util.files import atomic_write
from ttplan.util.paths import PathLike
from ttplan.util.yaml_files import format_yaml

_LISTED_KEYS = 60


class Inspection(NamedTuple):
    """What was seen of a file, and the drafted mapping. `missing` are required fields without a
    source; `usable` of the `sampled` rows can be used with the mapping, and `not_requests` are left
    out by it; `problem` says why the mapping does not work, None if it does."""

    path: str
    kind: str
    known_as: str | None
    rows: str
    sampled: int
    seen: tuple[KeySummary, ...]
    mapping: dict[str, Any]
    missing: tuple[str, ...]
    usable: int = 0
    not_requests: int = 0
    problem: str | None = None

    @property
    def works(self) -> bool:
        """Whether the file can be read: with the mapping, or since its format is known."""
        return self.known_as is not None or self.problem is None

    def yaml(self) -> str:
        """The mapping as YAML, with comments on what is still missing."""
        text = format_yaml(self.mapping)
        if not self.mapping["fields"]:
            text = text.replace("fields: {}\n", "fields:\n")
        missing = "".join(
            f"  # {name}: say where it is, such as `{name}: path.to.it`, or a constant\n"
            for name in self.missing
        )
        fields, mark, skip = text.partition("skip:\n")
        return (
            "# A mapping that ttplan drafted. Check it, above all units and whether input tokens"
            f" include cached ones.\n{fields}{missing}{mark}{skip}"
        )

    def __str__(self) -> str:
        known = f"; it is {self.known_as}, which needs no mapping" if self.known_as else ""
        where = f" at {self.rows}" if self.rows else ""
        lines = [
            f"{self.path}: {self.kind}, rows{where};"
            f" the first {self.sampled:,} were looked at{known}"
        ]
        shown = self.seen[:_LISTED_KEYS]
        width = max((len(key.path) for key in shown), default=0)
        for key in shown:
            share = f"{key.rows * 100 // max(self.sampled, 1)} %"
            value_range = "" if key.low is None else f"  {key.low} to {key.high}"
            lines.append(f"  {key.path:<{width}}  {share:>5}  {', '.join(key.kinds)}{value_range}")
        if more := len(self.seen) - len(shown):
            lines.append(f"  and {more:,} other keys")
        return "\n".join([*lines, "", self.yaml().rstrip(), "", self.verdict()])

    def verdict(self) -> str:
        """One sentence: how much of the sample the mapping reads, or what is missing."""
        if self.problem is not None and self.known_as is not None:
            return f"The file needs no mapping; the drafted one does not work: {self.problem}."
        if self.problem is not None:
            return f"The mapping does not work yet: {self.problem}."
        others = f", {self.not_requests:,} are not requests" if self.not_requests else ""
        return f"With this mapping {self.usable:,} of {self.sampled:,} rows are usable{others}."


def inspect_file(path: PathLike) -> Inspection:
    """Inspect the first rows of a file, or of the first of several, draft its mapping and try it.

    Raises InputError if it cannot be read.
    """
    file = find_files(path)[0]
    if FileHead(file).is_duckdb:
        raise InputError(
            f"{file} is a DuckDB file; copy its table to a file to have it inspected,"
            " or name it with `table`"
        )
    name = re.sub(r"\W+", "_", file.name.split(".")[0])[:100] or "log"
    try:
        with Source(file) as source:
            memory = 2**29 + 6 * source.sample.file.largest
            source.connection.execute(f"SET memory_limit = '{memory}B'")
            drafts = [(rows, draft_mapping(rows, name)) for rows in sample_rows(source)]
            known_as = _known_as(source)
            kind = source.sample.file.kind
    except duckdb.Error as error:
        raise unreadable(file, "a log", error) from None
    rows, draft = max(drafts, key=_fitness)
    inspection = Inspection(
        str(file),
        kind,
        known_as,
        rows.at,
        len(rows.rows),
        tuple(rows.keys.values()),
        draft.mapping,
        draft.missing,
    )
    return _tried(inspection)


def write_mapping(inspection: Inspection, path: Path) -> None:
    """Write the drafted mapping. Raises InputError if the file exists."""
    with atomic_write(path) as file:
        file.write(inspection.yaml().encode())


def _fitness(drafted: tuple[SampledRows, Draft]) -> tuple[int, ...]:
    """How well rows at a path fit: fields found, not in lists, complete rows, and the outer ones of
    equals."""
    rows, draft = drafted
    found = len(draft.mapping["fields"]) if rows.rows else -1
    return (-len(draft.missing), -draft.through_lists, draft.complete, found, -len(rows.at))


def _known_as(source: Source) -> str | None:
    try:
        return source.detect().format.title
    except InputError:
        return None


def _tried(inspection: Inspection) -> Inspection:
    """The inspection, with what the drafted mapping reads of the first rows."""
    if inspection.missing:
        *others, last = inspection.missing
        names = f"{', '.join(others)} or {last}" if others else last
        return inspection._replace(problem=f"no key of the file is likely to be {names}")
    options = ReadOptions(
        mapping=inspection.mapping,
        on_bad_rows="skip",
        needs_cost=False,
        with_hashes=False,
        max_rows=SAMPLE_ROWS,
    )
    try:
        with LogReader(inspection.path, options, normalise=normalise_model) as log:
            used = sum(batch.num_rows for batch in log.batches())
            report = log.report()
    except InputError as error:
        return inspection._replace(problem=str(error).removeprefix(f"{inspection.path}: "))
    return inspection._replace(
        usable=used,
        not_requests=report.passed_over,
        problem=_unusable(report) if report.unusable or not used else None,
    )


def _unusable(report: ReadReport) -> str:
    """Which rows the mapping does not read, and why; no text of the log."""
    if not report.unusable:
        return f"all {report.rows:,} rows are left out as no requests"
    reasons = "; ".join(f"{skipped.rows:,} of {skipped.reason}" for skipped in report.skipped)
    return f"{report.used:,} of {report.rows:,} rows are usable; not usable are {reasons}"
