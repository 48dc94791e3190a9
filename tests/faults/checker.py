"""A process that checks the stores of one run after another, since to fork one for each costs as much as the check itself."""

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
"""After so many seconds a process hangs."""


class CheckProcess:
    """The process, started when it is first asked, and again after it has ended."""

    def __init__(self) -> None:
        self._child = 0
        self._asking = self._hearing = -1

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
        """What is wrong with the store in a folder, as `check_all` says. Where nothing is, it is used again, as `then` chooses.

        Both are done with the rights of `as_user`.
        """
        steps = {"pending": pending, "sure": sure, "left": left, "then": then, "user": as_user}
        return self._ask({"check": str(folder), "known": asdict(known), **steps})

    def make_stage(self, folder: Path, stage: str, facts: KnownState) -> list[str]:
        """Make what a store at a stage needs in a folder, as `make_stage` of life does. What went wrong, if anything did."""
        return self._ask({"make": str(folder), "known": asdict(facts), "stage": stage})

    def changed_since(self) -> list[str]:
        """What of the databases that were checked is not as it was then."""
        return self._ask({"look": ""})

    def _ask(self, options: dict[str, Any]) -> list[str]:
        if not self._child:
            self._start()
        os.write(self._asking, json.dumps(options).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            more = os.read(self._hearing, 65_536)
            if not more:
                return [f"the check ended with {self.end()}"]
            answer += more
        wrong: list[str] = json.loads(answer)
        return wrong

    def end(self) -> int:
        """Let the process end: how it did."""
        if not self._child:
            return 0
        os.close(self._asking)
        os.close(self._hearing)
        child, self._child = self._child, 0
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def _start(self) -> None:
        options, self._asking = os.pipe()
        self._hearing, message = os.pipe()
        self._child = os.fork()
        if self._child:
            os.close(options)
            os.close(message)
            return
        try:
            os.close(self._asking)
            os.close(self._hearing)
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
        wrong = check_all(
            folder, known, options["pending"], sure=options["sure"], left=options["left"]
        )
        if then is not None and not wrong and known.holds_something:
            wrong += continue_using(folder, Random(then))
        remember(folder)
        return wrong


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
