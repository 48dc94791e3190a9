"""Processes that want the same thing at once: one gets it, the others get an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.invariants import check_whole
from tests.support import plans
from ttplan.store.duckdb.store import DuckDBStore

CREATOR = """
import sys
from pathlib import Path
from ttplan.store.duckdb.store import DuckDBStore
print("ready", flush=True)
sys.stdin.readline()
DuckDBStore(Path(sys.argv[1]))
"""


def prepare(path: Path, count: int) -> DuckDBStore:
    store = DuckDBStore(path)
    with store.transaction() as tx:
        for number in range(1, count + 1):
            tx.add_plan(plans.run(number, (plans.route(number),)))
    return store


def writer(path: Path, numbers: range) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.apply_all", str(path), "11" * 32, *map(str, numbers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(child: subprocess.Popen[str]) -> list[str]:
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    return out.splitlines()[1:]


@pytest.mark.slow
def test_of_two_processes_applying_a_plan_one_succeeds(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.duckdb"
    store = prepare(path, 15)
    children = [writer(path, range(1, 16)) for _ in range(2)]
    message = sorted(line for child in children for line in ended(child))
    assert message == sorted(
        [f"applied {n}" for n in range(1, 16)] + [f"refused {n} applied" for n in range(1, 16)]
    )
    assert check_whole(store) == set(range(1, 16))


@pytest.mark.slow
def test_processes_that_create_a_store_at_once_share_it(tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CREATOR, str(tmp_path / "store.duckdb")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["store.duckdb"]
    assert check_whole(DuckDBStore(tmp_path / "store.duckdb", create=False)) == set()
