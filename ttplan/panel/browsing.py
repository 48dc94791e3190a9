"""Browse the live routes and the chain, a page at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from ttplan.panel.backend import Backend
from ttplan.panel.chain_rows import entries_html
from ttplan.panel.controls import button, page, row, stack
from ttplan.panel.html import Notice, shortened, table_html
from ttplan.panel.section import Section
from ttplan.panel.work import Task

if TYPE_CHECKING:
    import pandas as pd

PAGE = 20
"""How many rows are shown at a time."""
_ROUTE_HEADS = ("route", "priority", "to model", "when", "on", "live since", "by plan")


class Pages(Section):
    """Rows a page at a time, the first being row 0; a page is read from the store when it is turned to."""

    def __init__(self, desk: Backend) -> None:
        super().__init__(desk)
        self._first = 0
        self._total = 0
        self.back, self.forth, self.refresh = (
            button(label) for label in (*self.turns(), "Refresh")
        )
        self.where, self.rows = page(), page()
        self.where.layout.width = "auto"
        controls = row(self.back, self.forth, self.refresh, self.cancel, self.where)
        self.box = stack(controls, self.waiting, self.outcome, self.rows)
        self.back.on_click(lambda _: self._turn(-PAGE))
        self.forth.on_click(lambda _: self._turn(PAGE))
        self.refresh.on_click(lambda _: self.reload())
        self._settle()

    @abstractmethod
    def turns(self) -> tuple[str, str]:
        """What turning back and forth is called."""

    @abstractmethod
    def read(self, first: int) -> tuple[int, str]:
        """How many rows there are in all, and the page that begins with row `first` as HTML."""

    def reload(self) -> None:
        """Read the page again."""
        self.worker.start(self._do, queued=True)

    def _turn(self, by: int) -> None:
        self._first = max(0, self._first + by)
        self.reload()

    def _do(self, task: Task) -> None:
        total, rows = self.read(self._first)
        if total and self._first >= total:  # there are fewer by now
            self._first = (total - 1) // PAGE * PAGE
            total, rows = self.read(self._first)
        self._total, self.rows.value = total, rows
        last = min(self._first + PAGE, total)
        self.where.value = f"{self._first + 1:,} to {last:,} of {total:,}" if total else ""
        self.say(Notice("idle", ""))

    def settle(self) -> None:
        busy = self.worker.busy
        self.back.disabled = busy or self._first == 0
        self.forth.disabled = busy or self._first + PAGE >= self._total
        self.refresh.disabled = busy


class RoutesTab(Pages):
    """The live routes, by precedence."""

    def turns(self) -> tuple[str, str]:
        return "Higher priority", "Lower priority"

    def read(self, first: int) -> tuple[int, str]:
        frame = self.desk.routes()
        rows = (_route(row) for _, row in frame.iloc[first : first + PAGE].iterrows())
        return len(frame), table_html(
            "live routes", _ROUTE_HEADS, rows, empty="No routes are live; apply a plan first."
        )


class ChainTab(Pages):
    """The chain, newest entry first, as it is stored: that it is whole, verifying says."""

    def turns(self) -> tuple[str, str]:
        return "Newer", "Older"

    def read(self, first: int) -> tuple[int, str]:
        tip = self.desk.anchor()
        total = 0 if tip is None else tip.seq + 1
        since = max(0, total - first - PAGE)
        count = max(0, total - first - since)
        return total, entries_html(
            self.desk.entries(since=since, limit=count)[::-1] if count else ()
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
