"""Drift is found per route, a repair restores the signed routes, history needs no live ones."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

from tests.audit.chains import KEY, OTHER_KEY
from tests.store.conftest import STORES
from tests.support import plans
from tests.support.plan_driver import AT, ORG, PERSON, PlanDriver, plan_ids_by_route, store_state
from ttplan.apply import StoreChain
from ttplan.audit.verify.chain import verify_chain
from ttplan.history.timeline import build_history
from ttplan.model.errors import AuditError, DriftError, InputError, StoreError
from ttplan.model.results.drift import Drift
from ttplan.model.stored_plan import LiveRoute
from ttplan.operations.routes.drift import find_drift
from ttplan.operations.routes.history import route_events, routes_at
from ttplan.operations.routes.repair import repair_routes
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.memory import MemoryStore
from ttplan.store.protocol import Store


def drift_of(store: Store, key: Any = KEY) -> Drift:
    with store.read() as snapshot:
        return find_drift(snapshot, ORG, None if key is None else key.public_key, own_key=False)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PlanDriver:
    """A store in a file: plan 1 put routes 1 and 2 live, 2 replaced route 1 and added 3, 3 was
    reverted, 4 is projected.
    """
    made = PlanDriver(DuckDBStore(tmp_path_factory.mktemp("prepared") / "s.duckdb"))
    made.live(1, plans.route(1), plans.route(2))
    made.live(2, plans.route(1, priority=9), plans.route(3))
    made.live(3, plans.route(2, priority=8), plans.route(4))
    made.revert(3)
    made.project(4, plans.route(7))
    return made


@pytest.fixture
def driver(prepared: PlanDriver, tmp_path: Path) -> PlanDriver:
    """A copy of the prepared store."""
    assert isinstance(prepared.store, DuckDBStore)
    made = PlanDriver(DuckDBStore(Path(shutil.copy(prepared.store.path, tmp_path))))
    made.now = prepared.now
    return made


def edit(driver: PlanDriver, *statements: str) -> None:
    """Write to the file past ttplan."""
    assert isinstance(driver.store, DuckDBStore)
    with duckdb.connect(str(driver.store.path)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_an_untouched_store_has_no_drift(driver: PlanDriver) -> None:
    drift = drift_of(driver.store)
    assert (drift.ok, drift.exit_code, drift.entries, drift.live, drift.chain) == (
        True,
        0,
        4,
        3,
        "verified",
    )


@pytest.mark.parametrize("kind", sorted(STORES))
def test_a_live_route_past_the_plans_is_found_on_every_store(kind: str, tmp_path: Path) -> None:
    driver = PlanDriver(STORES[kind](tmp_path))
    driver.live(1, plans.route(1), plans.route(2))
    good = store_state(driver.store).live
    foreign = LiveRoute(route=plans.route(5), plan_id=UUID(int=1), applied_at=AT)
    with driver.store.transaction() as tx:
        tx.set_live_routes(
            ORG, [good[0].model_copy(update={"applied_at": AT - timedelta(1)}), foreign]
        )
    drift = drift_of(driver.store)
    assert [(route.name, route.kind, route.fields) for route in drift.routes] == [
        ("route 1", "missing", ()),
        ("route 2", "edited", ("applied_at",)),
        ("route 5", "foreign", ()),
    ]
    assert drift.exit_code == 1
    entry = repair_routes(driver.chain, ORG, PERSON, clock=driver.clock)
    assert entry is not None
    assert store_state(driver.store).live == good
    assert drift_of(driver.store).ok
    assert verify_chain(store_state(driver.store).entries, KEY.public_key).entries == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("priority = 77", "priority"),
        ("enabled = false", "enabled"),
        ("sticky = 'session'", "sticky"),
        ("route_id = '00000000-0000-0000-0000-0000000000ff'", "id"),
        (
            "conditions = replace(conditions, '0.0123456789012345', '0.01234567890123451')",
            "when.estimated_cost_gt",
        ),
        ('conditions = replace(conditions, \'"gpt-4o"\', \'"gpt-4o","o3"\')', "when.model_in"),
        ("action = replace(action, 'gpt-4o-mini', 'evil')", "then.target_model"),
        ("plan_id = '00000000-0000-0000-0000-000000000001'", "plan_id"),
        ("applied_at = applied_at + INTERVAL 1 MICROSECOND", "applied_at"),
    ],
)
def test_each_edit_in_sql_is_named_by_route_and_field(
    driver: PlanDriver, change: str, field: str
) -> None:
    edit(driver, f"UPDATE routes SET {change} WHERE name = 'route 3'")
    (route,) = drift_of(driver.store).routes
    assert (route.name, route.kind, route.fields) == ("route 3", "edited", (field,))
    assert route.expected is not None
    assert route.expected.route == plans.route(3)


def test_a_row_that_is_no_route_any_more_and_a_renamed_one(driver: PlanDriver) -> None:
    edit(
        driver,
        "UPDATE routes SET conditions = '{broken' WHERE name = 'route 3'",
        "UPDATE routes SET name = 'mine' WHERE name = 'route 2'",
    )
    drift = drift_of(driver.store)
    assert [(route.name, route.kind) for route in drift.routes] == [
        ("mine", "foreign"),
        ("route 2", "missing"),
        ("route 3", "edited"),
    ]
    assert drift.routes[2].unreadable is not None
    assert repair_routes(driver.chain, ORG, PERSON) is not None
    assert drift_of(driver.store).ok


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "UPDATE plan_runs SET result = replace(result, 'gpt-4o-mini', 'evil') WHERE name "
            "= 'plan 2'",
            "signed for other routes",
        ),
        (
            "UPDATE plan_runs SET nonce = repeat('a', 64) WHERE name = 'plan 2'",
            "signed for other routes",
        ),
        ("UPDATE plan_runs SET result = '{' WHERE name = 'plan 2'", "is corrupt"),
        ("DELETE FROM plan_runs WHERE name = 'plan 2'", "which has no row"),
        (
            "UPDATE audit_entries SET body = replace(body, '1234', '1235') WHERE seq = 1",
            "content hashes to",
        ),
        ("DELETE FROM audit_entries WHERE seq = 1", "seq is 2, expected 1"),
    ],
)
def test_nothing_is_repaired_if_the_signed_state_is_unknown(
    driver: PlanDriver, change: str, message: str
) -> None:
    edit(driver, change, "UPDATE routes SET priority = 77 WHERE name = 'route 2'")
    drift = drift_of(driver.store)
    assert any(message in problem.message and problem.blocks for problem in drift.problems)
    assert drift.exit_code == 1
    before = tables(driver)
    with pytest.raises(DriftError, match="so nothing was repaired") as caught:
        repair_routes(driver.chain, ORG, PERSON)
    assert caught.value.exit_code == 1
    assert tables(driver) == before


def tables(driver: PlanDriver) -> list[Any]:
    """The rows, whatever they hold."""
    assert isinstance(driver.store, DuckDBStore)
    with duckdb.connect(str(driver.store.path), read_only=True) as connection:
        names = ("plan_runs", "routes", "audit_entries")
        return [
            sorted(map(repr, connection.execute(f"SELECT * FROM {name}").fetchall()))
            for name in names
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "UPDATE plan_runs SET status = 'projected' WHERE name = 'plan 2'",
            "says projected, and the chain that it is applied",
        ),
        (
            "UPDATE plan_runs SET status = 'applied' WHERE name = 'plan 3'",
            "says applied, and the chain that it is reverted",
        ),
        (
            "UPDATE plan_runs SET status = 'applied' WHERE name = 'plan 4'",
            "says applied, and no entry of the chain does",
        ),
        ("UPDATE plan_runs SET applied_at = NULL WHERE name = 'plan 2'", "its row says nothing"),
        (
            "UPDATE plan_runs SET reverted_at = '2020-01-01 00:00:00+00' WHERE name = 'plan 3'",
            "its row says 2020-01-01T00",
        ),
    ],
)
def test_an_unsigned_status_is_reported_and_allows_a_repair(
    driver: PlanDriver, change: str, message: str
) -> None:
    edit(driver, change, "DELETE FROM routes")
    drift = drift_of(driver.store)
    assert [message in problem.message for problem in drift.problems] == [True]
    assert [problem.blocks for problem in drift.problems] == [False]
    assert repair_routes(driver.chain, ORG, PERSON) is not None
    assert plan_ids_by_route(driver.store) == {"route 1": 2, "route 2": 1, "route 3": 2}
    assert drift_of(driver.store).routes == ()
    assert drift_of(driver.store).exit_code == 1


def test_an_emptied_chain_makes_every_route_foreign(driver: PlanDriver) -> None:
    edit(driver, "DELETE FROM audit_entries")
    drift = drift_of(driver.store)
    assert {route.kind for route in drift.routes} == {"foreign"}
    assert any("no entry of the chain does" in problem.message for problem in drift.problems)


def test_drift_reports_a_wrong_key_and_a_missing_one(
    driver: PlanDriver,
) -> None:
    assert drift_of(driver.store, OTHER_KEY).chain == "broken"
    assert not drift_of(driver.store, OTHER_KEY).ok
    unverified = drift_of(driver.store, None)
    assert unverified.ok
    assert unverified.chain == "not verified: there is no key"
    edit(
        driver,
        "UPDATE audit_entries SET body = '{' WHERE seq = 1",
        "UPDATE audit_entries SET body = '[]' WHERE seq = 2",
    )
    messages = [problem.message for problem in drift_of(driver.store, None).problems]
    assert messages[:2] == ["entry 1 is corrupt", "entry 2 is corrupt"]


def test_a_store_with_nothing_in_it_has_no_drift() -> None:
    store = MemoryStore()
    assert drift_of(store).ok
    with store.read() as snapshot:
        assert find_drift(snapshot, None, None, own_key=True).ok


def test_a_repair_is_signed_counts_and_shows_no_route(driver: PlanDriver) -> None:
    edit(
        driver,
        "UPDATE routes SET priority = 77 WHERE name = 'route 1'",
        "DELETE FROM routes WHERE name = 'route 2'",
        "INSERT INTO routes SELECT * REPLACE ('evil' AS name) FROM routes WHERE name = 'route 3'",
    )
    entry = repair_routes(driver.chain, ORG, PERSON, clock=lambda: AT)
    assert entry is not None
    assert (entry.event, entry.actor) == ("routes.repaired", PERSON)
    assert entry.payload == {
        "repaired_at": "2026-05-03T12:00:00+00:00",
        "edited": 1,
        "missing": 1,
        "foreign": 1,
    }
    assert drift_of(driver.store).ok
    before = store_state(driver.store)
    assert repair_routes(driver.chain, ORG, PERSON) is None
    assert store_state(driver.store) == before
    driver.revert(2)
    assert plan_ids_by_route(driver.store) == {"route 1": 1, "route 2": 1}
    assert drift_of(driver.store).ok


def test_a_repair_that_fails_changes_nothing(
    driver: PlanDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(driver, "DELETE FROM routes WHERE name = 'route 2'")
    before = store_state(driver.store)
    with pytest.raises(DriftError, match="signature"):
        repair_routes(StoreChain(driver.store, OTHER_KEY), ORG, PERSON)

    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr("ttplan.store.chain.next_entry", failing)
        with pytest.raises(AuditError, match="were not repaired"):
            repair_routes(driver.chain, ORG, PERSON)
    with monkeypatch.context() as patch:
        patch.setattr("ttplan.store.duckdb.snapshot.DuckDBTransaction.set_live_routes", failing)
        with pytest.raises(
            StoreError, match="could not be repaired, nothing was written: the disk is on fire"
        ):
            repair_routes(driver.chain, ORG, PERSON)
    assert store_state(driver.store) == before


# --- history ------------------------------------------------------------------


def test_past_routes_do_not_depend_on_the_live_ones() -> None:
    driver = PlanDriver(MemoryStore())
    moments = [driver.clock()]
    states: list[list[LiveRoute]] = [[]]

    def after(*_: object) -> None:
        moments.append(driver.clock())
        states.append(store_state(driver.store).live)

    after(driver.live(1, plans.route(1), plans.route(2)))
    after(driver.live(2, plans.route(1, priority=9), plans.route(3)))
    after(driver.live(3, plans.route(4)))
    after(driver.revert(2))
    with driver.store.transaction() as tx:
        tx.set_live_routes(ORG, [])
    assert [routes_at(driver.store, moment) for moment in moments] == states
    assert len(states[2]) == 3
    applied = store_state(driver.store).plans[0].applied_at
    assert applied is not None
    assert len(routes_at(driver.store, applied)) == 2
    assert routes_at(driver.store, applied - timedelta(microseconds=1)) == []
    assert routes_at(MemoryStore(), datetime(2026, 5, 3, tzinfo=UTC)) == []


def test_the_history_of_a_route_by_name(driver: PlanDriver) -> None:
    turns = route_events(driver.store, "route 2")
    assert [
        (turn.seq, turn.event, turn.plan_name, turn.live and turn.live.route.priority)
        for turn in turns
    ] == [
        (0, "plan.applied", "plan 1", 2),
        (2, "plan.applied", "plan 3", 8),
        (3, "plan.reverted", "plan 3", 2),
    ]
    gone = route_events(driver.store, "route 4")
    assert [turn.live is not None for turn in gone] == [True, False]
    with pytest.raises(
        InputError, match="no route 'route 7' was ever live; there were 'route 1', 'route 2'"
    ):
        route_events(driver.store, "route 7")
    with pytest.raises(InputError, match="no plan was applied yet"):
        route_events(MemoryStore(), "route 1")


def test_a_clock_set_back_does_not_reorder_the_history() -> None:
    driver = PlanDriver(MemoryStore())
    driver.live(1, plans.route(1))
    first = store_state(driver.store).plans[0].applied_at
    assert first is not None
    driver.now = AT - timedelta(days=5)
    driver.live(2, plans.route(1, priority=9))
    assert [route.plan_id.int for route in routes_at(driver.store, first)] == [2]
    assert routes_at(driver.store, AT - timedelta(days=1)) == []
    assert [turn.since for turn in route_events(driver.store, "route 1")] == [first, first]


def test_history_needs_rows_that_are_what_was_signed_for(driver: PlanDriver) -> None:
    edit(driver, "UPDATE plan_runs SET nonce = repeat('a', 64) WHERE name = 'plan 1'")
    with pytest.raises(
        DriftError, match=r"what was live when cannot be known: entry 0 .*see `ttplan drift`"
    ):
        routes_at(driver.store, AT)


@pytest.mark.parametrize(
    ("event", "payload", "message"),
    [
        ("plan.applied", {}, "does not name a plan"),
        ("plan.applied", {"plan_id": 7}, "does not name a plan"),
        ("plan.applied", {"plan_id": str(UUID(int=4))}, "has no applied_at"),
        ("plan.applied", {"plan_id": str(UUID(int=4)), "applied_at": "soon"}, "has no applied_at"),
        (
            "plan.applied",
            {"plan_id": str(UUID(int=4)), "applied_at": AT.isoformat()},
            "signed for other routes than the row",
        ),
        (
            "plan.reverted",
            {"plan_id": str(UUID(int=4)), "reverted_at": AT.isoformat()},
            "which no entry before it applied",
        ),
        (
            "plan.reverted",
            {"plan_id": str(UUID(int=3)), "reverted_at": AT.isoformat()},
            "which no entry before it applied",
        ),
        (
            "plan.reverted",
            {"plan_id": str(UUID(int=1)), "reverted_at": AT.isoformat()},
            "'route 1' had changed by then",
        ),
        (
            "plan.reverted",
            {"plan_id": str(UUID(int=2)), "reverted_at": AT.isoformat()},
            "other routes than what plan",
        ),
    ],
)
def test_an_entry_that_cannot_be_followed_says_why(
    driver: PlanDriver, event: str, payload: dict[str, Any], message: str
) -> None:
    driver.chain.emit(ORG, PERSON, event, payload)
    problems = [problem for problem in drift_of(driver.store).problems if problem.blocks]
    assert [problem.seq for problem in problems][-1:] == [4]
    assert len(problems) == 1
    assert message in problems[0].message


def test_other_events_are_passed_over(driver: PlanDriver) -> None:
    driver.chain.emit(ORG, PERSON, "key.rotated", {"plan_id": "none"})
    assert drift_of(driver.store).ok
    with driver.store.read() as snapshot:
        assert [step.seq for step in build_history(snapshot.entries(ORG), snapshot.plan).steps] == [
            0,
            1,
            2,
            3,
        ]
    assert json.loads(store_state(driver.store).entries[4].body)["event"] == "key.rotated"
