"""Stale plans and reverts: every row of the contract's table, on every store, and that the first state comes back."""

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
from tests.store.conftest import STORES
from tests.support import plans
from tests.support.lives import AT, ORG, PERSON, Life, live_names, state
from tests.test_apply import Foreign
from ttplan.apply import StoreChain, apply_plan, revert_plan
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
    TouchedSince,
)
from ttplan.operations.routes.drift import find_drift
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.memory import MemoryStore
from ttplan.store.protocol import Store


@pytest.fixture(params=sorted(STORES))
def life(request: pytest.FixtureRequest, tmp_path: Path) -> Life:
    """A store with plan 1 live, which has routes 1 and 2."""
    made = Life(STORES[request.param](tmp_path))
    made.live(1, plans.route(1), plans.route(2))
    return made


def drifts(store: Store) -> bool:
    with store.read() as snapshot:
        return not find_drift(snapshot, ORG, KEY.public_key, own_key=False).ok


# --- stale plans -----------------------------------------------------------------------------------------------------


def test_a_plan_computed_against_other_routes_is_stale_and_names_what_changed_and_by_which_plan(
    life: Life,
) -> None:
    life.project(2, plans.route(5))
    life.live(3, plans.route(1, priority=9), plans.route(4))
    before = state(life.store)
    with pytest.raises(
        StalePlan,
        match=r"'route 1' was replaced by applying plan .*3; route 'route 4' was added by",
    ) as caught:
        life.apply(2)
    assert [(one.name, one.how, one.plan_id) for one in caught.value.changes] == [
        ("route 1", "replaced", UUID(int=3)),
        ("route 4", "added", UUID(int=3)),
    ]
    assert caught.value.exit_code == 1
    assert state(life.store) == before


def test_an_allowed_stale_apply_is_recorded_and_only_that(life: Life) -> None:
    life.project(2, plans.route(5))
    life.live(3, plans.route(4))
    assert life.apply(2, allow_stale=True).payload["allowed_stale"] is True
    life.project(6, plans.route(6))
    assert "allowed_stale" not in life.apply(6, allow_stale=True).payload


def test_reverts_since_are_named(life: Life) -> None:
    life.live(2, plans.route(1, priority=9), plans.route(4))
    life.project(3, plans.route(5))
    life.revert(2)
    with pytest.raises(StalePlan) as caught:
        life.apply(3)
    assert [(one.name, one.how, one.plan_id) for one in caught.value.changes] == [
        ("route 1", "put back", UUID(int=2)),
        ("route 4", "removed", UUID(int=2)),
    ]
    assert "was put back by reverting plan" in str(caught.value)


def test_the_same_routes_by_another_plan_are_not_stale(life: Life) -> None:
    life.project(2, plans.route(5))
    life.live(3, plans.route(4))
    life.revert(3)
    life.live(4, plans.route(1))
    life.apply(2)
    assert live_names(life.store) == {"route 1": 4, "route 2": 1, "route 5": 2}


def test_a_change_past_ttplan_is_by_no_plan(tmp_path: Path) -> None:
    life = Life(DuckDBStore(tmp_path / "s.duckdb"))
    life.live(1, plans.route(1), plans.route(2))
    life.project(2, plans.route(5))
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        connection.execute("UPDATE routes SET priority = 77 WHERE name = 'route 1'")
        connection.execute("DELETE FROM routes WHERE name = 'route 2'")
    with pytest.raises(
        StalePlan, match=r"was replaced not by a plan \(see `ttplan drift`\)"
    ) as caught:
        life.apply(2)
    assert {(one.name, one.how, one.plan_id) for one in caught.value.changes} == {
        ("route 1", "replaced", None),
        ("route 2", "removed", None),
    }


def test_many_changes_are_counted(life: Life) -> None:
    life.project(2, plans.route(5))
    life.live(3, *(plans.route(n) for n in range(10, 20)))
    with pytest.raises(StalePlan, match="; and 5 more"):
        life.apply(2)


