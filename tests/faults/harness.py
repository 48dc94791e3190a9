"""Runs of a short life with one fault in it: each in a process of its own, forked from one that has everything loaded.

The parent never opens DuckDB, so that a fork copies no thread and no lock of it.
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
from tests.faults.checker import FOREVER
from tests.faults.grounds import Ground
from tests.faults.kinds import NOBODY, Kind, Scene
from tests.faults.life import (
    POSSIBLE,
    STAGES,
    STEPS,
    WRITES_ENTRY,
    Facts,
    Living,
    open_life,
    read_facts,
)

REFUSED = ("InvalidState", "StalePlan", "TouchedSince", "PolicyBlocked")
"""What a step may be told in any life."""
SHARES = {"new": 4, "imported": 3, "planned": 30, "living": 58, "drifted": 5}
RUN = "run"
"""The folder of a run. It is that of the next one, too, so that who checks them finds its DuckDB for that file."""
GOING_ON = 0.15
"""In which share of the runs the store is used again afterwards."""


@dataclass
class Outcome:
    """What became of one run."""

    number: int
    kind: str
    stage: str
    steps: list[str]
    struck: bool = False
    done: int = 0
    errors: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Setting:
    """What all runs share: the ground and its moments, a folder, a small disk in it, and which kinds and stages."""

    seed: int
    ground: Ground
    moments: dict[str, int]
    place: Path
    kinds: tuple[Kind, ...]
    stages: tuple[str, ...] = STAGES


def run_one(setting: Setting, number: int) -> Outcome:
    """One run; it is a function of seed and number, but for what the moment of a kill within a call decides."""
    chance = Random(f"{setting.seed}/{number}")
    (kind,) = chance.choices(setting.kinds, [kind.often for kind in setting.kinds])
    (stage,) = chance.choices(setting.stages, [SHARES[stage] for stage in setting.stages])
    possible = {step: often for step, often in POSSIBLE[stage].items() if step in kind.steps}
    steps = chance.choices(
        list(possible),
        list(possible.values()),
        k=2 if stage == "living" and chance.random() < 0.4 else 1,
    )
    folder = (setting.place / "small" if kind.small_disk else setting.place) / RUN
    scene = Scene(folder, chance, server=setting.ground.server)
    outcome = Outcome(number, kind.name, stage, steps)
    try:
        setting.ground.begin(folder, stage, number)
        if kind.unprivileged and os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        _live(setting, scene, kind, outcome, read_facts(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _live(setting: Setting, scene: Scene, kind: Kind, outcome: Outcome, known: Facts) -> None:
    heard = _Heard()
    target = scene.chance.randrange(len(outcome.steps))
    after = scene.chance.randint(1, _moments(setting, kind, outcome.steps[target]))
    going_on = scene.chance.random() < GOING_ON
    kind.before(scene)
    status = _in_processes(
        scene, kind, heard, lambda: _child(setting, scene, kind, outcome, known, target, after)
    )
    kind.after(scene)
    outcome.struck = heard.struck
    outcome.done = len(heard.done)
    outcome.errors = [f"{one['error']}: {one['message']}" for one in heard.errors]
    outcome.violations += _told(kind, heard, status)
    for done in heard.done:
        known.learn(done)
    outcome.violations += setting.ground.checker.wrong_in(
        scene.folder,
        known,
        heard.pending,
        sure=heard.sure,
        left=kind.dies or kind.leaves,
        then=scene.chance.random() if going_on else None,
        as_user=NOBODY if kind.unprivileged and os.geteuid() == 0 else None,
    )


def _moments(setting: Setting, kind: Kind, step: str) -> int:
    return kind.moments or max(setting.moments[step], 1)


@dataclass
class _Heard:
    """What the processes of a run said."""

    done: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    begun: str | None = None
    struck: bool = False
    ended: bool = False

    @property
    def pending(self) -> list[str]:
        """The steps that may have been done without being acknowledged."""
        unsure = [one["step"] for one in self.errors if one["outcome"] != "nothing"]
        return unsure if self.begun is None else [*unsure, self.begun]

    @property
    def sure(self) -> int:
        """How many entries are there for certain besides those that were acknowledged, since an error said so."""
        return sum(one["outcome"] == "done" for one in self.errors)

    def hear(self, said: dict[str, Any]) -> None:
        if "also" in said:
            self.done.append(said["also"])
        elif "done" in said:
            self.done.append(said["done"])
            self.begun = None
        elif "begun" in said:
            self.begun = said["begun"]
        elif "error" in said:
            self.errors.append(said)
            self.begun = self.begun if said.get("helper") else None
        elif "crash" in said:
            self.crashes.append(said["crash"])
        self.struck = self.struck or "struck" in said
        self.ended = self.ended or "ended" in said


def _told(kind: Kind, heard: _Heard, status: int) -> list[str]:
    """What is wrong with how the child ended and what it said."""
    wrong = [f"no error of ours: {crash}" for crash in heard.crashes]
    deadly = kind.dies and status in (-signal.SIGKILL, -signal.SIGXFSZ)
    if not (heard.ended and status == 0) and not deadly and not heard.crashes:
        wrong.append(f"the process ended with {status}")
    for error in heard.errors:
        said = f"{error['step']}: {error['error']}: {error['message']}"
        if error["error"] not in (*REFUSED, *(kind.allowed if heard.struck else ())):
            wrong.append(f"an error that this does not explain: {said}")
        if (
            "INTERNAL" in error["message"]
            or "\n" in error["message"]
            or not error["message"].strip()
        ):
            wrong.append(f"no clear error: {said}")
    return wrong


def _child(
    setting: Setting,
    scene: Scene,
    kind: Kind,
    outcome: Outcome,
    known: Facts,
    target: int,
    after: int,
) -> None:
    """The life itself."""
    points = scene.points

    def strike() -> None:
        scene.say(struck=True)
        kind.strike(scene)

    kind.begin(scene)
    points.install(setting.ground.calls)
    life: Living | None = None
    for number, step in enumerate(outcome.steps):
        scene.say(begun=step)
        if number == target:
            points.arm(after, strike, lambda: kind.counts(scene))
        try:
            life = life or open_life(
                scene.folder, known, scene.chance, scene.clock, lock_timeout=kind.lock_timeout
            )
            done = STEPS[step](life)
        except (ttplan.TtplanError, KeyboardInterrupt, MemoryError) as error:
            scene.say(
                error=type(error).__name__,
                message=str(error),
                step=step,
                outcome=_outcome(step, error),
            )
        else:
            known.learn(done)
            scene.say(done=done)
    scene.say(ended=True)


def _outcome(step: str, error: BaseException) -> str:
    """Whether a step that ended with an error has done nothing, its work, or either."""
    if not isinstance(error, ttplan.TtplanError) or isinstance(error, ttplan.OutcomeUnknown):
        return "either"
    # A key file that cannot be replaced is told once the entry is there.
    if step == "rotate" and isinstance(error, ttplan.KeyFileError):
        return "either"
    return "done" if step in WRITES_ENTRY and getattr(error, "applied", False) else "nothing"


def _in_processes(scene: Scene, kind: Kind, heard: _Heard, work: Callable[[], None]) -> int:
    """Do some work in a child, hear what it says, and return how it ended: an exit code, or a signal as a negative number.

    Where the kind has a helper it is a second child, which ends with the first.
    """
    helper = kind.helper
    hearing, told = os.pipe()
    called, calls = os.pipe()
    answers, answered = os.pipe()
    helping = helper and _fork(
        lambda: helper(_at(scene, told, called, answered)), kind, (hearing, calls, answers), told
    )
    working = _fork(
        lambda: _in(scene, told, calls, answers, work), kind, (hearing, called, answered), told
    )
    for end in (told, called, calls, answers, answered):
        os.close(end)
    with os.fdopen(hearing, "rb") as lines:
        for line in lines:
            heard.hear(json.loads(line))
    if helping:
        os.waitpid(helping, 0)
    return os.waitstatus_to_exitcode(os.waitpid(working, 0)[1])


def _at(scene: Scene, told: int, calls: int, answers: int) -> Scene:
    scene.told, scene.calls, scene.answers = told, calls, answers
    return scene


def _in(scene: Scene, told: int, calls: int, answers: int, work: Callable[[], None]) -> None:
    _at(scene, told, calls, answers)
    work()


def _fork(work: Callable[[], None], kind: Kind, closed: tuple[int, ...], told: int) -> int:
    """A child that does some work, whatever happens in it, and its id here."""
    child = os.fork()
    if child:
        return child
    try:
        for end in closed:
            os.close(end)
        signal.alarm(FOREVER)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if kind.unprivileged and os.geteuid() == 0:
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        work()
    except BaseException:
        os.write(told, json.dumps({"crash": traceback.format_exc()[-2000:]}).encode() + b"\n")
    finally:
        os._exit(0)
