"""Render a card as text that fits 80 columns, as HTML, and as Markdown. Each escapes all text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ttplan.display.card import Card, Row, Table
from ttplan.display.text import WIDTH, columns, escape, plain, wrap

_GAP = 2
_INDENT = "  "
_NARROWEST = 10
"""Columns that a left-aligned column keeps when a table is too wide."""
_COLOURS = {
    "good": "var(--jp-success-color1)",
    "warning": "var(--jp-warn-color1)",
    "bad": "var(--jp-error-color1)",
}
LONGEST_WORD = 24
"""Characters of a word up to which HTML does not break it."""


# --- text ---


def card_text(card: Card) -> str:
    """The card as text."""
    lines = wrap(card.title) + [line for text in (card.code, *card.lines) for line in wrap(text)]
    for table in card.tables:
        if table.rows:
            lines += ["", *table_text(table)]
    if card.notes:
        lines += [""] if card.tables else []
        for note in card.notes:
            lines += wrap(note, initial_indent="  ! ", subsequent_indent="    ")
    if card.footer:
        lines += [""] if card.tables or card.notes else []
        lines += [line for text in card.footer for line in wrap(text)]
    return "\n".join(lines)


def table_text(table: Table) -> list[str]:
    """The lines of a table. Cells that do not fit are wrapped; details follow their row,
    indented."""
    lines = wrap(table.caption, initial_indent=_INDENT) if table.caption else []
    for text in table.lines:
        lines += wrap(text, initial_indent=_INDENT * 2, subsequent_indent=_INDENT * 3)
    names = [Row(table.columns)] if any(table.columns) else []
    rows = [tuple(plain(cell) for cell in row.cells) for row in (*names, *table.rows)]
    widths = _widths(rows, table)
    for row, cells in zip((*names, *table.rows), rows, strict=True):
        lines += _row_lines(cells, widths, table)
        for detail in row.details:
            lines += wrap(detail, initial_indent=" " * 6, subsequent_indent=" " * 8)
    return lines


def _widths(rows: Sequence[Sequence[str]], table: Table) -> list[int]:
    """The width of each column; the widest left-aligned ones shrink until the table fits."""
    count = max(map(len, rows), default=0)
    widths = [
        max((columns(row[place]) for row in rows if place < len(row)), default=0)
        for place in range(count)
    ]
    free = WIDTH - len(_INDENT) - _GAP * (count - 1)
    while sum(widths) > free:
        widest = max(range(count), key=lambda place: (table.alignment(place) == "l", widths[place]))
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _row_lines(cells: Sequence[str], widths: Sequence[int], table: Table) -> list[str]:
    wrapped = [wrap(cell, max(width, 2)) for cell, width in zip(cells, widths, strict=False)]
    lines = []
    for number in range(max(map(len, wrapped), default=0)):
        line = _INDENT
        for place, (parts, width) in enumerate(zip(wrapped, widths, strict=False)):
            part = parts[number] if number < len(parts) else ""
            fill = " " * (width - columns(part))
            gap = " " * _GAP if place else ""
            line += gap + (fill + part if table.alignment(place) == "r" else part + fill)
        lines.append(line.rstrip())
    return lines


# --- HTML ---


def card_html(card: Card) -> str:
    """The card as HTML. Colours are the notebook theme's variables."""
    heading = [f"<strong>{escape(card.title)}</strong>"]
    heading += [f"<code>{escape(card.code)}</code>"] if card.code else []
    notes = "".join(f"<li>{escape(note)}</li>" for note in card.notes)
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" '
        f'aria-label="{escape(card.label)}" style="overflow-wrap:anywhere">'
        + _paragraph([*heading, *map(escape, card.lines)])
        + "".join(table_html(table) for table in card.tables if table.rows)
        + (f"<ul>{notes}</ul>" if notes else "")
        + _paragraph(map(escape, card.footer))
        + "</div>"
    )


