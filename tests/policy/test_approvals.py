"""Approvals: what they cover, who may give them, and forged ones."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import blake3
import duckdb
import pytest

import ttplan
from tests.audit.chains import KEY, OTHER_KEY
from tests.policy.support import ANN, BOB, approved, set_store_policy
from tests.support import plan_driver, plans
from tests.support.contexts import context_of
from ttplan.apply import StoreChain, apply_plan
from ttplan.audit.canonical import canonical_json
from ttplan.model.audit import ApiKey
from ttplan.model.errors import (
    ApplyError,
    DriftError,
    InputError,
    InvalidState,
    PlanNotFound,
    PolicyBlocked,
)
from ttplan.model.policy import Approvals, Policy
from ttplan.operations.chain.evidence import append_rotation
from ttplan.operations.plans.policy import approve, check_policy
from ttplan.policy.approvals import approval_message, find_approvals, plan_digest
from ttplan.quality.result import unverified_result
from ttplan.store.memory import MemoryStore


@pytest.mark.parametrize(
    ("forged", "problem"),
    [
        # Someone with write access but without the key approves in another person's name.
        (
            "INSERT INTO audit_entries "
            "SELECT org_id, 2, event, logged_at, {approval}, hash, {hash}, signature "
            "FROM audit_entries WHERE seq = 1",
            "entry 2: bad signature",
        ),
        # … or turns an approval of another plan into one of this plan.
        (
            "UPDATE audit_entries SET body = {approval} WHERE seq = 1",
            "entry 1: its content hashes to",
        ),
        # … or removes the stricter policy that was set last.
        ("DELETE FROM audit_entries WHERE seq = 0", "entry 0: seq is 1"),
    ],
)
def test_a_forged_approval_or_policy_is_rejected(tmp_path: Path, forged: str, problem: str) -> None:
    path = tmp_path / "s.duckdb"
    driver = plan_driver.PlanDriver(ttplan.DuckDBStore(path))
    run_ = driver.project(1, plans.route(1), author=ANN)
    set_store_policy(driver, Policy(approvals=Approvals(needed=1)))
    driver.project(2)
    approve(context_of(driver.store, KEY, driver.clock), UUID(int=2), actor=BOB)
    last = plan_driver.store_state(driver.store).entries[1]
    body = json.loads(last.body)
    body["payload"] |= {"plan_id": str(run_.plan_id), "plan_digest": plan_digest(run_)}
    if "INSERT" in forged:
        body["seq"] = 2
    written = canonical_json(body)
    prev = last.hash if "INSERT" in forged else last.prev_hash
    values = {
        "approval": f"'{written.decode()}'",
        "hash": f"'{blake3.blake3(bytes.fromhex(prev) + written).hexdigest()}'",
    }
    with duckdb.connect(str(path)) as connection:
        connection.execute(forged.format(**values))
    before = plan_driver.store_state(driver.store)
    with pytest.raises(DriftError, match=f"cannot be trusted: {problem}"):
        check_policy(context_of(driver.store, KEY), UUID(int=1))
    # Nothing is appended to a last entry that is not signed with the chain's key.
    applying = (
        r"the chain's last entry \(2\) was not signed with this key"
        if "INSERT" in forged
        else f"cannot be trusted: {problem}"
    )
    with pytest.raises(ApplyError, match=applying):
        driver.apply(1)
    assert plan_driver.store_state(driver.store) == before


def test_a_chain_that_ends_with_another_key_is_rejected(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, Policy(approvals=Approvals(needed=1)))
    approve(context_of(driver.store, KEY, driver.clock), UUID(int=1), actor=BOB)
    with pytest.raises(DriftError, match="cannot be trusted"):
        check_policy(context_of(driver.store, OTHER_KEY), UUID(int=1))
    unverified_result = check_policy(context_of(driver.store), UUID(int=1))
    assert unverified_result is not None
    assert unverified_result.approved_by == (1,)


def test_approvals_hold_over_a_change_of_keys(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, Policy(approvals=Approvals(needed=1)))
    approve(context_of(driver.store, KEY, driver.clock), UUID(int=1), actor=BOB)
    append_rotation(driver.chain, OTHER_KEY, plan_driver.PERSON)
    (run_,) = plan_driver.store_state(driver.store).plans
    later = StoreChain(driver.store, OTHER_KEY, clock=driver.clock)
    assert apply_plan(
        driver.store, later, run_.result, plan_driver.PERSON, clock=driver.clock
    ).payload["approvals"] == [1]


def test_a_plan_waits_for_its_approvals(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, Policy(approvals=Approvals(needed=2)))
    with pytest.raises(
        PolicyBlocked, match=r"approved by 2 persons' \(0 approved it as it is now\)"
    ):
        driver.apply(1)
    approved(driver, ANN)
    approved(driver, ANN)
    with pytest.raises(PolicyBlocked, match="1 approved it as it is now"):
        driver.apply(1)
    approved(driver, BOB)
    assert driver.apply(1).payload["approvals"] == [1, 3]


def test_the_author_alone_cannot_approve(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, Policy(approvals=Approvals(needed=1, other_than_author=True)))
    approved(driver, ANN)
    with pytest.raises(PolicyBlocked, match="1 person other than its author"):
        driver.apply(1)
    approved(driver, BOB)
    assert driver.apply(1).payload["approvals"] == [2]


def test_a_plan_without_an_author_cannot_be_approved() -> None:
    driver = plan_driver.PlanDriver(MemoryStore())
    driver.project(1, plans.route(1))
    set_store_policy(driver, Policy(approvals=Approvals(needed=1, other_than_author=True)))
    approved(driver, BOB)
    with pytest.raises(PolicyBlocked, match="nobody is named as its author"):
        driver.apply(1)


def test_a_plan_that_changed_needs_a_new_approval(driver: plan_driver.PlanDriver) -> None:
    set_store_policy(driver, Policy(approvals=Approvals(needed=1)))
    approved(driver, BOB)
    with driver.store.transaction() as tx:
        tx.set_quality(UUID(int=1), unverified_result("nobody looked"))
    with pytest.raises(PolicyBlocked, match="0 approved it as it is now"):
        driver.apply(1)
    approved(driver, BOB)
    driver.apply(1)


def test_an_approvers_own_key_signs_the_digest(driver: plan_driver.PlanDriver) -> None:
    entry = approved(driver, BOB, key=OTHER_KEY)
    (run_,) = plan_driver.store_state(driver.store).plans
    message = approval_message(plan_digest(run_), plan_driver.ORG)
    assert entry.payload["plan_digest"] == plan_digest(run_)
    assert (
        OTHER_KEY.public_key.signature_problem(
            bytes.fromhex(entry.payload["approver_signature"]), message
        )
        is None
    )
    (approval,) = find_approvals(plan_driver.store_state(driver.store).entries, run_)
    assert (approval.actor, approval.key) == (BOB, OTHER_KEY.public_key.hex)


def test_a_signature_that_is_not_the_keys_does_not_count(driver: plan_driver.PlanDriver) -> None:
    (run_,) = plan_driver.store_state(driver.store).plans
    payload = {
        "plan_id": str(run_.plan_id),
        "plan_digest": plan_digest(run_),
        "approver_key": OTHER_KEY.public_key.hex,
        "approver_signature": KEY.sign(approval_message(plan_digest(run_), plan_driver.ORG)).hex(),
    }
    driver.chain.emit(plan_driver.ORG, BOB, "plan.approved", payload)
    driver.chain.emit(plan_driver.ORG, BOB, "plan.approved", {"plan_id": str(run_.plan_id)})
    assert find_approvals(plan_driver.store_state(driver.store).entries, run_) == []


def test_the_digest_is_of_all_that_is_approved_and_blinded() -> None:
    run_ = plans.run(1, (plans.route(1),), author=ANN)
    changed = [
        run_.model_copy(update={"name": "another"}),
        run_.model_copy(update={"author": BOB}),
        run_.model_copy(update={"pricing": {}}),
        run_.model_copy(update={"nonce": "ab" * 32}),
        run_.model_copy(update={"result": run_.result.model_copy(update={"caveats": ("x",)})}),
    ]
    assert len({plan_digest(variant) for variant in (run_, *changed)}) == 1 + len(
        [variant for variant in changed if variant != run_]
    )
    assert plan_digest(run_.model_copy(update={"status": "applied"})) == plan_digest(run_)


def test_invalid_approvals_are_refused(driver: plan_driver.PlanDriver) -> None:
    with pytest.raises(
        InputError, match="only a person can approve a plan, and 'api_key' is not one"
    ):
        approve(context_of(driver.store, KEY), UUID(int=1), actor=ApiKey(UUID(int=3)))
    with pytest.raises(PlanNotFound):
        approve(context_of(driver.store, KEY), UUID(int=9), actor=BOB)
    driver.apply(1)
    with pytest.raises(InvalidState):
        approved(driver, BOB)
