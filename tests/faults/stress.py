"""Many processes use one store at once: mixed operations, their outcomes, and the final state.

python -m tests.faults.stress [--processes 8] [--operations 500] [--seed 1] [--postgres]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import ttplan
from tests.audit.chains import KEY
from tests.faults.harness import REFUSED
from tests.faults.preload import load_everything
from tests.faults.store_location import URL, place_of
from tests.logs.test_reader import numbered, write
from tests.support import plans
from tests.support.postgres import server
from ttplan.audit.verify.chain import verify_chain
from ttplan.model.audit import System
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.routes.drift import find_drift
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.workspace import Workspace
from ttplan.workspace.open import copy_store, migrate_store

PLANS = 60
ROWS = 5
WEIGHTS = {
    "apply": 34,
    "revert": 20,
    "add": 14,
    "read": 14,
    "drift": 8,
    "import": 7,
    "backup": 3,
    "repair": 3,
}
"""The operations, with their weights."""


@dataclass
class StressReport:
    """What the processes reported: acknowledged entries, plans and rows, refusals, longest time."""

    did: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    entries: list[str] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    rows: int = 0
    longest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def add(self, message: dict[str, Any]) -> None:
        self.did[message["did"]] += 1
        self.longest = max(self.longest, message["seconds"])
        if "error" in message:
            name = message["error"].partition(":")[0]
            self.refused[name] += 1
            self.wrong += [] if name in REFUSED else [f"{message['did']}: {message['error']}"]
        self.entries += message.get("entry", ())
        self.plans += message.get("plan", ())
        self.rows += message.get("rows", 0)


class _StressClient:
    """One of the processes: its number, its workspace and its random numbers."""

    def __init__(self, folder: Path, number: int, seed: int) -> None:
        self.folder = folder
        self.number = number
        self.rng = Random(f"{seed}/{number}")
        self.count = 0
        self.workspace: Workspace = ttplan.open(place_of(folder), key=KEY)

    def do(self, what: str) -> dict[str, Any]:
        operations: dict[str, Callable[[], dict[str, Any]]] = {
            "apply": lambda: self._enter("projected"),
            "revert": lambda: self._enter("applied"),
            "add": self._add,
            "read": self._read,
            "drift": self._drift,
            "import": self._import,
            "backup": self._backup,
            "repair": lambda: (
                {}
                if self.workspace.repair() is None
                else {"error": "Drift: there was something to repair"}
            ),
        }
        return operations[what]()

    def _enter(self, status: str) -> dict[str, Any]:
        # Not all plans: most of the time would be spent on reading them.
        with self.workspace.store.read() as snapshot:
            statuses = snapshot.statuses(plans.ORG)
        plan = self.rng.choice(
            [item for item, known in statuses.items() if known == status] or list(statuses)
        )
        if status == "projected":
            entry = self.workspace.apply(plan, actor=System(), allow_stale=True)
        else:
            entry = self.workspace.revert(plan, actor=System())
        return {"entry": [f"{entry.seq}:{entry.hash}"]}

    def _add(self) -> dict[str, Any]:
        run = _run(self._next())
        with self.workspace.store.transaction() as tx:
            tx.add_plan(run)
        return {"plan": [str(run.plan_id)]}

    def _read(self) -> dict[str, Any]:
        names = self.workspace.routes()["name"]
        return {} if names.is_unique else {"error": "Duplicate: two live routes have one name"}

    def _drift(self) -> dict[str, Any]:
        result = self.workspace.drift().result
        return {} if result.ok else {"error": f"Drift: {result}"}

    def _import(self) -> dict[str, Any]:
        first = self._next() * ROWS
        rows = [row | {"id": str(UUID(int=first + n))} for n, row in enumerate(numbered(ROWS))]
        report = self.workspace.import_logs(
            write(self.folder / f"{first}.jsonl", rows), progress=False
        )
        return {"rows": report.added}

    def _backup(self) -> dict[str, Any]:
        target = self.folder / f"copy-{self._next()}.duckdb"
        if isinstance(self.workspace.store, DuckDBStore):
            return (
                {"error": "Drift: in a copy"} if self.workspace.backup(target).result.drift else {}
            )
        chain = copy_store(place_of(self.folder), target, public_key=KEY.public_key.hex).chain
        return {} if chain in ("verified", "empty") else {"error": f"Drift: in a copy: {chain}"}

    def _next(self) -> int:
        """A number that no other process uses."""
        self.count += 1
        return self.number * 100_000 + self.count


def run_stress(folder: Path, processes: int, operations: int, seed: int) -> StressReport:
    """Run a number of operations by several processes on one new store, and check the final state.

    This process forks, so it does not open DuckDB.
    """
    report_pipe, output_pipe = os.pipe()
    _forked(lambda: _prepare(folder), output_pipe, wait=True)
    shares = [len(range(number, operations, processes)) for number in range(processes)]
    children = [
        _forked(partial(_run_scenario, folder, number + 1, seed, share, output_pipe), output_pipe)
        for number, share in enumerate(shares)
    ]
    os.close(output_pipe)
    report = StressReport()
    with os.fdopen(report_pipe, "rb") as lines:
        for line in lines:
            message = json.loads(line)
            if "crash" in message:
                report.wrong.append(message["crash"])
            else:
                report.add(message)
    report.wrong += [f"a process ended with {code}" for code in map(_ended, children) if code != 0]
    if report.did.total() != operations:
        report.wrong.append(f"{report.did.total()} operations of {operations} ended")
    report_pipe, output_pipe = os.pipe()
    _forked(lambda: _send(output_pipe, crash=_check(folder, report)), output_pipe, wait=True)
    os.close(output_pipe)
    with os.fdopen(report_pipe, "rb") as lines:
        report.wrong += [item for line in lines for item in json.loads(line)["crash"]]
    return report


def _run(number: int) -> StoredPlan:
    names = sorted({number % 5, number % 7})
    return plans.run(
        number, tuple(plans.route(10 * number + n, name=f"r{n}") for n in names), live_seen=()
    )


def _prepare(folder: Path) -> None:
    with ttplan.open(place_of(folder), key=KEY).store.transaction() as tx:
        tx.set_org_id(plans.ORG)
        for number in range(1, PLANS + 1):
            tx.add_plan(_run(number))


def _run_scenario(folder: Path, number: int, seed: int, share: int, output_pipe: int) -> None:
    item = _StressClient(folder, number, seed)
    for what in item.rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=share):
        started = time.monotonic()
        try:
            done = item.do(what)
        except ttplan.TtplanError as error:
            done = {"error": f"{type(error).__name__}: {error}"}
        _send(output_pipe, did=what, seconds=time.monotonic() - started, **done)


def _check(folder: Path, report: StressReport) -> list[str]:
    """How the store differs from what was acknowledged."""
    with ttplan.open(place_of(folder), key=KEY).store.read() as snapshot:
        records = list(snapshot.entries(plans.ORG))
        verify_chain(records, KEY.public_key)
        drift = find_drift(snapshot, plans.ORG, KEY.public_key, own_key=False)
        stored = {str(run.plan_id) for run in snapshot.plans(plans.ORG)}
        rows = snapshot.request_count()
    anchors = [f"{record.seq}:{record.hash}" for record in records]
    expected = {str(UUID(int=number)) for number in range(1, PLANS + 1)} | set(report.plans)
    checks = {
        f"entries: {len(anchors)} found, {len(report.entries)} acknowledged": sorted(anchors)
        == sorted(report.entries),
        f"gaps: {len(anchors)} entries": [record.seq for record in records]
        == list(range(len(records))),
        f"drift: {drift}": drift.ok,
        f"plans: {len(stored)} found, {len(expected)} known": stored == expected,
        f"requests: {rows} found, {report.rows} acknowledged": rows == report.rows,
    }
    return [message for message, good in checks.items() if not good]


def _forked(work: Callable[[], None], output_pipe: int, *, wait: bool = False) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            _send(output_pipe, crash=traceback.format_exc()[-3000:])
        finally:
            os._exit(0)
    if wait:
        _ended(child)
    return child


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _send(output_pipe: int, **message: Any) -> None:
    os.write(output_pipe, json.dumps(message).encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.stress", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--operations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="use a database of a new server")
    options = parser.parse_args()
    load_everything()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ttplan-crowd-") as folder, ExitStack() as ending:
        if options.postgres:
            database = ending.enter_context(
                server(
                    Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="pg-"))),
                    "fsync=off",
                )
            )
            migrate_store(database.url())
            (Path(folder) / URL).write_text(database.url())
        report = run_stress(Path(folder), options.processes, options.operations, options.seed)
    spent = os.times()
    seconds = time.monotonic() - started
    print(
        f"{report.did.total()} operations by {options.processes} processes in {seconds:.0f} s: "
        f"{dict(report.did)}"
    )
    print(
        f"{len(report.entries)} entries without a gap, {len(report.plans)} plans and "
        f"{report.rows} requests added"
    )
    print(
        f"refused: {dict(report.refused)}; the longest took {report.longest:.1f} s; "
        f"{len(report.wrong)} violations"
    )
    print(f"CPU: {spent.user + spent.system + spent.children_user + spent.children_system:.0f} s")
    print(*report.wrong, sep="\n")
    sys.exit(bool(report.wrong))


if __name__ == "__main__":
    main()
