"""Moments in a process at which something can be made to happen: before and after each call that touches a store or a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import duckdb

FILES = ("link", "replace", "unlink", "fsync", "open")


class Points:
    """Counts the moments of this process, and acts at one of them. Only for a process that ends soon: it cannot be taken off."""

    def __init__(self) -> None:
        self.passed = 0
        self._due = 0
        self._act: Callable[[], None] = lambda: None
        self._counts: Callable[[], bool] = lambda: True

    def install(self) -> None:
        """Wrap what DuckDB and the operating system are called with."""
        self._wrap(duckdb, "connect")
        for name in ("execute", "close"):
            self._wrap(duckdb.DuckDBPyConnection, name)
        for name in FILES:
            self._wrap(os, name)

    def arm(self, after: int, act: Callable[[], None], counts: Callable[[], bool] = lambda: True) -> None:
        """`act` at the moment with that number (1 is the next), among those at which `counts` says so."""
        self.passed, self._due, self._act, self._counts = 0, after, act, counts

    def disarm(self) -> None:
        """Nothing happens any more."""
        self._due = 0

    def _pass(self) -> None:
        if self._counts():
            self.passed += 1
            if self.passed == self._due:
                self.disarm()
                self._act()

    def _wrap(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self._pass()
            try:
                return original(*arguments, **options)
            finally:
                self._pass()

        setattr(owner, name, wrapped)
