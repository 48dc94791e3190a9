"""Work in a thread, so that the kernel stays free: one task at a time, which can be cancelled."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable

from ttplan.util.monitor import Monitor

Work = Callable[[Monitor], None]
_END = 5.0
"""Seconds that the end of the process waits for work."""
NOTICED = 0.4
"""Seconds of waiting before the page mentions it."""


class Worker:
    """Does one piece of work at a time.

    `settle` is called, from whichever thread it is, when work begins and when it has ended;
    `waiting` with who has the store, while the work waits for it; `failed` with whatever the work
    raises. Errors in a thread show nowhere on the page."""

    def __init__(
        self,
        *,
        settle: Callable[[], None],
        waiting: Callable[[str], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._settle = settle
        self._waiting = waiting
        self._failed = failed
        self._lock = threading.Lock()
        self._task: Monitor | None = None
        self._next: Work | None = None
        self._idle = threading.Event()
        self._idle.set()
        _WORKERS.add(self)

    @property
    def busy(self) -> bool:
        """Whether work is under way."""
        return self._task is not None

    def start(self, work: Work, *, queued: bool = False) -> bool:
        """Do `work`. If other work is under way, return False, or, if `queued`, do it next, in
        place of any work that was to be next."""
        with self._lock:
            if self._task is not None:
                self._next = work if queued else self._next
                return queued
            self._task = self._new_task()
            self._idle.clear()
        threading.Thread(target=self._run, args=(work,), name="ttplan-panel", daemon=True).start()
        return True

    def cancel(self) -> None:
        """Have the work under way end, and do nothing after it."""
        with self._lock:
            self._next = None
            if self._task is not None:
                self._task.cancel()

    def join(self, timeout: float = 30.0) -> bool:
        """Wait, at most `timeout` seconds, until nothing is under way; whether that is so."""
        return self._idle.wait(timeout)

    def end(self) -> None:
        """Cancel, and wait for the end."""
        self.cancel()
        self.join(_END)

    def _new_task(self) -> Monitor:
        return Monitor(on_wait=self._waiting, wait_grace=NOTICED)

    def _run(self, work: Work | None) -> None:
        while work is not None:
            self._settle()
            task = self._task
            assert task is not None  # noqa: S101 - `start` and this loop set it
            try:
                with task.watch_waits():
                    work(task)
            except BaseException as error:
                self._failed(error)
            with self._lock:
                work, self._next = self._next, None
                self._task = None if work is None else self._new_task()
        self._settle()
        with self._lock:
            if self._task is None:
                self._idle.set()


_WORKERS: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """A thread that is inside DuckDB when the interpreter goes away would take the whole process
    down with an abort."""
    for worker in list(_WORKERS):
        worker.end()
