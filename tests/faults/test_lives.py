"""Apply, revert and repair by processes that are killed and that compete: what was acknowledged is there, and nothing is half."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from tests import plans
from tests.faults.invariants import check_followed
from tests.lives import Life, state
from ttplan.store.duckdb import DuckDBStore

SEED = 20261127


def prepare(path: Path, count: int) -> DuckDBStore:
    """Projected plans whose routes have names in common, computed when nothing was live."""
    store = DuckDBStore(path)
    with store.transaction() as tx:
        tx.set_org_id(plans.ORG)
        for number in range(1, count + 1):
            names = {number % 5, number % 7}
            routes = tuple(plans.route(10 * number + n, name=f"r{n}") for n in sorted(names))
            tx.add_plan(plans.run(number, routes, live_seen=()))
    return store


def living(path: Path, seed: int, steps: int, *die_in: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.live_a_life", str(path), "11" * 32, str(seed), str(steps), *die_in],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def acknowledged(said: str) -> set[str]:
    """The anchors of the entries that were acknowledged; a line that was cut off by a kill is none."""
    anchors = (line.removeprefix("done ") for line in said.splitlines() if line.startswith("done "))
    return {anchor for anchor in anchors if len(anchor.partition(":")[2]) == 64}


@pytest.mark.parametrize("moment", ["mark_reverted", "append_entry"])
def test_a_process_killed_in_a_revert_leaves_the_plan_applied(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "s.duckdb"
    life = Life(DuckDBStore(path))
    life.live(1, plans.route(1), plans.route(2))
    before = state(life.store)
    child = living(path, 3, 50, moment)
    out, err = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, err
    assert acknowledged(out) == set()
    assert state(life.store) == before
    assert check_followed(life.store) == {1: "applied"}
    life.revert(1)
    assert check_followed(life.store) == {1: "reverted"}


@pytest.mark.parametrize("moment", ["set_live_routes", "append_entry"])
def test_a_process_killed_in_a_repair_leaves_the_drift(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "s.duckdb"
    life = Life(DuckDBStore(path))
    life.live(1, plans.route(1), plans.route(2))
    good = state(life.store)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE routes SET priority = 77")
    before = state(life.store)
    script = (
        "import sys; from pathlib import Path; from tests import plans; from tests.faults.live_a_life import _die_in; "
        "from ttplan.apply import StoreChain; from ttplan.audit.keys import key_from_hex; from ttplan.model.audit import System; "
        "from ttplan.operations.repair import repair_routes; from ttplan.store.duckdb import DuckDBStore; "
        "_die_in(sys.argv[2]); store = DuckDBStore(Path(sys.argv[1])); "
        "repair_routes(StoreChain(store, key_from_hex('11' * 32)), plans.ORG, System())"
    )
    child = subprocess.run([sys.executable, "-c", script, str(path), moment], capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert state(life.store) == before
    with life.store.transaction() as tx:
        tx.set_live_routes(plans.ORG, good.live)
    assert check_followed(life.store) == {1: "applied"}


@pytest.mark.slow
def test_killing_at_random_moments_of_a_life_leaves_a_whole_store(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    store = prepare(path, 12)
    chance = random.Random(SEED)
    known: set[str] = set()
    statuses: dict[int, str] = {}
    for turn in range(12):
        child = living(path, SEED + turn, 10**6)
        assert child.stdout is not None
        # By what it has done, not by the clock: a slow machine gets as far. Then somewhere in what it does next.
        said = "".join(child.stdout.readline() for _ in range(chance.randint(1, 6)))
        time.sleep(chance.uniform(0, 0.1))
        child.kill()
        rest, err = child.communicate()
        assert child.returncode == -signal.SIGKILL, err
        known |= acknowledged(said + rest)
        statuses = check_followed(store)
        assert known <= {f"{record.seq}:{record.hash}" for record in state(store).entries}
    assert len(known) >= 12
    assert {"applied", "reverted"} <= set(statuses.values())


@pytest.mark.slow
def test_processes_that_apply_revert_and_repair_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    store = prepare(path, 40)
    children = [living(path, SEED + n, 15) for n in range(4)]
    told: list[str] = []
    for child in children:
        out, err = child.communicate(timeout=300)
        assert child.returncode == 0, err
        told += sorted(acknowledged(out))
    assert len(told) == len(set(told))
    assert set(told) == {f"{record.seq}:{record.hash}" for record in state(store).entries}
    statuses = check_followed(store)
    assert len(told) >= 20
    assert "reverted" in statuses.values()
    assert len(state(store).entries) == sum({"applied": 1, "reverted": 2}.get(status, 0) for status in statuses.values())
