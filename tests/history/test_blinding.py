"""Each commitment has a blinding of its own; those of version 0.1 are still followed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import blake3
import orjson
import pytest

from tests.audit.chains import KEY
from tests.support import plans
from tests.support.plan_driver import ORG, PlanDriver, store_state
from ttplan.audit.blinding import derive_blinding
from ttplan.audit.canonical import canonical_json
from ttplan.history.timeline import routes_commitment
from ttplan.model.results.drift import Drift
from ttplan.model.stored_plan import LiveRoute
from ttplan.operations.routes.drift import find_drift
from ttplan.store.memory import MemoryStore


def earlier_commitment(nonce: str, routes: Iterable[Any]) -> str:
    """As version 0.1 made them: with the nonce itself, by name."""
    listed = [route.route if isinstance(route, LiveRoute) else route for route in routes]
    content = [route.model_dump(mode="json") for route in listed]
    return blake3.blake3(bytes.fromhex(nonce) + canonical_json(content)).hexdigest()


def drift_of(driver: PlanDriver) -> Drift:
    with driver.store.read() as snapshot:
        return find_drift(snapshot, ORG, KEY.public_key, own_key=False)


def applied_and_reverted() -> PlanDriver:
    driver = PlanDriver(MemoryStore())
    driver.live(1, plans.route(1))
    driver.live(2, plans.route(1, priority=9))
    driver.revert(2)
    return driver


def test_entries_of_the_earlier_version_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ttplan.apply.applied_commitment", earlier_commitment)
        patch.setattr("ttplan.apply.restored_commitment", earlier_commitment)
        driver = applied_and_reverted()
    assert drift_of(driver).ok
    driver.live(3, plans.route(3))
    assert drift_of(driver).ok


def test_one_blinding_does_not_confirm_the_others() -> None:
    state = store_state(applied_and_reverted().store)
    disclosed = derive_blinding(state.plans[1].nonce, "routes applied")
    applied, restored = (orjson.loads(entry.body)["payload"] for entry in state.entries[1:])
    routes = [plans.route(1, priority=9)]
    assert applied["routes_commitment"] == routes_commitment(disclosed, routes)
    assert restored["routes_commitment"] != routes_commitment(disclosed, [plans.route(1)])
    assert restored["routes_commitment"] != earlier_commitment(disclosed, [plans.route(1)])
