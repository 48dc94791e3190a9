"""Waiting for a store that somebody else has: told to whoever wants to know of it, who may end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Told = Callable[[str], object]
_TOLD: ContextVar[Told | None] = ContextVar("ttplan_told_of_waiting", default=None)


@contextmanager
def told_of_waiting(told: Told) -> Iterator[None]:
    """For the length of the block, `told` is called with who has the store that this thread waits for, again and again.

    What it raises ends the wait and leaves the block.
    """
    token = _TOLD.set(told)
    try:
        yield
    finally:
        _TOLD.reset(token)


def tell_waiting(holder: str) -> None:
    """Say that this thread waits for a store that `holder` has, such as "process 71 (python3)"."""
    told = _TOLD.get()
    if told is not None:
        told(holder)
