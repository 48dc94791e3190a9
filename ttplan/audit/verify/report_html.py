"""A verification as HTML: for a notebook's cell, and as a page of its own that fetches nothing."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttplan.audit.verify.report import ChainReport

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: Canvas;
  color: CanvasText; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
caption { text-align: left; font-weight: bold; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid GrayText; }
th { width: 9rem; }
code { overflow-wrap: anywhere; }
"""
_LEFT = ' style="text-align:left;vertical-align:top"'


def report_html(report: ChainReport) -> str:
    """The report as a part of a page, in the notebook's own colours."""
    return f'<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="verification">{_body(report)}</div>'


def report_page(report: ChainReport, source: str) -> str:
    """The report on `source` as a whole page. It has no script, and no address that a browser would ask."""
    title = f"{report.verdict}: {source}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>Audit chain of {escape(source)}</h1>\n{_body(report)}\n</main>\n</body>\n</html>\n"
    )


def _body(report: ChainReport) -> str:
    return f"<p><strong>{escape(report.headline)}</strong></p>" + "".join(
        _table(caption, rows)
        for caption, rows in (
            ("What is wrong", _wrong(report)),
            ("The chain", _chain(report)),
            ("What was checked", [("checked", escape(text)) for text in report.checks]),
            ("What was not", [("NOT checked", escape(text)) for text in report.not_checked]),
        )
        if rows
    )


def _table(caption: str, rows: list[tuple[str, str]]) -> str:
    """A table of names and of HTML that says something of each."""
    lines = "".join(
        f'<tr><th scope="row"{_LEFT}>{escape(name)}</th><td{_LEFT}>{told}</td></tr>'
        for name, told in rows
    )
    return f'<table style="margin:0.5em 0"><caption{_LEFT}>{escape(caption)}</caption><tbody>{lines}</tbody></table>'


def _wrong(report: ChainReport) -> list[tuple[str, str]]:
    bad = report.first_bad
    if bad is None:
        return []
    rows = [
        ("not its anchor's chain" if report.is_cut else "first bad entry", escape(str(bad.index))),
        ("check", escape(bad.error)),
    ]
    if bad.expected is not None:
        rows += [("expected", _code(bad.expected)), ("found", _code(bad.found or ""))]
    rows.append(("in words", escape(bad.message)))
    if bad.untrusted is not None:
        rows.append(
            (
                "untrusted after it",
                f"{bad.untrusted:,} {'entry' if bad.untrusted == 1 else 'entries'}",
            )
        )
    return rows


def _chain(report: ChainReport) -> list[tuple[str, str]]:
    rows = []
    if report.org_id is not None:
        rows.append(("organisation", _code(str(report.org_id))))
    if report.since is not None:
        rows.append(("follows", _code(str(report.since))))
    if report.tip is not None:
        rows.append(("ends at", _code(str(report.tip))))
    rows.append(("public key", f"{_code(report.key)}, from {escape(report.key_source)}"))
    rows += [(f"key from seq {span.since} on", _code(span.key)) for span in report.rotations]
    if report.signatures_checked is not None:
        rows.append(("signatures checked", f"{report.signatures_checked:,}"))
    return rows


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
