"""The contract of `apply_plan`: each row of its table, on all stores."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import blake3
import pytest
from hypothesis import HealthCheck, given, settings

from tests.audit.chains import KEY, OTHER_KEY
from tests.store.conftest import STORE_PARAMETERS, STORES
from tests.support import plans
from tests.support.strategies import routes as route_strategy
from ttplan.apply import StoreChain, apply_plan, routes_commitment
from ttplan.audit.canonical import canonical_json
from ttplan.audit.verify.chain import verify_chain
from ttplan.model.audit import Actor, AuditEntry, System, User
from ttplan.model.errors import (
    ApplyError,
    AuditError,
    DriftError,
    InvalidState,
    PlanNotFound,
    StalePlan,
    StoreError,
    StoreLocked,
    SupersededPlan,
)
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import LiveRoute, StoredPlan
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.memory import MemoryStore
from ttplan.store.protocol import Store

ORG = plans.ORG
AT = datetime(2026, 5, 3, 12, tzinfo=UTC)
PERSON = User(UUID(int=7))
NUMBERS = itertools.count(1)


@pytest.fixture(params=STORE_PARAMETERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store with plan 1 with two routes, plan 2 without routes, a failed and a reverted plan."""
    made = STORES[request.param](tmp_path)
    with made.transaction() as tx:
        tx.add_plan(plans.run(1, (plans.route(1), plans.route(2))))
        tx.add_plan(plans.run(2))
        tx.add_plan(plans.run(3, status="failed"))
        tx.add_plan(plans.run(4, status="reverted"))
    return made


def own_chain(store: Store, key: Any = KEY) -> StoreChain:
    return StoreChain(store, key, clock=lambda: AT, new_id=lambda: UUID(int=500))


def state(store: Store) -> tuple[list[StoredPlan], list[LiveRoute], list[Any]]:
    """Everything that apply could have written."""
    with store.read() as snapshot:
        return snapshot.plans(ORG), snapshot.live_routes(ORG), list(snapshot.entries(ORG))


class Foreign:
    """An audit writer outside the store, which may fail."""

    def __init__(self, *, failing: bool = False) -> None:
        self.failing = failing
        self.emitted: list[tuple[UUID, Actor, str, Mapping[str, Any]]] = []

    def emit(
        self, org_id: UUID, actor: Actor, event: str, payload: Mapping[str, Any]
    ) -> AuditEntry:
        if self.failing:
            raise ConnectionError("the audit service is away")
        self.emitted.append((org_id, actor, event, payload))
        return AuditEntry(
            id=UUID(int=1),
            org_id=org_id,
            seq=0,
            timestamp="2026-05-03T12:00:00+00:00",
            actor=actor,
            event=event,
            payload=dict(payload),
            prev_hash="0" * 64,
            hash="0" * 64,
            signature="0" * 128,
        )


def test_apply_writes_status_time_routes_and_entry(store: Store) -> None:
    run = plans.run(1, (plans.route(1), plans.route(2)))
    entry = apply_plan(store, own_chain(store), run.result, PERSON, clock=lambda: AT)
    stored_plans, live, records = state(store)
    assert (stored_plans[0].status, stored_plans[0].applied_at) == ("applied", AT)
    assert sorted((row.route for row in live), key=lambda r: r.id) == [
        plans.route(1),
        plans.route(2),
    ]
    assert [record.hash for record in records] == [entry.hash]
    assert verify_chain(records, KEY.public_key).entries == 1
    assert (entry.event, entry.actor, entry.seq, entry.org_id) == ("plan.applied", PERSON, 0, ORG)


def test_the_payload_has_only_public_fields(store: Store) -> None:
    run = plans.run(1, (plans.route(1), plans.route(2)))
    entry = apply_plan(store, own_chain(store), run.result, PERSON, clock=lambda: AT)
    listed = [route.model_dump(mode="json") for route in run.result.proposed_routes]
    assert entry.payload == {
        "plan_id": str(UUID(int=1)),
        "applied_at": "2026-05-03T12:00:00+00:00",
        "sample_size": 1234,
        "projected_savings_usd": 12.345679,
        "change_vs_actual_usd": 12.345679,
        "routes_commitment": blake3.blake3(
            blake3.blake3(
                bytes.fromhex(run.nonce), derive_key_context="ttplan 2026-12-01 routes applied v1"
            ).digest()
            + canonical_json(listed)
        ).hexdigest(),
    }
    _, _, (record,) = state(store)
    for secret in (b"route 1", b"gpt-4o", run.nonce.encode()):
        assert secret not in record.body


