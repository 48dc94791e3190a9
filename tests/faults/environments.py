"""Where lives are lived: in files, each a copy of one of its stage; or in a database, each in an organisation of its own."""

from __future__ import annotations

import json
import os
import shutil
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from uuid import UUID

from tests.faults.checker import CheckProcess
from tests.faults.crash_points import IN_FILES, ON_SERVER, Call, CrashPoints
from tests.faults.faults import FILE_FAULTS, Fault
from tests.faults.scenario import (
    POSSIBLE,
    STEPS,
    Clock,
    KnownState,
    make_stage,
    open_scenario,
    read_facts,
    run_if_possible,
)
from tests.faults.server_faults import SERVER_FAULTS
from tests.faults.store_location import URL
from tests.support.postgres import Server
from ttplan.store.postgres.migrate import migrate

_APART = 1_000
"""How far the plans of one life are from those of the next."""
_COUNTED = 10**9
"""The number of the first life in which moments are counted."""


class FileEnvironment:
    """Lives in files."""

    faults: tuple[Fault, ...] = FILE_FAULTS
    calls: tuple[Call, ...] = IN_FILES
    server: Server | None = None

    def __init__(self, templates: Path) -> None:
        self._templates = templates
        self.checker = CheckProcess()

    def make_templates(self, stages: Iterable[str]) -> dict[str, int]:
        """What is copied, and how many moments each step has."""
        for stage in stages:
            (self._templates / stage).mkdir(parents=True)
            make_stage(self._templates / stage, stage, KnownState())
        return count_crash_points(self, self._templates / "scratch", stages)

    def begin(self, folder: Path, stage: str, number: int) -> None:
        """Make a folder, and in it what a store at that stage needs; the number is the life's."""
        shutil.copytree(self._templates / stage, folder)


class ServerEnvironment:
    """Lives in a database of a server, which is one's own to kill."""

    faults: tuple[Fault, ...] = SERVER_FAULTS
    calls: tuple[Call, ...] = ON_SERVER

    def __init__(self, server: Server, *, alone: bool = False) -> None:
        """Where it is `alone` stages are made in this very process, which then has a connection, else in the checker's."""
        self.server: Server | None = server
        self.checker = CheckProcess()
        self._url = server.url()
        self._alone = alone

    def begin(self, folder: Path, stage: str, number: int) -> None:
        """As that of `FileEnvironment`: a new organisation."""
        folder.mkdir()
        base = (number + 1) * _APART
        facts = KnownState(org_id=str(UUID(int=2**64 + base)), base=base)
        (folder / URL).write_text(f"{self._url}&org={facts.org_id}")
        if self._alone:
            make_stage(folder, stage, facts)
            return
        wrong = self.checker.make_stage(folder, stage, facts)
        assert wrong == [], wrong


Environment = FileEnvironment | ServerEnvironment
"""Where lives are lived, and what can go wrong there."""


def database_in(folder: Path) -> Server:
    """A new server in a folder, with an empty store."""
    folder.mkdir()
    made = Server(
        folder,
        "fsync=off",
        "full_page_writes=off",
        "autovacuum=off",
        "shared_buffers=16MB",
        "max_connections=30",
    )
    migrate(made.url())
    return made


def count_crash_points(
    environment: Environment, scratch: Path, stages: Iterable[str]
) -> dict[str, int]:
    """How many moments (`CrashPoints`) each step has, for a process that ends soon."""
    crash_points = CrashPoints()
    crash_points.install(environment.calls)
    point_counts: dict[str, int] = {}
    options = [(stage, step) for stage in stages for step in POSSIBLE[stage]]
    for number, (stage, step) in enumerate(options, _COUNTED):
        environment.begin(scratch, stage, number)
        crash_points.arm(0, lambda: None)
        run_if_possible(
            open_scenario(scratch, read_facts(scratch), Random(1), Clock(), lock_timeout=60),
            STEPS[step],
        )
        point_counts[step] = crash_points.passed
        shutil.rmtree(scratch)
    return point_counts


def in_child(work: Callable[[], dict[str, int]]) -> dict[str, int]:
    """What some work returns in a process of its own, so that this one has neither DuckDB nor a connection."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.write(writing, json.dumps(work()).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as message:
        answer = message.read()
    os.waitpid(child, 0)
    found_rows: dict[str, int] = json.loads(answer)
    return found_rows
