"""The card of an import or a reading: how many rows were used, and why others were not."""

from __future__ import annotations

from collections.abc import Iterator

from ttplan.display.card import Card, Renders, Row, Table
from ttplan.logs.report import ReadReport

_MOST_COLUMNS = 8
"""How many unused columns are named."""


class ImportCard(Renders, ReadReport):
    """A report of a reading."""

    __repr__ = __str__ = Renders.__repr__

    @classmethod
    def of(cls, report: ReadReport) -> ImportCard:
        """The same report, which shows itself as a card."""
        return cls.model_construct(**dict(report))

    def card(self) -> Card:
        return import_card(self)


def import_card(report: ReadReport) -> Card:
    """The card of a report."""
    files = f" in {len(report.files):,} files" if len(report.files) > 1 else ""
    reasons = Table(
        tuple(_reasons(report)), ("", "reason", "rows"), "llr", 1, details_name="examples"
    )
    return Card(
        "import",
        f"{report.path}: {report.rows:,} rows{files} read as {report.format}, {report.kind} "
        f"({report.why})",
        lines=(_counts(report),),
        tables=(reasons,),
        notes=tuple(_notes(report)),
    )


def _counts(report: ReadReport) -> str:
    if report.added is None or report.already_there is None:
        used = f"{report.used:,} usable"
    else:
        used = f"{report.added:,} added, {report.already_there:,} there already"
    others = f", {report.passed_over:,} not requests" if report.not_requests else ""
    return f"{used}, {report.unusable:,} left out{others}"


def _reasons(report: ReadReport) -> Iterator[Row]:
    groups = (
        ("left out", report.skipped),
        ("not a request", report.not_requests),
        ("left empty", report.emptied),
    )
    for group, reasons in groups:
        for skipped in reasons:
            yield Row((group, skipped.reason, f"{skipped.rows:,}"), skipped.examples)


def _notes(report: ReadReport) -> Iterator[str]:
    yield from report.findings
    if report.assumed:
        values = ", ".join(f"{name} = {value}" for name, value in report.assumed.items())
        yield f"assumed, since the file has no such column: {values}"
    if report.ignored_columns:
        more = " …" if len(report.ignored_columns) > _MOST_COLUMNS else ""
        yield f"columns not used: {', '.join(report.ignored_columns[:_MOST_COLUMNS])}{more}"
