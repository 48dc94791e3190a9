"""A chain without entries is "nothing to verify", and entries of others in the file are named."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import duckdb
import pytest

import ttplan
from tests.audit.chains import KEY, OTHER_KEY, exported
from tests.store.conftest import new_duckdb_store
from tests.support import plans
from tests.support.plan_driver import AT, ORG, PlanDriver
from ttplan.audit import standalone
from ttplan.cli.entrypoint import run
from ttplan.model.errors import TruncatedChain
from ttplan.workspace import Workspace

OTHER = UUID(int=9)
EMPTYING = {
    "another organisation": f"UPDATE settings SET value = '{OTHER}' WHERE name = 'org_id'",
    "no organisation": "DELETE FROM settings WHERE name = 'org_id'",
    "every row deleted": "DELETE FROM audit_entries",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with two applied plans."""
    store = new_duckdb_store(tmp_path)
    driver = PlanDriver(store)
    driver.live(1, plans.route(1))
    driver.live(2, plans.route(2))
    return store.path


def opened(path: Path, *statements: str) -> Workspace:
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return ttplan.open(path, key=KEY, clock=lambda: AT)


@pytest.mark.parametrize("way", sorted(EMPTYING))
@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
def test_an_emptied_chain_is_never_verified(path: Path, way: str, key: object) -> None:
    ws = opened(path, EMPTYING[way])
    report = ws.verify(public_key=getattr(key, "public_key").hex)  # noqa: B009
    assert (report.verdict, report.exit_code, report.ok) == ("nothing to verify", 2, False)
    if way != "every row deleted":
        assert f"2 entries of organisation {ORG}" in str(report).replace("\n" + " " * 12, " ")
        assert not ws.drift().result.ok
    failed = {check.name for check in ws.health().result.checks if not check.ok}
    assert failed & {"chain", "plans"}


def test_a_new_store_has_nothing_to_verify(tmp_path: Path) -> None:
    ws = ttplan.open(tmp_path / "new.duckdb", key=KEY, org_id=ORG)
    assert ws.verify(public_key=KEY.public_key).exit_code == 2
    assert ws.verify(public_key=KEY.public_key, anchor="empty").verdict == "verified"
    assert ws.health().result.ok
    assert ws.drift().result.ok


def test_an_anchor_of_an_empty_chain_refuses_entries(path: Path) -> None:
    report = opened(path).verify(public_key=KEY.public_key, anchor="empty")
    assert report.first_bad is not None
    assert (report.exit_code, report.first_bad.error) == (1, TruncatedChain.__name__)


def test_an_export_without_entries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, key = tmp_path / "chain.jsonl", KEY.public_key.hex
    file.write_bytes(exported([]))
    assert run(["verify", str(file), "--key-hex", key]) == 2
    assert "NOTHING TO VERIFY: 0 entries" in capsys.readouterr().out
    assert run(["verify", str(file), "--key-hex", key, "--anchor", "empty"]) == 0
    capsys.readouterr()
    assert standalone.main([str(file), key]) == 2
    assert capsys.readouterr().out.startswith("NOTHING TO VERIFY")
    assert standalone.main([str(file), key, "empty"]) == 0
