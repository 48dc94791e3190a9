"""The life of a store in single steps, each a verb of the workspace, and stores that are at some stage of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import duckdb

import ttplan
from tests import plans
from tests.audit.chains import KEY
from tests.faults.points import Points
from tests.test_logs import numbered, write
from ttplan.audit.keys import save_key
from ttplan.model.audit import AuditEntry, System
from ttplan.workspace import Workspace

STORE = "s.duckdb"
LOG = "log.jsonl"
FACTS = "facts.json"
REQUESTS = 40
PLANS = 8
START = datetime(2026, 6, 1, tzinfo=UTC)
STAGES = ("new", "imported", "planned", "living", "drifted")


class Clock:
    """Moves on by a second at each look; it can be set back."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass
class Facts:
    """What is known of a store for certain: plans by number or id and their status, entries as `seq:hash`, requests, copies."""

    statuses: dict[str, str] = field(default_factory=dict)
    entries: list[str] = field(default_factory=list)
    requests: int = 0
    copies: list[str] = field(default_factory=list)
    repaired: bool = True

    def learn(self, done: dict[str, Any]) -> None:
        """Take in what a step said when it was done."""
        if "plan" in done:  # the last one that something became of is the last in order
            self.statuses.pop(done["plan"], None)
            self.statuses[done["plan"]] = done["status"]
        if "entry" in done:
            self.entries.append(done["entry"])
        self.requests = done.get("requests", self.requests)
        self.copies += [done["copy"]] if "copy" in done else []
        self.repaired = self.repaired or done.get("repaired", False)


@dataclass
class Living:
    """A process that lives in a folder: the workspace, what it knows, and what decides its choices."""

    workspace: Workspace
    folder: Path
    facts: Facts
    chance: Random


Step = Callable[[Living], dict[str, Any]]


def _import(life: Living) -> dict[str, Any]:
    life.workspace.import_logs(life.folder / LOG, progress=False)
    return {"requests": REQUESTS}


def _plan(life: Living) -> dict[str, Any]:
    number = life.chance.randrange(1000, 2000)
    routes = [plans.route(number, name=f"r{number % 5}")]
    made = life.workspace.plan(routes, name="planned", allow_unpriced=True, progress=False)
    return {"plan": str(made.plan_id), "status": "projected"}


def _apply(life: Living) -> dict[str, Any]:
    plan = _choose(life, "projected")
    return _entered(life.workspace.apply(plan, actor=System(), allow_stale=True)) | {"plan": plan, "status": "applied"}


def _revert(life: Living) -> dict[str, Any]:
    plan = _choose(life, "applied", last=life.chance.random() < 0.9)
    return _entered(life.workspace.revert(plan, actor=System())) | {"plan": plan, "status": "reverted"}


def _repair(life: Living) -> dict[str, Any]:
    return _entered(life.workspace.repair(actor=System())) | {"repaired": True}


def _rotate(life: Living) -> dict[str, Any]:
    return _entered(life.workspace.evidence.rotate_key(actor=System()))


def _backup(life: Living) -> dict[str, Any]:
    name = f"copy-{life.chance.randrange(10**6)}.duckdb"
    life.workspace.backup(life.folder / name)
    return {"copy": name}


def _look(life: Living) -> dict[str, Any]:
    life.workspace.verify()
    life.workspace.drift()
    return {}


STEPS: dict[str, Step] = {
    "import": _import,
    "plan": _plan,
    "apply": _apply,
    "revert": _revert,
    "repair": _repair,
    "rotate": _rotate,
    "backup": _backup,
    "look": _look,
}
WRITES_ENTRY = frozenset({"apply", "revert", "repair", "rotate"})
WRITING = WRITES_ENTRY | {"import", "plan"}
POSSIBLE = {
    "new": {"import": 1},
    "imported": {"plan": 2, "import": 1},
    "planned": {"apply": 8, "backup": 1, "look": 1},
    "living": {"apply": 8, "revert": 6, "rotate": 2, "backup": 1, "look": 1},
    "drifted": {"repair": 1},
}
"""Which steps are taken at which stage, and how often."""


def _choose(life: Living, status: str, *, last: bool = False) -> str:
    found = [plan for plan, known in life.facts.statuses.items() if known == status] or list(life.facts.statuses)
    return found[-1] if last else life.chance.choice(found)


def _entered(entry: AuditEntry | None) -> dict[str, Any]:
    return {} if entry is None else {"entry": f"{entry.seq}:{entry.hash}"}


def open_life(folder: Path, facts: Facts, chance: Random, clock: Clock, *, lock_timeout: float) -> Living:
    """Open the workspace in a folder."""
    ids = lambda: UUID(int=chance.getrandbits(128), version=4)  # noqa: E731
    nonce = lambda: f"{chance.getrandbits(256):064x}"  # noqa: E731
    opened = ttplan.open(folder / STORE, lock_timeout=lock_timeout, clock=clock, new_id=ids, new_nonce=nonce)
    return Living(opened, folder, facts, chance)


def make_templates(folder: Path, stages: Iterable[str] = STAGES) -> dict[str, int]:
    """A folder for each of those stages, and how many moments (`Points`) each step has."""
    points = Points()
    points.install()
    moments: dict[str, int] = {}
    for stage in stages:
        made = folder / stage
        made.mkdir()
        chance = Random(stage)
        save_key(KEY, made / f"{STORE}.key.pem")
        facts = Facts()
        if stage in ("new", "imported"):
            write(made / LOG, numbered(REQUESTS))
        if stage != "new":
            life = open_life(made, facts, chance, Clock(), lock_timeout=60)
            _reach(life, stage)
        (made / FACTS).write_text(json.dumps(facts.__dict__))
        for step in POSSIBLE[stage]:
            moments[step] = _count(folder, made, step, points)
    return moments


def _reach(life: Living, stage: str) -> None:
    if stage == "imported":
        life.facts.learn(_import(life))
        return
    with life.workspace.store.transaction() as tx:
        tx.set_org_id(plans.ORG)
        for number in range(1, PLANS + 1):
            routes = tuple(plans.route(10 * number + n, name=f"r{n}") for n in sorted({number % 3, number % 5}))
            run = plans.run(number, routes, live_seen=())
            tx.add_plan(run)
            life.facts.learn({"plan": str(run.plan_id), "status": "projected"})
    if stage == "planned":
        return
    for step in (_apply, _apply, _revert, _apply, _apply):
        _if_possible(life, step)
    if stage == "drifted":
        with duckdb.connect(str(life.folder / STORE)) as connection:
            connection.execute("UPDATE routes SET priority = 77")
        life.facts.repaired = False


def _if_possible(life: Living, step: Step) -> None:
    try:
        life.facts.learn(step(life))
    except ttplan.TtplanError:  # a later plan has replaced its routes
        return


def _count(folder: Path, stage: Path, step: str, points: Points) -> int:
    scratch = folder / "scratch"
    shutil.copytree(stage, scratch)
    try:
        facts = Facts(**json.loads((scratch / FACTS).read_text()))
        points.arm(0, lambda: None)
        _if_possible(open_life(scratch, facts, Random(1), Clock(), lock_timeout=60), STEPS[step])
        return points.passed
    finally:
        shutil.rmtree(scratch)