def table_html(table: Table) -> str:
    """A table as HTML; the details of a row are its last column."""
    caption = "".join(
        f"<div>{line}</div>"
        for line in (f"<strong>{escape(table.caption)}</strong>", *map(escape, table.lines))
        if table.caption
    )
    detailed = any(row.details for row in table.rows)
    names = (*table.columns, *([table.details_name] if detailed else []))
    head = "".join(
        f'<th scope="col" {_style(table, place, name)}>{escape(name)}</th>'
        for place, name in enumerate(names)
    )
    body = "".join(_row_html(row, table, detailed) for row in table.rows)
    return (
        '<table style="margin:0.5em 0">'
        + (f'<caption style="text-align:left">{caption}</caption>' if caption else "")
        + (f"<thead><tr>{head}</tr></thead>" if any(names) else "")
        + f"<tbody>{body}</tbody></table>"
    )


def _row_html(row: Row, table: Table, detailed: bool) -> str:
    cells = []
    for place, cell in enumerate(row.cells):
        text = escape(cell)
        if place == 0 and row.tone in _COLOURS:
            text = f'<strong style="color:{_COLOURS[row.tone]}">{text}</strong>'
        tag = ('th scope="row"', "th") if place == table.header else ("td", "td")
        cells.append(f"<{tag[0]} {_style(table, place, cell)}>{text}</{tag[1]}>")
    if detailed:
        details = "<br>".join(map(escape, row.details))
        cells.append(f'<td style="text-align:left">{details}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _style(table: Table, place: int, cell: str) -> str:
    """Figures stay on one line; other text breaks at spaces, and only long words break inside."""
    if table.alignment(place) == "r":
        return 'style="text-align:right;white-space:nowrap"'
    longest = max(map(len, plain(cell).split()), default=0)
    normal = ";overflow-wrap:normal" if longest <= LONGEST_WORD else ""
    return f'style="text-align:left{normal}"'


def _paragraph(lines: Iterable[str]) -> str:
    text = "<br>".join(lines)
    return f'<p style="margin:0">{text}</p>' if text else ""


# --- Markdown ---

_ENTITIES = {char: f"&#{ord(char)};" for char in "\\<>&$|`@"}
_BLOCK_START = re.compile(r"^([-+=](?=[-+=\s]|$)|\d+(?=[.)](?:\s|$)))")


def markdown(text: str) -> str:
    """`plain` text in which Markdown and HTML have no effect, on one line."""
    line = "".join(_ENTITIES.get(char, char) for char in plain(text))
    line = re.sub(r"([*_\[\]~#!])(?![0-9]*;)", r"\\\1", line)
    line = re.sub(r"(?i)(https?|ftp)(:)(?=//)", r"\1&#58;", line).replace("www.", "www&#46;")
    return _BLOCK_START.sub(lambda match: _escape_start(match[1]), line)


def _escape_start(start: str) -> str:
    """Keep a leading sign or number from opening a list."""
    return f"&#{ord(start[0])};{start[1:]}"


def card_markdown(card: Card) -> str:
    """The card as Markdown with pipe tables, as GitHub and JupyterLab read it."""
    heading = [f"**{markdown(card.title)}**"] + ([f"`{plain(card.code)}`"] if card.code else [])
    blocks = ["  \n".join([*heading, *map(markdown, card.lines)])]
    blocks += [table_markdown(table) for table in card.tables if table.rows]
    if card.notes:
        blocks.append("\n".join(f"- {markdown(note)}" for note in card.notes))
    if card.footer:
        blocks.append("  \n".join(map(markdown, card.footer)))
    return "\n\n".join(blocks) + "\n"


def table_markdown(table: Table) -> str:
    """A table as Markdown; the details of a row are its last column."""
    detailed = any(row.details for row in table.rows)
    count = max(len(row.cells) for row in table.rows)
    names = [*table.columns, *[""] * (count - len(table.columns))]
    rules = ["---:" if table.alignment(place) == "r" else "---" for place in range(count)]
    if detailed:
        names, rules = [*names, table.details_name], [*rules, "---"]
    lines = [_pipes(map(markdown, names)), _pipes(rules)]
    for row in table.rows:
        cells = [*map(markdown, row.cells), *[""] * (count - len(row.cells))]
        if detailed:
            cells.append("<br>".join(map(markdown, row.details)))
        lines.append(_pipes(cells))
    caption = [f"**{markdown(table.caption)}**"] if table.caption else []
    above = "  \n".join([*caption, *map(markdown, table.lines)])
    return (above + "\n\n" if above else "") + "\n".join(lines)


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
