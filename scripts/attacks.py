"""Run the attacks of docs/threat-model.md, and show what detects each: `make attacks`.

Attacks on a store or its files run against a sample store, and the commands that a user has must
detect them. For every other row of the tables the test that the row names runs. The script fails
if an attack is not detected, or if a row has neither.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import blake3
import duckdb
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.audit.chains import KEY, OTHER_KEY
from tests.support import plans
from tests.support.plan_driver import AT, ORG, PlanDriver
from ttplan.audit.keys.key_files import save_key
from ttplan.audit.proofs.anchors import ANCHOR_FILE_VARIABLE
from ttplan.cli.entrypoint import run
from ttplan.model.audit import System
from ttplan.store.chain import StoreChain
from ttplan.store.duckdb.store import DuckDBStore

ROOT = Path(__file__).parent.parent
PUBLIC, OTHER = KEY.public_key.hex, "00000000-0000-0000-0000-0000000000ee"
VERIFY = ("verify", "s.duckdb", "--key-hex", PUBLIC)
ESCAPE = "x\x1b[2J\u202e"
LOG = ROOT / "tests" / "logs" / "fixtures" / "litellm_spend_logs.csv"


class Detection(NamedTuple):
    """A command that must detect an attack: its exit code, and a text that it prints."""

    command: tuple[str, ...]
    code: int
    text: str


class Attack(NamedTuple):
    """What is done to a copy of the sample, in its folder, and what detects it.

    `row` is how its row in the threat model begins.
    """

    row: str
    do: Callable[[], object]
    detections: tuple[Detection, ...]


def sql(*statements: str) -> Callable[[], None]:
    """Return what runs statements on the store, past ttplan."""

    def edit() -> None:
        with duckdb.connect("s.duckdb") as connection:
            for statement in statements:
                connection.execute(statement)

    return edit


def change_and_rehash() -> None:
    """Change an entry, and give it the hash of its new content."""
    with duckdb.connect("s.duckdb") as connection:
        body, prev_hash = connection.execute(
            "SELECT replace(body, '1234', '9999'), prev_hash FROM audit_entries WHERE seq = 1"
        ).fetchall()[0]
        digest = blake3.blake3(bytes.fromhex(prev_hash) + body.encode()).hexdigest()
        values = [body, digest]
        connection.execute("UPDATE audit_entries SET body = ?, hash = ? WHERE seq = 1", values)


def rewrite_history() -> None:
    """Write other entries with the same key, and keep an export of both histories."""
    run(["export-chain", "first.jsonl", "--store", "s.duckdb"])
    Path("s.duckdb").unlink()
    make_store(Path("s.duckdb"), priority=9)
    run(["export-chain", "second.jsonl", "--store", "s.duckdb"])


def backdate() -> None:
    """Append an entry that is dated before all others."""
    chain = StoreChain(DuckDBStore(Path("s.duckdb")), KEY, clock=lambda: AT - timedelta(days=9))
    chain.emit(ORG, System(), "note.added", {})


def disclose(*, forge: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
    """Return what discloses a plan's routes, and changes the file."""

    def attack() -> None:
        save_key(OTHER_KEY, "log.pem")
        log = ("--origin", "example.com/log", "--log-key", "log.pem")
        run(["tlog", "checkpoint", "--store", "s.duckdb", *log, "--output", "cp"])
        run(["disclose", "plan 1", "--store", "s.duckdb", "--checkpoint", "cp", "--output", "d"])
        fields = json.loads(Path("d").read_text())
        forge(fields)
        Path("d").write_text(json.dumps(fields))
        with redirect_stdout(io.StringIO()) as vkey:
            run(["tlog", "vkey", *log])
        Path("vkey").write_text(vkey.getvalue().strip().splitlines()[-1])

    return attack


def prove(**changes: object) -> Callable[[], None]:
    """Return what proves an entry, and changes the proof."""

    def attack() -> None:
        run(["export-chain", "c.jsonl", "--store", "s.duckdb"])
        run(["prove", "1", "--store", "s.duckdb", "--output", "p.json"])
        fields = json.loads(Path("p.json").read_text())
        Path("p.json").write_text(json.dumps(fields | changes))

    return attack


def make_hostile_log() -> None:
    """Make a DuckDB log with a view that reads a file beside it."""
    Path("secret.txt").write_text("a secret")
    with duckdb.connect("log.duckdb") as connection:
        connection.execute("CREATE TABLE logged AS SELECT * FROM read_csv(?)", [str(LOG)])
        connection.execute(
            'CREATE VIEW "LiteLLM_SpendLogs" AS SELECT * REPLACE ((SELECT content FROM'
            " read_text('secret.txt')) AS request_tags) FROM logged"
        )


