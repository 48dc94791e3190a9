"""A renamed route stays the same route in preview, apply, revert, drift and history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.audit.chains import KEY
from tests.support import plans
from tests.support.contexts import context_of
from tests.support.plan_driver import ORG, PERSON, PlanDriver, plan_ids_by_route, store_state
from tests.test_apply import Foreign
from ttplan.apply import apply_plan, revert_plan
from ttplan.display.routes import PreviewCard
from ttplan.history.timeline import load_history
from ttplan.model.errors import StalePlan, SupersededPlan
from ttplan.model.results.drift import Drift
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import LiveRoute, find_previous_names
from ttplan.operations.plans.apply import preview, preview_revert
from ttplan.operations.routes.drift import find_drift
from ttplan.operations.routes.history import route_events, routes_at
from ttplan.operations.routes.repair import repair_routes
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.memory import MemoryStore


def route(number: int, name: str, **changes: object) -> ProposedRoute:
    """The route with that number and a name."""
    return plans.route(number, name=name, **changes)


@pytest.fixture
def driver() -> PlanDriver:
    """A store with plan 1 live, whose route 1 is called old, and route 2 kept."""
    made = PlanDriver(MemoryStore())
    made.live(1, route(1, "old"), route(2, "kept"))
    return made


def drift(driver: PlanDriver) -> Drift:
    with driver.store.read() as snapshot:
        return find_drift(snapshot, ORG, KEY.public_key, own_key=False)


def history_of(driver: PlanDriver, name: str) -> list[tuple[str, str, bool, str | None]]:
    """The history of a route: plan and event, its name then, whether it is live, its later name."""
    turns = route_events(driver.store, name)
    return [
        (f"{turn.plan_name} {turn.event}", turn.name, turn.live is not None, turn.renamed_to)
        for turn in turns
    ]


def test_a_rename_is_previewed_applied_signed_and_reverted(driver: PlanDriver) -> None:
    first = store_state(driver.store).live
    driver.project(2, route(1, "new", priority=9))
    (change,) = preview(context_of(driver.store, KEY, driver.clock), UUID(int=2)).changes
    assert (change.kind, change.name, [part.field for part in change.fields]) == (
        "renamed",
        "new",
        ["name", "priority"],
    )
    assert change.before == next(row for row in first if row.route.name == "old")
    shown = repr(PreviewCard(preview(context_of(driver.store, KEY, driver.clock), UUID(int=2))))
    assert ">  renamed  new  to" in shown
    assert "name: old → new" in shown
    assert "1 renamed; 1 other live route stays as it is" in shown
    entry = driver.apply(2)
    assert entry.payload["renamed"] == 1
    assert "old" not in json.dumps(dict(entry.payload))
    assert plan_ids_by_route(driver.store) == {"new": 2, "kept": 1}
    assert drift(driver).ok
    (back,) = preview_revert(context_of(driver.store, KEY), UUID(int=2)).changes
    assert (back.kind, back.name) == ("renamed", "old")
    assert "1 renamed back" in repr(
        PreviewCard(preview_revert(context_of(driver.store, KEY), UUID(int=2)))
    )
    driver.revert(2)
    assert store_state(driver.store).live == first
    assert drift(driver).ok


def test_an_apply_without_renames_does_not_record_any(driver: PlanDriver) -> None:
    assert "renamed" not in driver.live(2, route(1, "old", priority=9)).payload


def test_the_route_at_the_new_name_is_removed_and_restored(driver: PlanDriver) -> None:
    first = store_state(driver.store).live
    driver.project(2, route(1, "kept"))
    changes = preview(context_of(driver.store, KEY, driver.clock), UUID(int=2)).changes
    assert [
        (change.kind, change.name, change.before and change.before.route.id.int)
        for change in changes
    ] == [
        ("renamed", "kept", 1),
        ("removed", "kept", 2),
    ]
    driver.apply(2)
    assert plan_ids_by_route(driver.store) == {"kept": 2}
    changes = preview_revert(context_of(driver.store, KEY), UUID(int=2)).changes
    assert {(change.kind, change.name) for change in changes} == {
        ("renamed", "old"),
        ("new", "kept"),
    }
    driver.revert(2)
    assert store_state(driver.store).live == first
    assert drift(driver).ok


def test_two_routes_swap_names_in_one_plan(driver: PlanDriver) -> None:
    first = store_state(driver.store).live
    driver.project(2, route(1, "kept"), route(2, "old"))
    changes = preview(context_of(driver.store, KEY, driver.clock), UUID(int=2)).changes
    assert [(row.kind, row.name, row.before and row.before.route.name) for row in changes] == [
        ("renamed", "kept", "old"),
        ("renamed", "old", "kept"),
    ]
    assert driver.apply(2).payload["renamed"] == 2
    assert {row.route.name: row.route.id.int for row in store_state(driver.store).live} == {
        "kept": 1,
        "old": 2,
    }
    assert [name for _, name, _, _ in history_of(driver, "old")] == ["kept", "old"]
    assert drift(driver).ok
    driver.revert(2)
    assert store_state(driver.store).live == first


def test_the_history_of_a_route_includes_its_earlier_names(driver: PlanDriver) -> None:
    driver.live(2, route(1, "new"))
    driver.live(3, route(1, "newest", priority=9))
    at = driver.clock()
    assert history_of(driver, "newest") == [
        ("plan 1 plan.applied", "old", True, None),
        ("plan 2 plan.applied", "new", True, None),
        ("plan 3 plan.applied", "newest", True, None),
    ]
    assert history_of(driver, "old") == [
        ("plan 1 plan.applied", "old", True, None),
        ("plan 2 plan.applied", "old", False, "new"),
    ]
    driver.revert(3)
    assert history_of(driver, "new")[2:] == [
        ("plan 3 plan.applied", "newest", True, None),
        ("plan 3 plan.reverted", "new", True, None),
    ]
    assert {row.route.name for row in routes_at(driver.store, at)} == {"newest", "kept"}


def test_drift_and_repair_use_the_new_name_of_a_route(driver: PlanDriver) -> None:
    driver.live(2, route(1, "new"))
    good = store_state(driver.store).live
    edited = [
        row.model_copy(update={"route": route(1, "old")}) if row.route.name == "new" else row
        for row in good
    ]
    with driver.store.transaction() as tx:
        tx.set_live_routes(ORG, edited)
    assert [(row.name, row.kind) for row in drift(driver).routes] == [
        ("new", "missing"),
        ("old", "foreign"),
    ]
    assert repair_routes(driver.chain, ORG, PERSON) is not None
    assert store_state(driver.store).live == good


@pytest.mark.parametrize(
    ("later", "touched"),
    [
        ([route(1, "newest")], "new"),  # it has another name since
        ([route(7, "new")], "new"),  # another route stands in its place
        ([route(7, "old")], "old"),  # its old name is taken
    ],
)
def test_a_superseded_rename_is_not_reverted(
    driver: PlanDriver, later: list[ProposedRoute], touched: str
) -> None:
    driver.live(2, route(1, "new"))
    between = store_state(driver.store).live
    driver.live(3, *later)
    before = store_state(driver.store)
    with pytest.raises(SupersededPlan) as caught:
        driver.revert(2)
    assert (caught.value.by, caught.value.routes) == (UUID(int=3), (touched,))
    assert store_state(driver.store) == before
    driver.revert(3)
    assert store_state(driver.store).live == between
    driver.revert(2)
    assert plan_ids_by_route(driver.store) == {"old": 1, "kept": 1}
    assert drift(driver).ok


def test_a_route_is_not_restored_under_two_names(
    driver: PlanDriver,
) -> None:
    driver.live(2, route(7, "old"))  # takes the place of route 1
    driver.live(3, route(1, "elsewhere"))  # which is live again, as another plan's
    with pytest.raises(SupersededPlan, match="has since changed its routes 'old'"):
        driver.revert(2)
    driver.revert(3)
    driver.revert(2)
    assert plan_ids_by_route(driver.store) == {"old": 1, "kept": 1}


def test_a_later_rename_supersedes_even_if_it_was_replaced(driver: PlanDriver) -> None:
    driver.live(2, route(1, "new"))
    driver.live(3, route(1, "newest"))
    driver.live(4, route(7, "newest"))
    with pytest.raises(SupersededPlan) as caught:
        driver.revert(2)
    assert caught.value.by == UUID(int=3)
    for number in (4, 3, 2):
        driver.revert(number)
    assert plan_ids_by_route(driver.store) == {"old": 1, "kept": 1}


def test_a_stale_plan_names_renames_and_their_plans(driver: PlanDriver) -> None:
    driver.project(5, route(9, "x"))
    driver.live(2, route(1, "new"))
    with pytest.raises(StalePlan) as caught:
        driver.apply(5)
    assert [str(change) for change in caught.value.changes] == [
        f"route 'old' was renamed to 'new' by applying plan {UUID(int=2)}",
    ]
    driver.project(6, route(9, "x"))
    driver.revert(2)
    with pytest.raises(StalePlan) as caught:
        driver.apply(6)
    assert [str(change) for change in caught.value.changes] == [
        f"route 'new' was renamed back to 'old' by reverting plan {UUID(int=2)}",
    ]
    driver.apply(5)  # all is again as it was computed against


def test_an_earlier_rename_does_not_explain_a_removal(driver: PlanDriver) -> None:
    driver.live(2, route(1, "new"))
    driver.live(3, route(7, "old"))
    driver.project(4, route(9, "x"))
    driver.revert(3)
    with pytest.raises(StalePlan) as caught:
        driver.apply(4)
    assert [(change.name, change.how, change.plan_id) for change in caught.value.changes] == [
        ("old", "removed", UUID(int=3))
    ]


def test_with_an_external_chain_renames_are_reverted_by_row() -> None:
    driver, writer = PlanDriver(MemoryStore()), Foreign()
    for number, landing in enumerate(
        (route(1, "old"), route(1, "new"), route(1, "newest"), route(7, "old")), 1
    ):
        apply_plan(
            driver.store, writer, driver.project(number, landing).result, PERSON, clock=driver.clock
        )
    for superseded, by in ((2, 3), (2, 4)):
        with pytest.raises(SupersededPlan) as caught:
            revert_plan(driver.store, writer, UUID(int=superseded), PERSON)
        assert caught.value.by == UUID(int=by)
        revert_plan(driver.store, writer, UUID(int=by), PERSON)
    revert_plan(driver.store, writer, UUID(int=2), PERSON)
    assert plan_ids_by_route(driver.store) == {"old": 1}


def test_a_history_without_recorded_renames_stays_the_same(tmp_path: Path) -> None:
    """Earlier versions replaced routes by name only: two live routes could have one id, and their
    chains stay as they are."""
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, route(1, "old"))
    second = driver.project(2, route(1, "new"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ttplan.store.sql.transaction.find_replaced_routes", lambda live, routes: [])
        patch.setattr("ttplan.apply.find_previous_names", lambda live, routes: {})
        assert (
            "renamed"
            not in apply_plan(
                driver.store, driver.chain, second.result, PERSON, clock=driver.clock
            ).payload
        )
    assert plan_ids_by_route(driver.store) == {"old": 1, "new": 2}
    assert drift(driver).ok
    assert history_of(driver, "new") == [("plan 2 plan.applied", "new", True, None)]
    driver.live(3, route(1, "third"))  # its id tells neither
    assert plan_ids_by_route(driver.store) == {"old": 1, "new": 2, "third": 3}
    for number in (3, 2, 1):
        driver.revert(number)
        assert drift(driver).ok
    assert plan_ids_by_route(driver.store) == {}


def test_a_lost_row_of_a_renaming_plan_makes_its_names_unknown(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, route(1, "old"), route(2, "kept"))
    driver.live(2, route(1, "new"))
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE plan_runs SET nonce = repeat('a', 64) WHERE name = 'plan 2'")
    assert drift(driver).routes == ()
    assert [problem.blocks for problem in drift(driver).problems] == [True]


routes_named = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from("abcd")),
    max_size=3,
    unique_by=(lambda pair: pair[0], lambda pair: pair[1]),
)
step = st.tuples(st.sampled_from(["apply", "apply", "revert"]), st.integers(0, 5), routes_named)


def reverted(driver: PlanDriver, number: int) -> int | None:
    """Revert a plan; return the number of a later plan that supersedes it, if any."""
    try:
        driver.revert(number)
    except SupersededPlan as error:
        return error.by.int
    return None


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(step, max_size=12))
def test_each_id_is_live_once_and_reverts_restore_all_renames(
    steps: list[Any],
) -> None:
    driver = PlanDriver(MemoryStore())
    stack: list[tuple[int, list[LiveRoute] | None]] = []
    for number, (what, which, named) in enumerate(steps, 1):
        before = store_state(driver.store).live
        if what == "apply":
            stack.append((number, before))
            driver.live(number, *(route(n, name, priority=number) for n, name in named))
        elif stack:
            plan, _ = stack[which % len(stack)]
            refused = reverted(driver, plan)
            if refused is not None:
                assert refused in [later for later, _ in stack if later > plan]
                assert store_state(driver.store).live == before
                continue
            stack = [
                (number, None if number > plan else was) for number, was in stack if number != plan
            ]
        live = store_state(driver.store).live
        assert len({row.route.id for row in live}) == len(live)
        with driver.store.read() as snapshot:
            history = load_history(snapshot, ORG)
        assert (
            sorted(history.live.values(), key=lambda row: (-row.route.priority, row.route.id))
            == live
        )
        assert history.problems == []
    for number, was in reversed(stack):
        driver.revert(number)
        assert was is None or store_state(driver.store).live == was
    assert store_state(driver.store).live == []


def test_renames_are_recognised_by_route_ids() -> None:
    live = [
        LiveRoute(route=route(n, name), plan_id=UUID(int=1), applied_at=plans.CREATED)
        for n, name in ((1, "a"), (2, "b"))
    ]
    assert find_previous_names(live, [route(1, "a"), route(3, "b")]) == {}
    assert find_previous_names(live, [route(1, "b"), route(3, "a")]) == {"b": "a"}
