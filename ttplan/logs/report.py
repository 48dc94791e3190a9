"""What became of a file's rows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

EXAMPLES = 3


class Skipped(BaseModel):
    """Rows that cannot be used for one reason, with examples of where and what."""

    model_config = ConfigDict(frozen=True)

    reason: str
    rows: int
    examples: tuple[str, ...]


class ReadReport(BaseModel):
    """What was read of a file, what was left out and why, and what was assumed.

    `rows` is all that the file has: `used` of them are usable, the others are in `skipped`. `added` and `already_there` say what
    became of the used ones in the store; they are None where none was involved.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    format: str
    why: str
    rows: int
    used: int
    skipped: tuple[Skipped, ...] = ()
    assumed: dict[str, str] = {}
    ignored_columns: tuple[str, ...] = ()
    added: int | None = None
    already_there: int | None = None

    @property
    def unusable(self) -> int:
        """How many rows cannot be used."""
        return self.rows - self.used

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.rows:,} rows read as {self.format} ({self.why})"]
        if self.added is not None:
            lines.append(f"  {self.added:,} added, {self.already_there:,} there already, {self.unusable:,} left out")
        else:
            lines.append(f"  {self.used:,} usable, {self.unusable:,} left out")
        lines += [f"  left out: {s.reason}: {s.rows:,} ({'; '.join(s.examples)})" for s in self.skipped]
        if self.assumed:
            lines.append(
                "  assumed, since the file has no such column: " + ", ".join(f"{k} = {v}" for k, v in self.assumed.items())
            )
        if self.ignored_columns:
            names = ", ".join(self.ignored_columns[:8]) + (" …" if len(self.ignored_columns) > 8 else "")
            lines.append(f"  columns not used: {names}")
        return "\n".join(lines)
