"""What the log doctor found, told to a person: as text that fits 80 columns, and as HTML."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ttplan.display.amounts import usd
from ttplan.display.text import WIDTH, escape, plain, wrap
from ttplan.doctor.finding_text import finding_effect, finding_scope, priced_as
from ttplan.model.results.diagnosis import Diagnosis, Finding

if TYPE_CHECKING:
    import pandas as pd

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
]
_COLUMNS += ["examples", "in_a_plan", "remedy"]
_NUMBERS = ("count", "effect")


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
    return f"{weighing} that would make a plan wrong" + (
        f", {others} to be known" if others else ""
    )


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


def by_kind(found: Diagnosis) -> list[tuple[Finding, ...]]:
    """The findings of each kind together, since what they do and how to set them right is the same; the heaviest first."""
    kinds: dict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    for finding in found.findings:
        kinds[finding.title, finding.in_a_plan, finding.remedy].append(finding)
    return [tuple(alike) for alike in kinds.values()]


def diagnosis_text(found: Diagnosis) -> str:
    """The diagnosis as text."""
    lines = [
        *wrap(f"{found.log}: {verdict(found)}", WIDTH),
        *wrap("; ".join(compared(found)), WIDTH),
    ]
    for alike in by_kind(found):
        first = alike[0]
        lines += ["", f"{_mark(first)} {first.title}"]
        for finding in alike:
            lines += _wrapped(f"{finding_scope(finding)}, {finding_effect(finding)}", "    ")
            lines += [
                *_wrapped(finding.detail, "      "),
                *_wrapped(f"such as {'; '.join(finding.examples)}", "      "),
            ]
        lines += [
            *_wrapped(f"In a plan: {first.in_a_plan}.", "  "),
            *_wrapped(f"Remedy: {first.remedy}.", "  "),
        ]
    if found.notes:
        lines.append("")
        for note in found.notes:
            lines += wrap(plain(note), WIDTH - 2, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines)


def diagnosis_html(found: Diagnosis) -> str:
    """The diagnosis as HTML, in the notebook's own colours: a heading for each kind, a row for each model."""
    rows = "".join(f"{_heading(alike[0])}{''.join(map(_row, alike))}" for alike in by_kind(found))
    heads = "".join(
        f'<th scope="col" style="text-align:{"right" if name in _NUMBERS else "left"}">{name}</th>'
        for name in ("model", *_NUMBERS, "such as")
    )
    table = (
        f'<table style="margin:0.5em 0"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        if rows
        else ""
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="log" style="overflow-wrap:anywhere">'
        f"<p style='margin:0'><strong>{escape(found.log)}</strong>: {escape(verdict(found))}<br>"
        f"{'<br>'.join(map(escape, compared(found)))}</p>{table}{f'<ul>{notes}</ul>' if notes else ''}</div>"
    )


def _heading(finding: Finding) -> str:
    told = f"In a plan: {escape(finding.in_a_plan)}.<br>Remedy: {escape(finding.remedy)}."
    return (
        f'<tr><th scope="rowgroup" colspan="4" style="text-align:left;padding-top:0.8em">{_mark(finding)} {escape(finding.title)}'
        f'<div style="font-weight:normal">{told}</div></th></tr>'
    )


def _row(finding: Finding) -> str:
    detail = f"<br>{escape(finding.detail)}" if finding.detail else ""
    examples = "<br>".join(map(escape, finding.examples))
    return (
        f'<tr><td style="text-align:left">{escape(priced_as(finding))}{detail}</td><td>{finding.count:,}</td>'
        f'<td style="white-space:nowrap">{escape(finding_effect(finding))}</td>'
        f'<td style="text-align:left;overflow-wrap:anywhere"><small>{examples}</small></td></tr>'
    )


def _wrapped(text: str, indent: str) -> list[str]:
    return wrap(plain(text), WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")


def _mark(finding: Finding) -> str:
    return "!" if finding.weighs else "-"
