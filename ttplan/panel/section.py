"""What the parts of the panel have in common: a worker, a place for what it says, and a button that cancels."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ttplan.panel.backend import Backend
from ttplan.panel.controls import button, page
from ttplan.panel.errors import error_notice
from ttplan.panel.html import Notice, notice_html, shortened
from ttplan.panel.work import Worker


class Section(ABC):
    """A part of the panel over a workspace."""

    def __init__(self, desk: Backend) -> None:
        self.desk = desk
        self.worker = Worker(
            settle=self._settle,
            waiting=self._wait,
            failed=lambda error: self.say(error_notice(error)),
        )
        self.outcome, self.waiting = page(), page()
        self.cancel = button("Cancel")
        self.cancel.on_click(lambda _: self.worker.cancel())

    @abstractmethod
    def settle(self) -> None:
        """Let be pressed what can be, now that work has begun or ended, or somebody typed something."""

    def say(self, notice: Notice) -> None:
        """Show what happened, in place of what was said before."""
        self.outcome.value = notice_html(notice)

    def join(self) -> bool:
        """Wait until nothing is under way; whether that is so."""
        return self.worker.join()

    def _settle(self) -> None:
        self.cancel.disabled = not self.worker.busy
        if not self.worker.busy:
            self.waiting.value = ""
        self.settle()

    def _wait(self, holder: str) -> None:
        title = f"Waiting for the store, which {shortened(holder)} has"
        self.waiting.value = notice_html(
            Notice("waiting", title, "", "Close it there, or press Cancel.")
        )
