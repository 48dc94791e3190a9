"""The steps of scenarios, each an operation of a workspace, and stores to start from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import ttplan
from tests.audit.chains import KEY
from tests.faults.store_location import KEY_FILE, edit_routes, open_in, place_of
from tests.logs.test_reader import numbered, write
from tests.support import plans
from ttplan.audit.keys.key_files import save_key
from ttplan.model.audit import AuditEntry, System, User
from ttplan.model.policy import Policy, Rule
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.workspace import Workspace
from ttplan.workspace.open import copy_store

LOG = "log.jsonl"
FACTS = "facts.json"
REQUESTS = 40
PLANS = 8
RENAMING_PLANS = range(PLANS + 1, PLANS + 5)
"""The numbers of plans that rename a route of plan 1, 2, …"""
PERSON = User(UUID(int=7))
START = datetime(2026, 6, 1, tzinfo=UTC)
STAGES = ("new", "imported", "planned", "living", "drifted")


class Clock:
    """Advances by a second with each call; it can be set back."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass
class KnownState:
    """What is certain about a store: status of each plan, entries as `seq:hash`, requests, copies.

    `base` is added to the numbers of the plans of an organisation, since a database has the plans
    of several.
    """

    org_id: str = str(plans.ORG)
    base: int = 0
    statuses: dict[str, str] = field(default_factory=dict)
    entries: list[str] = field(default_factory=list)
    requests: int = 0
    copies: list[str] = field(default_factory=list)
    repaired: bool = True

    @property
    def holds_something(self) -> bool:
        """Whether anything has been done."""
        return bool(self.statuses or self.entries or self.requests)

    def learn(self, done: dict[str, Any]) -> None:
        """Add what a step reported when it was done."""
        if "plan" in done:  # the plan that changed last is the last in order
            self.statuses.pop(done["plan"], None)
            self.statuses[done["plan"]] = done["status"]
        if "entry" in done:
            self.entries.append(done["entry"])
        self.requests = done.get("requests", self.requests)
        self.copies += [done["copy"]] if "copy" in done else []
        self.repaired = self.repaired or done.get("repaired", False)


@dataclass
class Scenario:
    """A workspace in a folder, the known state and random numbers."""

    workspace: Workspace
    folder: Path
    facts: KnownState
    rng: Random


Step = Callable[[Scenario], dict[str, Any]]


def _import(scenario: Scenario) -> dict[str, Any]:
    scenario.workspace.import_logs(scenario.folder / LOG, progress=False)
    return {"requests": REQUESTS}


def _plan(scenario: Scenario) -> dict[str, Any]:
    number = scenario.rng.randrange(1000, 2000)
    routes = [plans.route(number, name=f"r{number % 5}")]
    made = scenario.workspace.plan(routes, name="planned", allow_unpriced=True, progress=False)
    return {"plan": str(made.plan_id), "status": "projected"}


def _apply(scenario: Scenario) -> dict[str, Any]:
    plan = _choose(scenario, "projected")
    return _entered(scenario.workspace.apply(plan, actor=System(), allow_stale=True)) | {
        "plan": plan,
        "status": "applied",
    }


def _revert(scenario: Scenario) -> dict[str, Any]:
    plan = _choose(scenario, "applied", last=scenario.rng.random() < 0.9)
    return _entered(scenario.workspace.revert(plan, actor=System())) | {
        "plan": plan,
        "status": "reverted",
    }


def _rename(scenario: Scenario) -> dict[str, Any]:
    ids = [str(UUID(int=scenario.facts.base + number)) for number in RENAMING_PLANS]
    plan = scenario.rng.choice(
        [item for item in ids if scenario.facts.statuses.get(item) == "projected"] or ids
    )
    return _entered(scenario.workspace.apply(plan, actor=System(), allow_stale=True)) | {
        "plan": plan,
        "status": "applied",
    }


def _policy(scenario: Scenario) -> dict[str, Any]:
    rules = (Rule(rule=f"savings > {scenario.rng.randrange(10)}"),)
    return _entered(
        scenario.workspace.set_policy(
            scenario.rng.choice((None, Policy(rules=rules))), actor=System()
        )
    )


def _approve(scenario: Scenario) -> dict[str, Any]:
    return _entered(scenario.workspace.approve(_choose(scenario, "projected"), actor=PERSON))


def _repair(scenario: Scenario) -> dict[str, Any]:
    return _entered(scenario.workspace.repair(actor=System())) | {"repaired": True}


def _rotate(scenario: Scenario) -> dict[str, Any]:
    return _entered(scenario.workspace.evidence.rotate_key(actor=System()))


