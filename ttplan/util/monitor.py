"""Progress, waiting and cancellation of long work.

Work reports to a `Monitor`. `show_progress` opens one that draws a bar, `report_wait` tells the
monitor of the current thread who holds a lock, and `Monitor.run` makes Ctrl-C end the work at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from ttplan.model.errors import Cancelled

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

T = TypeVar("T")
PassCallback = Callable[[str, float], None]
"""Called with the name of a pass and the share of it that is done, 0 to 1."""
CountCallback = Callable[[int, int | None], None]
"""Called with the number of finished items and their total (None if unknown)."""
WaitCallback = Callable[[str], object]
"""Called with the holder of a lock, such as "process 71 (python3)"."""
_INTERRUPT_INTERVAL = 0.25
"""Seconds between calls of `interrupt`: the first call may come between two queries."""
_POLL_INTERVAL = 0.2


class Monitor:
    """Receives the progress of one piece of work, and can cancel that work.

    Each report also checks for cancellation. An exception from a callback ends the work.

    Parameters
    ----------
    total
        Number of items that `count` counts up to; None if unknown.
    on_pass, on_count, on_wait
        Callbacks for `report`, `count` and `wait`.
    wait_grace
        Seconds of waiting before `on_wait` is called for the first time.
    """

    def __init__(
        self,
        *,
        total: int | None = None,
        on_pass: PassCallback | None = None,
        on_count: CountCallback | None = None,
        on_wait: WaitCallback | None = None,
        wait_grace: float = 0.0,
    ) -> None:
        self._total = total
        self._on_pass = on_pass
        self._on_count = on_count
        self._on_wait = on_wait
        self._wait_grace = wait_grace
        self._waiting_since: float | None = None
        self._cancelled = threading.Event()

    def report(self, pass_name: str, share: float = 0.0) -> None:
        """Report that a pass begins, or which share of it is done."""
        self.check()
        if self._on_pass is not None:
            self._on_pass(pass_name, share)

    def count(self, done: int) -> None:
        """Report how many items are done."""
        self.check()
        if self._on_count is not None:
            self._on_count(done, self._total)

    def wait(self, holder: str) -> None:
        """Report that the work waits for a lock that `holder` has."""
        self.check()
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        waited = time.monotonic() - self._waiting_since
        if self._on_wait is not None and waited >= self._wait_grace:
            self._on_wait(holder)

    def cancel(self) -> None:
        """End the work at its next report or check."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise Cancelled if the work is cancelled."""
        if self._cancelled.is_set():
            raise Cancelled("stopped before anything was done")

    @contextmanager
    def watch_waits(self) -> Iterator[None]:
        """Receive what this thread passes to `report_wait` within the block."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def run(self, work: Callable[[], T], interrupt: Callable[[], None]) -> T:
        """Run `work` in a thread and return its result, so that Ctrl-C can end it.

        A query that runs in C blocks signals in its own thread. On KeyboardInterrupt the monitor
        is cancelled, `interrupt` is called until the work has ended, and the error is re-raised.
        """
        outcome: Future[T] = Future()

        def body() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:
                outcome.set_exception(error)

        thread = threading.Thread(target=body, name="ttplan-work", daemon=True)
        try:
            thread.start()
            return outcome.result()
        finally:
            if thread.ident is not None:
                while not outcome.done():
                    self.cancel()
                    try:
                        interrupt()
                        wait([outcome], timeout=_INTERRUPT_INTERVAL)
                    except KeyboardInterrupt:
                        continue
                thread.join()


SILENT = Monitor()
"""A monitor without callbacks, for callers that do not want progress."""
_CURRENT: ContextVar[Monitor | None] = ContextVar("ttplan_monitor", default=None)


def report_wait(holder: str) -> None:
    """Tell the monitor of this thread, if any, that a store is held by `holder`."""
    monitor = _CURRENT.get()
    if monitor is not None:
        monitor.wait(holder)


@contextmanager
def show_progress(
    label: str,
    progress: bool | CountCallback | None = None,
    *,
    total: int | None = None,
    passes: Sequence[str] = (),
    poll_share: Callable[[], float | None] | None = None,
) -> Iterator[Monitor]:
    """Open a monitor that draws a progress bar.

    Parameters
    ----------
    progress
        True draws a bar, None draws one on a terminal or in a notebook. A function is called
        with (done, total) instead.
    total
        Number of items; None if unknown.
    passes
        Names of the passes, in order, if the bar shows passes instead of a count.
    poll_share
        Returns the share of the current pass that is done, for queries that report nothing.
    """
    if callable(progress):
        yield Monitor(total=total, on_count=progress)
        return
    console = _find_console(progress)
    if console is None:
        yield Monitor(total=total)
        return
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TaskProgressColumn() if passes else rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
    )
    with rich.Progress(*columns, console=console, transient=True) as display:
        task = display.add_task(label, total=len(passes) if passes else total)
        if not passes:
            yield Monitor(
                total=total, on_count=lambda done, _: display.update(task, completed=done)
            )
            return
        bar = _PassBar(display, task, label, passes)
        with bar.polled(poll_share or (lambda: None)):
            yield Monitor(on_pass=bar.report)


def _find_console(progress: bool | None) -> Console | None:
    """Return where to draw a bar; None if none is wanted or rich is not installed."""
    if progress is False:
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(stderr=True)
    return console if progress or console.is_terminal or console.is_jupyter else None


class _PassBar:
    """One bar over all passes, each of the same length. It never moves backwards."""

    def __init__(self, display: Progress, task: TaskID, label: str, passes: Sequence[str]) -> None:
        self._display, self._task, self._label = display, task, label
        self._passes = list(passes)
        self._index = 0
        self._done = 0.0

    def report(self, pass_name: str, share: float) -> None:
        if pass_name in self._passes:
            self._index = self._passes.index(pass_name)
        self._draw(share, f"{self._label}: {pass_name}")

    @contextmanager
    def polled(self, poll_share: Callable[[], float | None]) -> Iterator[None]:
        """Poll the share of the current pass several times a second within the block."""
        ended = threading.Event()

        def poll() -> None:
            while not ended.wait(_POLL_INTERVAL):
                share = poll_share()
                if share is not None:
                    self._draw(share, None)

        thread = threading.Thread(target=poll, name="ttplan-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _draw(self, share: float, description: str | None) -> None:
        self._done = max(self._done, self._index + min(max(share, 0.0), 1.0))
        self._display.update(self._task, completed=self._done, description=description)
