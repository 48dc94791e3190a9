"""What became of a file's rows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

EXAMPLES = 3


class SkippedRows(BaseModel):
    """Rows that cannot be used for one reason, with examples of where and what."""

    model_config = ConfigDict(frozen=True)

    reason: str
    rows: int
    examples: tuple[str, ...]


class FileRows(BaseModel):
    """How many rows a file has."""

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int


class ReadReport(BaseModel):
    """What was read of a log, what was left out and why, and what was assumed.

    `rows` is all that its `files` have: `used` of them are usable, those that cannot be are in `skipped`, and those that are no
    requests in `not_requests`. `emptied` are values that were left out of rows that are kept. `added` and `already_there` say
    what became of the used ones in the store; they are None where none was involved.
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
        """How many rows are no requests."""
        return sum(skipped.rows for skipped in self.not_requests)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        many = f" in {len(self.files):,} files" if len(self.files) > 1 else ""
        lines = [
            f"{self.path}: {self.rows:,} rows{many} read as {self.format}, {self.kind} ({self.why})"
        ]
        others = f", {self.passed_over:,} no requests" if self.not_requests else ""
        if self.added is not None:
            lines.append(
                f"  {self.added:,} added, {self.already_there:,} there already, {self.unusable:,} left out{others}"
            )
        else:
            lines.append(f"  {self.used:,} usable, {self.unusable:,} left out{others}")
        for what, reasons in (
            ("left out", self.skipped),
            ("no request", self.not_requests),
            ("left empty", self.emptied),
        ):
            lines += [
                f"  {what}: {s.reason}: {s.rows:,} ({'; '.join(s.examples)})" for s in reasons
            ]
        lines += [f"  {finding}" for finding in self.findings]
        if self.assumed:
            lines.append(
                "  assumed, since the file has no such column: "
                + ", ".join(f"{k} = {v}" for k, v in self.assumed.items())
            )
        if self.ignored_columns:
            names = ", ".join(self.ignored_columns[:8]) + (
                " …" if len(self.ignored_columns) > 8 else ""
            )
            lines.append(f"  columns not used: {names}")
        return "\n".join(lines)
