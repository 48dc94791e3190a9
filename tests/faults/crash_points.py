"""Crash points: before and after each call that accesses a store or a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import duckdb
import psycopg

Call = tuple[Any, str]
"""The owner of a function, and its name."""
_FILES: tuple[Call, ...] = tuple(
    (os, name) for name in ("link", "replace", "unlink", "fsync", "open")
)
IN_FILES: tuple[Call, ...] = (
    (duckdb, "connect"),
    *((duckdb.DuckDBPyConnection, name) for name in ("execute", "close")),
    *_FILES,
)
"""The calls that access a store in a file."""
ON_SERVER: tuple[Call, ...] = (
    (psycopg, "connect"),
    (psycopg.Connection, "execute"),
    (psycopg.Cursor, "copy"),
    *_FILES,
)
"""The calls that access a store on a server, and the local key file."""


class CrashPoints:
    """Counts the crash points of this process and acts at one of them.

    It cannot be uninstalled: use it in a process that ends soon.

    `before` is whether the current point precedes its call; `arguments` are those of the call.
    """

    def __init__(self) -> None:
        self.passed = 0
        self.before = False
        self.arguments: tuple[Any, ...] = ()
        self._due = 0
        self._act: Callable[[], None] = lambda: None
        self._counts: Callable[[], bool] = lambda: True

    def install(self, calls: Iterable[Call]) -> None:
        """Wrap these functions."""
        for owner, name in calls:
            self._wrap(owner, name)

    def arm(
        self, after: int, act: Callable[[], None], counts: Callable[[], bool] = lambda: True
    ) -> None:
        """Call `act` at the crash point with number `after` (1 is the next) among those that
        `counts`.
        """
        self.passed, self._due, self._act, self._counts = 0, after, act, counts

    def disarm(self) -> None:
        """Do nothing from now on."""
        self._due = 0

    def _pass(self, *, before: bool, arguments: tuple[Any, ...]) -> None:
        self.before, self.arguments = before, arguments
        if self._counts():
            self.passed += 1
            if self.passed == self._due:
                self.disarm()
                self._act()

    def _wrap(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self._pass(before=True, arguments=arguments)
            try:
                return original(*arguments, **options)
            finally:
                self._pass(before=False, arguments=arguments)

        setattr(owner, name, wrapped)
