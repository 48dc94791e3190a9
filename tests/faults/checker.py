"""A process that checks the store after each scenario: a fork for each would double the time."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.scenario import KnownState, make_stage
from tests.faults.scenario_checks import changed_since, check_all, continue_using, remember

HANG_TIMEOUT = 300
"""The time after which a process is considered hung, in seconds."""


class CheckProcess:
    """The process, started at the first request, and again after it has ended."""

    def __init__(self) -> None:
        self._child = 0
        self._requests = self._replies = -1

    def wrong_in(
        self,
        folder: Path,
        known: KnownState,
        pending: list[str],
        *,
        sure: int,
        left: bool,
        then: float | None,
        as_user: int | None,
    ) -> list[str]:
        """The violations that `check_all` finds in a folder. If there are none and `then` is set,
        the store is used again, with `then` as the seed.

        Both run with the rights of `as_user`.
        """
        steps = {"pending": pending, "sure": sure, "left": left, "then": then, "user": as_user}
        return self._request({"check": str(folder), "known": asdict(known), **steps})

    def make_stage(self, folder: Path, stage: str, facts: KnownState) -> list[str]:
        """Run `make_stage` in the process; return its error, if any."""
        return self._request({"make": str(folder), "known": asdict(facts), "stage": stage})

    def changed_since(self) -> list[str]:
        """The organisations that have changed since they were checked."""
        return self._request({"look": ""})

    def _request(self, options: dict[str, Any]) -> list[str]:
        if not self._child:
            self._start()
        os.write(self._requests, json.dumps(options).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            more = os.read(self._replies, 65_536)
            if not more:
                return [f"the check ended with {self.end()}"]
            answer += more
        violations: list[str] = json.loads(answer)
        return violations

    def end(self) -> int:
        """End the process and return its exit code."""
        if not self._child:
            return 0
        os.close(self._requests)
        os.close(self._replies)
        child, self._child = self._child, 0
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def _start(self) -> None:
        options, self._requests = os.pipe()
        self._replies, message = os.pipe()
        self._child = os.fork()
        if self._child:
            os.close(options)
            os.close(message)
            return
        try:
            os.close(self._requests)
            os.close(self._replies)
            with os.fdopen(options, "rb") as lines:
                for line in lines:
                    signal.alarm(HANG_TIMEOUT)
                    os.write(message, json.dumps(_do(json.loads(line))).encode() + b"\n")
        finally:
            os._exit(0)


def _do(options: dict[str, Any]) -> list[str]:
    try:
        if "look" in options:
            return changed_since()
        if "make" in options:
            make_stage(Path(options["make"]), options["stage"], KnownState(**options["known"]))
            return []
        return _check(options)
    except BaseException:
        return [traceback.format_exc()[-2000:]]


def _check(options: dict[str, Any]) -> list[str]:
    folder, known, then = Path(options["check"]), KnownState(**options["known"]), options["then"]
    with _rights_of(options["user"]):
        violations = check_all(
            folder, known, options["pending"], sure=options["sure"], left=options["left"]
        )
        if then is not None and not violations and known.holds_something:
            violations += continue_using(folder, Random(then))
        remember(folder)
        return violations


@contextmanager
def _rights_of(user: int | None) -> Iterator[None]:
    if user is None:
        yield
        return
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
