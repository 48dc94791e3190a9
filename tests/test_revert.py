"""Stale plans and reverts: each row of the contract's table, on all stores, and that reverts
restore the first state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ttplan
from tests.audit.chains import KEY, OTHER_KEY
from tests.store.conftest import STORE_PARAMETERS, STORES
from tests.support import plans
from tests.support.plan_driver import AT, ORG, PERSON, PlanDriver, plan_ids_by_route, store_state
from tests.test_apply import Foreign
from ttplan.apply import StoreChain, apply_plan, revert_plan
from ttplan.audit.blinding import derive_blinding
from ttplan.audit.verify.chain import verify_chain
from ttplan.history.timeline import routes_commitment
from ttplan.model.errors import (
    ApplyError,
    AuditError,
    DriftError,
    InvalidState,
    PlanNotFound,
    StalePlan,
    StoreError,
    SupersededPlan,
)
from ttplan.operations.routes.drift import find_drift
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.memory import MemoryStore
from ttplan.store.protocol import Store


@pytest.fixture(params=STORE_PARAMETERS)
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> PlanDriver:
    """A store with plan 1 live, which has routes 1 and 2."""
    made = PlanDriver(STORES[request.param](tmp_path))
    made.live(1, plans.route(1), plans.route(2))
    return made


def drifts(store: Store) -> bool:
    with store.read() as snapshot:
        return not find_drift(snapshot, ORG, KEY.public_key, own_key=False).ok


# --- stale plans ---


def test_a_stale_plan_names_the_changes_and_their_plans(
    driver: PlanDriver,
) -> None:
    driver.project(2, plans.route(5))
    driver.live(3, plans.route(1, priority=9), plans.route(4))
    before = store_state(driver.store)
    with pytest.raises(
        StalePlan,
        match=r"'route 1' was replaced by applying plan .*3; route 'route 4' was added by",
    ) as caught:
        driver.apply(2)
    assert [(change.name, change.how, change.plan_id) for change in caught.value.changes] == [
        ("route 1", "replaced", UUID(int=3)),
        ("route 4", "added", UUID(int=3)),
    ]
    assert caught.value.exit_code == 1
    assert store_state(driver.store) == before


def test_an_allowed_stale_apply_is_recorded_and_only_that(driver: PlanDriver) -> None:
    driver.project(2, plans.route(5))
    driver.live(3, plans.route(4))
    assert driver.apply(2, allow_stale=True).payload["allowed_stale"] is True
    driver.project(6, plans.route(6))
    assert "allowed_stale" not in driver.apply(6, allow_stale=True).payload


def test_a_stale_plan_names_reverts(driver: PlanDriver) -> None:
    driver.live(2, plans.route(1, priority=9), plans.route(4))
    driver.project(3, plans.route(5))
    driver.revert(2)
    with pytest.raises(StalePlan) as caught:
        driver.apply(3)
    assert [(change.name, change.how, change.plan_id) for change in caught.value.changes] == [
        ("route 1", "put back", UUID(int=2)),
        ("route 4", "removed", UUID(int=2)),
    ]
    assert "was put back by reverting plan" in str(caught.value)


def test_the_same_routes_by_another_plan_are_not_stale(driver: PlanDriver) -> None:
    driver.project(2, plans.route(5))
    driver.live(3, plans.route(4))
    driver.revert(3)
    driver.live(4, plans.route(1))
    driver.apply(2)
    assert plan_ids_by_route(driver.store) == {"route 1": 4, "route 2": 1, "route 5": 2}


def test_a_change_outside_ttplan_names_no_plan(tmp_path: Path) -> None:
    driver = PlanDriver(DuckDBStore(tmp_path / "s.duckdb"))
    driver.live(1, plans.route(1), plans.route(2))
    driver.project(2, plans.route(5))
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        connection.execute("UPDATE routes SET priority = 77 WHERE name = 'route 1'")
        connection.execute("DELETE FROM routes WHERE name = 'route 2'")
    with pytest.raises(
        StalePlan, match=r"was replaced not by a plan \(see `ttplan drift`\)"
    ) as caught:
        driver.apply(2)
    assert {(change.name, change.how, change.plan_id) for change in caught.value.changes} == {
        ("route 1", "replaced", None),
        ("route 2", "removed", None),
    }


def test_many_changes_are_counted(driver: PlanDriver) -> None:
    driver.project(2, plans.route(5))
    driver.live(3, *(plans.route(n) for n in range(10, 20)))
    with pytest.raises(StalePlan, match="; and 5 more"):
        driver.apply(2)


def test_a_plan_without_recorded_live_routes_is_never_stale(driver: PlanDriver) -> None:
    driver.project(2, plans.route(5), live_seen=None)
    driver.live(3, plans.route(4))
    assert "allowed_stale" not in driver.apply(2).payload


def test_the_status_is_checked_before_staleness(driver: PlanDriver) -> None:
    driver.project(2, plans.route(5), status="failed")
    driver.live(3, plans.route(4))
    with pytest.raises(InvalidState, match="'failed'"):
        driver.apply(2)


# --- revert ---


def test_a_revert_restores_the_replaced_routes_and_signs_them(driver: PlanDriver) -> None:
    first = store_state(driver.store)
    driver.live(2, plans.route(1, priority=9), plans.route(4))
    entry = driver.revert(2)
    after = store_state(driver.store)
    assert after.live == first.live
    assert [run.status for run in after.plans] == ["applied", "reverted"]
    run = after.plans[1]
    assert run.reverted_at is not None
    assert (entry.event, entry.actor, entry.org_id, entry.seq) == ("plan.reverted", PERSON, ORG, 2)
    assert entry.payload == {
        "plan_id": str(UUID(int=2)),
        "reverted_at": run.reverted_at.isoformat(),
        "routes_commitment": routes_commitment(
            derive_blinding(run.nonce, "routes restored"), [plans.route(1)]
        ),
    }
    assert verify_chain(after.entries, KEY.public_key).entries == 3
    assert b"gpt-4o" not in after.entries[-1].body
    assert not drifts(driver.store)


def test_reverts_in_order_restore_the_first_state_exactly(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, plans.route(1), plans.route(2))

    def rows() -> list[Any]:
        with duckdb.connect(str(path), read_only=True) as connection:
            return connection.execute("SELECT * FROM routes ORDER BY name").fetchall()

    first = rows()
    driver.live(2, plans.route(1, priority=8), plans.route(3))
    second = rows()
    driver.live(3, plans.route(1, priority=9), plans.route(3, enabled=False), plans.route(4))
    assert len({repr(first), repr(second), repr(rows())}) == 3
    driver.revert(3)
    assert rows() == second
    driver.revert(2)
    assert rows() == first
    assert not drifts(driver.store)


def test_a_superseded_plan_is_not_reverted(
    driver: PlanDriver,
) -> None:
    driver.live(2, plans.route(2, priority=9))
    before = store_state(driver.store)
    with pytest.raises(
        SupersededPlan,
        match=r"plan .*2 \('plan 2'\) has since changed its routes 'route 2'; revert that plan",
    ) as caught:
        driver.revert(1)
    assert (caught.value.by, caught.value.routes, caught.value.exit_code) == (
        UUID(int=2),
        ("route 2",),
        1,
    )
    assert store_state(driver.store) == before
    driver.revert(2)
    driver.revert(1)
    assert store_state(driver.store).live == []


def test_a_later_plan_with_other_routes_stays_live(driver: PlanDriver) -> None:
    driver.live(2, plans.route(4))
    driver.revert(1)
    assert plan_ids_by_route(driver.store) == {"route 4": 2}


def test_a_plan_without_routes_is_reverted(driver: PlanDriver) -> None:
    driver.live(2)
    driver.revert(2)
    assert plan_ids_by_route(driver.store) == {"route 1": 1, "route 2": 1}


def test_an_unknown_plan_is_not_reverted(driver: PlanDriver) -> None:
    before = store_state(driver.store)
    with pytest.raises(PlanNotFound):
        driver.revert(99)
    assert store_state(driver.store) == before


@pytest.mark.parametrize("status", ["projected", "failed"])
def test_a_plan_that_is_not_applied_is_invalid_state(driver: PlanDriver, status: str) -> None:
    driver.project(2, plans.route(5), status=status)
    before = store_state(driver.store)
    with pytest.raises(
        InvalidState, match=f"is '{status}'; only a plan that is 'applied'"
    ) as caught:
        driver.revert(2)
    assert caught.value.state == status
    assert store_state(driver.store) == before


def test_reverting_twice_and_applying_again_are_invalid_state(driver: PlanDriver) -> None:
    driver.revert(1)
    before = store_state(driver.store)
    with pytest.raises(InvalidState, match="'reverted'"):
        driver.revert(1)
    with pytest.raises(InvalidState, match="'reverted'"):
        driver.apply(1)
    assert store_state(driver.store) == before


def test_a_result_can_be_given_instead_of_an_id(driver: PlanDriver) -> None:
    other = plans.result(UUID(int=1), org_id=UUID(int=9))
    with pytest.raises(ApplyError, match="belongs to"):
        revert_plan(driver.store, driver.chain, other, PERSON)
    assert (
        ttplan.revert_plan(driver.store, driver.chain, plans.run(1).result, PERSON).event
        == "plan.reverted"
    )


def test_a_failed_route_write_leaves_nothing_written() -> None:
    driver = PlanDriver(MemoryStore())
    driver.live(1, plans.route(1))
    before = store_state(driver.store)
    driver.store._fail_route_write = True  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="nothing was written"):
        driver.revert(1)
    assert store_state(driver.store) == before


@pytest.mark.parametrize("step", ["mark_reverted", "live_routes", "entries"])
def test_any_failure_in_the_store_is_rolled_back(
    driver: PlanDriver, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store_state(driver.store)
    with driver.store.transaction() as tx:
        kind = type(tx)
    original = getattr(kind, step)

    def breaking(*arguments: Any, **named: Any) -> Any:
        original(*arguments, **named)
        raise RuntimeError("the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(kind, step, breaking)
        with pytest.raises(
            StoreError, match="could not be reverted, nothing was written: the disk is on fire"
        ):
            driver.revert(1)
    assert store_state(driver.store) == before


def test_a_time_that_cannot_be_signed_writes_nothing() -> None:
    driver = PlanDriver(MemoryStore())
    driver.live(1, plans.route(1))
    before = store_state(driver.store)
    with pytest.raises(
        AuditError,
        match=r"was not reverted, its audit entry cannot be written: .* has no time zone",
    ):
        revert_plan(
            driver.store, driver.chain, UUID(int=1), PERSON, clock=lambda: AT.replace(tzinfo=None)
        )
    assert store_state(driver.store) == before


def test_an_audit_failure_in_the_own_chain_is_rolled_back(driver: PlanDriver) -> None:
    before = store_state(driver.store)
    with pytest.raises(AuditError, match="was not reverted") as caught:
        revert_plan(driver.store, StoreChain(driver.store, OTHER_KEY), UUID(int=1), PERSON)
    assert caught.value.applied is False
    assert store_state(driver.store) == before


@pytest.mark.parametrize("kind", STORE_PARAMETERS)
def test_an_external_writer_is_called_after_the_revert(kind: str, tmp_path: Path) -> None:
    """With an external chain, the replaced routes come from the plan's row."""
    driver = PlanDriver(STORES[kind](tmp_path))
    first, second = (
        driver.project(1, plans.route(1), plans.route(2)),
        driver.project(2, plans.route(1, priority=9)),
    )
    writer = Foreign()
    apply_plan(driver.store, writer, first.result, PERSON, clock=driver.clock)
    before = store_state(driver.store).live
    apply_plan(driver.store, writer, second.result, PERSON, clock=driver.clock, allow_stale=True)

    class Looking(Foreign):
        def emit(self, org_id: UUID, actor: Any, event: str, payload: Mapping[str, Any]) -> Any:
            assert store_state(driver.store).live == before
            return super().emit(org_id, actor, event, payload)

    looking = Looking()
    revert_plan(driver.store, looking, UUID(int=2), PERSON)
    assert [(event, payload["plan_id"]) for _, _, event, payload in looking.emitted] == [
        ("plan.reverted", str(UUID(int=2)))
    ]
    with pytest.raises(
        AuditError, match=r"IS reverted.*re-emit the entry, do not revert it again"
    ) as caught:
        revert_plan(driver.store, Foreign(failing=True), UUID(int=1), PERSON)
    assert caught.value.applied is True
    assert store_state(driver.store).live == []