def test_a_row_that_does_not_remember_what_was_live_is_never_stale(life: Life) -> None:
    life.project(2, plans.route(5), live_seen=None)
    life.live(3, plans.route(4))
    assert "allowed_stale" not in life.apply(2).payload


def test_state_comes_before_staleness(life: Life) -> None:
    life.project(2, plans.route(5), status="failed")
    life.live(3, plans.route(4))
    with pytest.raises(InvalidState, match="'failed'"):
        life.apply(2)


# --- revert ----------------------------------------------------------------------------------------------------------


def test_reverting_puts_back_what_was_replaced_and_signs_for_it(life: Life) -> None:
    first = state(life.store)
    life.live(2, plans.route(1, priority=9), plans.route(4))
    entry = life.revert(2)
    after = state(life.store)
    assert after.live == first.live
    assert [run.status for run in after.plans] == ["applied", "reverted"]
    run = after.plans[1]
    assert run.reverted_at is not None
    assert (entry.event, entry.actor, entry.org_id, entry.seq) == ("plan.reverted", PERSON, ORG, 2)
    assert entry.payload == {
        "plan_id": str(UUID(int=2)),
        "reverted_at": run.reverted_at.isoformat(),
        "routes_commitment": routes_commitment(run.nonce, [plans.route(1)]),
    }
    assert verify_chain(after.entries, KEY.public_key).entries == 3
    assert b"gpt-4o" not in after.entries[-1].body
    assert not drifts(life.store)


def test_b_after_a_reverted_in_order_ends_in_the_first_state_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    life = Life(DuckDBStore(path))
    life.live(1, plans.route(1), plans.route(2))

    def rows() -> list[Any]:
        with duckdb.connect(str(path), read_only=True) as connection:
            return connection.execute("SELECT * FROM routes ORDER BY name").fetchall()

    first = rows()
    life.live(2, plans.route(1, priority=8), plans.route(3))
    second = rows()
    life.live(3, plans.route(1, priority=9), plans.route(3, enabled=False), plans.route(4))
    assert len({repr(first), repr(second), repr(rows())}) == 3
    life.revert(3)
    assert rows() == second
    life.revert(2)
    assert rows() == first
    assert not drifts(life.store)


def test_where_a_later_plan_touched_the_same_routes_revert_refuses_and_names_it(life: Life) -> None:
    life.live(2, plans.route(2, priority=9))
    before = state(life.store)
    with pytest.raises(
        TouchedSince,
        match=r"plan .*2 \('plan 2'\) has since touched its 'route 2'; revert that one",
    ) as caught:
        life.revert(1)
    assert (caught.value.by, caught.value.routes, caught.value.exit_code) == (
        UUID(int=2),
        ("route 2",),
        1,
    )
    assert state(life.store) == before
    life.revert(2)
    life.revert(1)
    assert state(life.store).live == []


def test_a_later_plan_on_other_routes_is_left_alone(life: Life) -> None:
    life.live(2, plans.route(4))
    life.revert(1)
    assert live_names(life.store) == {"route 4": 2}


def test_a_plan_without_routes_is_reverted(life: Life) -> None:
    life.live(2)
    life.revert(2)
    assert live_names(life.store) == {"route 1": 1, "route 2": 1}


def test_no_such_plan(life: Life) -> None:
    before = state(life.store)
    with pytest.raises(PlanNotFound):
        life.revert(99)
    assert state(life.store) == before


@pytest.mark.parametrize("status", ["projected", "failed"])
def test_a_plan_that_is_not_applied_is_invalid_state(life: Life, status: str) -> None:
    life.project(2, plans.route(5), status=status)
    before = state(life.store)
    with pytest.raises(
        InvalidState, match=f"is '{status}'; only a plan that is 'applied'"
    ) as caught:
        life.revert(2)
    assert caught.value.state == status
    assert state(life.store) == before


