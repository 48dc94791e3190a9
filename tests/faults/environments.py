"""Environments of scenarios: files, copied from a template of each stage, or organisations of a
database."""

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
"""The distance between the plan numbers of two scenarios."""
_COUNTED = 10**9
"""The number of the first scenario in which crash points are counted."""


class FileEnvironment:
    """Scenarios in files."""

    faults: tuple[Fault, ...] = FILE_FAULTS
    calls: tuple[Call, ...] = IN_FILES
    server: Server | None = None

    def __init__(self, templates: Path) -> None:
        self._templates = templates
        self.checker = CheckProcess()

    def make_templates(self, stages: Iterable[str]) -> dict[str, int]:
        """Create the templates; return how many crash points each step has."""
        for stage in stages:
            (self._templates / stage).mkdir(parents=True)
            make_stage(self._templates / stage, stage, KnownState())
        return count_crash_points(self, self._templates / "scratch", stages)

    def begin(self, folder: Path, stage: str, number: int) -> None:
        """Create a folder with a store at a stage for the scenario with this number."""
        shutil.copytree(self._templates / stage, folder)


class ServerEnvironment:
    """Scenarios in a database of a server that they may kill."""

    faults: tuple[Fault, ...] = SERVER_FAULTS
    calls: tuple[Call, ...] = ON_SERVER

    def __init__(self, server: Server, *, alone: bool = False) -> None:
        """With `alone` this process creates the stages, and has a connection; else the checker
        does.
        """
        self.server: Server | None = server
        self.checker = CheckProcess()
        self._url = server.url()
        self._alone = alone

    def begin(self, folder: Path, stage: str, number: int) -> None:
        """Create a folder and a new organisation at a stage."""
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
"""Where scenarios run, and the faults that are possible there."""


def database_in(folder: Path) -> Server:
    """Start a new server in a folder, with an empty store."""
    folder.mkdir()
    server = Server(
        folder,
        "fsync=off",
        "full_page_writes=off",
        "autovacuum=off",
        "shared_buffers=16MB",
        "max_connections=30",
    )
    migrate(server.url())
    return server


def count_crash_points(
    environment: Environment, scratch: Path, stages: Iterable[str]
) -> dict[str, int]:
    """How many crash points each step has. Run it in a process that ends soon."""
    crash_points = CrashPoints()
    crash_points.install(environment.calls)
    point_counts: dict[str, int] = {}
    stage_of = {step: stage for stage in stages for step in POSSIBLE[stage]}
    for number, (step, stage) in enumerate(stage_of.items(), _COUNTED):
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
    """Run some work in a child, so that this process has neither DuckDB nor a connection."""
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
    result: dict[str, int] = json.loads(answer)
    return result
