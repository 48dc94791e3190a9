"""Fault scenarios and a stress test; both report planted bugs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable

import pytest

from tests.faults.faults import FILE_FAULTS, Fault
from tests.faults.server_faults import SERVER_FAULTS
from tests.support.postgres import look_for_programs
from tests.support.scale import SCALE

SEED = 20261127
"""`make faults RUNS=10000 SEED=7` runs other scenarios."""
FAST, PART = 50, 150 * SCALE
"""Scenarios of the fast run, and of each of the two parts of the full run."""
SERVER_SEED = 20261982
"""With this seed, 100 scenarios have each fault at least four times."""


def run_scenarios(*arguments: str, planted: str = "") -> tuple[int, str]:
    """The exit code and output of `tests.faults.run`; `planted` code adds a bug to ttplan."""
    script = f"{planted}\nfrom tests.faults.run import main\nmain()"
    command = ["-c", script] if planted else ["-m", "tests.faults.run"]
    done = subprocess.run(
        [sys.executable, *command, "--jobs", "1", *arguments],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("first", "count"),
    [
        (0, FAST),
        pytest.param(0, PART, marks=pytest.mark.fault),
        pytest.param(PART, PART, marks=pytest.mark.fault),
    ],
)
def test_no_fault_loses_or_splits_acknowledged_work(first: int, count: int) -> None:
    code, output = run_scenarios("--runs", str(count), "--from", str(first), "--seed", str(SEED))
    assert code == 0, output
    assert f"{count} runs with seed {SEED}: 0 violations" in output
    if count == PART:
        possible = [
            fault
            for fault in FILE_FAULTS
            if not fault.small_disk or f"{fault.name}: not run" not in output
        ]
        assert never_injected(possible, output) == []


@pytest.mark.fault
@pytest.mark.postgres
def test_no_fault_loses_or_splits_work_in_a_database() -> None:
    look_for_programs()
    count = 100
    code, output = run_scenarios(
        "--store", "postgres", "--runs", str(count), "--seed", str(SERVER_SEED)
    )
    assert code == 0, output
    assert f"{count} runs with seed {SERVER_SEED}: 0 violations" in output
    assert never_injected(SERVER_FAULTS, output) == []


def never_injected(faults: Iterable[Fault], output: str) -> list[str]:
    """The faults that were never injected."""
    return [
        fault.name
        for fault in faults
        if not re.search(rf"^{re.escape(fault.name)} +\d+ +[1-9]", output, re.MULTILINE)
    ]


COMMITS_EARLY = """
from ttplan.store.duckdb.snapshot import DuckDBTransaction
original = DuckDBTransaction.append_entry
def early(self, record):
    self._rows("COMMIT")
    self._rows("BEGIN")
    original(self, record)
DuckDBTransaction.append_entry = early
"""
LOSES_WRITES = """
import contextlib
from ttplan.apply import StoreChain
from ttplan.store.duckdb.store import DuckDBStore
original = DuckDBStore.transaction
@contextlib.contextmanager
def forgetful(self):
    with original(self) as tx:
        yield tx
        if "run" in self.path.parent.name:  # not while the templates are created
            tx._rows("ROLLBACK")
            tx._rows("BEGIN")
DuckDBStore.transaction = forgetful
StoreChain.publish = lambda *_: None
"""
RAISES_UNKNOWN_ERROR = """
from ttplan.store.duckdb import locking
def unclear(*_):
    raise RuntimeError("it is not my turn")
locking._locked = unclear
"""


@pytest.mark.fault
@pytest.mark.parametrize(
    ("planted", "fault", "report"),
    [
        (COMMITS_EARLY, "kill", "and no entry of the chain does"),
        (LOSES_WRITES, "clock set back", "acknowledged and lost"),
        (RAISES_UNKNOWN_ERROR, "lock held", "not a ttplan error"),
    ],
)
def test_a_planted_bug_is_reported(planted: str, fault: str, report: str) -> None:
    code, output = run_scenarios(
        "--runs", "24", "--stages", "planned", "living", "--only", fault, planted=planted
    )
    assert code == 1, output
    assert report in output


SERVER_COMMITS_EARLY = """
from ttplan.store.postgres.snapshot import PostgresTransaction
original = PostgresTransaction.append_entry
def early(self, record):
    self._store.connection.execute("COMMIT")
    self._store.connection.execute("BEGIN")
    original(self, record)
PostgresTransaction.append_entry = early
"""
DENIES_COMMITS = """
from ttplan.store.postgres import commit
commit._was_committed = lambda *_: False
"""


@pytest.mark.fault
@pytest.mark.postgres
@pytest.mark.parametrize(
    ("planted", "fault", "report"),
    [
        (SERVER_COMMITS_EARLY, "kill", "and no entry of the chain does"),
        (DENIES_COMMITS, "cut in the commit", "entries more than were acknowledged"),
    ],
)
def test_a_planted_bug_in_a_database_is_reported(planted: str, fault: str, report: str) -> None:
    look_for_programs()
    options = ("--store", "postgres", "--runs", "16", "--stages", "planned", "living")
    code, output = run_scenarios(*options, "--only", fault, planted=planted)
    assert code == 1, output
    assert report in output


@pytest.mark.parametrize(
    ("arguments", "operations"),
    [
        pytest.param((), 200 * SCALE, marks=pytest.mark.fault),
        pytest.param(("--postgres",), 200 * SCALE, marks=[pytest.mark.fault, pytest.mark.postgres]),
    ],
)
def test_eight_processes_share_a_store(arguments: tuple[str, ...], operations: int) -> None:
    if arguments:
        look_for_programs()
    command = [sys.executable, "-m", "tests.faults.stress", "--operations", str(operations)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{operations} operations by 8 processes")
    assert "; 0 violations" in done.stdout
