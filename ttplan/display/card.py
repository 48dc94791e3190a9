"""What a result shows, independent of how it is rendered: a title, lines, tables and notes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Tone = Literal["neutral", "good", "warning", "bad"]


@dataclass(frozen=True)
class Row:
    """One row of a table. `tone` colours its first cell; `details` are further lines about the
    row."""

    cells: tuple[str, ...]
    details: tuple[str, ...] = ()
    tone: Tone = "neutral"


@dataclass(frozen=True)
class Table:
    """Rows under optional column names.

    `align` has one letter per column, `l` or `r`; columns beyond it are left-aligned. `header` is
    the column that names the row. `lines` stand between the caption and the rows. `details_name` is
    the name of the column that holds the details where a table has real columns (HTML, Markdown).
    """

    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ()
    align: str = ""
    header: int = 0
    caption: str = ""
    lines: tuple[str, ...] = ()
    details_name: str = ""

    @classmethod
    def of(
        cls, rows: Iterable[tuple[str, ...]], *columns: str, align: str = "", caption: str = ""
    ) -> Table:
        """A table of cells without tones and details."""
        return cls(tuple(Row(tuple(cells)) for cells in rows), columns, align, caption=caption)

    def alignment(self, column: int) -> str:
        """The alignment of a column."""
        return self.align[column : column + 1] or "l"


@dataclass(frozen=True)
class Card:
    """What a result shows. All text is unescaped: renderers make it harmless.

    `label` is the accessible name. `code` is an identifier that is shown verbatim. `lines` follow
    the title, `notes` are bullet points, and `footer` ends the card."""

    label: str
    title: str
    code: str = ""
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()


class Renders:
    """Base of objects that show themselves as a card: as text, as HTML in a notebook, and as
    Markdown."""

    __slots__ = ()

    def card(self) -> Card:
        """What this object shows."""
        raise NotImplementedError

    def to_markdown(self) -> str:
        """The card as Markdown, for a pull request or an issue; everything in it is escaped."""
        from ttplan.display.render import card_markdown

        return card_markdown(self.card())

    def __repr__(self) -> str:
        from ttplan.display.render import card_text

        return card_text(self.card())

    def _repr_html_(self) -> str:
        from ttplan.display.render import card_html

        return card_html(self.card())

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


class ResultCard(Renders, Generic[T]):
    """A result that shows itself; `result` is the plain data."""

    def __init__(self, result: T) -> None:
        self.result = result
