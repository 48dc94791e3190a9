"""What the log doctor found, told to a person: as text that fits 80 columns, and as HTML."""

from __future__ import annotations

import textwrap
from html import escape
from typing import TYPE_CHECKING

from ttplan.cards.amounts import usd
from ttplan.doctor.told import where, whose, worth
from ttplan.model.diagnosis import Diagnosis, Finding

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 80
_COLUMNS = ["kind", "title", "provider", "model", "service_tier", "endpoint", "count", "effect_usd", "detail", "weighs"]
_COLUMNS += ["examples", "in_a_plan", "remedy"]
_LEFT = 'style="text-align:left"'


class ShownDiagnosis:
    """A diagnosis that shows itself; `frame()` has every finding."""

    def __init__(self, found: Diagnosis) -> None:
        self.found = found

    @property
    def healthy(self) -> bool:
        """Whether nothing was found that would make a plan wrong."""
        return self.found.healthy

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, the heaviest first."""
        return self.found.findings

    def frame(self) -> pd.DataFrame:
        """One row for each finding; columns are the fields of `Finding`, USD as floats."""
        import pandas as pd

        rows = [finding.model_dump(mode="json") for finding in self.found.findings]
        return pd.DataFrame(rows, columns=_COLUMNS).astype({"effect_usd": "float64"})

    def __repr__(self) -> str:
        return diagnosis_text(self.found)

    def _repr_html_(self) -> str:
        return diagnosis_html(self.found)


def verdict(found: Diagnosis) -> str:
    """The outcome in one line."""
    weighing = sum(finding.weighs for finding in found.findings)
    if not found.findings:
        return "nothing found"
    others = len(found.findings) - weighing
    if not weighing:
        return f"nothing that weighs; {others} to be known"
    return f"{weighing} that would make a plan wrong" + (f", {others} to be known" if others else "")


def compared(found: Diagnosis) -> list[str]:
    """What was held against which prices."""
    lines = [
        f"{found.rows:,} requests, {usd(found.recorded_usd)} as recorded",
        f"{found.compared:,} held against {found.prices}: {found.agreeing:,} agree",
    ]
    if found.compared:
        lines.append(
            f"those cost {usd(found.compared_recorded_usd)} by the log, {usd(found.compared_expected_usd)} by the prices"
        )
    return lines


def diagnosis_text(found: Diagnosis) -> str:
    """The diagnosis as text."""
    lines = [*textwrap.wrap(f"{found.log}: {verdict(found)}", WIDTH), *textwrap.wrap("; ".join(compared(found)), WIDTH)]
    for finding in found.findings:
        lines.append("")
        lines += textwrap.wrap(f"{finding.title}: {where(finding)}, {worth(finding)}", WIDTH - 2, initial_indent=_mark(finding))
        told = {
            "what": finding.detail,
            "such as": "; ".join(finding.examples),
            "in a plan": finding.in_a_plan,
            "remedy": finding.remedy,
        }
        for label, text in told.items():
            if text:
                flat = " ".join(text.split())
                lines += textwrap.wrap(flat, WIDTH, initial_indent=f"    {label:<11}", subsequent_indent=" " * 15)
    if found.notes:
        lines.append("")
        for note in found.notes:
            lines += textwrap.wrap(" ".join(note.split()), WIDTH - 2, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines)


def diagnosis_html(found: Diagnosis) -> str:
    """The diagnosis as HTML, in the notebook's own colours."""
    rows = "".join(
        f'<tr><th scope="row" {_LEFT}>{"<strong>!</strong> " if finding.weighs else ""}{escape(finding.title)}'
        f"{f'<br>{escape(finding.detail)}' if finding.detail else ''}</th>"
        f"<td {_LEFT}>{escape(whose(finding))}</td><td>{finding.count:,}</td><td>{escape(_effect(finding))}</td>"
        f"<td {_LEFT}>{escape('; '.join(finding.examples))}</td><td {_LEFT}>{escape(finding.in_a_plan)}</td>"
        f"<td {_LEFT}>{escape(finding.remedy)}</td></tr>"
        for finding in found.findings
    )
    heads = "".join(
        f"<th{'' if name in ('count', 'effect') else f' {_LEFT}'}>{name}</th>"
        for name in ("found", "model", "count", "effect", "such as", "in a plan", "remedy")
    )
    table = f'<table style="margin:0.5em 0"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>' if rows else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="log">'
        f"<p style='margin:0'><strong>{escape(found.log)}</strong>: {escape(verdict(found))}<br>"
        f"{'<br>'.join(map(escape, compared(found)))}</p>{table}{f'<ul>{notes}</ul>' if notes else ''}</div>"
    )


def _mark(finding: Finding) -> str:
    return "! " if finding.weighs else "- "


def _effect(finding: Finding) -> str:
    return "" if finding.effect_usd is None else usd(finding.effect_usd)
