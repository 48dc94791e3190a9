"""Runs scenarios with one fault each, in processes forked from one that has everything loaded.

The parent never opens DuckDB, so that a fork copies none of its threads and locks.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import ttplan
from tests.faults.checker import HANG_TIMEOUT
from tests.faults.environments import Environment
from tests.faults.faults import NOBODY, Fault, FaultContext
from tests.faults.scenario import (
    POSSIBLE,
    STAGES,
    STEPS,
    WRITES_ENTRY,
    KnownState,
    Scenario,
    open_scenario,
    read_facts,
)

REFUSED = ("InvalidState", "StalePlan", "SupersededPlan", "PolicyBlocked")
"""Errors that a step may raise in any scenario."""
SHARES = {"new": 4, "imported": 3, "planned": 30, "living": 58, "drifted": 5}
RUN = "run"
"""The folder of each scenario: the same one, so that the checker reuses its DuckDB instance."""
REUSE_SHARE = 0.15
"""The share of scenarios after which the store is used again."""


@dataclass
class Outcome:
    """The outcome of one scenario."""

    number: int
    fault: str
    stage: str
    steps: list[str]
    struck: bool = False
    done: int = 0
    errors: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Setting:
    """What all scenarios share: the environment and its crash points, a folder with a small disk,
    the faults and stages."""

    seed: int
    environment: Environment
    point_counts: dict[str, int]
    place: Path
    faults: tuple[Fault, ...]
    stages: tuple[str, ...] = STAGES


def run_one(setting: Setting, number: int) -> Outcome:
    """Run one scenario. Seed and number determine it, except for when a call is killed."""
    rng = Random(f"{setting.seed}/{number}")
    (fault,) = rng.choices(setting.faults, [fault.weight for fault in setting.faults])
    (stage,) = rng.choices(setting.stages, [SHARES[stage] for stage in setting.stages])
    possible = {step: weight for step, weight in POSSIBLE[stage].items() if step in fault.steps}
    steps = rng.choices(
        list(possible),
        list(possible.values()),
        k=2 if stage == "living" and rng.random() < 0.4 else 1,
    )
    folder = (setting.place / "small" if fault.small_disk else setting.place) / RUN
    context = FaultContext(folder, rng, server=setting.environment.server)
    outcome = Outcome(number, fault.name, stage, steps)
    try:
        setting.environment.begin(folder, stage, number)
        if fault.unprivileged and os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        _run_scenario(setting, context, fault, outcome, read_facts(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _run_scenario(
    setting: Setting, context: FaultContext, fault: Fault, outcome: Outcome, known: KnownState
) -> None:
    child_report = _ChildReport()
    target = context.rng.randrange(len(outcome.steps))
    after = context.rng.randint(1, _point_count(setting, fault, outcome.steps[target]))
    reuses_store = context.rng.random() < REUSE_SHARE
    fault.before(context)
    status = _in_processes(
        context,
        fault,
        child_report,
        lambda: _child(setting, context, fault, outcome, known, target, after),
    )
    fault.after(context)
    outcome.struck = child_report.struck
    outcome.done = len(child_report.done)
    outcome.errors = [f"{item['error']}: {item['message']}" for item in child_report.errors]
    outcome.violations += _check_report(fault, child_report, status)
    for done in child_report.done:
        known.learn(done)
    outcome.violations += setting.environment.checker.wrong_in(
        context.folder,
        known,
        child_report.pending,
        sure=child_report.sure,
        left=fault.dies or fault.leaves,
        then=context.rng.random() if reuses_store else None,
        as_user=NOBODY if fault.unprivileged and os.geteuid() == 0 else None,
    )


def _point_count(setting: Setting, fault: Fault, step: str) -> int:
    return fault.point_counts or max(setting.point_counts[step], 1)


@dataclass
class _ChildReport:
    """The messages of the processes of a scenario."""

    done: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    begun: str | None = None
    struck: bool = False
    ended: bool = False

    @property
    def pending(self) -> list[str]:
        """The steps that may have been done without an acknowledgement."""
        unsure = [item["step"] for item in self.errors if item["outcome"] != "nothing"]
        return unsure if self.begun is None else [*unsure, self.begun]

    @property
    def sure(self) -> int:
        """How many entries exist besides the acknowledged ones, because an error reported them."""
        return sum(item["outcome"] == "done" for item in self.errors)

    def add(self, message: dict[str, Any]) -> None:
        if "also" in message:
            self.done.append(message["also"])
        elif "done" in message:
            self.done.append(message["done"])
            self.begun = None
        elif "begun" in message:
            self.begun = message["begun"]
        elif "error" in message:
            self.errors.append(message)
            self.begun = self.begun if message.get("helper") else None
        elif "crash" in message:
            self.crashes.append(message["crash"])
        self.struck = self.struck or "struck" in message
        self.ended = self.ended or "ended" in message


def _check_report(fault: Fault, child_report: _ChildReport, status: int) -> list[str]:
    """The violations in how the child ended and in its messages."""
    wrong = [f"not a ttplan error: {crash}" for crash in child_report.crashes]
    deadly = fault.dies and status in (-signal.SIGKILL, -signal.SIGXFSZ)
    if not (child_report.ended and status == 0) and not deadly and not child_report.crashes:
        wrong.append(f"the process ended with {status}")
    for error in child_report.errors:
        report = f"{error['step']}: {error['error']}: {error['message']}"
        if error["error"] not in (*REFUSED, *(fault.allowed if child_report.struck else ())):
            wrong.append(f"an error that this does not explain: {report}")
        if (
            "INTERNAL" in error["message"]
            or "\n" in error["message"]
            or not error["message"].strip()
        ):
            wrong.append(f"no clear error: {report}")
    return wrong


def _child(
    setting: Setting,
    context: FaultContext,
    fault: Fault,
    outcome: Outcome,
    known: KnownState,
    target: int,
    after: int,
) -> None:
    """Run the steps of the scenario."""
    crash_points = context.crash_points

    def inject() -> None:
        context.say(struck=True)
        fault.inject(context)

    fault.begin(context)
    crash_points.install(setting.environment.calls)
    scenario: Scenario | None = None
    for number, step in enumerate(outcome.steps):
        context.say(begun=step)
        if number == target:
            crash_points.arm(after, inject, lambda: fault.counts(context))
        try:
            scenario = scenario or open_scenario(
                context.folder, known, context.rng, context.clock, lock_timeout=fault.lock_timeout
            )
            done = STEPS[step](scenario)
        except (ttplan.TtplanError, KeyboardInterrupt, MemoryError) as error:
            context.say(
                error=type(error).__name__,
                message=str(error),
                step=step,
                outcome=_outcome(step, error),
            )
        else:
            known.learn(done)
            context.say(done=done)
    context.say(ended=True)


def _outcome(step: str, error: BaseException) -> str:
    """Whether a step that raised an error did nothing, all of its work, or either."""
    if not isinstance(error, ttplan.TtplanError) or isinstance(error, ttplan.OutcomeUnknown):
        return "either"
    # A key file that cannot be replaced is reported after the entry is written.
    if step == "rotate" and isinstance(error, ttplan.KeyFileError):
        return "either"
    return "done" if step in WRITES_ENTRY and getattr(error, "applied", False) else "nothing"


def _in_processes(
    context: FaultContext, fault: Fault, child_report: _ChildReport, work: Callable[[], None]
) -> int:
    """Run some work in a child, read its messages, and return its exit code, or its signal as a
    negative number.

    If the fault has a helper, it is a second child, which ends with the first.
    """
    helper = fault.helper
    report_pipe, output = os.pipe()
    called, calls = os.pipe()
    answers, answer_pipe = os.pipe()
    helping = helper and _fork(
        lambda: helper(_at(context, output, called, answer_pipe)),
        fault,
        (report_pipe, calls, answers),
        output,
    )
    working = _fork(
        lambda: _in(context, output, calls, answers, work),
        fault,
        (report_pipe, called, answer_pipe),
        output,
    )
    for end in (output, called, calls, answers, answer_pipe):
        os.close(end)
    with os.fdopen(report_pipe, "rb") as lines:
        for line in lines:
            child_report.add(json.loads(line))
    if helping:
        os.waitpid(helping, 0)
    return os.waitstatus_to_exitcode(os.waitpid(working, 0)[1])


def _at(context: FaultContext, output: int, calls: int, answers: int) -> FaultContext:
    context.output, context.calls, context.answers = output, calls, answers
    return context


def _in(
    context: FaultContext, output: int, calls: int, answers: int, work: Callable[[], None]
) -> None:
    _at(context, output, calls, answers)
    work()


def _fork(work: Callable[[], None], fault: Fault, closed: tuple[int, ...], output: int) -> int:
    """Fork a child that does some work and always ends; return its id in the parent."""
    child = os.fork()
    if child:
        return child
    try:
        for end in closed:
            os.close(end)
        signal.alarm(HANG_TIMEOUT)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if fault.unprivileged and os.geteuid() == 0:
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        work()
    except BaseException:
        os.write(output, json.dumps({"crash": traceback.format_exc()[-2000:]}).encode() + b"\n")
    finally:
        os._exit(0)
