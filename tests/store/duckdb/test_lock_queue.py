"""The queue for the lock: first come, first served; dead and stopped processes do not block it;
no files remain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ttplan.model.errors import StoreLocked
from ttplan.store.duckdb import lock_queue
from ttplan.store.duckdb.lock_queue import LockQueue
from ttplan.store.duckdb.store import DuckDBStore

WAITING = """
import sys
from pathlib import Path
from ttplan.store.duckdb.lock_queue import LockQueue
queue = LockQueue(Path(sys.argv[1]))
queue.enter()
print("waiting", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that only this test uses."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "s.duckdb"
    DuckDBStore(made)
    return made


def left(places: Path) -> list[str]:
    return [
        name
        for _, folders, files in os.walk(places)
        for name in [*folders, *files]
        if not name.startswith("ttplan-")
    ]


def test_the_first_in_the_queue_is_next(path: Path, places: Path) -> None:
    first, second, passing = LockQueue(path), LockQueue(path), LockQueue(path)
    assert passing.is_turn()
    first.enter()
    second.enter()
    assert [first.is_turn(), second.is_turn(), passing.is_turn()] == [True, False, False]
    first.enter()  # where it is already
    first.leave()
    assert [second.is_turn(), passing.is_turn()] == [True, False]
    first.enter()  # and comes last now
    assert not first.is_turn()
    second.leave()
    first.leave()
    assert passing.is_turn()
    assert left(places) == []


def test_another_file_has_another_queue(path: Path, tmp_path: Path) -> None:
    DuckDBStore(tmp_path / "other.duckdb")
    waiting = LockQueue(path)
    waiting.enter()
    assert LockQueue(tmp_path / "other.duckdb").is_turn()
    (tmp_path / "link.duckdb").symlink_to(path)
    assert not LockQueue(tmp_path / "link.duckdb").is_turn()
    waiting.leave()


def test_a_killed_process_does_not_block_the_queue(path: Path, places: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(places)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"waiting\n"
    assert not LockQueue(path).is_turn()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    waiting = LockQueue(path)
    assert waiting.is_turn()
    waiting.enter()
    waiting.leave()
    assert left(places) == []


def test_a_stopped_process_does_not_block_the_queue_for_long(path: Path, places: Path) -> None:
    stopped = LockQueue(path)
    stopped.enter()
    (place,) = [path for path in places.rglob("*-*-*") if path.is_file()]
    long_ago = time.time() - 2 * lock_queue.STALE_AFTER
    os.utime(place, (long_ago, long_ago))
    assert LockQueue(path).is_turn()
    assert stopped.is_turn()  # looks again
    assert not LockQueue(path).is_turn()
    stopped.leave()


def test_an_operation_that_does_not_wait_leaves_no_folder(path: Path, places: Path) -> None:
    assert LockQueue(path).is_turn()
    with DuckDBStore(path).read():
        pass
    assert list(places.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, None])
def test_without_a_queue_each_process_retries(path: Path, places: Path, mode: int | None) -> None:
    own = places / f"ttplan-{os.geteuid()}"
    if mode is None:
        own.symlink_to(places)
    else:
        own.mkdir()
        own.chmod(mode)
    first, second = LockQueue(path), LockQueue(path)
    first.enter()
    assert second.is_turn()
    first.leave()
    assert left(places) == []


def test_a_wait_respects_the_queue_and_the_timeout(path: Path, places: Path) -> None:
    waiting = LockQueue(path)
    waiting.enter()
    # After the timeout it tries all the same, and the file is free.
    with DuckDBStore(path, lock_timeout=0.3).read() as snapshot:
        assert snapshot.org_id() is None
    with DuckDBStore(path, lock_timeout=0).read():
        pass
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print(1, flush=True); "
            "sys.stdin.read()",
            path,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(StoreLocked, match=f"in use by process {holder.pid}"):
        DuckDBStore(path, lock_timeout=0.1)
    holder.communicate()
    waiting.leave()
    assert left(places) == []
