"""A PostgreSQL server for tests, of the machine's own programs: made in a folder, and gone with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REQUIRED = "TTPLAN_REQUIRE_POSTGRES"


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Its URL, over a socket in the folder. Skips where there is no PostgreSQL, unless it is required."""
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no initdb and pg_ctl")
        pytest.skip("no PostgreSQL here: initdb and pg_ctl are not on the path")
    data = folder / "data"
    # PostgreSQL refuses to run as root.
    root = os.geteuid() == 0
    if root:
        shutil.chown(folder, "nobody")
        for parent in folder.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o011) if os.access(parent, os.W_OK) else None
    user = ["setpriv", "--reuid=nobody", "--clear-groups"] if root else []
    environment = os.environ | {"HOME": str(folder)}

    def run(*command: str) -> None:
        done = subprocess.run([*user, *command], capture_output=True, text=True, env=environment, cwd=folder)
        assert done.returncode == 0, done.stderr + done.stdout

    run("initdb", "-D", str(data), "-U", "tester", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    run("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql://tester:secret@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
