"""A DataFrame that shows itself with units, short ids, a title and notes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from pandas.api import types

from ttplan.display.render import LONGEST_WORD
from ttplan.display.text import WIDTH, cut, escape, plain, wrap
from ttplan.model.errors import InputError
from ttplan.views.columns import EXACT, EXACT_DIGITS, NUMBER

MOST_ROWS = 40
"""How many rows are shown; the frame has all of them."""
_WIDEST = 36
_SHORT_ID = 8
_IDS = ("id", "_id", "hash")
EMPTY = "–"
LOW, HIGH, INTERVAL = "_lo", "_hi", " 95 %"
"""Suffixes of the columns with the ends of an interval, and of the one column that shows both."""


class View(pd.DataFrame):
    """A DataFrame that shows itself with a title, units and notes, which stay with any selection of
    it.

    Everything that pandas does works: a result whose shape is no longer rows under plain column
    names (`groupby`, `.T`, a multi-index) is shown as pandas shows it.

    Examples
    --------
    >>> from ttplan.views.frame import make_view
    >>> view = make_view(
    ...     [{"name": "chat", "savings_usd": 1250}],
    ...     {"name": "string", "savings_usd": "float64"},
    ...     title="savings",
    ... )
    >>> view
    savings
    <BLANKLINE>
    name savings_usd
    chat    1,250.00
    >>> float(view["savings_usd"].sum())
    1250.0
    """

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
    """A view of rows; missing values are null. With `exact`, money is decimals instead of floats.

    Raises InputError if an amount has more digits than such a decimal holds.
    """
    row_list = list(rows)
    exact_money = pd.ArrowDtype(pa.decimal128(*EXACT_DIGITS))
    dtypes = {
        name: exact_money if exact and name.endswith("_usd") else dtype
        for name, dtype in columns.items()
    }
    try:
        series = {
            name: pd.Series(_values(row_list, name, dtype), dtype=dtype)
            for name, dtype in dtypes.items()
        }
    except (ArithmeticError, ValueError) as error:
        raise InputError(
            f"{title}: an amount has too many digits to be exact ({EXACT}); leave out exact"
        ) from error
    frame = View(series, columns=list(columns))
    frame.attrs |= {"title": title, "notes": [*notes]}
    return frame


def _values(rows: Sequence[Mapping[str, Any]], name: str, dtype: object) -> list[Any]:
    values = [row.get(name) for row in rows]
    if dtype != NUMBER:
        return values
    return [float("nan") if value is None else float(value) for value in values]


def view_text(frame: pd.DataFrame) -> str:
    """A frame as text in 80 columns; a wide one is split into blocks of columns."""
    title, notes = frame.attrs.get("title", ""), frame.attrs.get("notes", ())
    lines = [*wrap(f"{title}{_row_count(frame)}"), ""] if title else []
    if len(frame):
        shown = _shown_columns(frame, lambda text: cut(text, _WIDEST))
        table = pd.DataFrame(dict(enumerate(shown.values()))).set_axis(
            [cut(name, _WIDEST) for name in shown], axis=1
        )
        with pd.option_context("display.unicode.east_asian_width", True):
            lines.append(table.to_string(index=False, line_width=WIDTH, max_colwidth=_WIDEST + 2))
    for note in notes:
        lines += wrap(note, initial_indent="  ! ", subsequent_indent="    ")
    return "\n".join(lines)


def view_html(frame: pd.DataFrame) -> str:
    """A frame as a table in the notebook theme's colours; everything in it is escaped."""
    title, notes = frame.attrs.get("title", ""), frame.attrs.get("notes", ())
    shown = _shown_columns(frame, escape)
    styles = [_style(name, _column(frame, name)) for name in shown]
    head = "".join(
        f'<th scope="col" style="{style}">{escape(name)}</th>'
        for style, name in zip(styles, shown, strict=True)
    )
    body = "".join(f"<tr>{_cells(row, styles)}</tr>" for row in zip(*shown.values(), strict=True))
    caption = f"<strong>{escape(title)}</strong>{escape(_row_count(frame))}"
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="table" '
        'style="overflow-x:auto"><table style="margin:0.5em 0">'
        + (f'<caption style="text-align:left">{caption}</caption>' if title else "")
        + f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        + (f"<ul>{items}</ul>" if items else "")
        + "</div>"
    )


