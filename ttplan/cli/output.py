"""What commands print: text for a person, or one JSON document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd


def show_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def show_json_line(value: Any) -> None:
    """Print one JSON document on a line of its own, at once: for whoever reads as it is written."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def show_frame(frame: pd.DataFrame, *, title: str, columns: list[str], empty: str) -> None:
    """Print some columns of a frame as a table. Texts from outside are shown as they are, never as markup."""
    if frame.empty:
        print(empty)
        return
    table = Table(title=title, title_justify="left", show_edge=False)
    for name in columns:
        numeric = frame[name].dtype.kind in "iuf"
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for _, row in frame[columns].iterrows():
        table.add_row(*(Text(_cell(row[name])) for name in columns))
    Console(highlight=False).print(table)


def frame_json(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame as JSON records: times in RFC 3339, nothing as null."""
    return json.loads(frame.to_json(orient="records", date_format="iso", date_unit="us"))  # type: ignore[no-any-return]


def _cell(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return str(value)
