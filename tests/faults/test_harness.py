"""Short lives with a fault in each, a crowd on one store, and that both see what is wrong where something is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable

import pytest

from tests.faults.kinds import KINDS, Kind
from tests.faults.kinds_server import SERVER_KINDS
from tests.support.postgres import look_for_programs

SEED = 20261127
RUNS = 1000
"""`make faults RUNS=10000 SEED=7` does others."""
PARTS = 2
ON_SERVER, SERVER_SEED = 100, 20261982
"""With that seed each fault is in at least four lives."""
OPERATIONS = 500


def ran(*arguments: str, planted: str = "") -> tuple[int, str]:
    """The exit code and the output of `tests.faults.run`, with something wrong planted in ttplan before."""
    script = f"{planted}\nfrom tests.faults.run import main\nmain()"
    how = ["-c", script] if planted else ["-m", "tests.faults.run"]
    done = subprocess.run(
        [sys.executable, *how, "--jobs", "1", *arguments],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_in_a_life_nothing_acknowledged_is_lost_and_nothing_is_half(
    part: int,
) -> None:
    runs = RUNS // PARTS
    code, said = ran("--runs", str(runs), "--from", str(part * runs), "--seed", str(SEED))
    assert code == 0, said
    assert f"{runs} runs with seed {SEED}: 0 violations" in said
    assert (
        not_struck(
            [kind for kind in KINDS if not kind.small_disk or f"{kind.name}: not run" not in said],
            said,
        )
        == []
    )


@pytest.mark.slow
def test_nor_is_anything_in_a_database() -> None:
    look_for_programs()
    code, said = ran("--store", "postgres", "--runs", str(ON_SERVER), "--seed", str(SERVER_SEED))
    assert code == 0, said
    assert f"{ON_SERVER} runs with seed {SERVER_SEED}: 0 violations" in said
    assert not_struck(SERVER_KINDS, said) == []


def not_struck(kinds: Iterable[Kind], said: str) -> list[str]:
    """The faults that never came to pass."""
    return [
        kind.name
        for kind in kinds
        if not re.search(rf"^{re.escape(kind.name)} +\d+ +[1-9]", said, re.MULTILINE)
    ]


HALF = """
from ttplan.store.duckdb.snapshot import DuckDBTransaction
original = DuckDBTransaction.append_entry
def early(self, record):
    self._rows("COMMIT")
    self._rows("BEGIN")
    original(self, record)
DuckDBTransaction.append_entry = early
"""
LOST = """
import contextlib
from ttplan.apply import StoreChain
from ttplan.store.duckdb.store import DuckDBStore
original = DuckDBStore.transaction
@contextlib.contextmanager
def forgetful(self):
    with original(self) as tx:
        yield tx
        if "run" in self.path.parent.name:  # not where what is copied is made
            tx._rows("ROLLBACK")
            tx._rows("BEGIN")
DuckDBStore.transaction = forgetful
StoreChain.publish = lambda *_: None
"""
UNCLEAR = """
from ttplan.store.duckdb import locking
def unclear(*_):
    raise RuntimeError("it is not my turn")
locking._locked = unclear
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "kind", "seen"),
    [
        (HALF, "kill", "and no entry of the chain does"),
        (LOST, "clock set back", "acknowledged and lost"),
        (UNCLEAR, "lock held", "no error of ours"),
    ],
)
def test_what_is_wrong_is_seen(planted: str, kind: str, seen: str) -> None:
    code, said = ran(
        "--runs", "16", "--stages", "planned", "living", "--only", kind, planted=planted
    )
    assert code == 1, said
    assert seen in said


SOON = """
from ttplan.store.postgres.snapshot import PostgresTransaction
original = PostgresTransaction.append_entry
def early(self, record):
    self._store.connection.execute("COMMIT")
    self._store.connection.execute("BEGIN")
    original(self, record)
PostgresTransaction.append_entry = early
"""
LIE = """
from ttplan.store.postgres import commit as commits
commits._was_committed = lambda *_: False
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "kind", "seen"),
    [
        (SOON, "kill", "and no entry of the chain does"),
        (LIE, "cut in the commit", "entries more than were acknowledged"),
    ],
)
def test_what_is_wrong_is_seen_in_a_database(planted: str, kind: str, seen: str) -> None:
    look_for_programs()
    lives = ("--store", "postgres", "--runs", "16", "--stages", "planned", "living", "--only", kind)
    code, said = ran(*lives, planted=planted)
    assert code == 1, said
    assert seen in said


@pytest.mark.slow
@pytest.mark.parametrize("where", ["file", "postgres"])
def test_eight_processes_on_one_store_lose_nothing_and_none_waits_for_ever(where: str) -> None:
    if where == "postgres":
        look_for_programs()
    crowd = [sys.executable, "-m", "tests.faults.crowd", "--operations", str(OPERATIONS)]
    done = subprocess.run(
        [*crowd, *(["--postgres"] if where == "postgres" else [])],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{OPERATIONS} operations by 8 processes")
    assert "; 0 violations" in done.stdout
