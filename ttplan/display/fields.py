"""Names and what they say, under a title: as text that fits 80 columns, and as escaped HTML."""

from __future__ import annotations

from collections.abc import Iterable

from ttplan.display.text import escape, left, wrap

Fields = Iterable[tuple[str, str]]
_LEFT = 'style="text-align:left"'
_BROKEN = 'style="text-align:left;overflow-wrap:anywhere"'
_CARD = 'class="jp-RenderedHTMLCommon ttplan-card" role="group" style="overflow-wrap:anywhere"'


def fields_text(title: str, fields: Fields) -> str:
    """The title, and a line or more for each field."""
    lines = wrap(title)
    for name, said in fields:
        lines += wrap(said, initial_indent=f"  {left(name, 23)} ", subsequent_indent=" " * 4)
    return "\n".join(lines)


def fields_html(label: str, title: str, fields: Fields) -> str:
    """The same as a table, which a screen reader calls `label`."""
    rows = "".join(
        f'<tr><th scope="row" {_LEFT}>{escape(name)}</th><td {_BROKEN}>{escape(said)}</td></tr>'
        for name, said in fields
    )
    return (
        f'<div {_CARD} aria-label="{escape(label)}">'
        f"<p style='margin:0'><strong>{escape(title)}</strong></p>"
        f'<table style="margin:0.5em 0"><tbody>{rows}</tbody></table></div>'
    )
