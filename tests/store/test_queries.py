"""Queries of all stores: plan summaries and chain entries, filtered and sorted."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.audit.chains import KEY
from tests.support import plans
from tests.support.plan_driver import AT, ORG, PlanDriver
from ttplan.apply import StoreChain
from ttplan.model.audit import System
from ttplan.model.errors import StoreError
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import StoredPlan
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.plan_summary import RESULT_COLUMNS, summary_row, summary_schema
from ttplan.store.protocol import EntryFilter, PlanFilter, Store

OTHER = UUID(int=2)
HOSTILE = '\'; DROP TABLE plan_runs; -- "projected_change_usd":1 %_ \\ \u202e\U0001f600'


def made() -> list[StoredPlan]:
    """Plans of every kind, in the order in which a store returns them."""
    plain = plans.result(UUID(int=1), savings="1234567890.123456789012")
    loss = plain.model_copy(
        update={
            "aggregates": plain.aggregates.model_copy(
                update={
                    "projected_change_usd": Decimal("-0.000000000001"),
                    "change_vs_actual_usd": Decimal("-3E+3"),
                }
            ),
            "confidence_intervals": plain.confidence_intervals.model_copy(
                update={
                    "projected_change_usd_95": (-2.5, -1e-9),
                    "change_vs_actual_usd_95": (-4000.1, -2000.0),
                }
            ),
            "caveats": (),
        }
    )
    bare = plain.model_copy(
        update={
            "confidence_intervals": plain.confidence_intervals.model_copy(
                update={"savings_usd_95": None}
            ),
            "sample_size": 0,
        }
    )
    day = timedelta(days=1)
    return [
        plans.run(5, name="first", result=plain),
        plans.run(6, name="first again", result=loss, status="applied", applied_at=AT),
        plans.run(
            3,
            name=HOSTILE,
            result=bare,
            created_at=plans.CREATED + day,
            status="reverted",
            applied_at=AT,
            reverted_at=AT,
        ),
        plans.run(
            1, name="broken", created_at=plans.CREATED + 2 * day, status="failed", failure="why"
        ),
    ]


@pytest.fixture
def runs(store: Store) -> list[StoredPlan]:
    runs = made()
    with store.transaction() as tx:
        for run in reversed(runs):
            tx.add_plan(run)
        tx.add_plan(plans.run(9, org_id=OTHER))
    return runs


def rows(store: Store, **which: Any) -> list[dict[str, Any]]:
    with store.read() as snapshot:
        table = snapshot.plan_summaries(ORG, PlanFilter(**which))
    assert table.schema == summary_schema()
    summaries: list[dict[str, Any]] = table.to_pylist()
    return summaries


def test_plan_summaries_have_all_digits(store: Store, runs: list[StoredPlan]) -> None:
    summaries = rows(store)
    assert summaries == [summary_row(run) for run in runs]
    assert summaries[0]["projected_usd"] == Decimal("1234567890.123456789012")
    assert (
        summaries[1]["savings_usd"],
        summaries[1]["savings_usd_hi"],
        summaries[1]["caveats"],
    ) == (
        Decimal("-0.000000000001"),
        -1e-9,
        0,
    )
    assert (summaries[0]["savings_usd_lo"], summaries[2]["savings_usd_lo"]) == (11.0, None)
    assert [name for name in RESULT_COLUMNS if summaries[3][name] is not None] == [
        "window_start",
        "window_end",
    ]


def test_plan_summaries_match_the_filters(store: Store, runs: list[StoredPlan]) -> None:
    def names(**which: Any) -> list[str]:
        return [row["name"] for row in rows(store, **which)]

    everyone = [run.name for run in runs]
    assert names(limit=2) == everyone[2:]
    assert names(limit=9) == everyone
    assert names(name="first") == everyone[:2]
    assert names(name="First") == []
    assert names(name="%") == names(name=HOSTILE) == [HOSTILE]
    assert names(status="applied") == ["first again"]
    assert names(plan_id=UUID(int=3)) == [HOSTILE]
    assert names(plan_id=UUID(int=9)) == []
    second = plans.CREATED + timedelta(days=1)
    assert names(since=second) == everyone[2:]
    assert names(until=second) == everyone[:2]
    assert names(since=second, status="failed", limit=1) == ["broken"]


def entries(store: Store, **which: Any) -> list[StoredEntry]:
    with store.read() as snapshot:
        return snapshot.find_entries(ORG, EntryFilter(**which))


def test_entries_match_the_filters_and_are_sorted_by_seq(store: Store) -> None:
    driver = PlanDriver(store)
    driver.live(1, plans.route(1))
    driver.live(2, plans.route(2))
    driver.revert(1)
    StoreChain(store, KEY, clock=lambda: AT + timedelta(days=1)).emit(
        ORG, System(), "odd", {"plan_id": 7, "n": [HOSTILE]}
    )
    with store.read() as snapshot:
        everything = list(snapshot.entries(ORG))
    assert entries(store) == everything
    assert entries(store, event="plan.applied") == everything[:2]
    assert entries(store, plan_id=UUID(int=1)) == [everything[0], everything[2]]
    assert entries(store, plan_id=UUID(int=7)) == []
    assert entries(store, limit=2) == everything[:2]
    assert entries(store, after=1, limit=1) == [everything[2]]
    second = _time(everything[1])
    assert entries(store, since=second) == everything[1:]
    assert entries(store, until=second) == everything[:1]
    assert (
        entries(store, event="plan.applied", since=second, plan_id=UUID(int=2)) == everything[1:2]
    )
    with store.read() as snapshot:
        assert snapshot.find_entries(OTHER, EntryFilter()) == []
        assert snapshot.edited_columns(ORG) == []


def _time(record: StoredEntry) -> datetime:
    import json

    return datetime.fromisoformat(json.loads(record.body)["timestamp"])


def test_a_plan_with_a_corrupt_row_is_named(tmp_path: Path) -> None:
    import duckdb

    for number, damage in enumerate(
        ("'{'", "'{}'", """replace(result, '"sample_size":1234', '"sample_size":"many"')"""), 1
    ):
        store = DuckDBStore(tmp_path / f"{number}.duckdb")
        with store.transaction() as tx:
            tx.add_plan(plans.run(number))
        with duckdb.connect(str(store.path)) as connection:
            connection.execute(f"UPDATE plan_runs SET result = {damage}")
        with pytest.raises(StoreError, match=f"the row of plan {UUID(int=number)} is corrupt"):
            rows(store)