@pytest.mark.parametrize(("change", "signed"), [("0", 0.0), ("-0.1234565", -0.123456)])
def test_the_entry_signs_the_change_against_what_is_paid(change: str, signed: float) -> None:
    store = MemoryStore()
    run = plans.run(1)
    aggregates = run.result.aggregates.model_copy(update={"change_vs_actual_usd": Decimal(change)})
    result = run.result.model_copy(update={"aggregates": aggregates})
    with store.transaction() as tx:
        tx.add_plan(run.model_copy(update={"result": result}))
    entry = apply_plan(store, own_chain(store), result, PERSON)
    assert entry.payload["change_vs_actual_usd"] == signed
    assert entry.payload["projected_savings_usd"] == 12.345679


def test_an_unknown_plan_is_plan_not_found_and_writes_nothing(store: Store) -> None:
    before = state(store)
    with pytest.raises(PlanNotFound) as caught:
        apply_plan(store, own_chain(store), plans.result(UUID(int=99)), PERSON)
    assert caught.value.exit_code == 2
    assert state(store) == before


@pytest.mark.parametrize(("number", "status"), [(3, "failed"), (4, "reverted")])
def test_an_unprojected_plan_is_invalid_state_and_writes_nothing(
    store: Store, number: int, status: str
) -> None:
    before = state(store)
    with pytest.raises(InvalidState, match=repr(status)) as caught:
        apply_plan(store, own_chain(store), plans.run(number).result, PERSON)
    assert caught.value.state == status
    assert state(store) == before


def test_applying_twice_is_invalid_state_and_leaves_one_entry(store: Store) -> None:
    run = plans.run(1, (plans.route(1), plans.route(2)))
    apply_plan(store, own_chain(store), run.result, PERSON)
    before = state(store)
    with pytest.raises(InvalidState, match="'applied'"):
        apply_plan(store, own_chain(store), run.result, PERSON)
    assert state(store) == before


def test_a_failed_route_write_leaves_nothing_written() -> None:
    store = MemoryStore(fail_route_write=True)
    result = store.seed_projected(UUID(int=1), routes=(plans.route(1),))
    with pytest.raises(StoreError, match="nothing was written"):
        apply_plan(store, own_chain(store), result, PERSON)
    assert store.status(UUID(int=1)) == "projected"
    assert store.applied_at(UUID(int=1)) is None
    assert store.applied_routes(UUID(int=1)) == []
    with store.read() as snapshot:
        assert snapshot.tip(UUID(int=1)) is None


class _Broken(Exception):
    pass


