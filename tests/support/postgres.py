"""PostgreSQL servers for tests, from the installed programs, each in its own folder."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest

REQUIRED = "TTPLAN_REQUIRE_POSTGRES"
TEMPLATE = "ttplan_template"
_KEPT = 3
"""How many databases of earlier tests are kept: a test may use two."""


class Server:
    """A server on a socket in a folder. For root it runs as `nobody`: PostgreSQL refuses root."""

    def __init__(self, folder: Path, *settings: str, of: Server | None = None) -> None:
        """Create and start it, with `settings` such as "fsync=off"; with `of`, as its standby.

        Skips the test if PostgreSQL is not installed, unless it is required.
        """
        look_for_programs()
        self.folder = folder
        self._settings = settings
        self._root = os.geteuid() == 0
        if self._root:
            shutil.chown(folder, "nobody")
            for parent in folder.parents[:3]:
                parent.chmod(parent.stat().st_mode | 0o011) if os.access(parent, os.W_OK) else None
        if of is not None:
            self._run(
                "pg_basebackup",
                "-D",
                str(self.data),
                "-h",
                str(of.folder),
                "-U",
                "tester",
                "-R",
                "-c",
                "fast",
                "--no-sync",
            )
        else:
            self._make()
        self.start()

    def _make(self) -> None:
        self._run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            "tester",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(
        self, database: str = "postgres", *, user: str = "tester", folder: Path | None = None
    ) -> str:
        """The URL of a database, with an unused password; `folder` names another socket."""
        return f"postgresql://{user}:secret@/{database}?host={folder or self.folder}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        options = " ".join(
            [
                f"-k {self.folder}",
                "-c listen_addresses=",
                *(f"-c {setting}" for setting in self._settings),
            ]
        )
        self._run(
            "pg_ctl",
            "-D",
            str(self.data),
            "-o",
            options,
            "-l",
            str(self.folder / "log"),
            "-w",
            "start",
        )

    def stop(self) -> None:
        """Stop it immediately, without a checkpoint."""
        self._run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")

    def kill(self) -> None:
        """End all its processes at once with SIGKILL, as a power cut would."""
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(first, signal.SIGSTOP)  # it starts no more
        processes = [
            first,
            *(process for process in _running() if _status(process)[1:2] == [str(first)]),
        ]
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while not all(map(_is_dead, processes)):
            time.sleep(0.01)
        # Zombies keep their process ids, and the next server would not start.
        for left in (self.data / "postmaster.pid", self.folder / ".s.PGSQL.5432.lock"):
            left.unlink()

    def _run(self, *command: str) -> None:
        user = ["setpriv", "--reuid=nobody", "--clear-groups"] if self._root else []
        environment = os.environ | {"HOME": str(self.folder)}
        done = subprocess.run(
            [*user, *command], capture_output=True, text=True, env=environment, cwd=self.folder
        )
        log = self.folder / "log"
        assert done.returncode == 0, (
            done.stderr + done.stdout + (log.read_text()[-2000:] if log.exists() else "")
        )


def _running() -> list[int]:
    return [int(process.name) for process in Path("/proc").iterdir() if process.name.isdigit()]


def _status(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty if there is no such process."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return []


def _is_dead(process: int) -> bool:
    return _status(process)[:1] in ([], ["Z"])


def has_programs() -> bool:
    """Whether PostgreSQL is installed: on the path, or where Debian installs it, which is then
    added to the path."""
    if shutil.which("initdb") is None:
        kept = sorted(
            Path("/usr/lib/postgresql").glob("*/bin/initdb"),
            key=lambda program: float(program.parts[-3]),
        )
        os.environ["PATH"] = os.pathsep.join(
            [*(str(program.parent) for program in kept[-1:]), os.environ.get("PATH", "")]
        )
    return shutil.which("initdb") is not None and shutil.which("pg_ctl") is not None


def look_for_programs() -> None:
    """Skip the test if PostgreSQL is not installed; fail if it is required."""
    if not has_programs():
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, but initdb and pg_ctl are not installed")
        pytest.skip(
            "PostgreSQL is not installed: initdb and pg_ctl are not on the path or in "
            "/usr/lib/postgresql"
        )


@contextmanager
def server(folder: Path, *settings: str) -> Iterator[Server]:
    """A server for the block."""
    made = Server(folder, *settings)
    try:
        yield made
    finally:
        made.stop()


@cache
def shared_server() -> Server:
    """The server that tests of this process share. It has a template database with a store."""
    from ttplan.store.postgres.migrate import migrate

    look_for_programs()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    made = Server(folder, "fsync=off", "max_connections=60")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(made.stop)
    _execute(made.url(), f"CREATE DATABASE {TEMPLATE}")
    migrate(made.url(TEMPLATE), roles=True)
    return made


_MADE: dict[Path, str] = {}
_EMPTIED = "; ".join(
    f"DELETE FROM ttplan.{table}"
    for table in (
        "settings",
        "requests",
        "plan_runs",
        "routes",
        "audit_entries",
        "reconciliations",
        "commits",
        "members",
    )
)


def database(folder: Path) -> str:
    """The URL of a database with an empty store: always the same one for a folder."""
    made = shared_server()
    if folder not in _MADE:
        if len(_MADE) < _KEPT:
            name = f"store_{len(_MADE)}"
            _execute(made.url(), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        else:  # emptying one takes a hundredth of the time of creating one
            name = _MADE.pop(next(iter(_MADE)))
            _execute(made.url(name), f"SET session_replication_role = replica; {_EMPTIED}")
        _MADE[folder] = name
    return made.url(_MADE[folder])


def _execute(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
