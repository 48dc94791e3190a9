"""A policy stops an apply, unless it is overridden; health checks the stored policy."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

from tests.audit.chains import KEY
from tests.display.test_cards import HOSTILE, Tags
from tests.logs.test_reader import numbered, write
from tests.policy.support import BLOCKS, set_store_policy
from tests.support import plan_driver
from tests.support.contexts import context_of
from tests.workspace.test_workspace import NOW, opened
from ttplan.display.checks import PolicyCheckCard
from ttplan.model.errors import (
    DriftError,
    PolicyBlocked,
)
from ttplan.model.policy import Override, Policy, PolicyCheck, Rule, RuleVerdict
from ttplan.operations.plans.policy import check_policy


def test_without_a_policy_the_entry_has_none(driver: plan_driver.PlanDriver) -> None:
    assert check_policy(context_of(driver.store, KEY), UUID(int=1)) is None
    assert "policy_digest" not in driver.apply(1).payload


def test_a_blocking_rule_stops_the_apply_and_writes_nothing(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, BLOCKS)
    before = plan_driver.store_state(driver.store)
    with pytest.raises(PolicyBlocked, match=r"'savings > 1000' \(savings: 12\.345679\)") as error:
        driver.apply(1)
    assert error.value.rules == (("savings > 1000", "savings: 12.345679"),)
    assert plan_driver.store_state(driver.store) == before


def test_an_override_is_recorded_with_name_and_reason(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, BLOCKS)
    entry = driver.apply(1, override=Override(name="Ann", reason="the month ends"))
    assert entry.payload["override"] == {
        "by": "Ann",
        "reason": "the month ends",
        "rules": ["savings > 1000"],
    }
    assert len(entry.payload["policy_digest"]) == 64


def test_an_override_that_was_not_needed_is_not_recorded(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(
        driver,
        Policy(rules=(Rule(rule="savings > 1"), Rule(rule="savings > 1000", level="advisory"))),
    )
    entry = driver.apply(1, override=Override(name="Ann", reason="to be sure"))
    assert "override" not in entry.payload
    assert entry.payload["approvals"] == []


def test_setting_and_removing_a_policy_is_recorded(
    driver: plan_driver.PlanDriver,
) -> None:
    set_store_policy(driver, BLOCKS)
    set_store_policy(driver, None)
    driver.apply(1)
    events = [json.loads(record.body) for record in plan_driver.store_state(driver.store).entries]
    assert [event["event"] for event in events] == ["policy.set", "policy.set", "plan.applied"]
    assert events[0]["payload"]["rules"] == 1
    assert events[1]["payload"]["policy_digest"] is None


def test_an_unsigned_policy_stops_the_apply(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, BLOCKS)
    with driver.store.transaction() as tx:
        tx.set_policy(Policy())
    with pytest.raises(DriftError, match="the store's policy is not the signed one"):
        driver.apply(1)


def test_a_policy_removed_without_ttplan_stops_the_apply(
    driver: plan_driver.PlanDriver,
) -> None:
    set_store_policy(driver, BLOCKS)
    with driver.store.transaction() as tx:
        tx.set_policy(None)
    before = plan_driver.store_state(driver.store)
    with pytest.raises(
        DriftError, match="was removed without ttplan: set it again, with `ttplan set-policy`"
    ):
        driver.apply(1, override=Override(name="Ann", reason="why not"))
    assert plan_driver.store_state(driver.store) == before


def test_a_card_fits_and_escapes() -> None:
    verdict = RuleVerdict(rule=HOSTILE * 3, level="blocking", ok=False, found=HOSTILE)
    shown = PolicyCheckCard(
        PolicyCheck(
            plan_name=HOSTILE * 2, plan_digest="0" * 64, policy_digest="0" * 64, verdicts=(verdict,)
        )
    )
    assert all(len(line) <= 80 for line in repr(shown).splitlines())
    assert "BLOCKS" in repr(shown)
    assert "img" not in Tags(shown._repr_html_()).tags
    assert not shown.ok
    assert "no policy" in repr(PolicyCheckCard(None))


def test_health_checks_the_policy(tmp_path: Path) -> None:
    moments = (NOW + timedelta(minutes=n) for n in range(10**6))
    ws = opened(tmp_path / "s.duckdb", clock=lambda: next(moments))
    ws.import_logs(write(tmp_path / "log.jsonl", numbered(1)))

    def policy() -> tuple[bool, str]:
        (check,) = [check for check in ws.health().result.checks if check.name == "policy"]
        return check.ok, check.said

    assert policy() == (True, "none")
    ws.set_policy(BLOCKS)
    assert policy() == (True, "1 rule")
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        connection.execute("DELETE FROM settings WHERE name = 'policy'")
    assert policy() == (False, "none, which is not the signed one; set it again")
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        connection.execute("INSERT INTO settings VALUES ('policy', '{')")
    ok, message = policy()
    assert not ok
    assert "is corrupt" in message
