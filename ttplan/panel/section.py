"""What all tabs share: a worker, an area for notices, and a cancel button."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ttplan.panel.backend import Backend
from ttplan.panel.controls import button, html_area
from ttplan.panel.errors import error_notice
from ttplan.panel.html import Notice, notice_html, shortened
from ttplan.panel.work import Worker


class Section(ABC):
    """A tab of the panel."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.worker = Worker(
            settle=self._settle,
            waiting=self._wait,
            failed=lambda error: self.show_notice(error_notice(error)),
        )
        self.outcome, self.waiting = html_area(), html_area()
        self.cancel = button("Cancel")
        self.cancel.on_click(lambda _: self.worker.cancel())

    @abstractmethod
    def settle(self) -> None:
        """Enable and disable controls after work began or ended, or after user input."""

    def show_notice(self, notice: Notice) -> None:
        """Replace the shown notice."""
        self.outcome.value = notice_html(notice)

    def join(self) -> bool:
        """Wait until no work is running; False if that takes too long."""
        return self.worker.join()

    def _settle(self) -> None:
        self.cancel.disabled = not self.worker.busy
        if not self.worker.busy:
            self.waiting.value = ""
        self.settle()

    def _wait(self, holder: str) -> None:
        title = f"Waiting for the store, in use by {shortened(holder)}"
        self.waiting.value = notice_html(
            Notice("waiting", title, "", "Close it there, or press Cancel.")
        )
