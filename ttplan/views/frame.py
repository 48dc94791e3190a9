"""A DataFrame that shows itself as a person reads it: money and times in their units, ids short, what it is of beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from ttplan.display.text import WIDTH, cut, escape, plain, wrap
from ttplan.model.errors import InputError
from ttplan.views.columns import EXACT, EXACT_DIGITS, NUMBER

MOST_ROWS = 40
"""How many rows are shown; the frame has them all."""
_WIDEST = 36
_SHORT = 8
_IDS = ("id", "_id", "hash")
_LEFT = 'style="text-align:left"'
NONE = "–"
LOW, HIGH, ENDS = "_lo", "_hi", " 95 %"
"""What ends of an interval are called, and what is written above both."""


class View(pd.DataFrame):
    """A DataFrame like any other; `title` and `notes`, said where it is shown, go with it to what is chosen of it."""

    @property
    def _constructor(self) -> type[View]:
        return View

    def __repr__(self) -> str:
        return view_text(self) if _is_plain(self) else super().__repr__()

    def _repr_html_(self) -> str:
        return view_html(self) if _is_plain(self) else pd.DataFrame(self).to_html()


def make_view(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    title: str,
    notes: Sequence[str] = (),
    exact: bool = False,
) -> View:
    """A view of rows, which may lack what is null. With `exact` money is decimals to the last digit, else the nearest floats.

    Raises InputError where an amount has more digits than such a decimal holds.
    """
    listed = list(rows)
    money = pd.ArrowDtype(pa.decimal128(*EXACT_DIGITS))
    types = {
        name: money if exact and name.endswith("_usd") else kind for name, kind in columns.items()
    }
    try:
        series = {
            name: pd.Series(_values(listed, name, kind), dtype=kind) for name, kind in types.items()
        }
    except (ArithmeticError, ValueError) as error:
        raise InputError(
            f"{title}: an amount has too many digits to be exact ({EXACT}); leave out exact"
        ) from error
    frame = View(series, columns=list(columns))
    frame.attrs |= {"title": title, "notes": [*notes]}
    return frame


def _values(rows: Sequence[Mapping[str, Any]], name: str, kind: object) -> list[Any]:
    found = [row.get(name) for row in rows]
    return (
        [float("nan") if value is None else float(value) for value in found]
        if kind == NUMBER
        else found
    )


def view_text(frame: pd.DataFrame) -> str:
    """A frame as text in 80 columns; wide ones are cut into parts, one below the other."""
    title, notes = frame.attrs.get("title", ""), frame.attrs.get("notes", ())
    lines = [*wrap(f"{title}{_count(frame)}"), ""] if title else []
    if len(frame):
        shown = _shown(frame, lambda text: cut(text, _WIDEST))
        table = pd.DataFrame(dict(enumerate(shown.values()))).set_axis(
            [cut(name, _WIDEST) for name in shown], axis=1
        )
        with pd.option_context("display.unicode.east_asian_width", True):
            lines.append(table.to_string(index=False, line_width=WIDTH, max_colwidth=_WIDEST + 2))
    for note in notes:
        lines += wrap(note, initial_indent="  ! ", subsequent_indent="    ")
    return "\n".join(lines)


def view_html(frame: pd.DataFrame) -> str:
    """A frame as a table, in the notebook's own colours, with everything in it as text."""
    title, notes = frame.attrs.get("title", ""), frame.attrs.get("notes", ())
    shown = _shown(frame, escape)
    right = {
        str(name) for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name].dtype)
    }
    right |= {name for name in shown if name.endswith(ENDS)}
    heads = "".join(
        f'<th scope="col" style="{_style(frame, name, right)}">{escape(name)}</th>'
        for name in shown
    )
    styles = [_style(frame, name, right) for name in shown]
    rows = zip(*shown.values(), strict=True)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style}">{cell}</td>' for style, cell in zip(styles, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    caption = (
        f"<caption {_LEFT}><strong>{escape(title)}</strong>{escape(_count(frame))}</caption>"
        if title
        else ""
    )
    below = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="table" style="overflow-x:auto">'
        f'<table style="margin:0.5em 0">{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
        f"{f'<ul>{below}</ul>' if below else ''}</div>"
    )


