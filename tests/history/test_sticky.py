"""A route that follows whole sessions: stored, signed, compared and shown as such."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import blake3
import duckdb
import pytest

from tests.audit.chains import KEY
from tests.store.conftest import STORE_PARAMETERS, STORES
from tests.support import hostile, plans
from tests.support.contexts import context_of
from tests.support.plan_driver import ORG, PERSON, PlanDriver, store_state
from ttplan.audit.canonical import canonical_json
from ttplan.display.plan import Plan
from ttplan.display.routes import DriftCard, PreviewCard
from ttplan.display.suggestions import SuggestionsCard
from ttplan.history.compare import changed_fields
from ttplan.history.timeline import live_digest, routes_commitment, seen_routes
from ttplan.model.errors import StalePlan
from ttplan.model.plan import PerRouteBreakdown, PlanConfig
from ttplan.model.results.changes import FieldChange
from ttplan.model.results.drift import Drift
from ttplan.model.stored_plan import LiveRoute
from ttplan.operations.plans.apply import preview
from ttplan.operations.routes.drift import find_drift
from ttplan.operations.routes.repair import repair_routes
from ttplan.policy.approvals import plan_digest
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.memory import MemoryStore
from ttplan.store.rows import PLAN_COLUMNS, plan_row

PLAIN, STICKY = plans.route(1), plans.route(1, sticky="session")
NONCE = f"{1:064x}"
# The fields of a route as they were before `sticky`.
OLD_FIELDS: dict[str, Any] = {
    "id": "00000000-0000-0000-0000-000000000001",
    "name": "route 1",
    "priority": 1,
    "enabled": True,
    "when": {
        "model_in": ["gpt-4o"],
        "input_tokens_lt": 100,
        "input_tokens_gt": None,
        "tag_equals": "",
        "has_images": None,
        "has_audio": None,
        "prompt_contains_any_of": [],
        "estimated_cost_gt": 0.0123456789012345,
        "estimated_cost_lt": None,
    },
    "then": {
        "target_model": "gpt-4o-mini",
        "fallbacks": ["x"],
        "disable_cache": True,
        "max_cost_usd": 0.5,
    },
}


def drift_of(driver: PlanDriver) -> Drift:
    with driver.store.read() as snapshot:
        return find_drift(snapshot, ORG, KEY.public_key, own_key=False)


def commitment_to(*fields: dict[str, Any]) -> str:
    content = bytes.fromhex(NONCE) + canonical_json(list(fields))
    return blake3.blake3(content).hexdigest()


def live(*routes: Any) -> list[LiveRoute]:
    return [LiveRoute(route=r, plan_id=UUID(int=1), applied_at=plans.CREATED) for r in routes]


def test_a_route_without_it_has_the_bytes_it_had() -> None:
    assert PLAIN.model_dump(mode="json") == OLD_FIELDS
    assert list(PLAIN.model_dump(mode="json")) == list(OLD_FIELDS)
    assert json.loads(PLAIN.model_dump_json()) == OLD_FIELDS
    assert routes_commitment(NONCE, [PLAIN]) == commitment_to(OLD_FIELDS)
    (seen,) = seen_routes(live(PLAIN))
    assert seen.digest == blake3.blake3(canonical_json(OLD_FIELDS)).hexdigest()


def test_what_is_signed_of_a_sticky_route_differs() -> None:
    signed = routes_commitment(NONCE, [STICKY])
    assert signed == commitment_to(OLD_FIELDS | {"sticky": "session"})
    assert signed != routes_commitment(NONCE, [PLAIN])
    assert live_digest(seen_routes(live(STICKY))) != live_digest(seen_routes(live(PLAIN)))
    assert plan_digest(plans.run(1, (STICKY,))) != plan_digest(plans.run(1, (PLAIN,)))


def test_a_stored_plan_keeps_its_bytes() -> None:
    row = dict(zip(PLAN_COLUMNS, plan_row(plans.run(1, (PLAIN,))), strict=True))
    assert row["config"] == (
        '{"l1_ttl_seconds":60,"l2_threshold_sweep":[0.85,0.9,0.92,0.95],"l2_ttl_seconds":null,'
        '"l2_threshold":null,"cluster":null}'
    )
    for name in ("sticky", "assumptions", "full", "requests_ineligible"):
        assert f'"{name}"' not in row["result"]
    config = PlanConfig(projection="full", prices_at="plan", session="user_id")
    row = dict(zip(PLAN_COLUMNS, plan_row(plans.run(1, (STICKY,), config=config)), strict=True))
    assert row["config"].endswith(
        '"cluster":null,"projection":"full","prices_at":"plan","session":"user_id"}'
    )
    assert '"sticky":"session"' in row["result"]


@pytest.mark.parametrize(
    ("before", "after", "values"),
    [(PLAIN, STICKY, (None, "session")), (STICKY, PLAIN, ("session", None))],
)
def test_a_change_of_it_is_a_changed_field(before: Any, after: Any, values: Any) -> None:
    assert changed_fields(before, after) == (
        FieldChange(field="sticky", before=values[0], after=values[1]),
    )
    assert changed_fields(before, before) == ()


@pytest.mark.parametrize("kind", STORE_PARAMETERS)
def test_it_is_live_as_signed_and_reverted(kind: str, tmp_path: Path) -> None:
    driver = PlanDriver(STORES[kind](tmp_path))
    driver.live(1, PLAIN, plans.route(2))
    driver.live(2, STICKY)
    by_name = {row.route.name: row.route for row in store_state(driver.store).live}
    assert by_name == {"route 1": STICKY, "route 2": plans.route(2)}
    assert drift_of(driver).ok
    driver.live(3, PLAIN)
    replaced = store_state(driver.store).plans[2].replaced
    assert replaced is not None
    assert [row.route for row in replaced] == [STICKY]
    driver.revert(3)
    assert STICKY in [row.route for row in store_state(driver.store).live]
    driver.revert(2)
    assert {row.route for row in store_state(driver.store).live} == {PLAIN, plans.route(2)}
    assert drift_of(driver).ok


def test_a_plan_is_stale_once_a_live_route_is_sticky() -> None:
    driver = PlanDriver(MemoryStore())
    driver.live(1, PLAIN)
    driver.project(2, plans.route(2))
    driver.live(3, STICKY)
    with pytest.raises(StalePlan, match="route 1"):
        driver.apply(2)


@pytest.mark.parametrize(
    ("route", "value", "words"),
    [
        (PLAIN, "'session'", "sticky: signed nothing, found session"),
        (STICKY, "NULL", "sticky: signed session, found nothing"),
    ],
)
def test_an_edit_of_it_in_sql_is_drift(tmp_path: Path, route: Any, value: str, words: str) -> None:
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, route)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"UPDATE routes SET sticky = {value}")
    drift = drift_of(driver)
    assert [found.fields for found in drift.routes] == [("sticky",)]
    assert words in repr(DriftCard(drift))
    assert repair_routes(driver.chain, ORG, PERSON) is not None
    assert drift_of(driver).ok


def test_a_value_that_is_not_known_is_no_route(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    driver = PlanDriver(DuckDBStore(path))
    driver.live(1, PLAIN)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE routes SET sticky = 'user'")
    (found,) = drift_of(driver).routes
    assert found.unreadable is not None
    assert "sticky" in found.unreadable


def test_a_suggestion_says_whole_sessions() -> None:
    shown = hostile.suggestions().result
    item = shown.items[0].model_copy(update={"route": STICKY})
    words = "whole sessions go where their first request goes"
    assert words in repr(SuggestionsCard(shown.model_copy(update={"items": (item,)})))
    assert words not in repr(SuggestionsCard(shown))


def test_previews_and_cards_say_whole_sessions() -> None:
    driver = PlanDriver(MemoryStore())
    driver.live(1, PLAIN)
    driver.project(2, STICKY)
    shown = repr(PreviewCard(preview(context_of(driver.store, KEY), UUID(int=2))))
    assert "to gpt-4o-mini, whole sessions, priority 1" in shown
    assert "sticky: no → session" in shown
    part = PerRouteBreakdown(
        route_id=STICKY.id,
        route_name=STICKY.name,
        matched=3,
        baseline_cost_usd=2,
        projected_cost_usd=1,
        savings_usd=1,
    )
    result = plans.result(UUID(int=2), (STICKY,)).model_copy(
        update={"per_route_breakdown": (part,)}
    )
    assert "gpt-4o-mini, whole sessions" in repr(Plan(plans.run(2, result=result)))
