"""What was read of a log: how many rows, what was left out and why, and what was assumed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

EXAMPLES = 3
_LISTED_COLUMNS = 8


class SkippedRows(BaseModel):
    """Rows that cannot be used for one reason, with examples."""

    model_config = ConfigDict(frozen=True)

    reason: str
    rows: int
    examples: tuple[str, ...]


class FileRows(BaseModel):
    """The number of rows in a file."""

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int


class ReadReport(BaseModel):
    """What was read of a log, what was left out and why, and what was assumed.

    `rows` counts all rows of the `files`: `used` of them are usable, `skipped` has those that are
    not, and `not_requests` those that are not requests. `emptied` counts values that were left out
    of rows that are kept. `added` and `already_there` say what happened to the used rows in the
    store; they are None if no store was involved.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    format: str
    kind: str
    why: str
    files: tuple[FileRows, ...] = ()
    rows: int
    used: int
    skipped: tuple[SkippedRows, ...] = ()
    not_requests: tuple[SkippedRows, ...] = ()
    emptied: tuple[SkippedRows, ...] = ()
    findings: tuple[str, ...] = ()
    assumed: dict[str, str] = {}
    ignored_columns: tuple[str, ...] = ()
    added: int | None = None
    already_there: int | None = None

    @property
    def unusable(self) -> int:
        """How many rows cannot be used."""
        return sum(skipped.rows for skipped in self.skipped)

    @property
    def passed_over(self) -> int:
        """How many rows are not requests."""
        return sum(skipped.rows for skipped in self.not_requests)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        in_files = f" in {len(self.files):,} files" if len(self.files) > 1 else ""
        counts = [
            f"{self.used:,} usable"
            if self.added is None
            else f"{self.added:,} added, {self.already_there:,} there already",
            f"{self.unusable:,} left out",
            *([f"{self.passed_over:,} no requests"] if self.not_requests else []),
        ]
        lines = [
            f"{self.path}: {self.rows:,} rows{in_files} read as {self.format}, {self.kind}"
            f" ({self.why})",
            f"  {', '.join(counts)}",
        ]
        for label, reasons in (
            ("left out", self.skipped),
            ("no request", self.not_requests),
            ("left empty", self.emptied),
        ):
            lines += [
                f"  {label}: {s.reason}: {s.rows:,} ({'; '.join(s.examples)})" for s in reasons
            ]
        lines += [f"  {finding}" for finding in self.findings]
        if self.assumed:
            values = ", ".join(f"{name} = {value}" for name, value in self.assumed.items())
            lines.append(f"  assumed, since the file has no such column: {values}")
        if self.ignored_columns:
            more = " …" if len(self.ignored_columns) > _LISTED_COLUMNS else ""
            names = ", ".join(self.ignored_columns[:_LISTED_COLUMNS])
            lines.append(f"  columns not used: {names}{more}")
        return "\n".join(lines)