def _style(frame: pd.DataFrame, name: str, right: set[str]) -> str:
    """Numbers to the right and in one piece, as are ids and moments; other texts are broken where they are long."""
    if name in right:
        return "text-align:right;white-space:nowrap"
    whole = name.endswith(_IDS) or (
        name in frame and pd.api.types.is_datetime64_any_dtype(frame[name].dtype)
    )
    return "text-align:left;" + (
        "white-space:nowrap" if whole else "max-width:24em;overflow-wrap:anywhere"
    )


def _is_plain(frame: pd.DataFrame) -> bool:
    """Whether it is rows under names: what else a person made of a view is shown as pandas does."""
    return (
        frame.index.nlevels == 1
        and frame.columns.nlevels == 1
        and frame.columns.is_unique
        and len(frame.columns) > 0
    )


def _count(frame: pd.DataFrame) -> str:
    if not len(frame):
        return ": none"
    return "" if len(frame) <= MOST_ROWS else f": the first {MOST_ROWS} of {len(frame):,} rows"


def _shown(frame: pd.DataFrame, text: Callable[[str], str]) -> dict[str, list[str]]:
    """Columns of texts, the index first where it is more than a count."""
    head = frame.iloc[:MOST_ROWS]
    counted = isinstance(head.index, pd.RangeIndex) or head.index.name is None
    found = (
        {}
        if counted
        else {str(head.index.name): _texts(str(head.index.name), head.index.to_series(), text)}
    )
    names = [str(name) for name in head.columns]
    for name in names:
        whole = name.removesuffix(LOW)
        if name.endswith(LOW) and whole + HIGH in names:
            ends = zip(
                _texts(name, head[name], text), _texts(name, head[whole + HIGH], text), strict=True
            )
            found[whole + ENDS] = [
                NONE if low == NONE else f"{low} to {high}" for low, high in ends
            ]
        elif not (name.endswith(HIGH) and name.removesuffix(HIGH) + LOW in names):
            found[name] = _texts(name, head[name], text)
    return found


def _texts(name: str, column: pd.Series[Any], text: Callable[[str], str]) -> list[str]:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _moments(column)
    if pd.api.types.is_bool_dtype(column.dtype):
        return [NONE if pd.isna(value) else "yes" if value else "no" for value in column]
    if pd.api.types.is_integer_dtype(column.dtype):
        return [
            NONE if pd.isna(value) else f"{value:,}" if name != "seq" else str(value)
            for value in column
        ]
    if pd.api.types.is_numeric_dtype(column.dtype):
        digits = _digits(name, column)
        return [NONE if pd.isna(value) else f"{value:,.{digits}f}" for value in column]
    if name.endswith(_IDS):
        return [NONE if _missing(value) else text(_short(str(value))) for value in column]
    return [NONE if _missing(value) else text(str(value)) for value in column]


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _short(value: str) -> str:
    line = plain(value)
    return line if len(line) <= _SHORT + 1 else f"{line[:_SHORT]}…"


def _moments(column: pd.Series[Any]) -> list[str]:
    """Days where all are days, else to the second."""
    known = [value for value in column if not pd.isna(value)]
    whole = all(value.time() == dt.time() for value in known)
    return [
        NONE if pd.isna(value) else f"{value:%Y-%m-%d}" if whole else f"{value:%Y-%m-%d %H:%M:%S}"
        for value in column
    ]


def _digits(name: str, column: pd.Series[Any]) -> int:
    """As many digits as the column's unit, or its largest amount, needs."""
    if "_ms" in name:
        return 0
    if "_pct" in name:
        return 1
    largest = max((abs(float(value)) for value in column if not pd.isna(value)), default=0.0)
    return 2 if largest >= 1 or largest == 0 else 6
