"""Reverts and repairs by processes that are killed in the middle are all or nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.faults.invariants import check_followed
from tests.support import plans
from tests.support.plan_driver import PlanDriver, store_state
from ttplan.store.duckdb.store import DuckDBStore

REPAIR = """
import sys
from pathlib import Path
from tests.faults.random_operations import _die_in
from tests.support import plans
from ttplan.apply import StoreChain
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.model.audit import System
from ttplan.operations.routes.repair import repair_routes
from ttplan.store.duckdb.store import DuckDBStore
_die_in(sys.argv[2])
store = DuckDBStore(Path(sys.argv[1]))
repair_routes(StoreChain(store, key_from_hex("11" * 32)), plans.ORG, System())
"""


def prepare(path: Path, count: int) -> DuckDBStore:
    """Add projected plans that share route names, computed without live routes."""
    store = DuckDBStore(path)
    with store.transaction() as tx:
        tx.set_org_id(plans.ORG)
        for number in range(1, count + 1):
            names = {number % 5, number % 7}
            routes = tuple(plans.route(10 * number + n, name=f"r{n}") for n in sorted(names))
            tx.add_plan(plans.run(number, routes, live_seen=()))
    return store


def start_operations(path: Path, seed: int, steps: int, *die_in: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.faults.random_operations",
            str(path),
            "11" * 32,
            str(seed),
            str(steps),
            *die_in,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def acknowledged(message: str) -> set[str]:
    """The anchors of the acknowledged entries, without a line that a kill has cut off."""
    anchors = (
        line.removeprefix("done ") for line in message.splitlines() if line.startswith("done ")
    )
    return {anchor for anchor in anchors if len(anchor.partition(":")[2]) == 64}


@pytest.mark.parametrize("method", ["mark_reverted", "append_entry"])
def test_a_process_killed_in_a_revert_leaves_the_plan_applied(tmp_path: Path, method: str) -> None:
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, plans.route(1), plans.route(2))
    before = store_state(driver.store)
    child = start_operations(path, 3, 50, method)
    out, err = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, err
    assert acknowledged(out) == set()
    assert store_state(driver.store) == before
    assert check_followed(driver.store) == {1: "applied"}
    driver.revert(1)
    assert check_followed(driver.store) == {1: "reverted"}


@pytest.mark.parametrize("method", ["set_live_routes", "append_entry"])
def test_a_process_killed_in_a_repair_leaves_the_drift(tmp_path: Path, method: str) -> None:
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, plans.route(1), plans.route(2))
    good = store_state(driver.store)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE routes SET priority = 77")
    before = store_state(driver.store)
    child = subprocess.run(
        [sys.executable, "-c", REPAIR, str(path), method], capture_output=True, text=True
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert store_state(driver.store) == before
    with driver.store.transaction() as tx:
        tx.set_live_routes(plans.ORG, good.live)
    assert check_followed(driver.store) == {1: "applied"}
