"""Many processes on one store at once: mixed operations of each, what they were told, and what is there in the end.

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
"""Which operations, and how often."""


@dataclass
class StressReport:
    """What the processes said: acknowledged entries, plans and rows, what was refused, and how long the longest took."""

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
    """One of the processes: its number, its own workspace, and what its choices come from."""

    def __init__(self, folder: Path, number: int, seed: int) -> None:
        self.folder = folder
        self.number = number
        self.rng = Random(f"{seed}/{number}")
        self.made = 0
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
        with (
            self.workspace.store.read() as snapshot
        ):  # not plan_runs: most of the time would go into reading them
            found_rows = snapshot.statuses(plans.ORG)
        plan = self.rng.choice(
            [item for item, known in found_rows.items() if known == status] or list(found_rows)
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
        return {} if names.is_unique else {"error": "Half: two live routes have one name"}

    def _drift(self) -> dict[str, Any]:
        found_rows = self.workspace.drift().result
        return {} if found_rows.ok else {"error": f"Drift: {found_rows}"}

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
        """A number that nobody else has."""
        self.made += 1
        return self.number * 100_000 + self.made


def run_stress(folder: Path, processes: int, operations: int, seed: int) -> StressReport:
    """Let processes do operations, so many in all, on one new store, and check what is there in the end.

    DuckDB is not opened in this process, which forks.
    """
    hearing, output_pipe = os.pipe()
    _forked(lambda: _prepare(folder), output_pipe, wait=True)
    shares = [len(range(number, operations, processes)) for number in range(processes)]
    children = [
        _forked(partial(_run_scenario, folder, number + 1, seed, share, output_pipe), output_pipe)
        for number, share in enumerate(shares)
    ]
    os.close(output_pipe)
    output = StressReport()
    with os.fdopen(hearing, "rb") as lines:
        for line in lines:
            message = json.loads(line)
            if "crash" in message:
                output.wrong.append(message["crash"])
            else:
                output.add(message)
    output.wrong += [f"a process ended with {code}" for code in map(_ended, children) if code != 0]
    if output.did.total() != operations:
        output.wrong.append(f"{output.did.total()} operations of {operations} came to an end")
    hearing, output_pipe = os.pipe()
    _forked(lambda: _say(output_pipe, crash=_check(folder, output)), output_pipe, wait=True)
    os.close(output_pipe)
    with os.fdopen(hearing, "rb") as lines:
        output.wrong += [item for line in lines for item in json.loads(line)["crash"]]
    return output


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
        _say(output_pipe, did=what, seconds=time.monotonic() - started, **done)


def _check(folder: Path, output: StressReport) -> list[str]:
    """What of the store is not what was acknowledged."""
    with ttplan.open(place_of(folder), key=KEY).store.read() as snapshot:
        records = list(snapshot.entries(plans.ORG))
        verify_chain(records, KEY.public_key)
        drift = find_drift(snapshot, plans.ORG, KEY.public_key, own_key=False)
        stored = {str(run.plan_id) for run in snapshot.plans(plans.ORG)}
        rows = snapshot.request_count()
    found_rows = [f"{record.seq}:{record.hash}" for record in records]
    expected = {str(UUID(int=number)) for number in range(1, PLANS + 1)} | set(output.plans)
    checks = {
        f"entries: {len(found_rows)} found, {len(output.entries)} acknowledged": sorted(found_rows)
        == sorted(output.entries),
        f"gaps: {len(found_rows)} entries": [record.seq for record in records]
        == list(range(len(records))),
        f"drift: {drift}": drift.ok,
        f"plans: {len(stored)} found, {len(expected)} known": stored == expected,
        f"requests: {rows} found, {output.rows} acknowledged": rows == output.rows,
    }
    return [message for message, good in checks.items() if not good]


def _forked(work: Callable[[], None], output_pipe: int, *, wait: bool = False) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            _say(output_pipe, crash=traceback.format_exc()[-3000:])
        finally:
            os._exit(0)
    if wait:
        _ended(child)
    return child


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _say(output_pipe: int, **message: Any) -> None:
    os.write(output_pipe, json.dumps(message).encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.stress", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--operations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--postgres", action="store_true", help="on a database, of a server that is started for it"
    )
    options = parser.parse_args()
    load_everything()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ttplan-crowd-") as folder, ExitStack() as ending:
        if options.postgres:
            made = ending.enter_context(
                server(
                    Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="pg-"))),
                    "fsync=off",
                )
            )
            migrate_store(made.url())
            (Path(folder) / URL).write_text(made.url())
        output = run_stress(Path(folder), options.processes, options.operations, options.seed)
    spent = os.times()
    seconds = time.monotonic() - started
    print(
        f"{output.did.total()} operations by {options.processes} processes in {seconds:.0f} s: {dict(output.did)}"
    )
    print(
        f"{len(output.entries)} entries without a gap, {len(output.plans)} plans and {output.rows} requests added"
    )
    print(
        f"refused: {dict(output.refused)}; the longest took {output.longest:.1f} s; {len(output.wrong)} violations"
    )
    print(f"CPU: {spent.user + spent.system + spent.children_user + spent.children_system:.0f} s")
    print(*output.wrong, sep="\n")
    sys.exit(bool(output.wrong))


if __name__ == "__main__":
    main()
