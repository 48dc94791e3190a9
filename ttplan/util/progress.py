"""A progress bar where a person watches: on a terminal or in a notebook."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

Report = Callable[[str, float], None]
Counted = Callable[[int, int | None], None]
"""Told how much is done so far, of how much (None: not known). What it raises ends the work."""


@contextmanager
def counting(
    what: str, total: int | None, show: bool | Counted | None
) -> Iterator[Callable[[int], None] | None]:
    """A function that is told how much is done so far; None where no bar is shown. `show` of None asks the console.

    Where `show` is a function, it is told instead of a bar.
    """
    if callable(show):
        yield lambda done: show(done, total)
        return
    console = _console(show)
    if console is None:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def passing(
    what: str, passes: Sequence[str], share: Callable[[], float | None], show: bool | None
) -> Iterator[Report]:
    """A function that is told the pass that begins, and the share of it that is done; it draws nothing where no bar is shown.

    `share` is asked several times a second how far the pass is, since a query says nothing of itself; None where it is not known.
    """
    console = _console(show)
    if console is None:
        yield lambda name, done: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = _Bar(progress, progress.add_task(what, total=len(passes)), what, passes)
        ended = threading.Event()
        watch = threading.Thread(
            target=_watch, args=(bar, share, ended), name="ttplan-progress", daemon=True
        )
        watch.start()
        try:
            yield bar.report
        finally:
            ended.set()
            watch.join()


def _console(show: bool | None) -> Console | None:
    """Where to draw a bar; None where nobody wants one, or, with `show` of None, nobody watches."""
    console = Console(stderr=True)
    watched = console.is_terminal or console.is_jupyter
    return console if show or (show is None and watched) else None


class _Bar:
    """One bar over all passes, each as long as the others. It never goes back."""

    def __init__(self, progress: Progress, task: TaskID, what: str, passes: Sequence[str]) -> None:
        self._progress, self._task, self._what = progress, task, what
        self._passes = list(passes)
        self._at = 0
        self._done = 0.0

    def report(self, name: str, share: float) -> None:
        """A pass begins, or is so far."""
        if name in self._passes:
            self._at = self._passes.index(name)
        self._draw(share, f"{self._what}: {name}")

    def within(self, share: float) -> None:
        """The pass that is under way is so far."""
        self._draw(share, None)

    def _draw(self, share: float, description: str | None) -> None:
        self._done = max(self._done, self._at + min(max(share, 0.0), 1.0))
        self._progress.update(self._task, completed=self._done, description=description)


def _watch(bar: _Bar, share: Callable[[], float | None], ended: threading.Event) -> None:
    while not ended.wait(0.2):
        now = share()
        if now is not None:
            bar.within(now)