def test_an_older_row_is_reverted_by_the_chain_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, plans.route(1))
    first = store_state(driver.store).live
    driver.live(2, plans.route(1, priority=9))
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE plan_runs SET replaced = NULL")
    driver.revert(2)
    assert store_state(driver.store).live == first
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM audit_entries")
    with pytest.raises(DriftError, match="what it replaced was not stored"):
        driver.revert(1)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            "UPDATE routes SET priority = 77 WHERE name = 'route 1'",
            "its 'route 1' is not live as the plan wrote it",
        ),
        (
            "DELETE FROM routes WHERE name = 'route 2'",
            "its 'route 2' is not live as the plan wrote it",
        ),
        (
            "UPDATE routes SET plan_id = uuid() WHERE name = 'route 2'",
            "its 'route 2' is not live as the plan wrote it",
        ),
        (
            "UPDATE plan_runs SET nonce = repeat('0', 64) WHERE name = 'plan 1'",
            "is unknown: entry 0",
        ),
        (
            "UPDATE audit_entries SET body = replace(body, '1234', '1235') WHERE seq = 0",
            "before plan .*1 cannot be trusted: entry 0: its content",
        ),
        (
            "DELETE FROM audit_entries WHERE seq = 0",
            "before plan .*1 cannot be trusted: entry 0: seq is 1",
        ),
    ],
)
def test_a_drifted_store_is_not_reverted(tmp_path: Path, edit: str, message: str) -> None:
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, plans.route(1), plans.route(2))
    driver.live(2, plans.route(3))
    with duckdb.connect(str(path)) as connection:
        connection.execute(edit)
    before = store_state(driver.store)
    with pytest.raises(DriftError, match=message):
        driver.revert(1)
    assert store_state(driver.store) == before


