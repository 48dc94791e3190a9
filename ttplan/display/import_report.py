"""What became of a log's rows, told to a person: as text that fits 80 columns, and as escaped HTML."""

from __future__ import annotations

from collections.abc import Iterator

from ttplan.display.text import escape, wrap
from ttplan.logs.report import ReadReport, SkippedRows

_LEFT = 'style="text-align:left"'


class ShownImport(ReadReport):
    """A report that shows itself."""

    def __repr__(self) -> str:
        lines = wrap(_title(self), subsequent_indent="  ")
        for said in _counts(self):
            lines += wrap(said, initial_indent="  ", subsequent_indent="    ")
        for what, one in _reasons(self):
            said = f"{what}: {one.reason}: {one.rows:,} ({'; '.join(one.examples)})"
            lines += wrap(said, initial_indent="  ", subsequent_indent="    ")
        for said in _notes(self):
            lines += wrap(said, initial_indent="  ", subsequent_indent="    ")
        return "\n".join(lines)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td {_LEFT}>{what}</td><th scope="row" {_LEFT}>{escape(one.reason)}</th><td>{one.rows:,}</td>'
            '<td style="text-align:left;overflow-wrap:anywhere">'
            f"<small>{'<br>'.join(map(escape, one.examples))}</small></td></tr>"
            for what, one in _reasons(self)
        )
        heads = f"<thead><tr><th></th><th {_LEFT}>why</th><th>rows</th><th {_LEFT}>such as</th></tr></thead>"
        table = (
            f'<table style="margin:0.5em 0">{heads}<tbody>{rows}</tbody></table>' if rows else ""
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in _notes(self))
        return (
            '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="import" style="overflow-wrap:anywhere">'
            f"<p style='margin:0'><strong>{escape(_title(self))}</strong><br>{'<br>'.join(map(escape, _counts(self)))}</p>"
            f"{table}{f'<ul>{notes}</ul>' if notes else ''}</div>"
        )


def show_import(report: ReadReport) -> ShownImport:
    """The report, as one that shows itself."""
    return ShownImport.model_construct(**dict(report))


def _title(report: ReadReport) -> str:
    many = f" in {len(report.files):,} files" if len(report.files) > 1 else ""
    return f"{report.path}: {report.rows:,} rows{many} read as {report.format}, {report.kind} ({report.why})"


def _counts(report: ReadReport) -> Iterator[str]:
    others = f", {report.passed_over:,} no requests" if report.not_requests else ""
    if report.added is None or report.already_there is None:
        yield f"{report.used:,} usable, {report.unusable:,} left out{others}"
    else:
        yield f"{report.added:,} added, {report.already_there:,} there already, {report.unusable:,} left out{others}"


def _reasons(report: ReadReport) -> Iterator[tuple[str, SkippedRows]]:
    for what, reasons in (
        ("left out", report.skipped),
        ("no request", report.not_requests),
        ("left empty", report.emptied),
    ):
        for one in reasons:
            yield what, one


def _notes(report: ReadReport) -> Iterator[str]:
    yield from report.findings
    if report.assumed:
        yield "assumed, since the file has no such column: " + ", ".join(
            f"{k} = {v}" for k, v in report.assumed.items()
        )
    if report.ignored_columns:
        yield f"columns not used: {', '.join(report.ignored_columns[:8])}" + (
            " …" if len(report.ignored_columns) > 8 else ""
        )