@pytest.mark.parametrize("step", ["mark_applied", "plan"])
def test_any_failure_in_the_store_is_rolled_back(
    store: Store, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(store)
    with store.transaction() as tx:
        kind = type(tx)
    original = getattr(kind, step)

    def breaking(*arguments: Any) -> Any:
        original(*arguments)
        raise _Broken("the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(kind, step, breaking)
        with pytest.raises(StoreError, match="on fire"):
            apply_plan(store, own_chain(store), plans.run(1, (plans.route(1),)).result, PERSON)
    assert state(store) == before


def test_an_audit_failure_in_the_own_chain_is_rolled_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(store)

    def failing(*_: object, **__: object) -> None:
        raise _Broken("no entry today")

    monkeypatch.setattr("ttplan.store.chain.next_entry", failing)
    with pytest.raises(AuditError, match="was not applied") as caught:
        apply_plan(store, own_chain(store), plans.run(1, (plans.route(1),)).result, PERSON)
    assert caught.value.applied is False
    assert isinstance(caught.value.__cause__, _Broken)
    assert state(store) == before


def test_savings_too_large_for_a_payload_write_nothing(
    store: Store,
) -> None:
    before = state(store)
    with pytest.raises(AuditError, match="less than 1,000,000,000"):
        apply_plan(store, own_chain(store), plans.result(UUID(int=1), savings="1000000000"), PERSON)
    assert state(store) == before


def test_a_failed_external_writer_leaves_the_plan_applied(
    store: Store,
) -> None:
    run = plans.run(1, (plans.route(1), plans.route(2)))
    with pytest.raises(
        AuditError, match=r"IS applied.*re-emit the entry, do not apply the plan again"
    ) as caught:
        apply_plan(store, Foreign(failing=True), run.result, PERSON)
    assert caught.value.applied is True
    stored_plans, live, records = state(store)
    assert stored_plans[0].status == "applied"
    assert len(live) == 2
    assert records == []


def test_an_external_writer_is_called_after_the_commit(store: Store) -> None:
    class Looking(Foreign):
        def emit(
            self, org_id: UUID, actor: Actor, event: str, payload: Mapping[str, Any]
        ) -> AuditEntry:
            assert len(state(store)[1]) == 2
            return super().emit(org_id, actor, event, payload)

    writer = Looking()
    apply_plan(
        store,
        writer,
        plans.run(1, (plans.route(1), plans.route(2))).result,
        System(),
        clock=lambda: AT,
    )
    ((org_id, actor, event, payload),) = writer.emitted
    assert (org_id, actor, event) == (ORG, System(), "plan.applied")
    assert payload["plan_id"] == str(UUID(int=1))


def test_the_chain_of_another_store_is_an_external_writer(store: Store) -> None:
    other = MemoryStore()
    apply_plan(store, own_chain(other), plans.run(2).result, PERSON)
    assert state(store)[2] == []
    with other.read() as snapshot:
        assert len(list(snapshot.entries(ORG))) == 1


def test_a_file_opened_twice_shares_the_transaction(tmp_path: Path) -> None:
    """It is not an external writer: a failing audit would then leave the plan applied without
    entry.
    """
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path)
    with store.transaction() as tx:
        tx.add_plan(plans.run(1, (plans.route(1),)))
        tx.add_plan(plans.run(2))
    (tmp_path / "link.duckdb").symlink_to(path)
    second_chain = own_chain(DuckDBStore(tmp_path / "link.duckdb"))
    apply_plan(store, second_chain, plans.run(2).result, PERSON)
    before = state(store)
    with pytest.raises(AuditError) as caught:
        apply_plan(
            store,
            own_chain(DuckDBStore(path), OTHER_KEY),
            plans.run(1, (plans.route(1),)).result,
            PERSON,
        )
    assert caught.value.applied is False
    assert state(store) == before


def test_a_plan_without_routes_is_applied(store: Store) -> None:
    apply_plan(store, own_chain(store), plans.run(2).result, PERSON)
    stored_plans, live, records = state(store)
    assert stored_plans[1].status == "applied"
    assert live == []
    assert len(records) == 1


def test_a_result_of_another_organisation_is_refused(store: Store) -> None:
    before = state(store)
    with pytest.raises(ApplyError, match="belongs to"):
        apply_plan(store, own_chain(store), plans.result(UUID(int=1), org_id=UUID(int=9)), PERSON)
    assert state(store) == before


def test_the_chain_is_not_continued_with_another_key(store: Store) -> None:
    apply_plan(store, own_chain(store), plans.run(2).result, PERSON)
    before = state(store)
    with pytest.raises(AuditError, match="was not signed with this key"):
        apply_plan(
            store, own_chain(store, OTHER_KEY), plans.run(1, (plans.route(1),)).result, PERSON
        )
    assert state(store) == before


def test_all_failures_are_apply_errors() -> None:
    kinds = (
        PlanNotFound,
        InvalidState,
        StalePlan,
        SupersededPlan,
        DriftError,
        StoreError,
        AuditError,
    )
    assert all(issubclass(kind, ApplyError) for kind in kinds)


def test_a_tip_is_published_only_after_its_commit(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="ttplan.audit.tip")
    seen: list[int] = []
    monkeypatch.setattr(
        "ttplan.store.chain.TIP_LOGGER.info", lambda *_: seen.append(len(state(store)[2]))
    )
    apply_plan(store, own_chain(store), plans.run(2).result, PERSON)
    assert seen == [1]
    with pytest.raises(InvalidState):
        apply_plan(store, own_chain(store), plans.run(2).result, PERSON)
    assert seen == [1]


def test_a_failed_read_after_the_commit_is_not_a_store_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A StoreError means that nothing was written; here everything was."""

    def locked(*_: object) -> None:
        raise StoreLocked("the file is in use by process 7")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "read", locked)
        with pytest.raises(
            AuditError,
            match=r"entry 0 was committed, but could not be read back.*in use by process 7",
        ) as caught:
            apply_plan(store, own_chain(store), plans.run(2).result, PERSON)
    assert caught.value.applied is True
    stored_plans, _, records = state(store)
    assert stored_plans[1].status == "applied"
    assert len(records) == 1


def test_a_tip_is_logged_as_seq_colon_hash(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ttplan.audit.tip")
    entry = apply_plan(store, own_chain(store), plans.run(2).result, PERSON)
    assert [record.getMessage() for record in caplog.records] == [f"0:{entry.hash}"]


def test_a_commitment_hides_and_binds() -> None:
    routes = (plans.route(1), plans.route(2))
    commitment = routes_commitment("00" * 32, routes)
    assert commitment == routes_commitment("00" * 32, list(routes))
    assert commitment != routes_commitment("01" + "00" * 31, routes)
    assert commitment != routes_commitment("00" * 32, routes[:1])
    assert commitment != routes_commitment("00" * 32, routes[::-1])


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(route_strategy())
@pytest.mark.parametrize("kind", STORE_PARAMETERS)
def test_routes_keep_their_identity_through_apply(
    kind: str, tmp_path: Path, routes: tuple[ProposedRoute, ...]
) -> None:
    store = STORES[kind](tmp_path)
    run = plans.run(next(NUMBERS), routes)
    with store.transaction() as tx:
        tx.set_live_routes(ORG, ())
        tx.add_plan(run)
    apply_plan(store, own_chain(store), run.result, PERSON)
    assert sorted((row.route for row in state(store)[1]), key=lambda r: r.name) == sorted(
        routes, key=lambda r: r.name
    )