def test_the_chain_overrides_what_a_row_says_it_replaced(tmp_path: Path) -> None:
    """Otherwise an edited `replaced` would make a route live that nobody signed for."""
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, plans.route(1))
    first = store_state(driver.store).live
    driver.live(2, plans.route(1, priority=9))
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "UPDATE plan_runs SET replaced = replace(replaced, 'gpt-4o-mini', 'evil') "
            "WHERE name = 'plan 2'"
        )
    driver.revert(2)
    assert store_state(driver.store).live == first


step = st.tuples(
    st.sampled_from(["apply", "revert"]),
    st.integers(0, 5),
    st.lists(st.integers(1, 4), max_size=3, unique=True),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(step, max_size=12))
def test_live_routes_follow_from_plans_and_chain(
    steps: list[Any],
) -> None:
    """Reverting all plans, last first, restores each earlier state and ends with no live route."""
    driver = PlanDriver(MemoryStore())
    stack: list[tuple[int, Any]] = []
    own: dict[int, set[str]] = {}
    for number, (what, which, names) in enumerate(steps, 1):
        if what == "apply":
            stack.append((number, store_state(driver.store).live))
            own[number] = {f"r{n}" for n in names}
            driver.live(
                number,
                *(plans.route(100 * number + n, name=f"r{n}", priority=number) for n in names),
            )
        elif stack:
            plan, _ = stack[which % len(stack)]
            touched = {
                plan_id
                for name, plan_id in plan_ids_by_route(driver.store).items()
                if name in own[plan]
            } - {plan}
            if touched:
                with pytest.raises(SupersededPlan) as caught:
                    driver.revert(plan)
                assert caught.value.by.int in touched
                continue
            driver.revert(plan)
            # States before later plans with other routes are not restored exactly.
            stack = [
                (plan_id, None if plan_id > plan else before)
                for plan_id, before in stack
                if plan_id != plan
            ]
        assert not drifts(driver.store)
    for number, before in reversed(stack):
        driver.revert(number)
        if before is not None:
            assert store_state(driver.store).live == before
    assert store_state(driver.store).live == []
    assert not drifts(driver.store)


def test_a_clock_set_back_changes_nothing(driver: PlanDriver) -> None:
    first = store_state(driver.store).live
    driver.now = AT - timedelta(days=3)
    driver.live(2, plans.route(1, priority=9))
    driver.revert(2)
    assert store_state(driver.store).live == first
    assert not drifts(driver.store)
    assert [json.loads(record.body)["event"] for record in store_state(driver.store).entries][
        1:
    ] == [
        "plan.applied",
        "plan.reverted",
    ]
