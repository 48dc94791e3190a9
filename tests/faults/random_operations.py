"""A child process that applies, reverts and repairs at random, and prints each acknowledged entry.

python -m tests.faults.random_operations STORE KEY_SEED_HEX SEED STEPS [DIE_IN]

With DIE_IN, the name of a method of the transaction, it kills itself after the first call of it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from tests.support import plans
from ttplan.apply import StoreChain, apply_plan, revert_plan
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.model.audit import AuditEntry, System
from ttplan.model.errors import InvalidState, StalePlan, SupersededPlan
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.routes.repair import repair_routes
from ttplan.store.duckdb.snapshot import DuckDBTransaction
from ttplan.store.duckdb.store import DuckDBStore

REFUSALS = (InvalidState, StalePlan, SupersededPlan)
"""Errors that a process may get because another one was first."""


def main() -> None:
    store = DuckDBStore(Path(sys.argv[1]), create=False)
    chain = StoreChain(store, key_from_hex(sys.argv[2]))
    rng = random.Random(int(sys.argv[3]))
    if len(sys.argv) > 5:
        _die_in(sys.argv[5])
    print("ready", flush=True)
    for _ in range(int(sys.argv[4])):
        with store.read() as snapshot:
            runs = snapshot.plans(plans.ORG)
        try:
            entry = _step(store, chain, rng, runs)
        except REFUSALS as error:
            print(f"refused {type(error).__name__}", flush=True)
            continue
        if entry is not None:
            print(f"done {entry.seq}:{entry.hash}", flush=True)


def _step(
    store: DuckDBStore, chain: StoreChain, rng: random.Random, runs: list[StoredPlan]
) -> AuditEntry | None:
    """Run one operation; None if there was nothing to do."""
    if rng.random() < 0.1:
        return repair_routes(chain, plans.ORG, System())
    run = rng.choice([run for run in runs if run.status in ("projected", "applied")] or runs)
    if run.status == "applied":
        return revert_plan(store, chain, run.plan_id, System())
    return apply_plan(store, chain, run.result, System(), allow_stale=rng.random() < 0.8)


def _die_in(name: str) -> None:
    original = getattr(DuckDBTransaction, name)

    def dying(*arguments: Any) -> None:
        original(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(DuckDBTransaction, name, dying)


if __name__ == "__main__":
    main()