def replace_module() -> None:
    """Put a module that approves anything beside the exported verifier."""
    run(["export-chain", "c.jsonl", "--store", "s.duckdb", "--with-verifier"])
    Path("blake3.py").write_text("print('VERIFIED'); raise SystemExit(0)")


def roll_back() -> None:
    """Put an earlier copy in the store's place."""
    shutil.copy("earlier.duckdb", "s.duckdb")


PROOF = ("verify-proof", "p.json", "--chain", "c.jsonl", "--key-hex", PUBLIC)
ANCHORS = ("--anchors", "anchors")
DRIFT = ("drift", "--store", "s.duckdb", "--key-hex", PUBLIC)
HEALTH = ("health", "--store", "s.duckdb", "--key-hex", PUBLIC)
DISCLOSURE = ("verify-disclosure", "d", "--checkpoint", "cp", "--log", "@vkey", "--key-hex")
ATTACKS = (
    Attack(
        "change an entry: event",
        sql("UPDATE audit_entries SET body = replace(body, '1234', '9999') WHERE seq = 1"),
        (Detection(VERIFY, 1, "HashMismatch"), Detection(HEALTH, 1, "broken")),
    ),
    Attack("… and recompute its hash", change_and_rehash, (Detection(VERIFY, 1, "BadSignature"),)),
    Attack(
        "remove, repeat or reorder entries",
        sql("DELETE FROM audit_entries WHERE seq = 1"),
        (Detection(VERIFY, 1, "SeqGap"), Detection(DRIFT, 1, "seq is 2, expected 1")),
    ),
    Attack(
        "edit the columns `event`",
        sql("UPDATE audit_entries SET event = 'note.added' WHERE seq = 1"),
        (
            Detection(VERIFY, 1, "ColumnMismatch"),
            Detection(DRIFT, 1, "column event"),
            Detection(HEALTH, 1, "column event"),
            Detection(("entries", "--store", "s.duckdb", "--event", "plan.applied"), 0, " 1 "),
        ),
    ),
    Attack(
        "cut off the end",
        sql("DELETE FROM audit_entries WHERE seq = 2"),
        (
            Detection((*VERIFY, *ANCHORS), 1, "TruncatedChain"),
            Detection((*HEALTH, *ANCHORS), 1, "short"),
        ),
    ),
    Attack(
        "roll the store back",
        roll_back,
        (
            Detection((*VERIFY, *ANCHORS), 1, "TruncatedChain"),
            Detection(("apply", "plan 4", "--store", "s.duckdb", "--yes"), 3, "rolled back"),
        ),
    ),
    Attack(
        "pass off the chain", lambda: None, (Detection((*VERIFY, "--org", OTHER), 1, "Foreign"),)
    ),
    Attack(
        "delete the whole chain",
        sql("UPDATE settings SET value = replace(value, '01', 'ee') WHERE name = 'org_id'"),
        (
            Detection(VERIFY, 2, "NOTHING TO VERIFY"),
            Detection(DRIFT, 1, str(ORG)),
            Detection(HEALTH, 1, str(ORG)),
        ),
    ),
    Attack(
        "edit the live routes",
        sql("UPDATE routes SET priority = 77 WHERE name = 'route 1'"),
        (Detection(DRIFT, 1, "edited"), Detection(HEALTH, 1, "'route 1' edited")),
    ),
    Attack("date an entry before", backdate, (Detection(VERIFY, 0, "dated before"),)),
    Attack(
        "rewrite earlier entries",
        rewrite_history,
        (Detection((*VERIFY, *ANCHORS), 1, "TruncatedChain"),),
    ),
    Attack(
        "show two auditors two histories",
        rewrite_history,
        (Detection(("compare", "first.jsonl", "second.jsonl", "--key-hex", PUBLIC), 1, "seq 0"),),
    ),
    Attack(
        "claim that other routes went live",
        disclose(forge=lambda fields: fields["routes"].clear()),
        (Detection((*DISCLOSURE, PUBLIC), 1, "give the commitment"),),
    ),
    Attack(
        "disclose routes of an entry",
        disclose(forge=lambda fields: None),
        (Detection((*DISCLOSURE, OTHER_KEY.public_key.hex), 1, "bad signature"),),
    ),
    Attack("pass off a proof", prove(chain_id=OTHER), (Detection(PROOF, 1, "is a proof for"),)),
    Attack(
        "prove an entry at a wrong place",
        prove(leaf_index=0, chain_seq=0),
        (Detection(PROOF, 1, "its path has the siblings"),),
    ),
    Attack(
        "send a log as a DuckDB file",
        make_hostile_log,
        (Detection(("import", "log.duckdb", "--store", "new.duckdb"), 2, "another file"),),
    ),
    Attack(
        "put a file `blake3.py`",
        replace_module,
        (Detection(("python", "verify_chain.py", "c.jsonl", PUBLIC), 2, "run it as python -I"),),
    ),
    Attack(
        "put terminal escapes",
        lambda: PlanDriver(DuckDBStore(Path("s.duckdb"))).project(9, name=ESCAPE),
        (Detection(("plans", "--store", "s.duckdb"), 0, "\\u202e"),),
    ),
)


