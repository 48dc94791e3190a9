"""Backups are consistent, complete and verified; health reports problems."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

import ttplan
from tests.audit.chains import KEY, OTHER_KEY
from tests.cli.support import check_error
from tests.display.test_cards import HOSTILE, Tags
from tests.faults.invariants import check_followed
from tests.faults.test_random_operations import prepare, start_operations
from tests.support import plans
from tests.support.contexts import context_of
from tests.support.plan_driver import ORG, PlanDriver, store_state
from tests.workspace.test_workspace import content, opened
from ttplan.audit.keys.key_files import SIGNING_KEY_VARIABLE, save_key
from ttplan.cli.entrypoint import run
from ttplan.display.checks import BackupCard, HealthCard
from ttplan.model.results.health import Backup, Health, HealthCheck
from ttplan.operations.stores import copy as copy_ops
from ttplan.store.duckdb import backup
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.memory import MemoryStore
from ttplan.workspace import Workspace


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A workspace with a live plan from `plans.CREATED`, in a folder with special characters."""
    folder = tmp_path / "it's here"
    folder.mkdir()
    made = opened(folder / "s.duckdb", org_id=ORG, clock=lambda: plans.CREATED + timedelta(days=2))
    with made.store.transaction() as tx:
        tx.add_plan(plans.run(1, (plans.route(1), plans.route(2)), live_seen=()))
    made.apply(UUID(int=1))
    return made


def path_of(ws: Workspace) -> Path:
    assert isinstance(ws.store, DuckDBStore)
    return ws.store.path