def test_reverting_twice_and_applying_again_are_invalid_state(life: Life) -> None:
    life.revert(1)
    before = state(life.store)
    with pytest.raises(InvalidState, match="'reverted'"):
        life.revert(1)
    with pytest.raises(InvalidState, match="'reverted'"):
        life.apply(1)
    assert state(life.store) == before


def test_a_result_is_as_good_as_an_id_and_has_to_be_of_the_organisation(life: Life) -> None:
    other = plans.result(UUID(int=1), org_id=UUID(int=9))
    with pytest.raises(ApplyError, match="belongs to"):
        revert_plan(life.store, life.chain, other, PERSON)
    assert (
        ttplan.revert_plan(life.store, life.chain, plans.run(1).result, PERSON).event
        == "plan.reverted"
    )


def test_a_store_that_cannot_write_routes_is_a_store_error_and_writes_nothing() -> None:
    life = Life(MemoryStore())
    life.live(1, plans.route(1))
    before = state(life.store)
    life.store._fail_route_write = True  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="nothing was written"):
        life.revert(1)
    assert state(life.store) == before


@pytest.mark.parametrize("step", ["mark_reverted", "live_routes", "entries"])
def test_whatever_breaks_in_the_store_is_a_store_error_and_is_rolled_back(
    life: Life, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(life.store)
    with life.store.transaction() as tx:
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
            life.revert(1)
    assert state(life.store) == before


def test_a_moment_that_cannot_be_signed_is_an_audit_error_and_writes_nothing() -> None:
    life = Life(MemoryStore())
    life.live(1, plans.route(1))
    before = state(life.store)
    with pytest.raises(
        AuditError,
        match=r"was not reverted, its audit entry cannot be written: .* has no time zone",
    ):
        revert_plan(
            life.store, life.chain, UUID(int=1), PERSON, clock=lambda: AT.replace(tzinfo=None)
        )
    assert state(life.store) == before


def test_audit_failing_in_the_stores_own_chain_rolls_everything_back(life: Life) -> None:
    before = state(life.store)
    with pytest.raises(AuditError, match="was not reverted") as caught:
        revert_plan(life.store, StoreChain(life.store, OTHER_KEY), UUID(int=1), PERSON)
    assert caught.value.applied is False
    assert state(life.store) == before


@pytest.mark.parametrize("kind", sorted(STORES))
def test_a_foreign_writer_is_told_after_the_routes_are_back(kind: str, tmp_path: Path) -> None:
    """With the chain elsewhere, what was replaced comes from the plan's row."""
    life = Life(STORES[kind](tmp_path))
    first, second = (
        life.project(1, plans.route(1), plans.route(2)),
        life.project(2, plans.route(1, priority=9)),
    )
    writer = Foreign()
    apply_plan(life.store, writer, first.result, PERSON, clock=life.clock)
    before = state(life.store).live
    apply_plan(life.store, writer, second.result, PERSON, clock=life.clock, allow_stale=True)

    class Looking(Foreign):
        def emit(self, org_id: UUID, actor: Any, event: str, payload: Mapping[str, Any]) -> Any:
            assert state(life.store).live == before
            return super().emit(org_id, actor, event, payload)

    told = Looking()
    revert_plan(life.store, told, UUID(int=2), PERSON)
    assert [(event, payload["plan_id"]) for _, _, event, payload in told.emitted] == [
        ("plan.reverted", str(UUID(int=2)))
    ]
    with pytest.raises(
        AuditError, match=r"IS reverted.*re-emit the entry, do not revert it again"
    ) as caught:
        revert_plan(life.store, Foreign(failing=True), UUID(int=1), PERSON)
    assert caught.value.applied is True
    assert state(life.store).live == []


def test_a_plan_of_an_older_row_is_reverted_by_the_chain_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    life = Life(DuckDBStore(path))
    life.live(1, plans.route(1))
    first = state(life.store).live
    life.live(2, plans.route(1, priority=9))
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE plan_runs SET replaced = NULL")
    life.revert(2)
    assert state(life.store).live == first
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM audit_entries")
    with pytest.raises(DriftError, match="what it replaced was not kept"):
        life.revert(1)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            "UPDATE routes SET priority = 77 WHERE name = 'route 1'",
            "its 'route 1' is not live as it was put there",
        ),
        (
            "DELETE FROM routes WHERE name = 'route 2'",
            "its 'route 2' is not live as it was put there",
        ),
        (
            "UPDATE routes SET plan_id = uuid() WHERE name = 'route 2'",
            "its 'route 2' is not live as it was put there",
        ),
        (
            "UPDATE plan_runs SET nonce = repeat('0', 64) WHERE name = 'plan 1'",
            "cannot be known: entry 0",
        ),
        (
            "UPDATE audit_entries SET body = replace(body, '1234', '1235') WHERE seq = 0",
            "before plan .*1 cannot be believed: entry 0: its content",
        ),
        (
            "DELETE FROM audit_entries WHERE seq = 0",
            "before plan .*1 cannot be believed: entry 0: seq is 1",
        ),
    ],
)
def test_a_drifted_store_is_not_reverted(tmp_path: Path, edit: str, said: str) -> None:
    path = tmp_path / "s.duckdb"
    life = Life(DuckDBStore(path))
    life.live(1, plans.route(1), plans.route(2))
    life.live(2, plans.route(3))
    with duckdb.connect(str(path)) as connection:
        connection.execute(edit)
    before = state(life.store)
    with pytest.raises(DriftError, match=said):
        life.revert(1)
    assert state(life.store) == before


