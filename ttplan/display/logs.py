"""Cards about logs: how many rows were read and why others were not, and the doctor's diagnosis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ttplan.display.amounts import usd
from ttplan.display.card import Card, Renders, ResultCard, Row, Table
from ttplan.doctor.finding_text import finding_effect, finding_scope
from ttplan.logs.report import ReadReport
from ttplan.model.results.diagnosis import Diagnosis, Finding

if TYPE_CHECKING:
    import pandas as pd

_MOST_COLUMNS = 8
"""How many unused columns are named."""
_COLUMNS = [
    "kind",
    "title",
    "provider",
    "model",
    "service_tier",
    "endpoint",
    "count",
    "effect_usd",
    "detail",
    "weighs",
    "examples",
    "in_a_plan",
    "remedy",
]


class DiagnosisCard(ResultCard[Diagnosis]):
    """A diagnosis of a log; `frame()` has every finding."""

    @property
    def healthy(self) -> bool:
        """Whether no finding would make a plan wrong."""
        return self.result.healthy

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings, the most costly first."""
        return self.result.findings

    def frame(self) -> pd.DataFrame:
        """One row per finding; columns are the fields of `Finding`, USD as floats."""
        import pandas as pd

        rows = [finding.model_dump(mode="json") for finding in self.findings]
        return pd.DataFrame(rows, columns=_COLUMNS).astype({"effect_usd": "float64"})

    def card(self) -> Card:
        return diagnosis_card(self.result)


def diagnosis_card(diagnosis: Diagnosis) -> Card:
    """The card of a diagnosis: one table per kind of finding, since cause and remedy are the
    same."""
    kinds: dict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    for finding in diagnosis.findings:
        kinds[finding.title, finding.in_a_plan, finding.remedy].append(finding)
    return Card(
        "log",
        f"{diagnosis.log}: {verdict(diagnosis)}",
        lines=tuple(_totals(diagnosis)),
        tables=tuple(map(_kind_table, kinds.values())),
        notes=diagnosis.notes,
    )


def verdict(diagnosis: Diagnosis) -> str:
    """The outcome in one line."""
    if not diagnosis.findings:
        return "nothing found"
    serious = sum(finding.weighs for finding in diagnosis.findings)
    others = len(diagnosis.findings) - serious
    if not serious:
        return f"nothing that would make a plan wrong; {others} to be known"
    return f"{serious} that would make a plan wrong" + (f", {others} to be known" if others else "")


def _totals(diagnosis: Diagnosis) -> list[str]:
    lines = [
        f"{diagnosis.rows:,} requests, {usd(diagnosis.recorded_usd)} as recorded",
        f"{diagnosis.compared:,} compared with {diagnosis.prices}: {diagnosis.agreeing:,} agree",
    ]
    if diagnosis.compared:
        recorded, expected = diagnosis.compared_recorded_usd, diagnosis.compared_expected_usd
        lines.append(f"those cost {usd(recorded)} by the log, {usd(expected)} by the prices")
    return lines


def _kind_table(findings: list[Finding]) -> Table:
    first = findings[0]
    return Table(
        tuple(
            Row(
                (finding_scope(finding), finding_effect(finding)),
                (*filter(None, [finding.detail]), f"such as {'; '.join(finding.examples)}"),
            )
            for finding in findings
        ),
        caption=f"{'!' if first.weighs else '-'} {first.title}",
        lines=(f"In a plan: {first.in_a_plan}.", f"Remedy: {first.remedy}."),
    )


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
        tables=(reasons, _findings(report)),
        footer=tuple(_remarks(report)),
    )


def _counts(report: ReadReport) -> str:
    if report.added is None or report.already_there is None:
        used = f"{report.used:,} usable"
    else:
        used = f"{report.added:,} added, {report.already_there:,} there already"
    others = f", {report.passed_over:,} not requests" if report.not_requests else ""
    refunds = f", {report.adjusting:,} adjustments of costs" if report.adjustments else ""
    return f"{used}, {report.unusable:,} left out{others}{refunds}"


def _reasons(report: ReadReport) -> Iterator[Row]:
    groups = (
        ("left out", report.skipped),
        ("not a request", report.not_requests),
        ("left empty", report.emptied),
        ("own sums", report.decided),
        ("adjustment", report.adjustments),
    )
    for group, reasons in groups:
        for skipped in reasons:
            yield Row((group, skipped.reason, f"{skipped.rows:,}"), skipped.examples)


def _findings(report: ReadReport) -> Table:
    """What the check of the costs found, one row each: the finding, and where."""
    rows = [(name, rest) for name, _, rest in (text.partition(": ") for text in report.findings)]
    return Table.of(rows, caption="check of the costs")


def _remarks(report: ReadReport) -> Iterator[str]:
    if report.adjustments:
        yield f"adjustments change the costs of the log by {usd(report.adjusted_usd)}"
    if report.assumed:
        values = ", ".join(f"{name} = {value}" for name, value in report.assumed.items())
        yield f"assumed, since the file has no such column: {values}"
    if report.ignored_columns:
        more = " …" if len(report.ignored_columns) > _MOST_COLUMNS else ""
        yield f"columns not used: {', '.join(report.ignored_columns[:_MOST_COLUMNS])}{more}"