def _backup(scenario: Scenario) -> dict[str, Any]:
    name = f"copy-{scenario.rng.randrange(10**6)}.duckdb"
    if isinstance(scenario.workspace.store, DuckDBStore):
        scenario.workspace.backup(scenario.folder / name)
    else:
        copy_store(place_of(scenario.folder), scenario.folder / name, public_key=KEY.public_key.hex)
    return {"copy": name}


def _look(scenario: Scenario) -> dict[str, Any]:
    scenario.workspace.verify()
    scenario.workspace.drift()
    return {}


STEPS: dict[str, Step] = {
    "import": _import,
    "plan": _plan,
    "apply": _apply,
    "revert": _revert,
    "rename": _rename,
    "policy": _policy,
    "approve": _approve,
    "repair": _repair,
    "rotate": _rotate,
    "backup": _backup,
    "look": _look,
}
WRITES_ENTRY = frozenset({"apply", "revert", "rename", "policy", "approve", "repair", "rotate"})
WRITING = WRITES_ENTRY | {"import", "plan"}
POSSIBLE = {
    "new": {"import": 1},
    "imported": {"plan": 2, "import": 1},
    "planned": {"apply": 8, "policy": 1, "approve": 1, "backup": 1, "look": 1},
    "living": {
        "apply": 8,
        "revert": 6,
        "rename": 2,
        "policy": 1,
        "approve": 1,
        "rotate": 2,
        "backup": 1,
        "look": 1,
    },
    "drifted": {"repair": 1},
}
"""The steps that are possible at each stage, with their weights."""


def _choose(scenario: Scenario, status: str, *, last: bool = False) -> str:
    candidates = [
        plan for plan, known in scenario.facts.statuses.items() if known == status
    ] or list(scenario.facts.statuses)
    return candidates[-1] if last else scenario.rng.choice(candidates)


def _entered(entry: AuditEntry | None) -> dict[str, Any]:
    return {} if entry is None else {"entry": f"{entry.seq}:{entry.hash}"}


def open_scenario(
    folder: Path, facts: KnownState, rng: Random, clock: Clock, *, lock_timeout: float
) -> Scenario:
    """Open the workspace in a folder."""
    ids = lambda: UUID(int=rng.getrandbits(128), version=4)  # noqa: E731
    nonce = lambda: f"{rng.getrandbits(256):064x}"  # noqa: E731
    opened = open_in(folder, lock_timeout=lock_timeout, clock=clock, new_id=ids, new_nonce=nonce)
    return Scenario(opened, folder, facts, rng)


def make_stage(folder: Path, stage: str, facts: KnownState) -> None:
    """Create a store at a stage in a folder, and a file with its known state."""
    rng = Random(f"{stage}/{facts.base}")
    save_key(KEY, folder / KEY_FILE)
    if stage in ("new", "imported"):
        write(folder / LOG, numbered(REQUESTS))
    if stage != "new":
        _reach(open_scenario(folder, facts, rng, Clock(), lock_timeout=60), stage)
    (folder / FACTS).write_text(json.dumps(facts.__dict__))


def read_facts(folder: Path) -> KnownState:
    """The known state that `make_stage` has written."""
    return KnownState(**json.loads((folder / FACTS).read_text()))


def _reach(scenario: Scenario, stage: str) -> None:
    if stage == "imported":
        scenario.facts.learn(_import(scenario))
        return
    _add_plans(scenario)
    if stage == "planned":
        return
    for step in (_apply, _apply, _revert, _apply, _apply):
        run_if_possible(scenario, step)
    if stage == "drifted":
        edit_routes(scenario.folder)
        scenario.facts.repaired = False


def _add_plans(scenario: Scenario) -> None:
    org_id, base = UUID(scenario.facts.org_id), scenario.facts.base
    with scenario.workspace.store.transaction() as tx:
        tx.set_org_id(org_id)
        for number in range(1, RENAMING_PLANS.stop):
            renamed = number - PLANS
            named = (
                {min(_names(renamed)): f"renamed {renamed}"}
                if number in RENAMING_PLANS
                else {n: f"r{n}" for n in _names(number)}
            )
            first = 10 * (renamed if number in RENAMING_PLANS else number)
            routes = tuple(plans.route(first + n, name=name) for n, name in named.items())
            result = plans.result(UUID(int=base + number), routes, org_id=org_id)
            run = plans.run(base + number, org_id=org_id, result=result, live_seen=())
            tx.add_plan(run)
            scenario.facts.learn({"plan": str(run.plan_id), "status": "projected"})


def _names(number: int) -> list[int]:
    return sorted({number % 3, number % 5})


def run_if_possible(scenario: Scenario, step: Step) -> None:
    """Run a step, unless it is refused."""
    try:
        scenario.facts.learn(step(scenario))
    except ttplan.TtplanError:  # a later plan has replaced its routes
        return
