"""HTML of notices and tables; all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from ttplan.display.text import cut, escape

State = Literal[
    "idle",
    "busy",
    "waiting",
    "done",
    "verified",
    "own-key",
    "stale",
    "changed",
    "locked",
    "broken",
    "refused",
    "input",
    "cancelled",
    "error",
]


class Notice(NamedTuple):
    """A message: the panel's state, what happened, and what to do."""

    state: State
    title: str
    detail: str = ""
    advice: str = ""


class _Appearance(NamedTuple):
    """The look of a state: a theme colour, and a sign for readers who cannot rely on colour."""

    sign: str
    colour: str
    urgent: bool = False


_APPEARANCES: dict[State, _Appearance] = {
    "idle": _Appearance("", "var(--jp-border-color1)"),
    "busy": _Appearance("…", "var(--jp-brand-color1)"),
    "waiting": _Appearance("…", "var(--jp-warn-color1)"),
    "done": _Appearance("✓", "var(--jp-success-color1)"),
    "verified": _Appearance("✓", "var(--jp-success-color1)"),
    "own-key": _Appearance("?", "var(--jp-warn-color1)"),
    "stale": _Appearance("≠", "var(--jp-warn-color1)", urgent=True),
    "changed": _Appearance("↻", "var(--jp-info-color1)", urgent=True),
    "locked": _Appearance("⊘", "var(--jp-warn-color1)", urgent=True),
    "broken": _Appearance("✗", "var(--jp-error-color1)", urgent=True),
    "refused": _Appearance("⊘", "var(--jp-error-color1)", urgent=True),
    "input": _Appearance("!", "var(--jp-warn-color1)", urgent=True),
    "cancelled": _Appearance("■", "var(--jp-border-color0)"),
    "error": _Appearance("✗", "var(--jp-error-color1)", urgent=True),
}


def shortened(text: str, width: int = 200) -> str:
    """Text from outside on one line, with invisible characters as escapes, cut to a width."""
    return cut(text, width)


def notice_html(notice: Notice) -> str:
    """A notice as HTML, which screen readers announce."""
    if not notice.title:
        return f'<div data-state="{notice.state}"></div>'
    appearance = _APPEARANCES[notice.state]
    parts = [f"<div><strong>{escape(f'{appearance.sign} {notice.title}'.strip())}</strong></div>"]
    parts += [f"<div>{escape(text)}</div>" for text in (notice.detail,) if text]
    parts += [
        f"<div><em>What to do:</em> {escape(text[0].upper() + text[1:])}</div>"
        for text in (notice.advice,)
        if text
    ]
    role = "alert" if appearance.urgent else "status"
    return (
        f'<div data-state="{notice.state}" class="tt-notice" '
        f'role="{role}" '
        f'style="border-left:4px solid {appearance.colour}">{"".join(parts)}</div>'
    )


def table_html(
    label: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str
) -> str:
    """A table whose first column names its rows; `empty` if there are none."""
    body = "".join(
        f'<tr><th scope="row"{_long_class(first)}>{escape(first)}</th>'
        + "".join(f"<td{_long_class(cell)}>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    if not body:
        return f'<p class="tt-empty">{escape(empty)}</p>'
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    above = f"<thead><tr>{head}</tr></thead>" if heads else ""
    table = f'<table aria-label="{escape(label)}">{above}<tbody>{body}</tbody></table>'
    return f'<div class="jp-RenderedHTMLCommon tt-table">{table}</div>'


def _long_class(cell: str) -> str:
    """The class of a cell that may wrap; short cells stay on one line."""
    return ' class="tt-long"' if len(cell) > 24 else ""
