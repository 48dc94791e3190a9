"""A store whose creation is killed does not exist, and is created the next time."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.invariants import check_whole
from ttplan.store.duckdb.store import DuckDBStore

KILLED = """
import os, signal, sys
from pathlib import Path
from ttplan.store.duckdb import files
from ttplan.store.duckdb.store import DuckDBStore
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "before linking":
    files.os.link = die
else:
    files._migrate = die
DuckDBStore(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("step", ["before the schema", "before linking"])
def test_a_process_killed_while_creating_a_store_leaves_none(tmp_path: Path, step: str) -> None:
    path = tmp_path / "store.duckdb"
    child = subprocess.run([sys.executable, "-c", KILLED, str(path), step])
    assert child.returncode == -signal.SIGKILL
    assert not path.exists()
    assert check_whole(DuckDBStore(path)) == set()