def make_store(path: Path, *, priority: int = 1) -> None:
    """Make a store with three applied plans and a fourth one."""
    driver = PlanDriver(DuckDBStore(path))
    for number in (1, 2, 3):
        if number == 3:
            shutil.copy(path, path.with_name("earlier.duckdb"))
        driver.live(number, plans.route(number, priority=priority))
    driver.project(4, plans.route(4))


def make_sample(folder: Path) -> None:
    """Make the store, an earlier copy, its key and its anchors."""
    make_store(folder / "s.duckdb")
    driver = PlanDriver(DuckDBStore(folder / "earlier.duckdb"))
    driver.project(4, plans.route(4))
    save_key(KEY, folder / "s.duckdb.key.pem")
    with DuckDBStore(folder / "s.duckdb").read() as snapshot:
        lines = [f"{entry.seq}:{entry.hash}\n" for entry in snapshot.entries(ORG)]
    (folder / "anchors").write_text("".join(lines))


def run_command(command: tuple[str, ...]) -> tuple[int, str]:
    """Run a command in the current folder; return its exit code and what it prints."""
    if command[0] == "python":
        arguments = [sys.executable, *command[1:]]
        done = subprocess.run(arguments, capture_output=True, text=True)  # noqa: S603
        return done.returncode, done.stdout + done.stderr
    given = [Path(c[1:]).read_text() if c.startswith("@") else c for c in command]
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(out):
        code = run(given)
    return code, out.getvalue()


def missed(attack: Attack, sample: Path) -> list[str]:
    """Run an attack; return the commands that do not detect it."""
    problems = []
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        shutil.copytree(sample, folder, dirs_exist_ok=True)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            attack.do()
        for command, code, text in attack.detections:
            actual, output = run_command(command)
            if actual != code or (text not in " ".join(output.split()) and text not in output):
                problems.append(f"{' '.join(command)[:60]}: exit code {actual}, {output[:300]!r}")
    return problems


def table_rows() -> list[tuple[str, list[str]]]:
    """Return the attacks of the tables, each with the tests that it names."""
    text = (ROOT / "docs" / "threat-model.md").read_text().split("## Deliberate differences")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ") and "| Test |" not in line]
    return [(row[2:].split(" | ")[0], re.findall(r"`(tests/[^`]+)`", row)) for row in rows]


def main() -> int:
    """Run everything, and return the exit code."""
    os.environ["COLUMNS"] = "200"
    failed, rest = 0, list[tuple[str, list[str]]]()
    scripted = {attack.row: attack for attack in ATTACKS}
    with tempfile.TemporaryDirectory() as folder:
        make_sample(Path(folder))
        os.environ[ANCHOR_FILE_VARIABLE] = "anchors"
        for row, tests in table_rows():
            keys = [key for key in scripted if row.startswith(key)]
            if not keys:
                rest.append((row, tests))
                continue
            attack = scripted.pop(keys[0])
            problems = missed(attack, Path(folder))
            failed += bool(problems)
            commands = dict.fromkeys(command[0] for command, *_ in attack.detections)
            print(
                f"{'MISSED  ' if problems else 'detected'}  {row[:70]:<70}  {', '.join(commands)}"
            )
            for problem in problems:
                print(f"          {problem}")
        del os.environ[ANCHOR_FILE_VARIABLE]
    for row in scripted:
        failed += 1
        print(f"MISSED    {row}: no row of docs/threat-model.md begins so")
    os.chdir(ROOT)
    tests = sorted({test for _, names in rest for test in names})
    code = pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", "-m", "", *tests])
    for row, names in rest:
        print(f"{'tested  ' if code == 0 else 'see above'}  {row[:70]:<70}  {names[0]}")
    return 1 if failed or code else 0


if __name__ == "__main__":
    sys.exit(main())
