"""Files with secrets are only their owner's, and a failed first import leaves none."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import ttplan
from tests.audit.chains import OTHER_KEY
from tests.cli.support import check_error
from tests.logs.generators.files import FIXTURES
from tests.support import plans
from tests.support.plan_driver import PlanDriver
from ttplan.audit.keys.key_files import SIGNING_KEY_VARIABLE
from ttplan.cli.entrypoint import run
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.util.files import atomic_write

LOG = str(FIXTURES / "litellm_spend_logs.csv")


@pytest.fixture(autouse=True)
def _open_umask(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(SIGNING_KEY_VARIABLE)
    monkeypatch.delenv("TTPLAN_STORE")
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: str | Path) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_files_with_secrets_are_their_owners_only(tmp_path: Path) -> None:
    ws = ttplan.open("ttplan.duckdb")
    PlanDriver(DuckDBStore(tmp_path / "ttplan.duckdb")).project(1, plans.route(1))
    entry = ws.apply("plan 1", allow_stale=True)
    checkpoint = ws.evidence.sign_tree("log.example/a", OTHER_KEY, "log.state")
    ws.backup("copy.duckdb")
    with atomic_write("cp") as file:
        from ttplan.audit.c2sp.tlog import format_checkpoint

        file.write(format_checkpoint(checkpoint))
    assert run(["disclose", "plan 1", "--checkpoint", "cp", "--output", "d.json"]) == 0
    assert {mode(path) for path in ("ttplan.duckdb", "copy.duckdb", "d.json")} == {0o600}
    ws.export_chain("chain.jsonl")
    assert mode("chain.jsonl") == 0o666
    assert entry.seq == 0


@pytest.mark.parametrize(
    "arguments",
    [["import", "bad.csv"], ["import", "missing.csv"], ["adopt", "bad.csv"]],
)
def test_a_failed_first_import_leaves_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.csv").write_text("a,b\n1,2\n")
    assert run(arguments) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]
    capsys.readouterr()


def test_a_failed_later_import_keeps_the_store(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", LOG, "--no-check"]) == 0
    check_error(["import", "missing.csv"], 2, "no such file", capsys)
    assert run(["import", LOG, "missing.csv", "--store", "other.duckdb", "--no-check"]) == 2
    assert Path("ttplan.duckdb").exists()
    assert Path("other.duckdb.key.pem").exists()


def test_a_rotation_says_where_the_old_key_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ws = ttplan.open("ttplan.duckdb")
    PlanDriver(DuckDBStore(tmp_path / "ttplan.duckdb")).project(1, plans.route(1))
    ws.apply("plan 1", allow_stale=True)
    first = ws.public_key[:8]
    assert run(["key", "rotate"]) == 0
    old = tmp_path / f"ttplan.duckdb.key.pem.{first}.old"
    assert old.exists()
    assert f"{old} can still sign as before the rotation" in capsys.readouterr().out
    ws = ttplan.open("ttplan.duckdb")
    (check,) = [check for check in ws.health().result.checks if check.name == "key"]
    assert check.ok
    assert f"former keys can still be read: {old}" in check.said