def test_what_a_row_says_it_replaced_is_not_believed_against_the_chain(tmp_path: Path) -> None:
    """An edited `replaced` would otherwise put a route live that nobody signed for."""
    path = tmp_path / "s.duckdb"
    life = Life(DuckDBStore(path))
    life.live(1, plans.route(1))
    first = state(life.store).live
    life.live(2, plans.route(1, priority=9))
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "UPDATE plan_runs SET replaced = replace(replaced, 'gpt-4o-mini', 'evil') WHERE name = 'plan 2'"
        )
    life.revert(2)
    assert state(life.store).live == first


step = st.tuples(
    st.sampled_from(["apply", "revert"]),
    st.integers(0, 5),
    st.lists(st.integers(1, 4), max_size=3, unique=True),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(step, max_size=12))
def test_whatever_is_applied_and_reverted_the_live_routes_follow_from_plans_and_chain(
    steps: list[Any],
) -> None:
    """And undoing everything, last first, ends with nothing live, through each state that was there before."""
    life = Life(MemoryStore())
    stack: list[tuple[int, Any]] = []
    own: dict[int, set[str]] = {}
    for number, (what, which, names) in enumerate(steps, 1):
        if what == "apply":
            stack.append((number, state(life.store).live))
            own[number] = {f"r{n}" for n in names}
            life.live(
                number,
                *(plans.route(100 * number + n, name=f"r{n}", priority=number) for n in names),
            )
        elif stack:
            chosen, _ = stack[which % len(stack)]
            touched = {
                one for name, one in live_names(life.store).items() if name in own[chosen]
            } - {chosen}
            if touched:
                with pytest.raises(TouchedSince) as caught:
                    life.revert(chosen)
                assert caught.value.by.int in touched
                continue
            life.revert(chosen)
            # States before later plans, on other routes, no longer come back as they were.
            stack = [
                (one, None if one > chosen else before) for one, before in stack if one != chosen
            ]
        assert not drifts(life.store)
    for number, before in reversed(stack):
        life.revert(number)
        if before is not None:
            assert state(life.store).live == before
    assert state(life.store).live == []
    assert not drifts(life.store)


def test_a_clock_set_back_changes_nothing(life: Life) -> None:
    first = state(life.store).live
    life.now = AT - timedelta(days=3)
    life.live(2, plans.route(1, priority=9))
    life.revert(2)
    assert state(life.store).live == first
    assert not drifts(life.store)
    assert [json.loads(record.body)["event"] for record in state(life.store).entries][1:] == [
        "plan.applied",
        "plan.reverted",
    ]
