"""Browse the live routes and the chain, a page at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from ttplan.panel.backend import Backend
from ttplan.panel.controls import button, html_area, row, stack
from ttplan.panel.html import Notice, shortened, table_html
from ttplan.panel.section import Section
from ttplan.util.monitor import Monitor

if TYPE_CHECKING:
    import pandas as pd

PAGE = 20
"""How many rows are shown at a time."""
_ENTRY_HEADS = ("seq", "when", "event", "by", "says", "hash")
_ROUTE_HEADS = ("route", "priority", "to model", "when", "on", "live since", "by plan")


class Pages(Section):
    """A tab that shows rows in pages, counted from row 0; each page is read from the store when
    shown."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._first = 0
        self._total = 0
        self.back, self.forward, self.refresh = (
            button(label) for label in (*self.button_labels(), "Refresh")
        )
        self.position, self.rows = html_area(), html_area()
        self.position.layout.width = "auto"
        controls = row(self.back, self.forward, self.refresh, self.cancel, self.position)
        self.box = stack(controls, self.waiting, self.outcome, self.rows)
        self.back.on_click(lambda _: self._move(-PAGE))
        self.forward.on_click(lambda _: self._move(PAGE))
        self.refresh.on_click(lambda _: self.reload())
        self._settle()

    @abstractmethod
    def button_labels(self) -> tuple[str, str]:
        """The labels of the buttons back and forward."""

    @abstractmethod
    def read(self, first: int) -> tuple[int, str]:
        """The number of rows, and the page that begins with row `first` as HTML."""

    def reload(self) -> None:
        """Read the page again."""
        self.worker.start(self._do, queued=True)

    def _move(self, by: int) -> None:
        self._first = max(0, self._first + by)
        self.reload()

    def _do(self, task: Monitor) -> None:
        total, rows = self.read(self._first)
        if total and self._first >= total:  # rows were removed meanwhile
            self._first = (total - 1) // PAGE * PAGE
            total, rows = self.read(self._first)
        self._total, self.rows.value = total, rows
        last = min(self._first + PAGE, total)
        self.position.value = f"{self._first + 1:,} to {last:,} of {total:,}" if total else ""
        self.show_notice(Notice("idle", ""))

    def settle(self) -> None:
        busy = self.worker.busy
        self.back.disabled = busy or self._first == 0
        self.forward.disabled = busy or self._first + PAGE >= self._total
        self.refresh.disabled = busy


class RoutesTab(Pages):
    """The live routes, by precedence."""

    def button_labels(self) -> tuple[str, str]:
        return "Higher priority", "Lower priority"

    def read(self, first: int) -> tuple[int, str]:
        frame = self.backend.routes()
        rows = (_route(row) for _, row in frame.iloc[first : first + PAGE].iterrows())
        return len(frame), table_html(
            "live routes", _ROUTE_HEADS, rows, empty="No routes are live; apply a plan first."
        )


class ChainTab(Pages):
    """The chain as it is stored, newest entry first. It is not verified: see the tab Verify."""

    def button_labels(self) -> tuple[str, str]:
        return "Newer", "Older"

    def read(self, first: int) -> tuple[int, str]:
        tip = self.backend.anchor()
        total = 0 if tip is None else tip.seq + 1
        since = max(0, total - first - PAGE)
        count = max(0, total - first - since)
        page = self.backend.entries(after=since - 1, limit=count)[::-1] if count else None
        rows = () if page is None else (_entry(row) for _, row in page.iterrows())
        return total, table_html(
            "entries of the chain",
            _ENTRY_HEADS,
            rows,
            empty="The chain has no entries yet; apply a plan first.",
        )


def _route(row: pd.Series) -> tuple[str, ...]:
    return (
        shortened(str(row["name"])),
        f"{row['priority']:,}",
        shortened(str(row["target_model"])),
        shortened(str(row["conditions"]), 400),
        "yes" if row["enabled"] else "no",
        f"{row['applied_at']:%Y-%m-%d %H:%M:%S} UTC",
        shortened(str(row["plan_id"]))[:8],
    )


def _entry(row: pd.Series) -> tuple[str, ...]:
    texts = row.astype("string").fillna("")  # only seq, event and hash of an unreadable entry
    return (
        texts["seq"],
        f"{row['time']:%Y-%m-%d %H:%M:%S} UTC" if texts["time"] else "",
        shortened(texts["event"]),
        shortened(texts["actor"]),
        shortened(texts["payload"]),
        f"{shortened(texts['hash'][:12])}…",
    )
