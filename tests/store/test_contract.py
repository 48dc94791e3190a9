"""The contract of stores: one suite for all of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.audit.chains import chain
from tests.store.conftest import STORES
from tests.support import plans, universe
from ttplan.audit.entries import to_record
from ttplan.engine.dialects import fetch
from ttplan.engine.replay import replay, run_replay
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.logs.rows import REQUEST_SCHEMA
from ttplan.model.audit import Actor, Anonymous, ApiKey, System, User
from ttplan.model.errors import InputError, PlanNotFound, StoreError
from ttplan.model.plan import PlanConfig
from ttplan.model.policy import Approvals, Policy, Rule
from ttplan.model.results.reconciliation import CostChange, ReconciledFigure, Reconciliation
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions
from ttplan.model.stored_plan import LiveRoute, SeenRoute
from ttplan.quality.result import unverified_result
from ttplan.store.protocol import ConflictingRequests, Store

AT = datetime(2026, 5, 3, 12, 0, 0, 123456, tzinfo=UTC)
ORG, OTHER = UUID(int=1), UUID(int=2)
NUMBERS = itertools.count(1)


def rows(*numbers: int, **changes: object) -> pa.RecordBatch:
    """Request rows with these ids."""
    base: dict[str, object] = {
        "org_id": None,
        "ts": AT,
        "provider": "openai",
        "model": "gpt-4o",
        "input_tokens": 10,
        "output_tokens": 20,
        "cached_tokens": 0,
        "cost_usd": Decimal("0.000000000001"),
        "baseline_cost_usd": Decimal("0.5"),
        "cached": False,
        "status": 200,
    }
    made = [
        dict.fromkeys(REQUEST_SCHEMA.names) | base | {"id": str(UUID(int=n))} | changes
        for n in numbers
    ]
    return pa.RecordBatch.from_pylist(made, schema=REQUEST_SCHEMA)


def live(store: Store, org_id: UUID = ORG) -> list[LiveRoute]:
    with store.read() as snapshot:
        return snapshot.live_routes(org_id)


def test_a_new_store_is_empty(store: Store) -> None:
    with store.read() as snapshot:
        assert snapshot.org_id() is None
        assert snapshot.plan(UUID(int=1)) is None
        assert snapshot.plans(ORG) == []
        assert snapshot.live_routes(ORG) == []
        assert snapshot.tip(ORG) is None
        assert list(snapshot.entries(ORG)) == []
        assert snapshot.request_count() == 0
        assert snapshot.request_orgs() == []


def test_a_plan_is_read_back_equal(store: Store) -> None:
    first, second = (
        plans.run(2, (plans.route(1),)),
        plans.run(1, created_at=plans.CREATED + timedelta(seconds=1)),
    )
    with store.transaction() as tx:
        tx.add_plan(second)
        tx.add_plan(first)
    with store.read() as snapshot:
        assert snapshot.plan(UUID(int=2)) == first
        assert snapshot.plans(ORG) == [first, second]
        assert snapshot.plans(OTHER) == []


def test_plans_are_found_by_name_or_prefix_of_their_id(store: Store) -> None:
    first, second = (
        UUID("abcd0000-0000-0000-0000-000000000001"),
        UUID("abcd0000-0000-0000-0000-000000000002"),
    )
    with store.transaction() as tx:
        tx.add_plan(plans.run(1, plan_id=second, name="cheaper models"))
        tx.add_plan(plans.run(2, plan_id=first, name="cheaper models"))
        tx.add_plan(plans.run(3, name="ABCD"))
        tx.add_plan(plans.run(4, name="x", org_id=OTHER))
    expected = {
        "cheaper models": [first, second],
        "Cheaper models": [],
        "cheaper": [],
        "abcd": [first, second],
        "ABCD": [UUID(int=3), first, second],
        "abc": [],
        "ABCD0000-0000-0000-0000-000000000002": [second],
        "x": [],
        "": [],
        "%": [],
    }
    with store.read() as snapshot:
        assert {text: snapshot.find_plan_ids(ORG, text) for text in expected} == expected


def test_a_plan_id_is_unique(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
    with (
        store.transaction() as tx,
        pytest.raises(StoreError, match=r"plan .* exists already; expected a new id"),
    ):
        tx.add_plan(plans.run(1, name="other"))
    with store.read() as snapshot:
        assert [run.name for run in snapshot.plans(ORG)] == ["plan 1"]


def test_mark_applied_sets_status_and_time_and_writes_routes(store: Store) -> None:
    routes = (plans.route(1), plans.route(2, enabled=False))
    with store.transaction() as tx:
        tx.add_plan(plans.run(7, routes))
    assert store.mark_applied(UUID(int=7), AT, routes) == "projected"
    with store.read() as snapshot:
        run = snapshot.plan(UUID(int=7))
    assert run is not None
    assert (run.status, run.applied_at) == ("applied", AT)
    assert live(store) == [
        LiveRoute(route=r, plan_id=UUID(int=7), applied_at=AT) for r in reversed(routes)
    ]


def test_mark_applied_of_an_unknown_plan_writes_nothing(store: Store) -> None:
    assert store.mark_applied(UUID(int=7), AT, (plans.route(1),)) is None
    assert live(store) == []


def test_mark_applied_of_an_applied_plan_changes_nothing(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_plan(plans.run(7))
    store.mark_applied(UUID(int=7), AT, (plans.route(1),))
    assert store.mark_applied(UUID(int=7), AT + timedelta(days=1), (plans.route(2),)) == "applied"
    assert [row.route for row in live(store)] == [plans.route(1)]
    with store.read() as snapshot:
        run = snapshot.plan(UUID(int=7))
    assert run is not None
    assert run.applied_at == AT


def test_a_live_route_is_replaced_by_name_within_its_org(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
        tx.add_plan(plans.run(2))
        tx.add_plan(plans.run(3, org_id=OTHER))
    old, new = plans.route(1, name="same"), plans.route(2, name="same", priority=9)
    store.mark_applied(UUID(int=1), AT, (old, plans.route(5)))
    store.mark_applied(UUID(int=3), AT, (old,))
    store.mark_applied(UUID(int=2), AT, (new,))
    assert [row.route for row in live(store)] == [new, plans.route(5)]
    assert [row.route for row in live(store, OTHER)] == [old]


def test_an_applied_plan_stores_its_routes_and_the_replaced(store: Store) -> None:
    first, second = plans.route(1, name="same"), plans.route(2, name="same")
    with store.transaction() as tx:
        tx.add_plan(plans.run(1, (first,)))
        tx.add_plan(plans.run(2))
    store.mark_applied(UUID(int=1), AT, (first,))
    store.mark_applied(UUID(int=2), AT + timedelta(1), (second, plans.route(3)))
    with store.read() as snapshot:
        earlier, later = snapshot.plan(UUID(int=1)), snapshot.plan(UUID(int=2))
    assert earlier is not None
    assert earlier.replaced == ()
    assert later is not None
    assert later.replaced == (LiveRoute(route=first, plan_id=UUID(int=1), applied_at=AT),)
    assert later.result.proposed_routes == (second, plans.route(3))


def test_a_renamed_route_frees_its_old_name(store: Store) -> None:
    """A live route with the id of an applied one is the same route under its old name."""
    old, kept = plans.route(1, name="before"), plans.route(2)
    standing, other = plans.route(9, name="after"), plans.route(1, name="before")
    new = plans.route(1, name="after", priority=7)
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
        tx.add_plan(plans.run(2))
        tx.add_plan(plans.run(3, org_id=OTHER))
    store.mark_applied(UUID(int=1), AT, (old, kept, standing))
    store.mark_applied(UUID(int=3), AT, (other,))
    store.mark_applied(UUID(int=2), AT + timedelta(1), (new,))
    assert sorted(live_route.route.name for live_route in live(store)) == ["after", "route 2"]
    assert live(store)[0] == LiveRoute(route=new, plan_id=UUID(int=2), applied_at=AT + timedelta(1))
    assert [live_route.route for live_route in live(store, OTHER)] == [other]
    with store.read() as snapshot:
        run = snapshot.plan(UUID(int=2))
    assert run is not None
    assert run.replaced == tuple(
        LiveRoute(route=live_route, plan_id=UUID(int=1), applied_at=AT)
        for live_route in (standing, old)
    )
    with store.transaction() as tx:
        tx.mark_reverted(UUID(int=2), AT + timedelta(2), run.replaced)
    assert {live_route.route.name: live_route.route for live_route in live(store)} == {
        "before": old,
        "route 2": kept,
        "after": standing,
    }


def test_two_routes_swap_names_and_back(store: Store) -> None:
    first, swapped = (
        (plans.route(1, name="a"), plans.route(2, name="b")),
        (plans.route(1, name="b"), plans.route(2, name="a")),
    )
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
        tx.add_plan(plans.run(2))
    store.mark_applied(UUID(int=1), AT, first)
    before = live(store)
    store.mark_applied(UUID(int=2), AT, swapped)
    assert {row.route.name: row.route.id.int for row in live(store)} == {"a": 2, "b": 1}
    with store.transaction() as tx:
        tx.mark_reverted(UUID(int=2), AT, before)
    assert live(store) == before


def test_an_id_live_under_two_names_renames_neither_route(store: Store) -> None:
    """Earlier versions identified routes by name only, and could leave such a state."""
    twice = [
        LiveRoute(route=plans.route(1, name=name), plan_id=UUID(int=8), applied_at=AT)
        for name in ("a", "b")
    ]
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
        tx.set_live_routes(ORG, twice)
    store.mark_applied(UUID(int=1), AT, (plans.route(1, name="c"),))
    assert sorted(row.route.name for row in live(store)) == ["a", "b", "c"]


def test_seen_routes_and_the_failure_are_read_back_equal(store: Store) -> None:
    saw = SeenRoute(name="Zoë's", plan_id=UUID(int=9), digest="ab" * 32)
    run = plans.run(
        1, status="failed", live_seen=(saw,), failure="OutOfMemoryException: it was too much"
    )
    with store.transaction() as tx:
        tx.add_plan(run)
        tx.add_plan(plans.run(2, created_at=plans.CREATED + timedelta(1)))
    with store.read() as snapshot:
        assert snapshot.plan(UUID(int=1)) == run
        assert snapshot.statuses(ORG) == {UUID(int=1): "failed", UUID(int=2): "projected"}
        assert list(snapshot.statuses(ORG)) == [UUID(int=1), UUID(int=2)]
        assert snapshot.statuses(OTHER) == {}


def test_mark_reverted_sets_status_and_time_and_restores_routes(store: Store) -> None:
    mine, others = (plans.route(1), plans.route(2)), plans.route(3)
    back = LiveRoute(
        route=plans.route(8, name="route 1"), plan_id=UUID(int=5), applied_at=AT - timedelta(1)
    )
    with store.transaction() as tx:
        tx.add_plan(plans.run(1, mine))
        tx.add_plan(plans.run(2, (others,)))
    assert store.mark_applied(UUID(int=1), AT, mine) == "projected"
    store.mark_applied(UUID(int=2), AT, (others,))
    later = AT + timedelta(hours=1)
    with store.transaction() as tx:
        assert tx.mark_reverted(UUID(int=1), later, [back]) == "applied"
    with store.read() as snapshot:
        run = snapshot.plan(UUID(int=1))
    assert run is not None
    assert (run.status, run.applied_at, run.reverted_at) == ("reverted", AT, later)
    assert live(store) == [back, LiveRoute(route=others, plan_id=UUID(int=2), applied_at=AT)]
    with store.transaction() as tx:
        assert tx.mark_reverted(UUID(int=1), AT, [back]) == "reverted"
        assert tx.mark_reverted(UUID(int=77), AT, [back]) is None
    assert len(live(store)) == 2


@pytest.mark.parametrize("status", ["projected", "failed"])
def test_mark_reverted_needs_an_applied_plan(store: Store, status: str) -> None:
    run = plans.run(1, (plans.route(1),), status=status)
    with store.transaction() as tx:
        tx.add_plan(run)
        back = LiveRoute(route=plans.route(1), plan_id=UUID(int=1), applied_at=AT)
        assert tx.mark_reverted(UUID(int=1), AT, [back]) == status
    with store.read() as snapshot:
        assert snapshot.plan(UUID(int=1)) == run
    assert live(store) == []


def test_live_routes_are_set_for_one_organisation(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
        tx.add_plan(plans.run(2, org_id=OTHER))
    store.mark_applied(UUID(int=1), AT, (plans.route(1), plans.route(2)))
    store.mark_applied(UUID(int=2), AT, (plans.route(1),))
    expected = [LiveRoute(route=plans.route(n), plan_id=UUID(int=n), applied_at=AT) for n in (7, 2)]
    with store.transaction() as tx:
        tx.set_live_routes(ORG, expected)
    assert live(store) == expected
    assert [row.route for row in live(store, OTHER)] == [plans.route(1)]
    with store.read() as snapshot:
        assert snapshot.live_route_rows(ORG) == expected


def test_live_routes_are_sorted_by_precedence(store: Store) -> None:
    routes = [plans.route(n, priority=p) for n, p in ((3, 1), (1, 1), (2, 2**32 - 1), (4, 0))]
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
    store.mark_applied(UUID(int=1), AT, routes)
    assert [row.route.id.int for row in live(store)] == [2, 1, 3, 4]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, StoreError])
def test_a_transaction_that_raises_is_rolled_back(store: Store, error: type[BaseException]) -> None:
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
    with pytest.raises(error), store.transaction() as tx:
        tx.set_org_id(ORG)
        tx.add_plan(plans.run(2))
        tx.mark_applied(UUID(int=1), AT, (plans.route(1),))
        tx.append_entry(to_record(chain(1)[0]))
        tx.add_requests([rows(1)], ORG)
        raise error("stop")
    with store.read() as snapshot:
        assert snapshot.org_id() is None
        assert [(run.plan_id.int, run.status) for run in snapshot.plans(ORG)] == [(1, "projected")]
        assert snapshot.live_routes(ORG) == []
        assert snapshot.tip(ORG) is None
        assert snapshot.request_count() == 0


def test_a_transaction_sees_its_own_writes(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
        tx.mark_applied(UUID(int=1), AT, (plans.route(1),))
        run = tx.plan(UUID(int=1))
        assert run is not None
        assert run.status == "applied"
        assert len(tx.live_routes(ORG)) == 1


def test_the_chain_is_byte_identical_and_streamed_in_order(store: Store) -> None:
    records = [to_record(e) for e in chain(12)]
    with store.transaction() as tx:
        for record in records:
            tx.append_entry(record)
    with store.read() as snapshot:
        assert list(snapshot.entries(ORG)) == records
        assert list(snapshot.entries(ORG, since=9)) == records[9:]
        tip = snapshot.tip(ORG)
        assert tip is not None
        assert (tip.seq, tip.hash) == (11, records[-1].hash)


def test_an_entry_is_appended_only_at_its_seq(store: Store) -> None:
    records = [to_record(e) for e in chain(3)]
    with (
        pytest.raises(StoreError, match="seq 1 cannot follow; expected 0"),
        store.transaction() as tx,
    ):
        tx.append_entry(records[1])
    with store.transaction() as tx:
        tx.append_entry(records[0])
    for wrong in (records[0], records[2]):
        with pytest.raises(StoreError, match="expected 1"), store.transaction() as tx:
            tx.append_entry(wrong)


def test_the_organisation_is_set_once(store: Store) -> None:
    with store.transaction() as tx:
        tx.set_org_id(ORG)
        tx.set_org_id(ORG)
    with pytest.raises(StoreError, match="belongs to organisation"), store.transaction() as tx:
        tx.set_org_id(OTHER)
    with store.read() as snapshot:
        assert snapshot.org_id() == ORG


def test_requests_are_added_once(store: Store) -> None:
    with store.transaction() as tx:
        assert tx.add_requests([rows(1, 2), rows(3)], ORG) == (3, 0, (), ())
    with store.transaction() as tx:
        assert tx.add_requests([rows(2, 4)], ORG) == (1, 1, (), ())
    with store.read() as snapshot:
        assert snapshot.request_count() == 4
        assert snapshot.request_orgs() == [ORG]


def test_an_equal_row_again_is_left_out_and_counted(store: Store) -> None:
    with store.transaction() as tx:
        result = tx.add_requests([rows(1, 2), rows(1)], ORG)
    assert result == (2, 0, (("repeated", 1, ((str(UUID(int=1)), 2, 0, None),)),), ())
    with store.read() as snapshot:
        assert snapshot.request_count() == 2


def test_the_fullest_state_of_an_answer_is_kept(store: Store) -> None:
    states = [rows(7, output_tokens=n) for n in (1, 1, 9, 4)]
    with store.transaction() as tx:
        result = tx.add_requests([rows(1), *states, rows(8)], ORG)
    assert (result.added, result.already_there) == (3, 0)
    (left_out,) = result.conflicts
    assert (left_out.kind, left_out.rows) == ("snapshot", 3)
    assert left_out.examples[0] == (str(UUID(int=7)), 1, 3, "output_tokens")
    with store.read() as snapshot:
        kept = {row["id"]: row for row in fetch(snapshot.requests()).to_pylist()}
    assert sorted(UUID(str(id_)).int for id_ in kept) == [1, 7, 8]
    outputs = {UUID(str(id_)).int: row["output_tokens"] for id_, row in kept.items()}
    assert outputs[7] == 9
    # The same states again add nothing; other content of a stored id is still refused.
    with store.transaction() as tx:
        again = tx.add_requests([*states], ORG)
    assert (again.added, again.already_there, again.changed) == (0, 1, ())
    with pytest.raises(ConflictingRequests, match="output_tokens"), store.transaction() as tx:
        tx.add_requests([rows(7, output_tokens=99)], ORG)


def test_a_stored_id_with_other_content_is_refused_by_field(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_requests([rows(1, 2)], ORG)
    with pytest.raises(InputError, match="with another output_tokens"), store.transaction() as tx:
        tx.add_requests([rows(3), rows(2, output_tokens=21)], ORG)
    with store.read() as snapshot:
        assert snapshot.request_count() == 2


def test_conflicting_rows_are_skipped_on_request_and_counted(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_requests([rows(1, 2)], ORG)
    numbered = rows(9, 3).append_column("row", pa.array([40, 41], pa.int64()))
    repeated = rows(3, 3, output_tokens=5).append_column("row", pa.array([50, 51], pa.int64()))
    known = rows(1).append_column("row", pa.array([60], pa.int64()))
    changed = rows(2, tag="other").append_column("row", pa.array([61], pa.int64()))
    same = rows(9).append_column("row", pa.array([62], pa.int64()))
    with store.transaction() as tx:
        result = tx.add_requests([numbered, repeated, known, changed, same], ORG, "skip")
    assert result == (
        2,
        1,
        (
            (
                "snapshot",
                2,
                (
                    (str(UUID(int=3)), 50, 41, "output_tokens"),
                    (str(UUID(int=3)), 51, 41, "output_tokens"),
                ),
            ),
            ("repeated", 1, ((str(UUID(int=9)), 62, 40, None),)),
            ("changed", 1, ((str(UUID(int=2)), 61, None, "tag"),)),
        ),
        (str(UUID(int=2)),),
    )
    with store.read() as snapshot:
        assert snapshot.request_count() == 4
        kept = {
            UUID(str(row["id"])).int: row["tag"] for row in fetch(snapshot.requests()).to_pylist()
        }
    assert kept == dict.fromkeys((1, 2, 3, 9))


def test_conflicts_name_the_positions_of_both_rows(store: Store) -> None:
    repeated = rows(3, 3, tag="x").append_column("row", pa.array([50, 51], pa.int64()))
    first = rows(3).append_column("row", pa.array([7], pa.int64()))
    message = r"is in row 8 and in row 51, with another tag \(and 1 more such row\)"
    with pytest.raises(ConflictingRequests, match=message) as caught, store.transaction() as tx:
        tx.add_requests([first, repeated], ORG)
    assert [example.row for example in caught.value.conflicts.examples] == [50, 51]
    with store.read() as snapshot:
        assert snapshot.request_count() == 0


def test_an_error_while_reading_rows_is_raised_unchanged(store: Store) -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield rows(1)
        raise InputError("row 2 is bad")

    with pytest.raises(InputError, match="row 2 is bad"), store.transaction() as tx:
        tx.add_requests(failing(), ORG)
    with store.read() as snapshot:
        assert snapshot.request_count() == 0


def test_a_replay_of_stored_rows_equals_that_of_the_rows(store: Store) -> None:
    requests = universe.log(400, seed=9)
    made = [
        dict.fromkeys(REQUEST_SCHEMA.names)
        | r.model_dump(exclude={"embedding"})
        | {"id": str(r.id), "org_id": str(r.org_id), "matched_route_id": None}
        for r in requests
    ]
    with store.transaction() as tx:
        tx.add_requests([pa.RecordBatch.from_pylist(made, schema=REQUEST_SCHEMA)], ORG)
    plan = universe.plan(requests)
    with store.read() as snapshot:
        assert run_replay(snapshot.requests(), ReplaySpec.from_plan(plan)).result == replay(plan)


def test_routes_with_unusual_text_are_read_back_equal(store: Store) -> None:
    hostile: list[ProposedRoute] = [
        plans.route(n, name=name)
        for n, name in enumerate(
            [
                "'; DROP TABLE routes; --",
                '"x"',
                "Zoë 😀",
                "<img src=x onerror=alert(1)>",
                " ",
                "a\nb\t\\",
            ],
            1,
        )
    ]
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
    store.mark_applied(UUID(int=1), AT, hostile)
    assert sorted((row.route for row in live(store)), key=lambda r: r.id) == hostile


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    amount=st.integers(0, 10**26 - 1).map(lambda n: Decimal(n).scaleb(-12)),
    bound=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9),
)
@pytest.mark.parametrize("kind", sorted(STORES))
def test_money_is_read_back_with_all_digits(
    kind: str, tmp_path: Path, amount: Decimal, bound: Decimal
) -> None:
    store, plan_id = STORES[kind](tmp_path), UUID(int=next(NUMBERS))
    route = plans.route(
        1,
        when=RouteConditions(estimated_cost_gt=bound),
        then=RouteAction(target_model="m", max_cost_usd=bound),
    )
    result = plans.result(plan_id, (route,), savings=str(amount))
    run = plans.run(plan_id.int, (route,), result=result)
    with store.transaction() as tx:
        tx.set_live_routes(ORG, ())
        tx.add_plan(run)
        tx.mark_applied(plan_id, AT, (route,))
        run = run.model_copy(update={"status": "applied", "applied_at": AT, "replaced": ()})
    with store.read() as snapshot:
        assert snapshot.plan(plan_id) == run
    assert [row.route for row in live(store)] == [route]


def test_a_read_in_the_thread_of_a_transaction_sees_its_writes(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
        with store.read() as snapshot:
            assert snapshot.plan(UUID(int=1)) is not None


def test_a_nested_transaction_is_refused_without_harm(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
        with pytest.raises(StoreError, match="this thread"), store.transaction() as inner:
            inner.add_plan(plans.run(2))
        tx.add_plan(plans.run(3))
    with store.read() as snapshot:
        assert [run.plan_id.int for run in snapshot.plans(ORG)] == [1, 3]


def test_after_a_failed_transaction_the_next_one_works(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        raise RuntimeError("stop")
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
    with store.read() as snapshot:
        assert len(snapshot.plans(ORG)) == 1


def test_another_thread_does_not_see_an_open_transaction(store: Store) -> None:
    seen: list[int] = []

    def look() -> None:
        with store.read() as snapshot:
            seen.append(len(snapshot.plans(ORG)))

    looking = threading.Thread(target=look)
    with store.transaction() as tx:
        tx.add_plan(plans.run(1))
        looking.start()
        looking.join(0.2)
        assert seen == []
        tx.add_plan(plans.run(2))
    looking.join()
    assert seen == [2]


def test_the_organisations_of_rows_are_stored(store: Store) -> None:
    with store.transaction() as tx:
        tx.add_requests([rows(1, org_id=str(OTHER)), rows(2)], ORG)
    with store.read() as snapshot:
        assert snapshot.request_orgs() == [ORG, OTHER]


def test_a_quality_result_is_stored_with_its_plan(store: Store) -> None:
    run = plans.run(1, org_id=ORG)
    quality = unverified_result("nobody looked.", population=3)
    with store.transaction() as tx:
        tx.add_plan(run)
    with store.transaction() as tx:
        tx.set_quality(run.plan_id, quality)
    with store.read() as snapshot:
        kept = snapshot.plan(run.plan_id)
    assert kept == run.model_copy(
        update={"result": run.result.model_copy(update={"quality": quality})}
    )
    with pytest.raises(PlanNotFound), store.transaction() as tx:
        tx.set_quality(UUID(int=77), quality)


def test_embeddings_and_clusters_are_read_back_and_replayed(store: Store) -> None:
    embedding = [1.0, 0.25, -3.5]
    with store.transaction() as tx:
        tx.set_org_id(ORG)
        tx.add_requests(
            [rows(1, 2, embedding=embedding, session_id="a"), rows(3, session_id="b")], ORG
        )
    spec = ReplaySpec.from_plan(
        universe.plan(
            (),
            config=PlanConfig(l2_ttl_seconds=60, l2_threshold=0.9, cluster="session_id"),
            window_end=AT + timedelta(1),
        )
    )
    with store.read() as snapshot:
        result = run_replay(snapshot.requests(), spec).result
    assert result.cache_hits is not None
    assert (result.sample_size, result.cache_hits.l2) == (3, 1)
    assert result.clusters is not None
    assert result.clusters.count == 2
    with pytest.raises(InputError, match="another embedding"), store.transaction() as tx:
        tx.add_requests([rows(1, embedding=[1.0], session_id="a")], ORG)


def test_reconciliations_are_stored_by_organisation_oldest_first(store: Store) -> None:
    def reconciliation(plan: int, day: int) -> Reconciliation:
        figure = ReconciledFigure(
            name="cost_per_request_usd",
            projected=0.1,
            projected_95=(0.05, 1 / 3),
            expected=0.2,
            expected_95=None,
            actual=5e-324,
            actual_95=None,
            inside=None,
            consistent=None,
        )
        return Reconciliation(
            plan_id=UUID(int=plan),
            plan_name="it's; DROP TABLE",
            reconciled_at=AT + timedelta(days=day),
            since=AT,
            until=AT + timedelta(days=1),
            requests=1,
            new_requests=0,
            projected_requests=2,
            interval_unit="request",
            figures=(figure,),
            change=CostChange(volume=1e22, mix=-0.0, rate=0.1, new=0),
            caveats=("a",),
        )

    with store.transaction() as tx:
        tx.add_reconciliation(ORG, reconciliation(1, 2))
        tx.add_reconciliation(ORG, reconciliation(1, 1))
        tx.add_reconciliation(OTHER, reconciliation(2, 0))
        assert len(tx.reconciliations(ORG)) == 2
    with store.read() as snapshot:
        assert snapshot.reconciliations(ORG) == [reconciliation(1, 1), reconciliation(1, 2)]
        assert snapshot.reconciliations(OTHER) == [reconciliation(2, 0)]
        assert snapshot.reconciliations(UUID(int=9)) == []
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.add_reconciliation(ORG, reconciliation(1, 3))
        _ = 1 / 0
    with store.read() as snapshot:
        assert len(snapshot.reconciliations(ORG)) == 2


def test_a_policy_is_stored_replaced_and_removed(store: Store) -> None:
    policy = Policy(
        rules=(Rule(rule="it's > 'İ'", level="advisory"),), approvals=Approvals(needed=2)
    )
    with store.read() as snapshot:
        assert snapshot.policy() is None
    with store.transaction() as tx:
        tx.set_org_id(ORG)
        tx.set_policy(Policy())
        tx.set_policy(policy)
        assert tx.policy() == policy
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.set_policy(None)
        _ = 1 / 0
    with store.read() as snapshot:
        assert snapshot.policy() == policy
    with store.transaction() as tx:
        tx.set_policy(None)
    with store.read() as snapshot:
        assert snapshot.policy() is None
        assert snapshot.org_id() == ORG


@pytest.mark.parametrize(
    "author", [None, User(UUID(int=7)), ApiKey(UUID(int=8)), System(), Anonymous()]
)
def test_the_author_of_a_plan_is_read_back_equal(store: Store, author: Actor | None) -> None:
    run = plans.run(1, (plans.route(1),), author=author)
    with store.transaction() as tx:
        tx.add_plan(run)
    with store.read() as snapshot:
        assert snapshot.plan(run.plan_id) == run
