"""What was read of a log: how many rows, what was left out and why, and what was assumed."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict

EXAMPLES = 3
ADJUSTMENT = "a cost below 0, such as a refund"


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
    of rows that are kept, `decided` rows whose counts were read by their own sums. `adjustments`
    counts rows with a cost below 0, such as refunds, which add up to `adjusted_usd`. `added` and
    `already_there` say what happened to the used rows in the store; they are None if no store was
    involved.
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
    decided: tuple[SkippedRows, ...] = ()
    adjustments: tuple[SkippedRows, ...] = ()
    adjusted_usd: Decimal = Decimal(0)
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
    def adjusting(self) -> int:
        """How many rows are adjustments of costs."""
        return sum(adjustment.rows for adjustment in self.adjustments)

    @property
    def passed_over(self) -> int:
        """How many rows are not requests."""
        return sum(skipped.rows for skipped in self.not_requests)