def _cells(row: Iterable[str], styles: Iterable[str]) -> str:
    return "".join(
        f'<td style="{style}">{cell}</td>' for style, cell in zip(styles, row, strict=True)
    )


def _column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """What is shown under a name: a column, the index, or nothing that has one type."""
    if name in frame:
        return frame[name]
    is_index = name == str(frame.index.name)
    return frame.index.to_series() if is_index else pd.Series([], dtype=object)


def _style(name: str, column: pd.Series[Any]) -> str:
    """Numbers are right-aligned; numbers, ids and times stay on one line; long texts break."""
    dtype: Any = column.dtype
    if name.endswith(INTERVAL) or types.is_numeric_dtype(dtype):
        return "text-align:right;white-space:nowrap"
    if name.endswith(_IDS) or types.is_datetime64_any_dtype(dtype):
        return "text-align:left;white-space:nowrap"
    longest = max((len(word) for text in column for word in str(text).split()), default=0)
    wrapping = "normal" if longest <= LONGEST_WORD else "anywhere"
    return f"text-align:left;max-width:24em;overflow-wrap:{wrapping}"


def _is_plain(frame: pd.DataFrame) -> bool:
    """Whether the frame is rows under unique, plain column names."""
    return (
        frame.index.nlevels == 1
        and frame.columns.nlevels == 1
        and frame.columns.is_unique
        and all(isinstance(name, str) for name in frame.columns)
        and len(frame.columns) > 0
    )


def _row_count(frame: pd.DataFrame) -> str:
    if not len(frame):
        return ": none"
    return "" if len(frame) <= MOST_ROWS else f": the first {MOST_ROWS} of {len(frame):,} rows"


def _shown_columns(frame: pd.DataFrame, format_text: Callable[[str], str]) -> dict[str, list[str]]:
    """The columns as text, interval ends joined; the index comes first if it has a name."""
    head = frame.iloc[:MOST_ROWS]
    shown = {}
    if not isinstance(head.index, pd.RangeIndex) and head.index.name is not None:
        name = str(head.index.name)
        shown[name] = _texts(name, head.index.to_series(), format_text)
    names = [str(name) for name in head.columns]
    for name in names:
        stem = name.removesuffix(LOW)
        if name.endswith(LOW) and stem + HIGH in names:
            ends = zip(
                _texts(name, head[name], format_text),
                _texts(name, head[stem + HIGH], format_text),
                strict=True,
            )
            shown[stem + INTERVAL] = [
                EMPTY if low == EMPTY else f"{low} to {high}" for low, high in ends
            ]
        elif not (name.endswith(HIGH) and name.removesuffix(HIGH) + LOW in names):
            shown[name] = _texts(name, head[name], format_text)
    return shown


def _texts(name: str, column: pd.Series[Any], format_text: Callable[[str], str]) -> list[str]:
    """The values of a column as text."""
    format_value = _formatter(name, column, format_text)
    return [EMPTY if _is_missing(value) else format_value(value) for value in column]


def _formatter(
    name: str, column: pd.Series[Any], format_text: Callable[[str], str]
) -> Callable[[Any], str]:
    dtype = column.dtype
    if types.is_datetime64_any_dtype(dtype):
        days = all(value.time() == dt.time() for value in column if not pd.isna(value))
        time_format = "%Y-%m-%d" if days else "%Y-%m-%d %H:%M:%S"
        return lambda value: f"{value:{time_format}}"
    if types.is_bool_dtype(dtype):
        return lambda value: "yes" if value else "no"
    if types.is_integer_dtype(dtype):
        return str if name == "seq" else lambda value: f"{value:,}"
    if types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype):
        digits = _digits(name, column)
        return lambda value: f"{value:,.{digits}f}"
    if name.endswith(_IDS):
        return lambda value: format_text(_short_id(str(value)))
    return lambda value: format_text(str(value))


def _is_missing(value: Any) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, float) and value != value


def _short_id(value: str) -> str:
    line = plain(value)
    return line if len(line) <= _SHORT_ID + 1 else f"{line[:_SHORT_ID]}…"


def _digits(name: str, column: pd.Series[Any]) -> int:
    """The digits after the point that the column's unit, or its largest amount, needs."""
    if "_ms" in name:
        return 0
    if "_pct" in name:
        return 1
    largest = max((abs(float(value)) for value in column if not pd.isna(value)), default=0.0)
    return 2 if largest >= 1 or largest == 0 else 6
