"""Text for the panel: notices and tables, in which everything from outside is escaped."""

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
    """What the panel says: in which state it is, what happened, and what to do now."""

    state: State
    title: str
    said: str = ""
    todo: str = ""


class _Look(NamedTuple):
    """How a state looks: a sign, so that it is never told by colour alone, and a colour of the theme."""

    sign: str
    colour: str
    urgent: bool = False


_LOOKS: dict[State, _Look] = {
    "idle": _Look("", "var(--jp-border-color1)"),
    "busy": _Look("…", "var(--jp-brand-color1)"),
    "waiting": _Look("…", "var(--jp-warn-color1)"),
    "done": _Look("✓", "var(--jp-success-color1)"),
    "verified": _Look("✓", "var(--jp-success-color1)"),
    "own-key": _Look("?", "var(--jp-warn-color1)"),
    "stale": _Look("≠", "var(--jp-warn-color1)", urgent=True),
    "changed": _Look("↻", "var(--jp-info-color1)", urgent=True),
    "locked": _Look("⊘", "var(--jp-warn-color1)", urgent=True),
    "broken": _Look("✗", "var(--jp-error-color1)", urgent=True),
    "refused": _Look("⊘", "var(--jp-error-color1)", urgent=True),
    "input": _Look("!", "var(--jp-warn-color1)", urgent=True),
    "cancelled": _Look("■", "var(--jp-border-color0)"),
    "error": _Look("✗", "var(--jp-error-color1)", urgent=True),
}


def shortened(text: str, width: int = 200) -> str:
    """Text from outside as it is shown: on one line, what cannot be seen as escapes, and cut to a width."""
    return cut(text, width)


def notice_html(notice: Notice) -> str:
    """A notice as HTML, which screen readers read out when it appears."""
    if not notice.title:
        return f'<div data-state="{notice.state}"></div>'
    look = _LOOKS[notice.state]
    parts = [f"<div><strong>{escape(f'{look.sign} {notice.title}'.strip())}</strong></div>"]
    parts += [f"<div>{escape(text)}</div>" for text in (notice.said,) if text]
    parts += [
        f"<div><em>What to do:</em> {escape(text[0].upper() + text[1:])}</div>"
        for text in (notice.todo,)
        if text
    ]
    return (
        f'<div data-state="{notice.state}" class="tt-notice" role="{"alert" if look.urgent else "status"}" '
        f'style="border-left:4px solid {look.colour}">{"".join(parts)}</div>'
    )


def table_html(
    label: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str
) -> str:
    """A table whose first column heads its rows; `empty` where it has none."""
    body = "".join(
        f'<tr><th scope="row"{_long(first)}>{escape(first)}</th>'
        + "".join(f"<td{_long(cell)}>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    if not body:
        return f'<p class="tt-empty">{escape(empty)}</p>'
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    above = f"<thead><tr>{head}</tr></thead>" if heads else ""
    table = f'<table aria-label="{escape(label)}">{above}<tbody>{body}</tbody></table>'
    return f'<div class="jp-RenderedHTMLCommon tt-table">{table}</div>'


def _long(cell: str) -> str:
    """The class of a cell that is broken over lines; the short ones are not."""
    return ' class="tt-long"' if len(cell) > 24 else ""
