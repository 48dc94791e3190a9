"""Long work that an interrupt (Ctrl-C, or a notebook's stop button) ends at once, whatever library it is in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_AGAIN = 0.25
"""Seconds between calls of `stop`: the first may come between two queries."""


class Stopped(Exception):
    """Raised inside work that is to end."""


def run(work: Callable[[Callable[[], None]], T], stop: Callable[[], None]) -> T:
    """What `work` returns or raises. It runs in a thread of its own, since a query in C keeps signals from the thread it is in.

    On KeyboardInterrupt calls `stop`, again and again until the work has ended, and then raises KeyboardInterrupt. Work is given
    a function to call now and then, which raises Stopped once it is to end.
    """
    stopping = threading.Event()
    ended = threading.Event()
    result: list[T] = []
    failure: list[BaseException] = []

    def check() -> None:
        if stopping.is_set():
            raise Stopped

    def body() -> None:
        try:
            result.append(work(check))
        except BaseException as error:  # raised again in the thread that waits
            failure.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=body, name="ttplan-work", daemon=True)
    try:
        thread.start()
        ended.wait()
    finally:  # reached by an interrupt, too: nothing is left running behind
        if thread.ident is not None:
            _end(stopping, ended, stop)
            thread.join()
    if failure:
        raise failure[0]
    return result[0]


def _end(stopping: threading.Event, ended: threading.Event, stop: Callable[[], None]) -> None:
    stopping.set()
    while not ended.is_set():
        try:
            stop()
            ended.wait(_AGAIN)
        except KeyboardInterrupt:
            continue