def damage(ws: Workspace, *statements: str) -> None:
    with duckdb.connect(str(path_of(ws))) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_backup_is_a_store_that_holds_the_same(ws: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "copy's.duckdb"
    before = path_of(ws).read_bytes()
    backup = ws.backup(target).result
    assert (backup.path, backup.size_bytes) == (str(target), target.stat().st_size)
    assert backup.rows == {
        "audit_entries": 1,
        "plan_runs": 1,
        "reconciliations": 0,
        "requests": 0,
        "routes": 2,
        "settings": 1,
    } | {"schema_version": backup.rows["schema_version"]}
    assert (backup.anchor, backup.chain, backup.drift) == (
        ws.anchor(),
        "consistent with its own key",
        False,
    )
    assert content(target) == content(path_of(ws))
    assert path_of(ws).read_bytes() == before
    copy = opened(target)
    assert copy.revert(UUID(int=1)).seq == 1
    assert copy.drift().ok
    assert len(ws.routes()) == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["copy's.duckdb"]


def test_a_backup_keeps_the_keys_and_checks_of_its_tables(ws: Workspace, tmp_path: Path) -> None:
    ws.backup(tmp_path / "copy.duckdb")

    def tables(path: Path) -> list[Any]:
        with duckdb.connect(str(path), read_only=True) as connection:
            return connection.execute(
                "SELECT table_name, constraint_type, constraint_text FROM "
                "duckdb_constraints() ORDER BY ALL"
            ).fetchall()

    assert tables(tmp_path / "copy.duckdb") == tables(path_of(ws))


def test_a_backup_replaces_nothing_unless_told(ws: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "copy.duckdb"
    target.write_text("precious")
    with pytest.raises(ttplan.InputError, match="exists already"):
        ws.backup(target)
    assert target.read_text() == "precious"
    ws.backup(target, overwrite=True)
    assert content(target) == content(path_of(ws))
    for same in (path_of(ws), Path(os.path.relpath(path_of(ws)))):
        with pytest.raises(ttplan.InputError, match="is the store itself"):
            ws.backup(same, overwrite=True)
    (tmp_path / "open.duckdb.wal").write_text("somebody's")
    with pytest.raises(ttplan.InputError, match=r"open.duckdb.wal exists"):
        ws.backup(tmp_path / "open.duckdb", overwrite=True)
    with pytest.raises(ttplan.StoreError, match="could not be copied"):
        ws.backup(tmp_path / "none" / "copy.duckdb")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "copy.duckdb",
        "open.duckdb.wal",
    ]


def test_a_copy_that_does_not_read_back_the_same_is_thrown_away(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = backup._copy_tables

    def losing(source: duckdb.DuckDBPyConnection, draft: Path) -> Any:
        expected = original(source, draft)
        with duckdb.connect(str(draft)) as connection:
            connection.execute("UPDATE routes SET priority = 5")
        return expected

    monkeypatch.setattr(backup, "_copy_tables", losing)
    with pytest.raises(
        ttplan.StoreError, match="does not read back the same in routes; it was removed"
    ):
        ws.backup(tmp_path / "copy.duckdb")
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_store_that_is_not_well_is_copied_as_it_is_and_says_so(
    ws: Workspace, tmp_path: Path
) -> None:
    damage(ws, "UPDATE routes SET priority = 77 WHERE name = 'route 1'")
    shown = ws.backup(tmp_path / "copy.duckdb")
    assert shown.result.drift
    assert "not what was signed for, as in the store" in " ".join(repr(shown).split())
    assert content(tmp_path / "copy.duckdb") == content(path_of(ws))


def test_only_a_file_store_that_is_not_open_can_be_backed_up(ws: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ttplan.InputError, match="is not in a file of its own"):
        copy_ops.backup(context_of(MemoryStore()), tmp_path / "copy.duckdb")
    with ws.store.read(), pytest.raises(ttplan.StoreError, match="is open in this thread"):
        ws.backup(tmp_path / "copy.duckdb")


def test_a_backup_waits_for_a_writer_in_another_thread(ws: Workspace, tmp_path: Path) -> None:
    begun = threading.Event()

    def write() -> None:
        with ws.store.transaction() as tx:
            begun.set()
            tx.add_plan(plans.run(5))

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait(30)
    assert ws.backup(tmp_path / "copy.duckdb").result.rows["plan_runs"] == 2
    writer.join()


def test_a_backup_contains_writes_in_the_write_ahead_log(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, plans.route(1))
    script = (
        "import sys, os, signal, duckdb; connection = duckdb.connect(sys.argv[1]); "
        'connection.execute("PRAGMA disable_checkpoint_on_shutdown"); '
        "connection.execute(\"UPDATE plan_runs SET name = 'x'\"); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)]).returncode == -signal.SIGKILL
    assert (tmp_path / "s.duckdb.wal").exists()
    copy_ops.backup(context_of(driver.store, KEY), tmp_path / "copy.duckdb")
    assert [
        run.name for run in store_state(DuckDBStore(tmp_path / "copy.duckdb", create=False)).plans
    ] == ["x"]


@pytest.mark.slow
def test_backups_of_a_store_in_use_are_each_whole(tmp_path: Path) -> None:
    store = prepare(tmp_path / "s.duckdb", 40)
    children = [start_operations(tmp_path / "s.duckdb", n, 30) for n in range(2)]
    lengths = []
    for number in range(4):
        copy = tmp_path / f"copy {number}.duckdb"
        backup = copy_ops.backup(context_of(store, KEY), copy)
        check_followed(DuckDBStore(copy, create=False))
        assert not backup.drift
        lengths.append(backup.rows["audit_entries"])
    for child in children:
        _, err = child.communicate(timeout=300)
        assert child.returncode == 0, err
    assert lengths == sorted(lengths)
    check_followed(store)


# --- health -------------------------------------------------------------------


def bad(ws: Workspace, **options: Any) -> dict[str, str]:
    return {check.name: check.said for check in ws.health(**options).result.checks if not check.ok}


def test_a_store_that_is_well(ws: Workspace, tmp_path: Path) -> None:
    health = ws.health().result
    assert health.ok
    assert [check.name for check in health.checks] == [
        *("schema", "key", "chain", "plans", "routes", "orphans", "prices", "costs", "policy")
    ]
    assert health.checks[1].said == "present; it signs the chain's next entry"
    assert "2 days old" in health.checks[6].said
    assert ws.health(public_key=KEY.public_key.hex).result.checks[2].said == "1 entry; verified"
    assert opened(tmp_path / "new.duckdb").health().ok


@pytest.mark.parametrize(
    ("statement", "check", "message"),
    [
        ("UPDATE routes SET priority = 77 WHERE name = 'route 1'", "routes", "'route 1' edited"),
        (
            "UPDATE plan_runs SET status = 'projected'",
            "plans",
            "says projected, and the chain that it is applied",
        ),
        ("UPDATE audit_entries SET body = replace(body, '1234', '1235')", "chain", "broken"),
        (
            "UPDATE routes SET plan_id = '00000000-0000-0000-0000-0000000000ff'",
            "orphans",
            "which has no row",
        ),
    ],
)
def test_each_problem_is_named(ws: Workspace, statement: str, check: str, message: str) -> None:
    damage(ws, statement)
    assert message in bad(ws)[check]
    assert ws.health().result.exit_code == 1


def test_a_key_that_is_missing_or_another_one(ws: Workspace, tmp_path: Path) -> None:
    lost = opened(path_of(ws), key=None, key_file=tmp_path / "lost.pem")
    assert set(bad(lost)) == {"key"}
    assert "no signing key at" in bad(lost)["key"]
    assert not (tmp_path / "lost.pem").exists()
    save_key(OTHER_KEY, tmp_path / "other.pem")
    other = opened(path_of(ws), key=None, key_file=tmp_path / "other.pem")
    assert "the chain's last entry (0) was not signed with it" in bad(other)["key"]
    assert set(bad(other, public_key=KEY.public_key)) == {"key"}


def test_a_key_that_the_chain_was_just_handed_over_to_is_well(tmp_path: Path) -> None:
    path = tmp_path / "rotated.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, plans.route(1))
    ws = opened(path)
    ws.evidence.rotate_key(OTHER_KEY)
    assert "key" not in bad(ws)
    assert "the chain's last entry (1) was not signed with it" in bad(opened(path))["key"]


def test_old_prices_of_live_plans_and_leftover_files(ws: Workspace) -> None:
    assert bad(ws, price_age=timedelta(days=1))["prices"] == (
        "those of plan 'plan 1' are 2 days old, more than 1; plan again with today's"
    )
    leftover = path_of(ws).parent / f".{path_of(ws).name}.0123456789ab.new"
    leftover.write_text("half a store")
    assert str(leftover) in bad(ws)["orphans"]


def test_cards_are_narrow_and_escaped() -> None:
    health = HealthCard(
        Health(
            checks=(
                HealthCheck(name="routes", ok=False, said=HOSTILE * 9),
                HealthCheck(name="key", ok=True, said="x"),
            )
        )
    )
    copy = Backup(
        path=HOSTILE * 5,
        size_bytes=12,
        rows={"routes": 3},
        anchor=ttplan.TipAnchor(3, "ab" * 32),
        chain="x",
        drift=True,
    )
    for card in (health, BackupCard(copy)):
        assert max(len(line) for line in repr(card).splitlines()) <= 80
        assert "img" not in Tags(card._repr_html_()).tags
    assert repr(health).startswith("NOT HEALTHY: 1 of 2 checks\n\n  NOT  routes")


# --- the command line ---------------------------------------------------------


def test_backup_and_health_on_the_command_line(
    ws: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, "11" * 32)
    monkeypatch.setenv("TTPLAN_STORE", str(path_of(ws)))
    target = str(tmp_path / "copy.duckdb")
    assert run(["backup", target]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "and read back: 0 requests, 1 plans, 2 live routes, 1 entries" in out
    assert "The signing key is not in the backup" in out
    check_error(["backup", target], 2, "exists already", capsys)
    assert run(["backup", target, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]["routes"] == 2
    assert run(["health", "--price-age", "99999d"]) == 0
    assert capsys.readouterr().out.startswith("HEALTHY")
    damage(ws, "DELETE FROM routes WHERE name = 'route 1'")
    assert run(["health", "--json", "--key-hex", KEY.public_key.hex]) == 1
    checks = {check["name"]: check["ok"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert (checks["routes"], checks["chain"], checks["key"]) == (False, True, True)
    check_error(
        ["health", "--price-age", "soon"],
        2,
        "--price-age is 'soon'; expected a duration such as 7d",
        capsys,
    )
