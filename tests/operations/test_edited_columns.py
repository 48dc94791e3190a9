"""Columns that nothing signs steer nothing, and a difference from the signed entry is reported."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import ttplan
from tests.audit.chains import KEY
from tests.store.conftest import new_duckdb_store
from tests.support import plans
from tests.support.plan_driver import AT, ORG, PlanDriver
from ttplan.workspace import Workspace

HIDE = {
    "event": "UPDATE audit_entries SET event = 'note.added' WHERE seq = 1",
    "logged_at": "UPDATE audit_entries SET logged_at = '2020-01-01T00:00:00+00:00' WHERE seq = 1",
    "unreadable": "UPDATE audit_entries SET logged_at = 'never' WHERE seq = 1",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with three applied plans."""
    store = new_duckdb_store(tmp_path)
    driver = PlanDriver(store)
    for number in (1, 2, 3):
        driver.live(number, plans.route(number))
    return store.path


def opened(path: Path, *statements: str) -> Workspace:
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return ttplan.open(path, key=KEY, org_id=ORG, clock=lambda: AT)


def test_filters_read_the_signed_entry(path: Path) -> None:
    ws = opened(path, HIDE["event"], HIDE["logged_at"])
    assert ws.entries(event="plan.applied")["seq"].tolist() == [0, 1, 2]
    assert ws.entries(event="note.added")["seq"].tolist() == []
    assert ws.entries(since="2026-01-01")["seq"].tolist() == [0, 1, 2]
    assert ws.entries(until="2026-01-01")["seq"].tolist() == []


@pytest.mark.parametrize("edit", sorted(HIDE))
def test_an_edited_column_is_reported_by_each_check(path: Path, edit: str) -> None:
    ws = opened(path, HIDE[edit])
    column = "event" if edit == "event" else "logged_at"
    report = ws.verify(public_key=KEY.public_key)
    assert (report.verdict, report.exit_code) == ("broken", 1)
    assert report.first_bad is not None
    assert (report.first_bad.index, report.first_bad.error) == (1, "ColumnMismatch")
    assert column in report.first_bad.message
    drift = ws.drift().result
    assert [problem.seq for problem in drift.problems] == [1]
    assert drift.exit_code == 1
    failed = {check.name: check.said for check in ws.health().result.checks if not check.ok}
    assert set(failed) == {"chain"}
    assert f"column {column}" in failed["chain"]


def test_untouched_columns_are_no_finding(path: Path) -> None:
    ws = opened(path)
    report = ws.verify(public_key=KEY.public_key)
    assert report.verdict == "verified"
    assert any("columns event and logged_at" in check for check in report.checks)
    assert ws.drift().result.ok
    assert ws.health().result.ok


def test_a_chain_that_is_broken_anyway_says_why(path: Path) -> None:
    ws = opened(path, HIDE["event"], "UPDATE audit_entries SET body = '{' WHERE seq = 2")
    report = ws.verify(public_key=KEY.public_key)
    assert report.first_bad is not None
    assert (report.first_bad.index, report.first_bad.error) == (2, "HashMismatch")
    assert ws.entries(event="plan.applied")["seq"].tolist() == [0, 1]
