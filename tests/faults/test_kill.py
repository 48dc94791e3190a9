"""Killed at random moments, a store is always whole, and what was acknowledged is there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import plans
from tests.faults.invariants import check_whole
from ttplan.store.duckdb import DuckDBStore

PLANS = 200
DYING = """
import os, signal, sys
from pathlib import Path
from ttplan.store import duckdb_file
from ttplan.store.duckdb import DuckDBStore
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "before linking":
    duckdb_file.os.link = die
else:
    duckdb_file._migrate = die
DuckDBStore(Path(sys.argv[1]))
"""
SEED = 20261125


@pytest.mark.parametrize("moment", ["before the schema", "before linking"])
def test_a_process_killed_while_it_makes_a_store_leaves_none(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "store.duckdb"
    child = subprocess.run([sys.executable, "-c", DYING, str(path), moment])
    assert child.returncode == -signal.SIGKILL
    assert not path.exists()
    assert check_whole(DuckDBStore(path)) == set()


@pytest.mark.slow
def test_killing_the_process_at_random_moments_of_200_applies_leaves_a_whole_store(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path)
    with store.transaction() as tx:
        for number in range(1, PLANS + 1):
            tx.add_plan(plans.run(number, (plans.route(2 * number), plans.route(2 * number + 1))))
    chance = random.Random(SEED)
    acknowledged: set[int] = set()
    kills = 0
    while len(acknowledged) < PLANS:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.apply_all", str(path), "11" * 32], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.9))
        child.kill()
        said = child.stdout.read()
        kills += child.wait() < 0
        child.stdout.close()
        acknowledged |= {int(line.split()[1]) for line in said.splitlines() if line.startswith("applied ") and line[-1].isdigit()}
        applied = check_whole(store)
        assert acknowledged <= applied
        # One that landed without being acknowledged, since the child died between, is landed.
        acknowledged = applied
    assert kills >= 5
