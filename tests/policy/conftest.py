"""A store with a plan to check."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policy.support import ANN
from tests.store.conftest import new_duckdb_store
from tests.support import plan_driver, plans
from ttplan.store.memory import MemoryStore


@pytest.fixture(params=["memory", "file"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> plan_driver.PlanDriver:
    """A driver with a projected plan by ANN."""
    store = MemoryStore() if request.param == "memory" else new_duckdb_store(tmp_path)
    made = plan_driver.PlanDriver(store)
    made.project(1, plans.route(1), author=ANN)
    return made
